"""Exponents are recovered, whatever the units of measurement; smallest ratios; bad curves are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.stats import power_law as stats
from repro.stats.estimate import ratio_of_means

SIZES = 2.0 ** np.arange(7, 12)
BETA = 0.4


def power_law(units, seed, beta=BETA, spread=0.3):
    """Draw independent curves whose mean over many units is 0.7 size^−β: (units, sizes)."""
    noise = np.random.default_rng(seed).lognormal(-(spread**2) / 2, spread, (units, len(SIZES)))
    return 0.7 * SIZES**-beta * noise


def test_exact_power_law_has_exponent_without_spread():
    values = np.tile(3.0 * SIZES**-BETA, (12, 1))
    found = stats.power_law_exponent(SIZES, values)
    np.testing.assert_allclose([found.value, *found.interval], BETA, rtol=1e-12)
    assert found.n == 12


def test_exponent_is_the_slope_of_the_log_of_the_mean():
    values = power_law(20, seed=0, spread=1.0)
    slope = np.polyfit(np.log(SIZES), np.log(values.mean(axis=0)), 1)[0]
    assert stats.power_law_exponent(SIZES, values).value == pytest.approx(-slope, rel=1e-12)


def test_log_slope_is_the_regression_of_all_logarithms():
    sizes = np.array([1, 2, 4, 8])
    values = np.exp(np.random.default_rng(0).normal(size=(12, 4))) * sizes**0.5
    everything = np.polyfit(np.log(np.tile(sizes, 12)), np.log(values).ravel(), 1)[0]
    found = stats.log_slope(sizes, values)
    assert found.value == pytest.approx(everything) and found.lower < everything < found.upper


def test_exponent_difference_is_first_minus_second():
    first, second = power_law(16, seed=1, beta=0.7), power_law(16, seed=2, beta=0.4)
    found = stats.exponent_difference(SIZES, first, second)
    assert 0 < found.lower < 0.3 < found.upper


def test_pairing_tightens_a_difference_of_units_that_share_noise():
    shared = power_law(24, seed=0, beta=0.0)
    first, second = SIZES**-0.6 * shared, SIZES**-0.4 * shared * power_law(24, seed=1, beta=0.0, spread=0.02)

    def width(other):
        found = stats.exponent_difference(SIZES, first, other)
        return found.upper - found.lower

    assert 5 * width(second) < width(np.roll(second, 1, axis=0))


def test_local_exponents_see_a_bend():
    beta = np.array([0.2, 0.2, 0.6, 0.6])
    curve = np.exp(-np.cumsum(np.concatenate([[0.0], beta * np.log(2.0)])))
    size, exponent = stats.local_exponents(SIZES, np.tile(curve, (4, 1)))
    np.testing.assert_allclose(size, SIZES[:-1] * np.sqrt(2.0))
    np.testing.assert_allclose(exponent.value, beta)
    np.testing.assert_allclose(exponent.upper - exponent.lower, 0.0, atol=1e-12)


def test_several_curves_at_once_have_the_exponents_they_have_alone():
    curves = np.stack([power_law(8, seed) for seed in range(3)], axis=1)  # (units, 3, sizes)
    together = stats.power_law_exponent(SIZES, curves)
    for i, lower in enumerate(together.lower):
        assert stats.power_law_exponent(SIZES, curves[:, i]).lower == pytest.approx(lower)


@pytest.mark.parametrize("units", [6, 24])
def test_smallest_ratio_is_that_of_the_smallest_column(units):
    rng = np.random.default_rng(0)
    denominator = rng.lognormal(0.0, 0.1, (units, 3))
    numerator = denominator * [2.0, 1.5, 3.0] * rng.lognormal(0.0, 0.01, (units, 3))
    every, smallest = ratio_of_means(numerator, denominator), stats.smallest_ratio(numerator, denominator)
    assert smallest.value == every.value.min() and smallest.n == units
    assert smallest.lower == every.lower.min() < 1.5
    assert every.upper[1] < smallest.upper < 2.0


def test_one_unit_has_no_interval():
    found = stats.power_law_exponent(SIZES, power_law(1, seed=0))
    assert found.n == 1 and np.isfinite(found.value) and np.isnan(found.interval).all()
    assert np.isnan(stats.smallest_ratio([[2.0, 3.0]], [[1.0, 1.0]]).interval).all()


# --- properties ---

factors = st.floats(1e-6, 1e6)


@settings(deadline=None)  # a loaded machine is no failure
@given(value_factor=factors, size_factor=factors, units=st.integers(2, 14), seed=st.integers(0, 1000))
def test_exponent_ignores_the_units_of_measurement(value_factor, size_factor, units, seed):
    values = power_law(units, seed)
    before = stats.power_law_exponent(SIZES, values)
    after = stats.power_law_exponent(SIZES * size_factor, values * value_factor)
    np.testing.assert_allclose([after.value, *after.interval], [before.value, *before.interval], rtol=1e-8, atol=1e-10)


@settings(deadline=None)  # a loaded machine is no failure
@given(units=st.integers(2, 14), seed=st.integers(0, 1000))
def test_interval_holds_the_estimate_and_swapping_negates_the_difference(units, seed):
    first, second = power_law(units, seed), power_law(units, seed + 1)
    forth, back = stats.exponent_difference(SIZES, first, second), stats.exponent_difference(SIZES, second, first)
    assert forth.lower <= forth.value <= forth.upper
    np.testing.assert_allclose([-back.value, -back.upper, -back.lower], [forth.value, *forth.interval])


@settings(deadline=None)  # a loaded machine is no failure
@given(exponent=st.floats(-3.0, 3.0), units=st.integers(1, 4))
def test_any_exponent_is_recovered(exponent, units):
    values = np.tile(SIZES**-exponent, (units, 1))
    assert stats.power_law_exponent(SIZES, values).value == pytest.approx(exponent, abs=1e-12)


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
    for function in (stats.power_law_exponent, stats.local_exponents, stats.log_slope):
        with pytest.raises(ValueError, match=message):
            function(sizes, values)


def test_unpaired_curves_are_refused():
    with pytest.raises(ValueError, match="equal shape"):
        stats.exponent_difference(SIZES, GOOD, GOOD[:2])
    with pytest.raises(ValueError, match="units, columns"):
        stats.smallest_ratio(GOOD, GOOD[:2])
