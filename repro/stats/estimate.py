"""Estimates with 95 % intervals over units of replication: means, ratios, shares, correlations, any smooth statistic.

A unit is one independent repetition, usually a seed: row i of every array belongs to unit i, so arrays given
together are paired and are left out together. Nested data (segments of a seed) are averaged within the unit first.

The rule, declared with the claims' criteria before any run, is one at every number of units n:

- Student t on the n jackknife pseudo-values n θ − (n − 1) θ₋ᵢ (Tukey), centred on θ itself. For a mean these are the
  data, so this is the ordinary t interval. It is formed on the scale where the statistic is nearest to normal
  (logarithms of ratios and of skewed positive quantities, Fisher's z of correlations, arcsines of roots of shares) and
  mapped back;
- the exact binomial for shares of independent units;
- 1 unit: no spread can be seen, the interval is (nan, nan) and no verdict can follow from it.

The jackknife needs a smooth statistic. Medians, choices and clusters are not: their callers say what they do instead.
Sources: R. G. Miller, The jackknife – a review, Biometrika 61 (1974); C. J. Clopper and E. S. Pearson, Biometrika 26
(1934). How often the intervals hold the truth is measured in tests/stats/test_coverage.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special
from scipy.stats import binomtest

CONFIDENCE = 0.95
_CHUNK = 500  # left-out units held in memory at once

Array = npt.NDArray[np.float64]
Function = Callable[[Any], Any]
Statistic = Callable[..., Any]


class Scale(NamedTuple):
    """Where the pseudo-values of a statistic are formed: an increasing function and its inverse."""

    name: str
    forward: Function
    backward: Function


def _as_it_is(value: Any) -> Any:
    return value


PLAIN = Scale("", _as_it_is, _as_it_is)
LOGARITHM = Scale("logarithms", np.log, np.exp)
FISHER_Z = Scale("Fisher z", np.arctanh, np.tanh)
ARCSINE = Scale(
    "arcsines of roots",
    lambda share: np.arcsin(np.sqrt(np.clip(share, 0.0, 1.0))),
    lambda angle: np.sin(np.clip(angle, 0.0, np.pi / 2)) ** 2,
)


class Jackknife(NamedTuple):
    """A statistic and its standard error on the scale of its pseudo-values."""

    centre: Array  # (...)
    standard_error: Array  # (...), NaN for one unit or where the statistic is undefined without some unit
    backward: Function  # monotone, from that scale to the one of the estimate


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval: numbers, or arrays of one shape with an interval for each value.

    Intervals of several values are pointwise, not simultaneous.
    """

    value: float | Array
    lower: float | Array  # NaN, like `upper`, where no interval can be formed
    upper: float | Array
    n: int  # units
    method: str  # how the interval was made
    jackknife: Jackknife | None = field(default=None, repr=False, compare=False)

    @property
    def interval(self) -> tuple[Any, Any]:
        """Both ends."""
        return self.lower, self.upper

    def map(self, function: Function) -> "Estimate":
        """A monotone function of the value and of both ends, which are swapped where it decreases.

        Example:
            >>> mean([1.0, 2.0, 3.0]).map(np.negative).value
            -2.0
        """
        ends = function(self.lower), function(self.upper)
        scaled = self.jackknife
        if scaled is not None:
            backward = scaled.backward
            scaled = scaled._replace(backward=lambda x: function(backward(x)))
        return _estimate(function(self.value), ends, self.n, self.method, scaled)

    def with_critical_value(self, critical: float, method: str) -> "Estimate":
        """The same value with the interval of `critical` standard errors to each side on the jackknife's scale.

        Raises:
            ValueError: for an interval that was not made by the jackknife.
        """
        if self.jackknife is None:
            raise ValueError(f"expected an estimate with a jackknife standard error, got {self.method!r}")
        return _estimate(self.value, _ends(self.jackknife, critical), self.n, method, self.jackknife)

    def frame(self, units: str = "seeds", /, **axes: Any) -> pd.DataFrame:
        """Columns of `axes` beside mean, lower, upper and the number of units, whose column is called `units`.

        Example:
            >>> mean([[1.0, 5.0], [3.0, 5.0]]).frame("nets", size=[10, 20])[["size", "mean", "nets"]]
               size  mean  nets
            0    10   2.0     2
            1    20   5.0     2
        """
        found = {"mean": self.value, "lower": self.lower, "upper": self.upper}
        return pd.DataFrame({**axes, **{name: np.atleast_1d(column) for name, column in found.items()}, units: self.n})


