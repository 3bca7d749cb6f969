"""Learning curves of the stripe (arXiv 2007.11471): exponents, their theory, and the tables that the figures draw."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.stats import estimate as stats

Regime = Literal["feature", "lazy"]
REGIMES: tuple[Regime, Regime] = ("feature", "lazy")


def lazy_exponent(dimension: int) -> float:
    """Lazy learning-curve exponent d / (3d − 2) (abstract; from arXiv 2006.09754 with the cusp of the ReLU NTK)."""
    return dimension / (3 * dimension - 2)


def feature_exponent(dimension: int, informative: int = 1) -> float:
    """Feature-learning exponent (abstract): (2d − 1) / (3d − 2), or (d + d⊥/2) / (3d − 2) from d∥ = 2 on."""
    if informative == 1:
        return (2 * dimension - 1) / (3 * dimension - 2)
    return (dimension + (dimension - informative) / 2) / (3 * dimension - 2)


def theory_exponent(regime: Regime, dimension: int, informative: int = 1) -> float:
    """The asymptotic exponent of a regime; the lazy one does not depend on the informative directions."""
    return feature_exponent(dimension, informative) if regime == "feature" else lazy_exponent(dimension)


class Curve(NamedTuple):
    """Test errors of one regime in one dimension, the same seeds at every size."""

    sizes: npt.NDArray[np.int64]  # (sizes,) training points p, increasing
    errors: npt.NDArray[np.float64]  # (seeds, sizes)

    def from_size(self, smallest: int) -> "Curve":
        """The part of the curve with p >= smallest."""
        keep = self.sizes >= smallest
        return Curve(self.sizes[keep], self.errors[:, keep])


def curve(rows: pd.DataFrame, regime: Regime, dimension: int) -> Curve:
    """The learning curve in the rows of `learning_curve_cell`.

    Raises ValueError when a seed lacks a size, since an exponent over different seeds at different sizes would
    mix their noise.
    """
    chosen = rows[(rows["regime"] == regime) & (rows["dimension"] == dimension)]
    table = chosen.pivot(index="seed", columns="train_size", values="test_error")
    if table.empty or table.isna().to_numpy().any():
        raise ValueError(f"the {regime} curve at d = {dimension} does not have every seed at every size")
    return Curve(table.columns.to_numpy(np.int64), table.to_numpy(np.float64))


def check_sizes(train_sizes: Sequence[int], fit_from: int, check_size: int) -> None:
    """Refuse, before anything is trained, sizes from which no exponent can be fitted.

    Raises ValueError for sizes that repeat, fewer than two sizes from `fit_from` on, or a check size that is
    not among them.
    """
    if len(set(train_sizes)) < len(train_sizes):
        raise ValueError(f"train_sizes must differ, got {list(train_sizes)}")
    if sum(size >= fit_from for size in train_sizes) < 2:
        raise ValueError(f"a fit needs two train_sizes from fit_from = {fit_from} on, got {list(train_sizes)}")
    if check_size not in train_sizes:
        raise ValueError(f"check_size = {check_size} is not one of train_sizes {list(train_sizes)}")


def relative_cost(config: Mapping[str, Any]) -> float:
    """Rough relative time of a cell of `learning_curve_cell`, so that a sweep starts with the dearest."""
    if config["regime"] == "lazy":
        return 1e-3 * float(config["train_size"])
    return float(1e-5 * config["train_size"] ** 1.3 * config["width"])


def exponent_gain(feature: Curve, lazy: Curve, seed: int) -> stats.Estimate:
    """β_Feature − β_Lazy over the same seeds and sizes."""
    return stats.exponent_difference(feature.sizes, feature.errors, lazy.errors, seed=seed)


def learning_curves(rows: pd.DataFrame, fit_from: int, seed: int, informative: int = 1) -> pd.DataFrame:
    """Mean test error with its interval, and the theory's slope drawn through the middle of the fitted range.

    One row per regime, dimension and size: mean, lower, upper, seeds, theory (NaN below `fit_from`).
    """
    tables = []
    for dimension in _dimensions(rows):
        for regime in REGIMES:
            found = curve(rows, regime, dimension)
            mean = stats.mean_interval(found.errors, seed=seed)
            exponent = theory_exponent(regime, dimension, informative)
            fitted = found.sizes >= fit_from
            # Only the slope is predicted: the line passes through the mean point of the fitted logarithms.
            level = np.exp(np.mean(np.log(mean.estimate[fitted]) + exponent * np.log(found.sizes[fitted])))
            theory = np.where(fitted, level * found.sizes.astype(float) ** -exponent, np.nan)
            tables.append(_table(dimension, regime, found.sizes, mean).assign(theory=theory))
    return pd.concat(tables, ignore_index=True)


def local_exponents(rows: pd.DataFrame, seed: int, informative: int = 1) -> pd.DataFrame:
    """Exponent between neighbouring sizes with its interval, beside the asymptote that the theory predicts."""
    tables = []
    for dimension in _dimensions(rows):
        for regime in REGIMES:
            local = stats.local_exponents(*curve(rows, regime, dimension), seed=seed)
            table = _table(dimension, regime, local.size, local.exponent)
            tables.append(table.assign(theory=theory_exponent(regime, dimension, informative)))
    return pd.concat(tables, ignore_index=True)


def error_ratios(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Ratio of mean errors, lazy over feature, at every size with its interval."""
    tables = []
    for dimension in _dimensions(rows):
        feature, lazy = (curve(rows, regime, dimension) for regime in REGIMES)
        ratio = stats.smallest_ratio(lazy.errors, feature.errors, seed=seed).ratio
        tables.append(_table(dimension, "lazy / feature", feature.sizes, ratio))
    return pd.concat(tables, ignore_index=True)


def _dimensions(rows: pd.DataFrame) -> list[int]:
    return sorted(int(dimension) for dimension in rows["dimension"].unique())


def _table(dimension: int, regime: str, sizes: npt.NDArray[np.number], estimates: stats.Estimates) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dimension": dimension,
            "regime": regime,
            "train_size": sizes,
            "mean": estimates.estimate,
            "lower": estimates.lower,
            "upper": estimates.upper,
            "seeds": estimates.n,
        }
    )
