"""One container, one rule for intervals; values as defined; bad input refused. Coverage: test_coverage.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from repro.stats import estimate as stats


def mean(x):
    return x.mean(axis=0)


def holds(estimate, truth):
    return estimate.lower <= truth <= estimate.upper


# --- the container ---


def test_scalars_are_pythons_floats_and_arrays_keep_their_shape():
    one = stats.mean([1.0, 2.0, 4.0])
    assert {type(x) for x in (one.value, one.lower, one.upper)} == {float}
    assert repr(one).startswith("Estimate(value=2.33333") and one.method == "jackknife t"
    several = stats.mean(np.ones((4, 2, 3)))
    assert several.value.shape == several.lower.shape == several.upper.shape == (2, 3) and several.n == 4


@pytest.mark.parametrize(("function", "ends"), [(np.exp, ("lower", "upper")), (np.negative, ("upper", "lower"))])
def test_map_moves_the_value_and_both_ends_and_keeps_them_in_order(function, ends):
    values = np.random.default_rng(0).normal(size=(6, 3))
    before = stats.mean(values)
    after = before.map(function)
    assert np.array_equal(after.value, function(before.value)) and after.n == 6
    assert np.array_equal(after.lower, function(getattr(before, ends[0])))
    assert np.array_equal(after.upper, function(getattr(before, ends[1])))
    wider = after.with_critical_value(5.0, "wider")  # a standard error is still that of the unmapped mean
    expected = sorted(function(before.value[0] + np.array([-5, 5]) * before.jackknife.standard_error[0]))
    assert (wider.lower[0], wider.upper[0]) == pytest.approx(expected) and wider.method == "wider"


def test_frame_has_the_columns_of_the_tables_in_their_order():
    found = stats.mean([[1.0, 2.0], [3.0, 4.0]]).frame(kind="a", size=[10, 20])
    assert found.columns.tolist() == ["kind", "size", "mean", "lower", "upper", "seeds"]
    assert found["mean"].tolist() == [2.0, 3.0] and found["seeds"].tolist() == [2, 2]
    assert stats.mean([1.0, 3.0]).frame("nets", units="m").columns.tolist() == [
        "units", "mean", "lower", "upper", "nets",
    ]  # fmt: skip


def test_standard_error_of_a_mean_is_the_usual_one_and_a_proportion_has_none():
    values = np.random.default_rng(0).normal(size=7)
    assert stats.mean(values).jackknife.standard_error == pytest.approx(scipy_stats.sem(values))
    with pytest.raises(ValueError, match="jackknife standard error, got 'exact binomial'"):
        stats.proportion(1, 2).with_critical_value(2.0, "")


# --- the rule for intervals ---


@pytest.mark.parametrize("units", [2, 3, 9, 10, 30, 1200])
def test_a_mean_has_the_ordinary_t_interval_at_every_number_of_units(units):
    values = np.random.default_rng(0).normal(size=units)
    expected = scipy_stats.t.interval(0.95, units - 1, values.mean(), scipy_stats.sem(values))
    np.testing.assert_allclose(stats.estimate(mean, values).interval, expected, rtol=1e-9)
    assert stats.mean(values) == stats.estimate(mean, values)


def test_interval_of_any_statistic_is_that_of_pseudo_values_by_a_slow_loop():
    first, second = np.random.default_rng(0).lognormal(size=(2, 11))
    found = stats.estimate(lambda a, b: a.mean(axis=0) / b.std(axis=0), first, second)

    def statistic(keep):
        return first[keep].mean() / second[keep].std()

    everything = statistic(np.arange(11))
    pseudo = [11 * everything - 10 * statistic(np.arange(11) != i) for i in range(11)]
    half = scipy_stats.t.ppf(0.975, 10) * scipy_stats.sem(pseudo)
    assert found.value == everything and found.interval == pytest.approx((everything - half, everything + half))


def test_every_column_is_treated_alone_and_units_left_out_at_once_change_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=(24, 2, 3))
    found, alone = stats.mean(values), stats.mean(values[:, 1, 2])
    assert (found.lower[1, 2], found.upper[1, 2]) == pytest.approx(alone.interval)
    monkeypatch.setattr(stats, "_CHUNK", 7)
    assert np.array_equal(stats.mean(values).lower, found.lower)


def test_a_scale_moves_the_ends_and_not_the_value():
    errors = np.random.default_rng(0).lognormal(0, 0.5, 8)
    plain, logarithmic = stats.mean(errors), stats.mean(errors, stats.LOGARITHM)
    assert plain.value == logarithmic.value and logarithmic.method == "jackknife t of logarithms"
    assert logarithmic.lower > plain.lower > 0 and logarithmic.upper > plain.upper


def test_one_unit_has_no_interval():
    for found in (
        stats.mean([2.0]), stats.geometric_mean([2.0]), stats.ratio_of_means([2.0], [1.0]),
        stats.share_over_clusters([1.0]),
    ):  # fmt: skip
        assert found.n == 1 and np.isfinite(found.value) and np.isnan(found.interval).all()
    assert np.isnan(stats.mean(np.ones((1, 2))).lower).tolist() == [True, True]


def test_a_statistic_undefined_without_some_unit_has_no_interval_there():
    values = np.array([[0.0, 0.0]] * 6 + [[1.0, 1.0]])  # without the last unit there is no spread
    values[0, 1] = 0.5

    def inverse_spread(x):
        with np.errstate(divide="ignore"):
            return 1 / x.std(axis=0)

    found = stats.estimate(inverse_spread, values)
    assert np.isfinite(found.value).all() and np.isnan(found.lower).tolist() == [True, False]


def test_the_smallest_of_equal_values_is_not_declared_below_them():
    # The minimum itself would put its whole interval below 0 in most of these repeats.
    values = np.random.default_rng(0).normal(size=(400, 16, 5))
    below = sum(stats.smallest(mean, sample).upper < 0 for sample in values)
    assert below <= scipy_stats.binom.isf(0.001, 400, 0.025)
    assert stats.smallest(mean, values[0]).method == "jackknife t, smallest of 5"


# --- bad input ---

GOOD = np.ones((3, 5))


def test_unpaired_arrays_are_refused():
    with pytest.raises(ValueError, match=r"same units, at least one, got \[2, 3\]"):
        stats.estimate(lambda a, b: mean(a) - mean(b), np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="equal shape"):
        stats.ratio_of_means(GOOD, GOOD[:, :2])
    with pytest.raises(ValueError, match="at least one array"):
        stats.mean(1.0)


def test_samples_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="leave failed units out"):
        stats.mean([1.0, np.nan])


def test_statistics_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="one row"):
        stats.smallest(mean, GOOD[:, 0])
    with pytest.raises(ValueError, match="reduces axis 0 alone"):
        stats.estimate(lambda x: x.mean(), GOOD[:, 0])


# --- means and ratios ---


def test_geometric_mean_of_inverses_is_the_inverse():
    values = np.exp(np.random.default_rng(0).normal(size=(6, 2)))
    one, other = stats.geometric_mean(values), stats.geometric_mean(1 / values)
    assert np.allclose(one.value * other.value, 1) and np.allclose(one.lower * other.upper, 1)
    with pytest.raises(ValueError, match="positive"):
        stats.geometric_mean([[1.0], [0.0]])


def test_ratio_of_means_is_that_and_its_inverse_the_inverse():
    first, second = np.random.default_rng(0).lognormal(size=(2, 6, 3))
    one, other = stats.ratio_of_means(first, second), stats.ratio_of_means(second, first)
    np.testing.assert_allclose(one.value, first.mean(axis=0) / second.mean(axis=0))
    np.testing.assert_allclose(one.lower * other.upper, 1)


# --- proportions ---


def test_proportion_has_the_exact_interval_of_the_papers_share():
    found = stats.proportion(1144, 1227)
    assert round(found.value, 3) == 0.932 and found.n == 1227 and found.method == "exact binomial"
    assert tuple(round(end, 3) for end in found.interval) == (0.917, 0.946)


@given(trials=st.integers(1, 300), share=st.floats(0, 1))
def test_ends_of_a_proportion_would_be_surprised_at_one_in_forty(trials, share):
    successes = round(share * trials)
    found = stats.proportion(successes, trials)
    lower, upper = found.interval
    assert lower <= found.value <= upper
    assert lower == 0 if successes == 0 else abs(scipy_stats.binom.sf(successes - 1, trials, lower) - 0.025) < 1e-6
    assert upper == 1 if successes == trials else abs(scipy_stats.binom.cdf(successes, trials, upper) - 0.025) < 1e-6


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_proportions_of_nothing_are_refused(successes, trials):
    with pytest.raises(ValueError, match=f"got {successes} of {trials}"):
        stats.proportion(successes, trials)


def test_share_over_clusters_is_their_mean_and_stays_between_0_and_1():
    shares = np.array([0.9, 1.0, 0.8, 1.0, 1.0])
    found = stats.share_over_clusters(np.column_stack([shares, 1 - shares]))
    assert np.array_equal(found.value, [shares.mean(), (1 - shares).mean()])
    assert found.lower[0] > 0.7 and found.upper[0] <= 1
    np.testing.assert_allclose(found.lower + found.upper[::-1], 1)
    with pytest.raises(ValueError, match="from 0 to 1"):
        stats.share_over_clusters([0.5, 1.5])


def test_clusters_that_all_agree_have_the_exact_interval_of_so_many_clusters():
    found = stats.share_over_clusters(np.column_stack([np.ones(8), np.zeros(8), np.arange(8) / 8]))
    every, none = stats.proportion(8, 8), stats.proportion(0, 8)
    assert (found.lower[0], found.upper[0]) == pytest.approx(every.interval)
    assert (found.lower[1], found.upper[1]) == pytest.approx(none.interval)
    assert np.isnan(found.jackknife.standard_error).tolist() == [True, True, False]


# --- correlations within groups ---


def grouped(units, seed, slope=0.0):
    """Two variables and groups of several sizes, one of them of a single unit; group means are related, of course."""
    rng = np.random.default_rng(seed)
    groups = np.append(rng.integers(0, 4, units - 1), 9)
    first = rng.normal(size=units)
    return first + 5 * groups, slope * first + rng.normal(size=units) + 3 * groups, groups


def correlation_of_residuals(first, second, groups):
    indicators = (groups[:, None] == np.unique(groups)).astype(float)
    left = [v - indicators @ np.linalg.lstsq(indicators, v, rcond=None)[0] for v in (first, second)]
    return np.corrcoef(*left)[0, 1]


@pytest.mark.parametrize("units", [12, 60])
def test_within_group_correlation_is_that_of_residuals(units):
    first, second, groups = grouped(units, seed=0, slope=-0.5)
    found = stats.within_group_correlation(first, second, groups)
    assert found.value == pytest.approx(correlation_of_residuals(first, second, groups))
    named = np.array([f"cell {group}" for group in groups])
    assert stats.within_group_correlation(first, second, named) == found
    assert found.n == units and holds(found, found.value) and found.method == "jackknife t of Fisher z"


def test_interval_within_groups_is_that_of_a_slow_loop():
    first, second, groups = grouped(40, seed=1, slope=0.5)
    kept = [np.arange(40) != i for i in range(40)]
    z = np.arctanh([correlation_of_residuals(first[k], second[k], groups[k]) for k in kept])
    error = 39 / np.sqrt(40) * z.std(ddof=1) * np.sqrt((40 - len(np.unique(groups))) / 39)
    found = stats.within_group_correlation(first, second, groups)
    centre = np.arctanh(correlation_of_residuals(first, second, groups))
    half = scipy_stats.t.ppf(0.975, 39) * error
    assert found.interval == pytest.approx((np.tanh(centre - half), np.tanh(centre + half)))


def test_correlation_within_groups_needs_a_group_and_finite_pairs():
    with pytest.raises(ValueError, match="at least two units"):
        stats.within_group_correlation([1.0, 2.0], [1.0, 2.0], [0, 1])
    with pytest.raises(ValueError, match="same units"):
        stats.within_group_correlation([1.0, 2.0], [1.0], [0, 0])
    with pytest.raises(ValueError, match="finite"):
        stats.within_group_correlation([1.0, np.nan], [1.0, 2.0], [0, 0])
