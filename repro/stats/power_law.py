"""Exponents of power laws from curves over sizes, each with its interval over units (see `repro.stats.estimate`)."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from repro.stats.estimate import LOGARITHM, Array, Estimate, estimate, positive, ratio, smallest


class LocalExponents(NamedTuple):
    """Exponents between neighbouring sizes."""

    size: Array  # (sizes - 1,) geometric mean of the two sizes
    exponent: Estimate  # (..., sizes - 1)


def log_slope(sizes: npt.ArrayLike, values: npt.ArrayLike) -> Estimate:
    """Least-squares slope of log(value) on log(size) over all units, for value ~ size^slope.

    Takes and raises what `power_law_exponent` does; since every unit has every size, this is the slope of the
    geometric means.
    """
    size, value = _curves(sizes, values)
    return estimate(lambda logs: _slope(size, logs.mean(axis=0)), np.log(value))


def power_law_exponent(sizes: npt.ArrayLike, values: npt.ArrayLike) -> Estimate:
    """Exponent β of value ~ size^−β: minus the least-squares slope of log(mean over units) on log(size).

    Args:
        sizes: (sizes,), positive and increasing, at least two.
        values: (units, ..., sizes), positive: a curve for each unit, or several, each with its own exponent. A
            measured error of 0 has no logarithm: drop that size for all units, or measure on more points.

    Raises:
        ValueError: for shapes that do not match, NaN, infinity, values that are not positive, or sizes that
            are not positive and increasing.

    Example:
        >>> round(power_law_exponent([1, 4, 16], [[2.0, 1.0, 0.5], [4.0, 2.0, 1.0]]).value, 12)
        0.5
    """
    size, value = _curves(sizes, values)
    return estimate(lambda v: _exponent(size, v), value)


def exponent_difference(sizes: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> Estimate:
    """Difference β_first − β_second of two exponents measured on the same units, as (units, ..., sizes) each.

    Shared noise (the same data draw in both) cancels, since a unit is left out of both. Raises as
    `power_law_exponent`, and ValueError when the two have different shapes.
    """
    size, one, two = _curves(sizes, first, second)
    return estimate(lambda a, b: _exponent(size, a) - _exponent(size, b), one, two)


def local_exponents(sizes: npt.ArrayLike, values: npt.ArrayLike) -> LocalExponents:
    """Exponent between each pair of neighbouring sizes, to see whether a power law has set in.

    Takes and raises what `power_law_exponent` does; returns sizes − 1 exponents, each at the geometric mean
    of its pair.
    """
    size, value = _curves(sizes, values)
    exponent = estimate(lambda v: -np.diff(np.log(v.mean(axis=0))) / np.diff(np.log(size)), value)
    return LocalExponents(np.sqrt(size[:-1] * size[1:]), exponent)


def smallest_ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Estimate:
    """The smallest over columns of `repro.stats.estimate.ratio_of_means`, with the interval of `smallest`.

    Args:
        numerator: (units, columns), positive.
        denominator: (units, columns), positive, the same units.

    Raises:
        ValueError: for shapes that differ or are not two-dimensional, NaN, infinity, or values that are not
            positive.
    """
    a, b = positive("numerator", numerator), positive("denominator", denominator)
    if a.ndim != 2 or a.shape != b.shape or a.size == 0:
        raise ValueError(f"expected two arrays of shape (units, columns), got {a.shape} and {b.shape}")
    return smallest(ratio, a, b, scale=LOGARITHM)


def _exponent(size: Array, values: Array) -> Array:
    """Exponent of the mean curve: (units, ..., sizes) → (...)."""
    return -_slope(size, np.log(values.mean(axis=0)))


def _slope(size: Array, logs: Array) -> Array:
    """Least-squares slope of logarithms on those of the sizes: (..., sizes) → (...)."""
    x = np.log(size) - np.log(size).mean()
    return np.asarray((x * logs).sum(axis=-1) / (x * x).sum())


def _curves(sizes: npt.ArrayLike, *values: npt.ArrayLike) -> tuple[Array, ...]:
    """Sizes and the curves over them, checked."""
    size = positive("sizes", sizes)
    if size.ndim != 1 or len(size) < 2 or (np.diff(size) <= 0).any():
        raise ValueError(f"expected at least two increasing sizes, got {size.tolist()}")
    curves = [positive("values", value) for value in values]
    for curve in curves:
        if curve.ndim < 2 or curve.shape[-1] != len(size) or curve.shape != curves[0].shape:
            raise ValueError(f"expected values of equal shape (units, ..., {len(size)}), got {curve.shape}")
    return size, *curves
