"""Learning curves of the stripe (arXiv 2007.11471): exponents, their theory, and the tables that the figures draw."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.stats import estimate as stats
from repro.stats import power_law

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


def exponent_gain(feature: Curve, lazy: Curve) -> stats.Estimate:
    """β_Feature − β_Lazy over the same seeds and sizes."""
    return power_law.exponent_difference(feature.sizes, feature.errors, lazy.errors)


def learning_curves(rows: pd.DataFrame, fit_from: int, informative: int = 1) -> pd.DataFrame:
    """Mean test error with its interval, and the theory's slope drawn through the middle of the fitted range.

    One row per regime, dimension and size: mean, lower, upper, seeds, theory (NaN below `fit_from`).
    """
    tables = []
    for dimension in _dimensions(rows):
        for regime in REGIMES:
            found = curve(rows, regime, dimension)
            mean = stats.mean(found.errors, stats.LOGARITHM)
            exponent = theory_exponent(regime, dimension, informative)
            fitted = found.sizes >= fit_from
            # Only the slope is predicted: the line passes through the mean point of the fitted logarithms.
            level = np.exp(np.mean(np.log(np.asarray(mean.value)[fitted]) + exponent * np.log(found.sizes[fitted])))
            theory = np.where(fitted, level * found.sizes.astype(float) ** -exponent, np.nan)
            axes = {"dimension": dimension, "regime": regime, "train_size": found.sizes}
            tables.append(mean.frame(**axes).assign(theory=theory))
    return pd.concat(tables, ignore_index=True)


def local_exponents(rows: pd.DataFrame, informative: int = 1) -> pd.DataFrame:
    """Exponent between neighbouring sizes with its interval, beside the asymptote that the theory predicts."""
    tables = []
    for dimension in _dimensions(rows):
        for regime in REGIMES:
            local = power_law.local_exponents(*curve(rows, regime, dimension))
            table = local.exponent.frame(dimension=dimension, regime=regime, train_size=local.size)
            tables.append(table.assign(theory=theory_exponent(regime, dimension, informative)))
    return pd.concat(tables, ignore_index=True)


def error_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Ratio of mean errors, lazy over feature, at every size with its interval."""
    tables = []
    for dimension in _dimensions(rows):
        feature, lazy = (curve(rows, regime, dimension) for regime in REGIMES)
        ratio = stats.ratio_of_means(lazy.errors, feature.errors)
        tables.append(ratio.frame(dimension=dimension, regime="lazy / feature", train_size=feature.sizes))
    return pd.concat(tables, ignore_index=True)


def _dimensions(rows: pd.DataFrame) -> list[int]:
    return sorted(int(dimension) for dimension in rows["dimension"].unique())


def exponent(rows: pd.DataFrame, regime: Regime, dimension: int, fit_from: int) -> stats.Finding:
    """β of one regime over p >= fit_from, with the exponents over all sizes and between the two largest.

    Withheld where nets had not reached every margin (a kernel machine has its margins).
    """
    found = curve(rows, regime, dimension)
    values = {
        "whole_range": power_law.power_law_exponent(*found).value,
        "top_local": np.asarray(power_law.local_exponents(*found).exponent.value)[-1],
    }
    fitted = power_law.power_law_exponent(*found.from_size(fit_from))
    return stats.Finding(fitted, values, unfinished(rows, dimension) if regime == "feature" else "")


def exponent_difference(rows: pd.DataFrame, dimension: int, fit_from: int) -> stats.Finding:
    """β_Feature − β_Lazy over p >= fit_from, with that over all sizes; withheld as in `exponent`."""
    feature, lazy = (curve(rows, regime, dimension) for regime in REGIMES)
    whole = exponent_gain(feature, lazy)
    values = {"whole_range": whole.value, "whole_range_lower": whole.lower}
    fitted = exponent_gain(feature.from_size(fit_from), lazy.from_size(fit_from))
    return stats.Finding(fitted, values, unfinished(rows, dimension))


def smallest_error_ratio(rows: pd.DataFrame, dimension: int) -> stats.Finding:
    """Smallest ratio over p of mean errors, lazy over feature, with that at the smallest p and from 512 on."""
    feature, lazy = (curve(rows, regime, dimension) for regime in REGIMES)
    ratios = np.asarray(stats.ratio_of_means(lazy.errors, feature.errors).value)
    values = {
        "ratio_at_smallest": ratios[0],
        "smallest_ratio_from_512": min(ratios[feature.sizes >= 512], default=np.nan),
    }
    smallest = power_law.smallest_ratio(lazy.errors, feature.errors)
    return stats.Finding(smallest, values, unfinished(rows, dimension))


def unfinished(rows: pd.DataFrame, dimension: int) -> str:
    """Why nothing can be judged in a dimension: how many nets had not reached every margin; nothing where all had."""
    chosen = rows[(rows["dimension"] == dimension) & (rows["regime"] == "feature")]
    nets = int((~chosen["converged"].astype(bool)).sum())
    return f"{nets} nets did not reach every margin" if nets else ""


def same_error_of_wider(rows: pd.DataFrame, width: int, check_width: int) -> pd.DataFrame:
    """Mean test error and compression of nets of two widths on the same data and seeds, a line each."""
    nets = rows[rows["regime"] == "feature"]
    wide, narrow = (nets[nets["width"] == h] for h in (check_width, width))
    narrow = narrow.merge(wide[["dimension", "train_size", "seed"]])
    means = {h: part[["test_error", "amplification_A"]].mean() for h, part in ((width, narrow), (check_width, wide))}
    return pd.DataFrame(means).T.rename_axis("h").assign(nets=len(wide)).round(4)