class Finding(NamedTuple):
    """An estimate to be judged, further numbers that belong to it, and why it must not be judged, if so."""

    estimate: Estimate
    values: Mapping[str, Any] = {}  # numbers by name
    withheld: str = ""


def estimate(statistic: Statistic, *samples: npt.ArrayLike, scale: Scale = PLAIN) -> Estimate:
    """Estimate a statistic of paired samples, with the jackknife t interval over units.

    The statistic is called once as it is, and with many samples that lack one unit at once: a sample of shape
    (units, ...) arrives as (units − 1, left out, ...). It must reduce axis 0 and count every other axis from the end.

    Args:
        statistic: `statistic(*samples)`, e.g. `lambda a, b: (a - b).mean(axis=0)`, of one value or several.
        *samples: arrays of shape (units, ...), the same units in the same order in each.
        scale: of the pseudo-values.

    Returns:
        The estimate. Its interval is (nan, nan) for one unit, or where the statistic is not finite without some unit.

    Raises:
        ValueError: for no sample, no unit, unequal numbers of units, NaN or infinity, or a statistic that does not
            reduce axis 0 alone.

    Example:
        >>> found = estimate(lambda x: x.mean(axis=0), [0.1, 0.2, 0.3])
        >>> found.n, round(found.lower, 3), round(found.upper, 3), found.method
        (3, -0.048, 0.448, 'jackknife t')
    """
    arrays = _paired(samples)
    value = np.asarray(statistic(*arrays), dtype=np.float64)
    return from_left_out(value, _left_out(statistic, arrays, value.shape), scale)


def from_left_out(value: npt.ArrayLike, left_out: npt.ArrayLike, scale: Scale = PLAIN, factor: float = 1.0) -> Estimate:
    """The jackknife t interval of a statistic whose values without each unit are at hand.

    Args:
        value: (...) of all units.
        left_out: (units, ...) without each of them; not used for one unit.
        scale: of the pseudo-values.
        factor: of the standard error, where leaving out a unit moves the statistic by more than the unit's weight.

    Example:
        >>> from_left_out(2.0, [2.5, 2.0, 1.5]) == mean([1.0, 2.0, 3.0])
        True
    """
    n = len(np.asarray(left_out))
    with np.errstate(invalid="ignore", divide="ignore"):  # an undefined statistic stays undefined
        centre, without = (np.asarray(scale.forward(np.asarray(x, np.float64))) for x in (value, left_out))
    error = np.full(centre.shape, np.nan)
    if n > 1:  # pseudo-values spread n − 1 times as much as the values without one unit
        defined = np.isfinite(without).all(axis=0)
        error[defined] = factor * (n - 1) * without[:, defined].std(axis=0, ddof=1) / np.sqrt(n)
    scaled = Jackknife(centre, error, scale.backward)
    method = f"jackknife t of {scale.name}" if scale.name else "jackknife t"
    return _estimate(value, _ends(scaled, student_t(n)), n, method, scaled)


