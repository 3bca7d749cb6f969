"""One regressor beside nuisance terms, against the full design solved at once, refits one by one, and simulation."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as distributions

from repro.stats import regression

TERMS = [["set"], ["width"], ["depth"]]


def draw_table(rng, n=60):
    table = pd.DataFrame({name: rng.integers(0, count, n) for name, count in (("set", 4), ("width", 3), ("depth", 2))})
    return table.assign(x=rng.normal(size=n) + table["set"], y=rng.normal(size=n) - table["set"] + 0.3 * table["depth"])


def plain_ols(outcome, regressor, nuisance):
    """t, p and residual degrees of freedom out of the full design matrix, columns of deficient rank and all."""
    design = np.column_stack([regressor, nuisance])
    coefficients, _, rank, _ = np.linalg.lstsq(design, outcome, rcond=None)
    freedom = len(design) - rank
    variance = ((outcome - design @ coefficients) ** 2).sum() / freedom
    t = coefficients[0] / np.sqrt(variance * np.linalg.pinv(design.T @ design)[0, 0])
    return t, 2 * distributions.t.sf(abs(t), freedom), freedom


def related(n, terms, r, rng):
    """Outcome, regressor and nuisance columns whose partial correlation is exactly r."""
    nuisance = np.column_stack([np.ones(n), rng.normal(size=(n, terms - 1))])
    basis, _ = np.linalg.qr(np.column_stack([nuisance, rng.normal(size=(n, 2))]))
    x, e = basis[:, -2:].T
    return r * x + np.sqrt(1 - r**2) * e + nuisance.sum(axis=1), x - nuisance[:, -1], nuisance


@settings(deadline=None)  # a loaded machine is no failure
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(30, 90), together=st.booleans())
def test_fit_is_ordinary_least_squares_of_the_full_design(seed, n, together):
    table = draw_table(np.random.default_rng(seed), n)
    nuisance = regression.dummies(table, [["set", "depth"]] if together else TERMS)
    found = regression.fit_regressor(table["y"], table["x"], nuisance)
    t, p, freedom = plain_ols(table["y"], table["x"], nuisance)
    assert (found.t, found.p) == pytest.approx((t, p), rel=1e-6, abs=1e-9)
    assert (found.degrees_of_freedom, found.n) == (freedom, n)
    x, y = (v - nuisance @ np.linalg.lstsq(nuisance, v, rcond=None)[0] for v in (table["x"], table["y"]))
    assert found.partial_correlation == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-6, abs=1e-9)
    assert found.interval[0] < found.partial_correlation < found.interval[1]


def test_dummies_are_an_intercept_and_an_indicator_per_value_or_combination():
    table = pd.DataFrame({"a": ["u", "v", "u"], "b": [5, 5, 11]})
    assert regression.dummies(table, [["a"], ["b"]]).tolist() == [[1, 1, 0, 1, 0], [1, 0, 1, 1, 0], [1, 1, 0, 0, 1]]
    assert regression.dummies(table, [["a", "b"]]).tolist() == [[1, 1, 0, 0], [1, 0, 0, 1], [1, 0, 1, 0]]


def test_units_of_measurement_do_not_matter():
    table = draw_table(np.random.default_rng(0))
    nuisance = regression.dummies(table, TERMS)
    found = regression.fit_regressor(table["y"], table["x"], nuisance)
    scaled = regression.fit_regressor(1e-9 * table["y"], 1e-9 * table["x"], nuisance)
    assert scaled.t == pytest.approx(found.t) and scaled.interval == pytest.approx(found.interval)


def test_papers_t_gives_its_p_and_its_partial_correlation():
    r = -2.27 / np.sqrt(2.27**2 + 1216)
    found = regression.fit_regressor(*related(1227, 10, r, np.random.default_rng(0)))
    assert found.t == pytest.approx(-2.27, rel=1e-9) and found.degrees_of_freedom == 1216
    assert round(found.p, 4) == 0.0234 and round(found.partial_correlation, 3) == -0.065


def test_interval_of_a_partial_correlation_holds_it_in_95_of_100_cases():
    rng, truth, held, repeats = np.random.default_rng(0), -0.4, 0, 600
    nuisance = np.column_stack([np.ones(25), rng.normal(size=(25, 5))])
    for x, noise in rng.normal(size=(repeats, 2, 25)):
        y = truth * x + np.sqrt(1 - truth**2) * noise
        lower, upper = regression.fit_regressor(y, x, nuisance).interval
        held += lower <= truth <= upper
    low, high = distributions.binom.interval(0.999, repeats, 0.95)
    assert low <= held <= high


def test_permutations_are_refits_of_outcomes_permuted_within_groups():
    table = draw_table(np.random.default_rng(1))
    nuisance, groups = regression.dummies(table, TERMS), table.groupby(["set", "depth"]).ngroup().to_numpy()
    found = regression.permuted_t(table["y"], table["x"], nuisance, groups, 20, np.random.default_rng(5))
    again, shuffled = np.random.default_rng(5), np.tile(table["y"].to_numpy()[:, None], 20)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        shuffled[rows] = again.permuted(shuffled[rows], axis=0)
    assert not np.array_equal(shuffled[:, 0], shuffled[:, 1])
    for t, outcome in zip(found, shuffled.T, strict=True):
        assert pd.Series(outcome).groupby(groups).sum().to_numpy() == pytest.approx(table.groupby(groups)["y"].sum())
        assert t == pytest.approx(plain_ols(outcome, table["x"], nuisance)[0], rel=1e-8)


def test_permutations_leave_groups_of_one_row_alone():
    table = draw_table(np.random.default_rng(2), 30)
    nuisance = regression.dummies(table, TERMS)
    found = regression.permuted_t(table["y"], table["x"], nuisance, np.arange(30), 5, np.random.default_rng(0))
    assert found == pytest.approx([regression.fit_regressor(table["y"], table["x"], nuisance).t] * 5)


def test_permutations_within_one_group_have_the_t_distribution():
    rng = np.random.default_rng(3)
    x, y, ones = rng.normal(size=80), rng.normal(size=80), np.ones((80, 1))
    found = regression.permuted_t(y, x, ones, np.zeros(80), 2000, rng)
    assert distributions.kstest(found, distributions.t(78).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("nets", "percent"), [(150, 12), (288, 19), (500, 30), (1227, 62), (1512, 71), (3000, 94)]
)  # paper's effect
def test_power_of_the_papers_effect(nets, percent):
    assert abs(100 * regression.power(-0.065, nets, nuisance_terms=10) - percent) < 1


def test_power_is_the_level_without_an_effect_and_ignores_its_sign():
    assert regression.power(0.0, 100, 10) == pytest.approx(0.05)
    assert regression.power(0.2, 100, 10) == pytest.approx(regression.power(-0.2, 100, 10))


def test_power_is_that_of_simulated_tests():
    rng, r, n, repeats = np.random.default_rng(0), -0.3, 60, 2000
    nuisance = np.column_stack([np.ones(n), rng.normal(size=(n, 3))])
    found = 0
    for x, noise in rng.normal(size=(repeats, 2, n)):
        found += regression.fit_regressor(r * x + np.sqrt(1 - r**2) * noise, x, nuisance).p < 0.05
    assert found / repeats == pytest.approx(regression.power(r, n, 4), abs=0.033)  # three binomial errors


def test_what_cannot_be_fitted_is_refused():
    x, y = np.random.default_rng(0).normal(size=(2, 6))
    with pytest.raises(ValueError, match="got 6 rows and 4 terms"):
        regression.fit_regressor(y, x, np.column_stack([np.ones(6), np.eye(6)[:, :3]]))
    for outcome, regressor in ((y, np.full(6, 0.1)), (np.full(6, 0.1), x)):
        with pytest.raises(ValueError, match="does not vary beyond"):
            regression.fit_regressor(outcome, regressor, np.ones((6, 1)))
