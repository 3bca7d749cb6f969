"""Intervals hold the truth as often as they say: simulated, for every statistic in use and few units.

`pytest -s` prints the share of samples whose interval holds the truth. Positive control: the rule before this one, a
percentile bootstrap from 10 units on, fails where it must.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from repro.stats import estimate as stats
from repro.stats import power_law, sequential

SAMPLES, RESAMPLES = 2_000, 1_000
UNITS, LOOKS = (8, 10, 16, 32), (16, 32, 64, 128)
SIZES = 2.0 ** np.arange(8, 12)
SPREAD = 0.2  # of the logarithm of an error between seeds; 0.1 to 0.3 were seen
BETA, GAIN, RATIO, SHARE, CORRELATION = 0.6, 0.2, 2.0, 0.86, -0.3


def coverage(lower, upper, truth):
    return float(np.mean((lower <= truth) & (truth <= upper)))


def in_band(share):
    """Whether a share of the samples lies in the 99.9 % binomial band of 95 %."""
    lowest, highest = binom.interval(0.999, SAMPLES, 0.95)
    return lowest <= round(share * SAMPLES) <= highest


# --- samples: arrays of shape (units, samples, ...) ---


def normal(rng, units):
    return [rng.normal(1.0, SPREAD, (units, SAMPLES))]


def errors(rng, units):
    return [rng.lognormal(-(SPREAD**2) / 2, SPREAD, (units, SAMPLES))]


def curves(rng, units):
    """Errors of two learners on the same data draws, some of which are harder than others at all sizes."""
    draw = rng.normal(0, SPREAD / 2, (units, SAMPLES, 1))

    def learner(exponent, factor):
        noise = rng.normal(-(SPREAD**2) / 2, SPREAD * np.sqrt(3 / 4), (units, SAMPLES, len(SIZES)))
        return factor * (SIZES / SIZES[0]) ** -exponent * np.exp(draw + noise)

    return [learner(BETA, 0.1), learner(BETA - GAIN, 0.1 * RATIO)]


def pair(rng, units):
    return [errors[:, :, 0] for errors in curves(rng, units)]


def clusters(rng, units):
    """Shares among 6 to 12 nets a cluster, whose probabilities spread by 0.1."""
    nets, size = rng.integers(6, 13, (units, SAMPLES)), SHARE * (1 - SHARE) / 0.1**2 - 1
    return [rng.binomial(nets, rng.beta(SHARE * size, (1 - SHARE) * size, nets.shape)) / nets]


def two_groups(rng, units):
    """Two correlated variables in two groups with other means."""
    group = np.arange(units)[:, None] % 2
    first, noise = rng.normal(size=(2, units, SAMPLES))
    return [first + 3 * group, CORRELATION * first + np.sqrt(1 - CORRELATION**2) * noise - 2 * group]


# --- statistics ---


class Case(NamedTuple):
    draw: Callable
    estimate: Callable
    truth: float
    of_means: Callable | None = None  # the statistic of the means over units, for the control


def exponent(errors):
    centred = np.log(SIZES) - np.log(SIZES).mean()
    return -np.log(errors) @ centred / (centred @ centred)


CASES = {
    "mean": Case(normal, stats.mean, 1.0, lambda x: x),
    "mean of errors": Case(errors, lambda x: stats.mean(x, stats.LOGARITHM), 1.0, lambda x: x),
    "geometric mean": Case(errors, stats.geometric_mean, np.exp(-(SPREAD**2) / 2)),
    "log-slope": Case(curves, lambda one, _: power_law.log_slope(SIZES, one), -BETA),
    "exponent": Case(
        curves, lambda one, _: power_law.power_law_exponent(SIZES, one), BETA, lambda one, _: exponent(one)
    ),
    "difference of exponents": Case(
        curves, lambda *two: power_law.exponent_difference(SIZES, *two), GAIN,
        lambda one, two: exponent(one) - exponent(two),
    ),
    "ratio of means": Case(pair, lambda one, two: stats.ratio_of_means(two, one), RATIO, lambda one, two: two / one),
    "share over clusters": Case(clusters, stats.share_over_clusters, SHARE, lambda x: x),
    "correlation in groups": Case(
        two_groups,
        lambda one, two: stats.within_group_correlation(one, two, np.arange(len(one)) % 2),
        CORRELATION,
    ),
}  # fmt: skip


def generator(name, units):
    return np.random.default_rng([units, list(CASES).index(name)])


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("name", CASES)
def test_interval_holds_the_truth_in_95_per_cent(name, units):
    case = CASES[name]
    found = case.estimate(*case.draw(generator(name, units), units))
    share = coverage(found.lower, found.upper, case.truth)
    print(f"\n{name:24s} {units:3d} units {share:7.1%}", end="")
    assert in_band(share)


def percentile(case, samples, rng):
    """Ends of the percentile bootstrap over units."""
    units = len(samples[0])
    weights = rng.multinomial(units, np.full(units, 1 / units), size=RESAMPLES) / units
    return np.quantile(case.of_means(*(np.tensordot(weights, x, 1) for x in samples)), [0.025, 0.975], axis=0)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.of_means])
def test_control_percentile_bootstrap_of_10_units_does_not(name):
    rng, case = generator(name, 10), CASES[name]
    share = coverage(*percentile(case, case.draw(rng, 10), rng), case.truth)
    print(f"\n{name:24s}  10 units {share:7.1%} by percentile bootstrap", end="")
    assert not in_band(share) and share < 0.93


# --- looks ---


@pytest.mark.parametrize("name", ["mean", "log-slope"])
def test_repeated_intervals_hold_the_truth_at_all_looks_in_95_per_cent(name):
    case, rng = CASES[name], np.random.default_rng(0)
    samples = case.draw(rng, LOOKS[-1])
    always = np.ones(SAMPLES, bool)
    for units in LOOKS:
        part = slice(units)
        for some in np.split(np.arange(SAMPLES), 8):  # a part of the samples in memory at once
            found = sequential.repeated_interval(case.estimate(*(x[part, some] for x in samples)), LOOKS)
            always[some] &= (found.lower <= case.truth) & (case.truth <= found.upper)
    print(f"\n{name:24s} at all looks {always.mean():7.1%}", end="")
    assert in_band(always.mean())


def test_control_percentile_bootstrap_at_the_same_looks_does_not():
    case, rng = CASES["mean"], np.random.default_rng(0)
    [values] = case.draw(rng, LOOKS[-1])
    always = np.ones(SAMPLES, bool)
    for units in LOOKS:
        lower, upper = percentile(case, [values[:units]], rng)
        always &= (lower <= case.truth) & (case.truth <= upper)
    print(f"\nmean                     at all looks {always.mean():7.1%} by percentile bootstrap", end="")
    assert 0.78 < always.mean() < 0.86  # 82 % by 40,000 samples of its limit, ± 1.96 standard deviations