def student_t(n: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided critical value of Student t for the mean of n units; NaN for one."""
    return float(special.stdtrit(n - 1, (1 + confidence) / 2)) if n > 1 else np.nan


def smallest(statistic: Statistic, *samples: npt.ArrayLike, scale: Scale = PLAIN) -> Estimate:
    """Estimate the smallest value of a statistic with several values, as `estimate` takes it.

    The minimum itself is not smooth where values nearly tie: without a unit it lies below the true one, and so does
    the whole interval. Instead the lower end is the smallest of the 95 % lower ends (the true minimum is one of the
    values), and the upper end the smallest of the upper ends at 1 − 0.05 / values (all of them must hold at once).
    Together they hold the true minimum in at least 95 % of cases, if the single intervals keep their level.

    Raises:
        ValueError: as `estimate`, and for a statistic without a row of values.
    """
    single = estimate(statistic, *samples, scale=scale)
    value = np.asarray(single.value)
    if value.ndim != 1 or not value.size:
        raise ValueError(f"expected a statistic with values in one row, got shape {value.shape}")
    critical = student_t(single.n, confidence=1 - (1 - CONFIDENCE) / value.size)
    joint = single.with_critical_value(critical, single.method)
    ends = np.min(single.lower), np.min(joint.upper)
    return _estimate(value.min(), ends, single.n, f"{single.method}, smallest of {value.size}")


def mean(values: npt.ArrayLike, scale: Scale = PLAIN) -> Estimate:
    """Average over units, column by column: (units, ...) → estimates of shape (...).

    The scale is that of the pseudo-values: of positive skewed values, say errors, the logarithm of the average is
    nearer to normal than the average.
    """
    return estimate(lambda x: x.mean(axis=0), values, scale=scale)


def geometric_mean(values: npt.ArrayLike) -> Estimate:
    """Geometric mean over units, column by column: (units, ...) positive → estimates of shape (...).

    Formed in logarithms, so that a value and its inverse are treated alike and both ends stay positive.
    """
    return estimate(lambda logs: np.exp(logs.mean(axis=0)), np.log(positive("values", values)), scale=LOGARITHM)


def ratio_of_means(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Estimate:
    """Ratio of two means over the same units, column by column: (units, ...) positive each → estimates of shape (...).

    Formed in logarithms, as `geometric_mean`.

    Raises:
        ValueError: for unequal shapes, NaN, infinity, or values that are not positive.
    """
    pair = positive("numerator", numerator), positive("denominator", denominator)
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"expected two arrays of equal shape, got {pair[0].shape} and {pair[1].shape}")
    return estimate(ratio, *pair, scale=LOGARITHM)


def ratio(numerator: Array, denominator: Array) -> Array:
    """The statistic of `ratio_of_means`: (units, ...) each → (...)."""
    return np.asarray(np.exp(np.log(numerator.mean(axis=0)) - np.log(denominator.mean(axis=0))))


def proportion(successes: int, trials: int) -> Estimate:
    """Share of successes among independent trials, with the exact binomial (Clopper–Pearson) interval.

    Raises:
        ValueError: if not 0 <= successes <= trials, or trials < 1.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials and a trial, got {successes} of {trials}")
    found = binomtest(int(successes), int(trials)).proportion_ci(CONFIDENCE, "exact")
    return Estimate(successes / trials, float(found.low), float(found.high), int(trials), "exact binomial")


def share_over_clusters(shares: npt.ArrayLike) -> Estimate:
    """Mean over clusters of the share within each: (clusters, ...) from 0 to 1 → estimates of shape (...).

    For shares of units that are not independent, as nets of one data draw; the clusters are. Pseudo-values are of
    arcsin √share, which steadies the spread. Where every cluster has the share 1 (or every one 0) they do not spread,
    yet nothing is certain: the interval is then the exact binomial one of the clusters, since a mean share is at least
    the probability of a share of 1. The standard error is NaN there.

    Raises:
        ValueError: as `estimate`, and for shares outside 0 to 1.
    """
    share = np.asarray(shares, dtype=np.float64)
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError("expected shares from 0 to 1")
    found = mean(share, ARCSINE)
    none, every = (share == 0).all(axis=0), (share == 1).all(axis=0)
    if found.jackknife is None or found.n == 1 or not (none | every).any():
        return found
    reach = 1 - ((1 - CONFIDENCE) / 2) ** (1 / found.n)
    ends = np.where(every, 1 - reach, found.lower), np.where(none, reach, found.upper)
    error = np.where(none | every, np.nan, found.jackknife.standard_error)
    return _estimate(found.value, ends, found.n, found.method, found.jackknife._replace(standard_error=error))


def within_group_correlation(first: npt.ArrayLike, second: npt.ArrayLike, groups: npt.ArrayLike) -> Estimate:
    """Correlation of what is left of two variables after each group's mean is taken off.

    This is the partial correlation given one intercept per group. Pseudo-values are of Fisher's z = arctanh(r). A unit
    that is left out moves the mean of its group, which spreads them too far, by units / (units − 1) in a group; the
    standard error takes that off as if groups had one size.

    Args:
        first: (units, ...).
        second: of the same shape.
        groups: (units,), names or numbers.

    Raises:
        ValueError: for unequal lengths, NaN or infinity, or fewer than two units in every group.
    """
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(codes) and np.bincount(codes).max() < 2:
        raise ValueError("expected a group with at least two units")
    one, two, code = _paired((first, second, codes))
    arrays = [one, two, np.broadcast_to(code.reshape(-1, *[1] * (one.ndim - 1)), one.shape)]
    left_out = _left_out(_within_group_correlation, arrays, one.shape[1:])
    factor = np.sqrt((len(codes) - codes.max() - 1) / (len(codes) - 1))
    return from_left_out(_within_group_correlation(*arrays), left_out, FISHER_Z, factor)


def _within_group_correlation(first: Array, second: Array, codes: Array) -> Array:
    """As above: (units, ...) → (...)."""
    replicate = np.arange(int(np.prod(first.shape[1:]))).reshape(first.shape[1:])
    group = (codes.astype(np.int64) * replicate.size + replicate).ravel()  # own groups in each replicate
    count = np.bincount(group)

    def centred(values: Array) -> Array:
        means = np.bincount(group, values.ravel()) / np.maximum(count, 1)
        return np.asarray(values - means[group].reshape(values.shape))

    x, y = centred(first), centred(second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((x * y).sum(axis=0) / np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0)))


