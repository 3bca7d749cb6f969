"""From rows to exponents: theory values, known power laws, and what cannot be fitted."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.compression import amplification_analysis as dynamics
from repro.papers.compression import exponents_analysis as analysis

SIZES = [64, 128, 256, 512]


def rows(errors):
    """Rows of `learning_curve_cell` with error p^-beta times a factor of the seed."""
    return pd.DataFrame(
        [
            {"regime": regime, "dimension": d, "train_size": p, "seed": seed, "test_error": errors(regime, d, p, seed)}
            for regime in analysis.REGIMES
            for d in (5, 10)
            for p in SIZES
            for seed in range(4)
        ]
    )


@pytest.fixture
def table():
    return rows(lambda regime, d, p, seed: (1 + 0.1 * seed) * p ** -analysis.theory_exponent(regime, d))


def test_exponents_of_the_sheet():
    assert [round(analysis.lazy_exponent(d), 4) for d in (2, 3, 5, 10, 20)] == [0.5, 0.4286, 0.3846, 0.3571, 0.3448]
    assert [round(analysis.feature_exponent(d), 4) for d in (2, 3, 5, 10, 20)] == [0.75, 0.7143, 0.6923, 0.6786, 0.6724]


@pytest.mark.parametrize("d", [2, 3, 5, 10, 100])
def test_the_gain_is_that_of_a_compression_by_the_square_root_of_p(d):
    gain = analysis.feature_exponent(d) - analysis.lazy_exponent(d)
    assert gain == pytest.approx((d - 1) / (3 * d - 2), rel=1e-12)


def test_a_curve_on_the_theory_lies_on_its_line(table):
    drawn = analysis.learning_curves(table, fit_from=128)
    fitted = drawn["train_size"] >= 128
    np.testing.assert_allclose(drawn["theory"][fitted], drawn["mean"][fitted], rtol=1e-12)
    assert drawn["theory"][~fitted].isna().all() and (drawn["seeds"] == 4).all()


def test_local_exponents_of_a_power_law_are_its_exponent(table):
    local = analysis.local_exponents(table)
    np.testing.assert_allclose(local["mean"], local["theory"], rtol=1e-10)
    np.testing.assert_allclose(local["train_size"].unique(), np.sqrt(np.multiply(SIZES[:-1], SIZES[1:])))


def test_ratios_and_gain_pair_the_seeds(table):
    ratios = analysis.error_ratios(table)
    np.testing.assert_allclose(ratios["lower"], ratios["upper"], rtol=1e-10)  # the factor of the seed cancels
    feature, lazy = (analysis.curve(table, regime, 5) for regime in analysis.REGIMES)
    gain = analysis.exponent_gain(feature, lazy)
    assert gain.value == pytest.approx(4 / 13, rel=1e-10)
    assert gain.interval == pytest.approx((4 / 13, 4 / 13), rel=1e-8)


def test_a_curve_with_a_missing_seed_is_refused(table):
    with pytest.raises(ValueError, match="the lazy curve at d = 5 does not have every seed at every size"):
        analysis.curve(table.drop(table[(table["regime"] == "lazy") & (table["seed"] == 3)].index[:1]), "lazy", 5)
    with pytest.raises(ValueError, match="d = 7"):
        analysis.curve(table, "lazy", 7)


def test_from_size_keeps_the_larger_sizes(table):
    found = analysis.curve(table, "lazy", 5).from_size(256)
    assert list(found.sizes) == [256, 512] and found.errors.shape == (4, 2)


@pytest.mark.parametrize(
    ("sizes", "fit_from", "check_size", "message"),
    [
        ([64, 64], 2, 64, "must differ"),
        ([64, 128], 100, 64, "a fit needs two train_sizes from fit_from = 100 on"),
        ([64, 128], 64, 100, "check_size = 100 is not one of train_sizes"),
    ],
)
def test_sizes_that_allow_no_fit_are_refused_before_training(sizes, fit_from, check_size, message):
    with pytest.raises(ValueError, match=message):
        analysis.check_sizes(sizes, fit_from, check_size)
    analysis.check_sizes([64, 128], 64, 128)


def test_the_dearest_cell_is_the_largest_net():
    cells = [{"regime": r, "train_size": p, "width": h} for r, p, h in
             [("lazy", 2048, 300), ("feature", 64, 300), ("feature", 2048, 300), ("feature", 2048, 1000)]]  # fmt: skip
    assert max(cells, key=analysis.relative_cost) == cells[-1]


@pytest.mark.parametrize(
    ("dimension", "informative", "exponent"), [(5, 1, 9 / 13), (5, 2, 0.5), (10, 2, 0.5), (5, 3, 6 / 13)]
)
def test_feature_exponent_with_informative_directions(dimension, informative, exponent):
    assert analysis.feature_exponent(dimension, informative) == pytest.approx(exponent)


def test_growth_finds_the_slope_of_a_power_law():
    rows = pd.DataFrame([
        {"definition": "A", "dimension": 5, "seed": s, "train_size": p, "amplification": (1 + 0.1 * s) * p**0.5}
        for s in range(4) for p in (64, 256, 1024)
    ])  # fmt: skip
    table = dynamics.growth(rows, fit_from=256)
    assert np.allclose(table[["slope", "slope_lower", "slope_upper"]], 0.5)
    assert np.allclose(table["saturation"], dynamics.SATURATION * table["train_size"] ** 0.5)


def run_through_stages(seed, t_star, size=64, tolerance=0.5, end=8.0):
    times = np.array([0, t_star / 2, t_star, 4 * t_star])
    columns = {"stage": ["explicit"] * 3 + ["implicit"], "time": times, "amplification_A": [1.0, 4.0, 16.0, end]}
    shares = {"loss": [1, 1, 0.8, 0.0], "satisfied": [0, 0, 0.1, 1.0], "test_error": [1, 0.5, 0.4, 0.1]}
    return pd.DataFrame({**columns, **shares, "seed": seed, "train_size": size, "tolerance": tolerance})


def test_stages_are_read_at_the_same_share_of_t_star_and_held_after_the_end():
    rows = pd.concat([run_through_stages(0, 10.0), run_through_stages(1, 30.0)])
    table = dynamics.stages(rows, [0.25, 1, 4, 100]).set_index("quantity")
    assert np.allclose(table.loc["amplification_A", "mean"], [2, 16, 8, 8])  # logarithms are interpolated
    assert np.allclose(table.loc["satisfied", ["mean", "lower", "upper"]].T, [0, 0.1, 1, 1])
    ratios = dynamics.stage_ratios(rows)
    assert list(ratios["growth"]) == [16, 16] and list(ratios["plateau"]) == [0.5, 0.5]


def test_a_plateau_that_depends_on_the_steps_is_withheld():
    for coarse, withheld in ((8.8, ""), (10.0, "with steps twice as long it is 1.25 times as large")):
        kinds = [{"tolerance": 0.5}, {"tolerance": 1.0, "end": coarse}]
        rows = pd.concat([run_through_stages(seed, 10.0, **kind) for seed in range(2) for kind in kinds])
        found = dynamics.stage_ratio(rows, 64, "plateau")
        assert found.estimate.value == 0.5 and found.withheld == withheld
        assert found.values["over_coarser_steps"] == pytest.approx(8 / coarse)  # noqa: PD011
        assert not dynamics.stage_ratio(rows, 64, "growth").withheld
    table = dynamics.stages(rows, [4]).set_index("quantity")
    assert table.loc["amplification_A", "mean"] == pytest.approx(8)  # of the finer steps


def test_nuisances_are_ratios_on_the_same_seeds():
    rows = pd.DataFrame([
        {"width": h, "seed": s, "amplification_A": (s + 1) * f, "test_error": 0.1 * (s + 1) / f}
        for h, f in ((10, 1.0), (20, 2.0)) for s in range(3)
    ])  # fmt: skip
    table = dynamics.nuisances(rows, {"width": 10}, {"wider": {"width": 20}})
    assert np.allclose(table[["mean", "lower", "upper"]], [[2] * 3, [0.5] * 3])
    with pytest.raises(ValueError, match="the variant wider has seeds"):
        dynamics.nuisances(rows[:-1], {"width": 10}, {"wider": {"width": 20}})


@pytest.mark.parametrize(("sizes", "judged"), [([64, 64], 64), ([128, 64], 64), ([32, 64], 64), ([64, 128], 32)])
def test_sizes_that_cannot_be_fitted_or_judged_are_refused(sizes, judged):
    with pytest.raises(ValueError, match=r"got|not one of"):
        dynamics.check_sizes(sizes, 64, judged)
