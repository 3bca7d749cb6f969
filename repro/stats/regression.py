"""One regressor beside nuisance terms in a linear model: t, partial correlation, permutations, power.

By the theorem of Frisch, Waugh and Lovell the coefficient of a regressor is that of the residuals of outcome and
regressor after both are regressed on the other terms, so each model needs one orthonormal basis of those.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats as distributions

Array = npt.NDArray[np.float64]


class Fit(NamedTuple):
    """Test of one regressor in a linear model by ordinary least squares."""

    t: float
    p: float  # two-sided
    partial_correlation: float
    interval: tuple[float, float]  # 95 %, of the partial correlation, by Fisher's transformation
    degrees_of_freedom: int
    n: int


def dummies(table: pd.DataFrame, terms: Sequence[Sequence[str]]) -> Array:
    """Indicator columns of categorical terms, an intercept first: (rows, columns), possibly of deficient rank.

    Each term is a list of columns; several columns in one term give one indicator per combination.
    """
    columns = [np.ones((len(table), 1))]
    for term in terms:
        codes = table.groupby(list(term), sort=True).ngroup().to_numpy()
        columns.append((codes[:, None] == np.unique(codes)).astype(np.float64))
    return np.hstack(columns)


def fit_regressor(outcome: npt.ArrayLike, regressor: npt.ArrayLike, nuisance: Array) -> Fit:
    """Ordinary least squares of outcome on regressor and nuisance columns: the test of the regressor.

    Args:
        outcome: (n,).
        regressor: (n,).
        nuisance: (n, columns), with the intercept.

    Raises:
        ValueError: if nothing is left to estimate from, or outcome or regressor is explained by the nuisance terms.
    """
    basis = _basis(nuisance)
    n, freedom = len(basis), len(basis) - basis.shape[1] - 1
    if freedom < 2:
        raise ValueError(f"expected more rows than terms + 3, got {n} rows and {basis.shape[1]} terms")
    r = float(_partial_correlations(np.asarray(outcome, np.float64)[:, None], regressor, basis)[0])
    t = _t(r, freedom)
    half = distributions.norm.ppf(0.975) / np.sqrt(freedom - 1)
    low, high = np.tanh(np.arctanh(r) + np.array([-half, half]))
    p = 2 * float(distributions.t.sf(abs(t), freedom))
    return Fit(float(t), p, r, (float(low), float(high)), freedom, n)


def permuted_t(
    outcome: npt.ArrayLike,
    regressor: npt.ArrayLike,
    nuisance: Array,
    groups: npt.ArrayLike,
    permutations: int,
    generator: np.random.Generator,
) -> Array:
    """t of the regressor when the outcome is permuted within groups: (permutations,)."""
    values, group = np.asarray(outcome, np.float64), np.asarray(groups)
    shuffled = np.repeat(values[:, None], permutations, axis=1)
    for label in np.unique(group):
        rows = np.flatnonzero(group == label)
        shuffled[rows] = generator.permuted(shuffled[rows], axis=0)
    basis = _basis(nuisance)
    r = _partial_correlations(shuffled, regressor, basis)
    return np.asarray(_t(r, len(basis) - basis.shape[1] - 1))


def power(partial_correlation: float, n: int, nuisance_terms: int, level: float = 0.05) -> float:
    """Probability that the two-sided t test finds a partial correlation of that size among n rows.

    The statistic is taken as noncentral t, its noncentrality r √(n − terms) / √(1 − r²): what the terms leave of n.

    Args:
        partial_correlation: the effect r.
        n: rows.
        nuisance_terms: independent columns of the nuisance terms, the intercept among them.
        level: of the test.
    """
    freedom = n - nuisance_terms - 1
    shift = partial_correlation * np.sqrt((freedom + 1) / (1 - partial_correlation**2))
    critical = distributions.t.ppf(1 - level / 2, freedom)
    return float(distributions.nct.sf(critical, freedom, shift) + distributions.nct.cdf(-critical, freedom, shift))


def _basis(nuisance: Array) -> Array:
    """Orthonormal columns that span those of the nuisance terms, whatever their rank."""
    left, singular, _ = np.linalg.svd(nuisance, full_matrices=False)
    return np.asarray(left[:, singular > 1e-10 * singular[0]])


def _partial_correlations(outcomes: Array, regressor: npt.ArrayLike, basis: Array) -> Array:
    """Correlation of each column's residuals with those of the regressor: (n, columns) → (columns,)."""
    raw = np.column_stack([regressor, outcomes])
    left = raw - basis @ (basis.T @ raw)
    sizes = np.linalg.norm(left, axis=0)
    if not (sizes > 1e-10 * np.linalg.norm(raw, axis=0)).all():
        raise ValueError("outcome or regressor does not vary beyond the nuisance terms")
    left /= sizes
    return np.asarray(left[:, 1:].T @ left[:, 0])


def _t(r: float | Array, freedom: int) -> Array:
    return np.asarray(r * np.sqrt(freedom / (1 - np.square(r))))
