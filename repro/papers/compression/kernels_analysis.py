"""Tangent kernels before and after training (arXiv 2007.11471): numbers and tables out of the rows of their cells.

Rows come from `papers.compression.kernels.kernel_cell` (of one dimension where a function does not group by it) or
`papers.compression.images.image_cell`: one number a row, named by quantity, subject and rank.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repro.stats import estimate as stats
from repro.stats.power_law import exponent_difference

PERMUTED = "{}, labels permuted"
KERNELS = ("initial", "final")
QUANTITIES = ("information", "share", "alignment")  # bits of φ₁; share of |y|² on the top ten; alignment


def relative_cost(config: Mapping[str, Any]) -> float:
    """Rough relative time of a cell, so that a sweep starts with the dearest."""
    return float(config["train_size"])


def table(rows: pd.DataFrame, quantity: str, subject: str) -> pd.DataFrame:
    """One quantity of one subject, seeds down and sizes across: φ₁'s information, the shares summed over the ranks.

    Raises ValueError when a seed lacks a size, since a comparison over different seeds would mix their noise.
    """
    chosen = rows[(rows["quantity"] == quantity) & (rows["subject"] == subject)]
    if quantity == "information":
        chosen = chosen[chosen["rank"] == 1]
    elif quantity == "share":
        chosen = chosen.groupby(["seed", "train_size"]).agg({"value": "sum"}).reset_index()
    found = chosen.pivot(index="seed", columns="train_size", values="value")
    if found.empty or found.isna().to_numpy().any():
        raise ValueError(f"{quantity} of {subject!r} is not there for every seed at every size")
    return found


def change(rows: pd.DataFrame, quantity: str) -> stats.Estimate:
    """Final minus initial kernel, averaged over sizes within a seed."""
    before, after = (table(rows, quantity, subject).to_numpy().mean(1) for subject in KERNELS)
    return stats.mean(after - before)


def average(rows: pd.DataFrame, quantity: str, subject: str) -> float:
    """Mean over seeds and sizes."""
    return float(table(rows, quantity, subject).to_numpy().mean())


def error_ratio(rows: pd.DataFrame, numerator: str, denominator: str) -> stats.Estimate:
    """Test error of one learner over another's: ratio of means over seeds, geometric mean over sizes."""
    one, two = (table(rows, "test_error", subject).to_numpy() for subject in (numerator, denominator))
    return stats.estimate(
        lambda a, b: np.exp((np.log(a.mean(axis=0)) - np.log(b.mean(axis=0))).mean(axis=-1)),
        one,
        two,
        scale=stats.LOGARITHM,
    )


def share_of_runs(rows: pd.DataFrame, numerator: str, denominator: str, at_most: float) -> float:
    """Share of single nets whose ratio of test errors is at most that."""
    one, two = (table(rows, "test_error", subject).to_numpy() for subject in (numerator, denominator))
    return float((one <= at_most * two).mean())


def exponent_gain(rows: pd.DataFrame) -> stats.Estimate:
    """β of the net minus β of the initial NTK, both having learned the training points."""
    net, lazy = (table(rows, "test_error", subject) for subject in ("net", "lazy"))
    sizes = net.columns.to_numpy(np.int64)
    return exponent_difference(sizes, net.to_numpy(), lazy.to_numpy())


def learning_curves(rows: pd.DataFrame, learners: Sequence[str]) -> pd.DataFrame:
    """Mean test error of each learner with its interval: learner, train_size, mean, lower, upper, seeds."""
    tables = []
    for learner in learners:
        found = table(rows, "test_error", learner)
        mean = stats.mean(found.to_numpy(), stats.LOGARITHM)
        tables.append(mean.frame(train_size=found.columns).assign(learner=learner))
    return pd.concat(tables, ignore_index=True)


def controls(rows: pd.DataFrame, learners: Sequence[str]) -> pd.DataFrame:
    """How many times the net's error each learner makes, over all sizes: learner, ratio, lower, upper, seeds."""
    tables = [error_ratio(rows, learner, "net").frame(learner=learner) for learner in learners]
    return pd.concat(tables, ignore_index=True).rename(columns={"mean": "ratio"})