def positive(name: str, values: npt.ArrayLike) -> Array:
    """Values as floats; ValueError, with the name, where one is not a positive number."""
    array = np.asarray(values, dtype=np.float64)
    bad = array[~(np.isfinite(array) & (array > 0))]
    if bad.size:
        raise ValueError(f"expected finite, positive {name}, got {bad[0]} ({bad.size} such)")
    return array


def _estimate(
    value: npt.ArrayLike, ends: tuple[Any, Any], n: int, method: str, jackknife: Jackknife | None = None
) -> Estimate:
    """An estimate with its ends in order, of Python's floats where there is one value."""
    lower, upper = np.minimum(*ends), np.maximum(*ends)
    return Estimate(_number(value), _number(lower), _number(upper), n, method, jackknife)


def _number(value: npt.ArrayLike) -> float | Array:
    array = np.asarray(value, np.float64)
    return array if array.ndim else float(array)


def _ends(scaled: Jackknife, critical: float) -> tuple[Any, Any]:
    half = critical * scaled.standard_error
    return scaled.backward(scaled.centre - half), scaled.backward(scaled.centre + half)


def _left_out(statistic: Statistic, arrays: list[Array], shape: tuple[int, ...]) -> Array:
    """The statistic without each unit: (units, ...)."""
    n = len(arrays[0])
    if n == 1:
        return np.full((1, *shape), np.nan)
    kept = np.arange(n - 1)[:, None]
    parts = []
    for chunk in np.split(np.arange(n), range(_CHUNK, n, _CHUNK)):
        index = kept + (kept >= chunk)  # (n − 1, chunk): the units but the one of each column
        parts.append(np.asarray(statistic(*(array[index] for array in arrays)), dtype=np.float64))
        if parts[-1].shape != (len(chunk), *shape):
            raise ValueError(
                f"expected a statistic that reduces axis 0 alone, to {(len(chunk), *shape)}, got {parts[-1].shape}"
            )
    return np.concatenate(parts)


def _paired(samples: tuple[npt.ArrayLike, ...]) -> list[Array]:
    """Samples as float arrays with finite entries and equally many rows."""
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    if not arrays or any(array.ndim == 0 for array in arrays):
        raise ValueError("expected at least one array of shape (units, ...)")
    units = {len(array) for array in arrays}
    if len(units) > 1 or 0 in units:
        raise ValueError(f"expected samples with the same units, at least one, got {sorted(units)} units")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("expected finite samples: leave failed units out, and count them")
    return arrays
