"""Boundaries of declared looks: the published table, and intervals only at looks that were declared."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from repro.stats import sequential
from repro.stats.estimate import geometric_mean, mean, proportion

LOOKS = (16, 32, 64, 128)


def test_boundaries_are_those_of_lan_and_demets_table():
    # Four equal looks, two-sided 5 %, spending 4 − 4 Φ(z_{α/4} / √t).
    found = sequential.boundaries([25, 50, 75, 100], sequential.obrien_fleming)
    assert found.round(3).tolist() == [4.333, 2.963, 2.359, 2.014]


def test_linear_boundaries_and_their_t_form_at_the_declared_looks():
    assert sequential.boundaries(LOOKS).round(3).tolist() == [2.734, 2.663, 2.422, 2.146]
    critical = sequential.critical_values(LOOKS)
    assert critical.round(2).tolist() == [3.18, 2.85, 2.49, 2.17]
    tails = scipy_stats.t.sf(critical, np.array(LOOKS) - 1)
    np.testing.assert_allclose(tails, scipy_stats.norm.sf(sequential.boundaries(LOOKS)))


def test_one_look_is_no_sequence():
    assert sequential.boundaries([20]) == pytest.approx([scipy_stats.norm.ppf(0.975)])
    values = np.random.default_rng(0).normal(size=20)
    assert sequential.repeated_interval(mean(values), [20]).interval == pytest.approx(mean(values).interval)


@pytest.mark.parametrize("spending", [sequential.linear, sequential.obrien_fleming])
def test_each_look_spends_its_share_of_the_error(spending):
    looks = np.array([10, 15, 40, 41])
    edges = sequential.boundaries(looks, spending)
    steps = np.random.default_rng(0).normal(size=(400_000, 4)) * np.sqrt(np.diff([0, *looks]))
    crossed = np.abs(steps.cumsum(axis=1) / np.sqrt(looks)) > edges
    spent = np.maximum.accumulate(crossed, axis=1).mean(axis=0)
    np.testing.assert_allclose(spent, [spending(share) for share in looks / 41], atol=0.0015)  # four standard errors


def test_repeated_interval_is_so_many_jackknife_standard_errors_at_its_look():
    values = np.random.default_rng(0).lognormal(size=32)
    found = sequential.repeated_interval(geometric_mean(values), LOOKS)
    logs = np.log(values)
    half = sequential.critical_values(LOOKS)[1] * scipy_stats.sem(logs)
    assert found.interval == pytest.approx((np.exp(logs.mean() - half), np.exp(logs.mean() + half)))
    assert found.value == geometric_mean(values).value and found.n == 32
    assert found.method == "repeated jackknife t of logarithms, look 2 of 4"


def test_looks_that_were_not_declared_are_refused():
    with pytest.raises(ValueError, match=r"declared looks \[16, 32, 64, 128\], got 20 units"):
        sequential.repeated_interval(mean(np.arange(20.0)), LOOKS)
    with pytest.raises(ValueError, match="jackknife standard error, got 'exact binomial'"):
        sequential.repeated_interval(proportion(3, 16), LOOKS)


@pytest.mark.parametrize("looks", [[], [16, 16], [32, 16], [1, 2], [[16, 32]]])
def test_looks_that_do_not_increase_are_refused(looks):
    with pytest.raises(ValueError, match="looks that increase from at least 2 units"):
        sequential.boundaries(looks)


@pytest.mark.parametrize("spending", [lambda share: 0.04 * share, lambda share: 0.05, lambda share: 0.05 * (2 - share)])
def test_spending_that_does_not_increase_to_the_error_is_refused(spending):
    with pytest.raises(ValueError, match=r"increases to 0\.05"):
        sequential.boundaries(LOOKS, spending)
