"""Intervals hold the truth as often as they say; exponents are recovered; bad input is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from repro.stats import estimate as stats

SIZES = 2.0 ** np.arange(7, 12)
BETA = 0.4


def power_law(units, seed, beta=BETA, spread=0.3):
    """Draw independent curves whose mean over many units is 0.7 size^−β: (units, sizes)."""
    noise = np.random.default_rng(seed).lognormal(-(spread**2) / 2, spread, (units, len(SIZES)))
    return 0.7 * SIZES**-beta * noise


def mean(x):
    return x.mean(axis=0)


def holds(estimate, truth):
    lower, upper = estimate.interval
    return lower <= truth <= upper


# --- estimates and exponents ---


def test_exact_power_law_has_exponent_without_spread():
    values = np.tile(3.0 * SIZES**-BETA, (12, 1))
    found = stats.power_law_exponent(SIZES, values, seed=0)
    np.testing.assert_allclose([found.estimate, *found.interval], BETA, rtol=1e-12)
    assert found.n == 12


def test_exponent_is_the_slope_of_the_log_of_the_mean():
    values = power_law(20, seed=0, spread=1.0)
    slope = np.polyfit(np.log(SIZES), np.log(values.mean(axis=0)), 1)[0]
    assert stats.power_law_exponent(SIZES, values, seed=0).estimate == pytest.approx(-slope, rel=1e-12)


def test_exponent_difference_is_first_minus_second():
    first, second = power_law(16, seed=1, beta=0.7), power_law(16, seed=2, beta=0.4)
    found = stats.exponent_difference(SIZES, first, second, seed=0)
    assert holds(found, 0.3)
    assert found.interval[0] > 0


def test_local_exponents_see_a_bend():
    beta = np.array([0.2, 0.2, 0.6, 0.6])
    curve = np.exp(-np.cumsum(np.concatenate([[0.0], beta * np.log(2.0)])))
    size, exponent = stats.local_exponents(SIZES, np.tile(curve, (4, 1)), seed=0)
    np.testing.assert_allclose(size, SIZES[:-1] * np.sqrt(2.0))
    np.testing.assert_allclose(exponent.estimate, beta)
    np.testing.assert_allclose(exponent.upper - exponent.lower, 0.0, atol=1e-12)


@pytest.mark.parametrize("units", [6, 24])
def test_mean_interval_treats_every_column_alone(units):
    values = np.random.default_rng(0).normal(size=(units, 2, 3))
    found = stats.mean_interval(values, seed=4)
    alone = stats.estimate(mean, values[:, 1, 2], seed=4)
    assert found.estimate.shape == found.lower.shape == found.upper.shape == (2, 3)
    assert (found.lower[1, 2], found.upper[1, 2]) == pytest.approx(alone.interval)


@pytest.mark.parametrize("units", [6, 24])
def test_smallest_ratio_is_that_of_the_smallest_column(units):
    rng = np.random.default_rng(0)
    denominator = rng.lognormal(0.0, 0.1, (units, 3))
    numerator = denominator * [2.0, 1.5, 3.0] * rng.lognormal(0.0, 0.01, (units, 3))
    found = stats.smallest_ratio(numerator, denominator, seed=0)
    np.testing.assert_allclose(found.ratio.estimate, numerator.mean(axis=0) / denominator.mean(axis=0))
    assert found.smallest.estimate == found.ratio.estimate.min()
    assert found.smallest.interval[0] == found.ratio.lower.min() < 1.5
    assert found.ratio.upper[1] < found.smallest.interval[1] < 2.0


# --- the rule for intervals ---


@pytest.mark.parametrize("units", [2, 3, 9])
def test_few_units_give_the_ordinary_t_interval_of_a_mean(units):
    values = np.random.default_rng(0).normal(size=units)
    expected = scipy_stats.t.interval(0.95, units - 1, values.mean(), scipy_stats.sem(values))
    np.testing.assert_allclose(stats.estimate(mean, values, seed=0).interval, expected, rtol=1e-10)


def test_ten_units_give_scipys_percentile_bootstrap():
    values = np.random.default_rng(0).normal(size=10)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=100_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = stats.estimate(mean, values, seed=0, resamples=100_000)
    np.testing.assert_allclose(ours.interval, theirs, atol=0.01)  # 0.01: three errors of a 2.5 % quantile here


@pytest.mark.parametrize(("units", "level"), [(8, 0.950), (16, 0.923)])
def test_interval_of_an_exponent_holds_the_truth_as_often_as_documented(units, level):
    # Level at 16 units: P(|t₁₅| < 1.96 √(15/16)), since the percentile bootstrap takes the spread of the sample
    # for the true one. 400 repeats, 99.9 % binomial band.
    def exponent(values):
        return stats._exponent(SIZES, values)

    found = sum(
        holds(stats.estimate(exponent, power_law(units, seed), seed=seed, resamples=2_000), BETA) for seed in range(400)
    )
    lowest, highest = scipy_stats.binom.interval(0.999, 400, level)
    assert lowest <= found <= highest


def test_smallest_of_equal_ratios_is_not_declared_below_them():
    # The naive bootstrap of a minimum puts its whole interval below 1 in most of these repeats.
    below = sum(
        stats.smallest_ratio(power_law(16, seed), power_law(16, 1000 + seed), seed).smallest.interval[1] < 1
        for seed in range(60)
    )
    assert below <= scipy_stats.binom.isf(0.001, 60, 0.08)  # 8 %: 2.5 % by design, more as percentiles are short


@pytest.mark.parametrize("units", [5, 12])
def test_same_seed_gives_the_same_bits(units):
    values = power_law(units, seed=0)
    first = stats.local_exponents(SIZES, values, seed=7).exponent
    again = stats.local_exponents(SIZES, values, seed=7).exponent
    assert first.lower.tobytes() == again.lower.tobytes()
    assert first.upper.tobytes() == again.upper.tobytes()


def test_another_seed_resamples_anew():
    values = power_law(12, seed=0)
    intervals = {stats.power_law_exponent(SIZES, values, seed).interval for seed in (0, 1)}
    assert len(intervals) == 2


@pytest.mark.parametrize("units", [6, 24])
def test_pairing_tightens_a_difference_of_units_that_share_noise(units):
    shared = power_law(units, seed=0, beta=0.0)
    first, second = SIZES**-0.6 * shared, SIZES**-0.4 * shared * power_law(units, seed=1, beta=0.0, spread=0.02)

    def width(other):
        lower, upper = stats.exponent_difference(SIZES, first, other, seed=0).interval
        return upper - lower

    assert 5 * width(second) < width(np.roll(second, 1, axis=0))


def test_one_unit_has_no_interval():
    found = stats.power_law_exponent(SIZES, power_law(1, seed=0), seed=0)
    assert found.n == 1
    assert np.isfinite(found.estimate)
    assert np.isnan(found.interval).all()
    assert np.isnan(stats.smallest_ratio([[2.0, 3.0]], [[1.0, 1.0]], seed=0).smallest.interval).all()


def test_statistic_undefined_on_a_resample_has_no_interval():
    values = np.array([0.0] * 6 + [1.0] * 6)  # some resample is all zeros or all ones, and has no spread

    def inverse_spread(x):
        with np.errstate(divide="ignore"):
            return 1 / x.std(axis=0)

    found = stats.estimate(inverse_spread, values, seed=0)
    assert np.isfinite(found.estimate)
    assert np.isnan(found.interval).all()


# --- properties ---

factors = st.floats(1e-6, 1e6)


@settings(deadline=None)  # a loaded machine is no failure
@given(value_factor=factors, size_factor=factors, units=st.integers(2, 14), seed=st.integers(0, 1000))
def test_exponent_ignores_the_units_of_measurement(value_factor, size_factor, units, seed):
    values = power_law(units, seed)
    before = stats.power_law_exponent(SIZES, values, seed)
    after = stats.power_law_exponent(SIZES * size_factor, values * value_factor, seed)
    np.testing.assert_allclose(
        [after.estimate, *after.interval], [before.estimate, *before.interval], rtol=1e-8, atol=1e-10
    )


@settings(deadline=None)  # a loaded machine is no failure
@given(units=st.integers(2, 14), seed=st.integers(0, 1000))
def test_interval_holds_the_estimate_and_swapping_negates_the_difference(units, seed):
    first, second = power_law(units, seed), power_law(units, seed + 1)
    forth = stats.exponent_difference(SIZES, first, second, seed)
    back = stats.exponent_difference(SIZES, second, first, seed)
    assert holds(forth, forth.estimate)
    np.testing.assert_allclose([-back.estimate, *np.negative(back.interval)[::-1]], [forth.estimate, *forth.interval])


@settings(deadline=None)  # a loaded machine is no failure
@given(exponent=st.floats(-3.0, 3.0), units=st.integers(1, 4))
def test_any_exponent_is_recovered(exponent, units):
    values = np.tile(SIZES**-exponent, (units, 1))
    assert stats.power_law_exponent(SIZES, values, seed=0).estimate == pytest.approx(exponent, abs=1e-12)


# --- bad input ---

GOOD = np.ones((3, 5))
WITH_ZERO = np.where(np.eye(3, 5) == 1, 0.0, 1.0)
WITH_NAN = np.where(np.eye(3, 5) == 1, np.nan, 1.0)


@pytest.mark.parametrize(
    ("sizes", "values", "message"),
    [
        (SIZES[:1], GOOD[:, :1], "two increasing sizes"),
        (SIZES[::-1], GOOD, "two increasing sizes"),
        ([1.0, 1.0], GOOD[:, :2], "two increasing sizes"),
        ([0.0, 1.0], GOOD[:, :2], "positive sizes, got 0.0"),
        (SIZES, WITH_ZERO, "positive values, got 0.0"),
        (SIZES, WITH_NAN, "positive values, got nan"),
        (SIZES, GOOD[:, :4], "equal shape"),
        (SIZES, GOOD[0], "equal shape"),
        (SIZES, GOOD[:0], "at least one, got"),
    ],
)
def test_curves_without_an_exponent_are_refused(sizes, values, message):
    for function in (stats.power_law_exponent, stats.local_exponents):
        with pytest.raises(ValueError, match=message):
            function(sizes, values, seed=0)


def test_unpaired_arrays_are_refused():
    with pytest.raises(ValueError, match="equal shape"):
        stats.exponent_difference(SIZES, GOOD, GOOD[:2], seed=0)
    with pytest.raises(ValueError, match="units, columns"):
        stats.smallest_ratio(GOOD, GOOD[:2], seed=0)
    with pytest.raises(ValueError, match=r"same units, at least one, got \[2, 3\]"):
        stats.estimate(lambda a, b: mean(a) - mean(b), np.ones(3), np.ones(2), seed=0)


def test_samples_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="leave failed units out"):
        stats.mean_interval([1.0, np.nan], seed=0)


def test_statistics_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="one value"):
        stats.estimate(mean, GOOD, seed=0)
    with pytest.raises(ValueError, match="one row"):
        stats.smallest(mean, GOOD[:, 0], seed=0)
    with pytest.raises(ValueError, match="reduces axis 0 alone"):
        stats.estimate(lambda x: x.mean(), GOOD[:, 0], seed=0)


def test_fewer_resamples_than_declared_are_refused():
    with pytest.raises(ValueError, match="at least 2000"):
        stats.estimate(mean, np.ones(12), seed=0, resamples=1_000)


def test_log_slope_is_the_regression_of_all_logarithms():
    sizes = np.array([1, 2, 4, 8])
    values = np.exp(np.random.default_rng(0).normal(size=(12, 4))) * sizes**0.5
    everything = np.polyfit(np.log(np.tile(sizes, 12)), np.log(values).ravel(), 1)[0]
    found = stats.log_slope(sizes, values, seed=0)
    assert found.estimate == pytest.approx(everything) and found.interval[0] < everything < found.interval[1]


def test_geometric_mean_of_inverses_is_the_inverse():
    values = np.exp(np.random.default_rng(0).normal(size=(6, 2)))
    one, other = stats.geometric_mean(values, seed=0), stats.geometric_mean(1 / values, seed=0)
    assert np.allclose(one.estimate * other.estimate, 1) and np.allclose(one.lower * other.upper, 1)
    with pytest.raises(ValueError, match="positive"):
        stats.geometric_mean([[1.0], [0.0]], seed=0)


# --- proportions and correlations within groups ---


def test_proportion_has_the_exact_interval_of_the_papers_share():
    found = stats.proportion(1144, 1227)
    assert round(found.estimate, 3) == 0.932 and found.n == 1227
    assert tuple(round(end, 3) for end in found.interval) == (0.917, 0.946)


@given(trials=st.integers(1, 300), share=st.floats(0, 1))
def test_ends_of_a_proportion_would_be_surprised_at_one_in_forty(trials, share):
    successes = round(share * trials)
    found = stats.proportion(successes, trials)
    lower, upper = found.interval
    assert lower <= found.estimate <= upper
    assert lower == 0 if successes == 0 else abs(scipy_stats.binom.sf(successes - 1, trials, lower) - 0.025) < 1e-6
    assert upper == 1 if successes == trials else abs(scipy_stats.binom.cdf(successes, trials, upper) - 0.025) < 1e-6


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_proportions_of_nothing_are_refused(successes, trials):
    with pytest.raises(ValueError, match=f"got {successes} of {trials}"):
        stats.proportion(successes, trials)


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


@pytest.mark.parametrize("units", [7, 60])
def test_within_group_correlation_is_that_of_residuals(units):
    first, second, groups = grouped(units, seed=0, slope=-0.5)
    found = stats.within_group_correlation(first, second, groups, seed=0)
    assert found.estimate == pytest.approx(correlation_of_residuals(first, second, groups))
    named = np.array([f"cell {group}" for group in groups])
    assert stats.within_group_correlation(first, second, named, seed=0) == found
    assert found.n == units and holds(found, found.estimate)


def test_interval_within_groups_is_that_of_a_slow_loop():
    first, second, groups = grouped(40, seed=1, slope=0.5)
    rng = np.random.default_rng(2)
    index = rng.integers(40, size=(2_000, 40))
    slow = [correlation_of_residuals(first[i], second[i], groups[i]) for i in index]
    found = stats.within_group_correlation(first, second, groups, seed=0)
    np.testing.assert_allclose(found.interval, np.quantile(slow, [0.025, 0.975]), atol=0.03)  # of 2,000 resamples


def test_correlation_within_groups_needs_a_group_and_finite_pairs():
    with pytest.raises(ValueError, match="at least two units"):
        stats.within_group_correlation([1.0, 2.0], [1.0, 2.0], [0, 1], seed=0)
    with pytest.raises(ValueError, match="same units"):
        stats.within_group_correlation([1.0, 2.0], [1.0], [0, 0], seed=0)
    with pytest.raises(ValueError, match="finite"):
        stats.within_group_correlation([1.0, np.nan], [1.0, 2.0], [0, 0], seed=0)