def single_ratios(rows: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Ratio of test errors of each pair of learners, net by net: numerator, denominator, train_size, seed, ratio."""
    tables = []
    for numerator, denominator in pairs:
        ratio = table(rows, "test_error", numerator) / table(rows, "test_error", denominator)
        long = ratio.reset_index().melt("seed", var_name="train_size", value_name="ratio")
        tables.append(long.assign(numerator=numerator, denominator=denominator))
    return pd.concat(tables, ignore_index=True)


def before_and_after(rows: pd.DataFrame) -> pd.DataFrame:
    """Information, share and alignment of both kernels and of their baselines against size, with intervals."""
    tables = []
    for quantity in QUANTITIES:
        for subject in (*KERNELS, *map(PERMUTED.format, KERNELS)):
            found = table(rows, quantity, subject)
            table_of_means = stats.mean(found.to_numpy()).frame(train_size=found.columns)
            tables.append(table_of_means.assign(quantity=quantity, subject=subject))
    return pd.concat(tables, ignore_index=True)


def spectra(rows: pd.DataFrame, train_size: int) -> pd.DataFrame:
    """Information of each leading eigenvector and share of |y|² on the first ones together, at one size."""
    tables = []
    for quantity in ("information", "share"):
        for subject in (*KERNELS, *map(PERMUTED.format, KERNELS)):
            chosen = rows[
                (rows["quantity"] == quantity) & (rows["subject"] == subject) & (rows["train_size"] == train_size)
            ]
            found = chosen.pivot(index="seed", columns="rank", values="value")
            values = found.to_numpy() if quantity == "information" else found.to_numpy().cumsum(1)
            tables.append(stats.mean(values).frame(rank=found.columns).assign(quantity=quantity, subject=subject))
    return pd.concat(tables, ignore_index=True)


def by_dimension(rows: pd.DataFrame, analyse: Callable[..., pd.DataFrame], *options: Any) -> pd.DataFrame:
    """The table of each dimension below one another, with a column that names it."""
    tables = [analyse(part, *options).assign(dimension=d) for d, part in rows.groupby("dimension")]
    return pd.concat(tables, ignore_index=True)


def information_gain(rows: pd.DataFrame) -> stats.Finding:
    """Change of φ₁'s information by training, with its level before and after and that of permuted labels."""
    before, after = (average(rows, "information", kernel) for kernel in KERNELS)
    floor = average(rows, "information", PERMUTED.format("final"))
    return stats.Finding(change(rows, "information"), {"before": before, "after": after, "floor": floor})


def projection_gain(rows: pd.DataFrame) -> stats.Finding:
    """Change of the label's share on the top ten eigenvectors by training, with the ratio of alignments."""
    before, after = (average(rows, "alignment", kernel) for kernel in KERNELS)
    return stats.Finding(change(rows, "share"), {"alignment_ratio": after / before})


def frozen_kernels(rows: pd.DataFrame) -> stats.Finding:
    """Test error with the final NTK over that with the initial one, with how many nets have it below 0.6."""
    return stats.Finding(
        error_ratio(rows, "final", "initial"), {"share_below_0_6": share_of_runs(rows, "final", "initial", 0.6)}
    )


def stretched_kernel(rows: pd.DataFrame) -> stats.Finding:
    """Test error of the stretched analytic NTK over the net's, with that of the weaker stretch of the released code."""
    return stats.Finding(
        error_ratio(rows, "stretched", "net"), {"stretched_B": error_ratio(rows, "stretched_B", "net").value}
    )


def image_kernels(rows: pd.DataFrame) -> stats.Finding:
    """Test error with the final NTK over that with the initial one, with the net's over the initial NTK's."""
    values = {
        "net_over_lazy": error_ratio(rows, "net", "lazy").value,
        "share_below_1": share_of_runs(rows, "final", "initial", 1.0),
    }
    return stats.Finding(error_ratio(rows, "final", "initial"), values)
