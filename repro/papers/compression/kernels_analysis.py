"""Tangent kernels before and after training (arXiv 2007.11471): numbers and tables out of the rows of their cells.

Rows come from `papers.compression.kernels.kernel_cell` (of one dimension where a function does not group by it) or
`papers.compression.images.image_cell`: one number a row, named by quantity, subject and rank.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.stats import estimate as stats

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


def change(rows: pd.DataFrame, quantity: str, seed: int) -> stats.Estimate:
    """Final minus initial kernel, averaged over sizes within a seed."""
    before, after = (table(rows, quantity, subject).to_numpy().mean(1) for subject in KERNELS)
    return stats.estimate(lambda difference: difference.mean(axis=0), after - before, seed=seed)


def average(rows: pd.DataFrame, quantity: str, subject: str) -> float:
    """Mean over seeds and sizes."""
    return float(table(rows, quantity, subject).to_numpy().mean())


def error_ratio(rows: pd.DataFrame, numerator: str, denominator: str, seed: int) -> stats.Estimate:
    """Test error of one learner over another's: ratio of means over seeds, geometric mean over sizes."""
    one, two = (table(rows, "test_error", subject).to_numpy() for subject in (numerator, denominator))
    log = stats.estimate(
        lambda a, b: (np.log(a.mean(axis=0)) - np.log(b.mean(axis=0))).mean(axis=-1), one, two, seed=seed
    )
    low, high = np.exp(log.interval)
    return stats.Estimate(float(np.exp(log.estimate)), (float(low), float(high)), log.n)


def share_of_runs(rows: pd.DataFrame, numerator: str, denominator: str, at_most: float) -> float:
    """Share of single nets whose ratio of test errors is at most that."""
    one, two = (table(rows, "test_error", subject).to_numpy() for subject in (numerator, denominator))
    return float((one <= at_most * two).mean())


def exponent_gain(rows: pd.DataFrame, seed: int) -> stats.Estimate:
    """β of the net minus β of the initial NTK, both having learned the training points."""
    net, lazy = (table(rows, "test_error", subject) for subject in ("net", "lazy"))
    sizes = net.columns.to_numpy(np.int64)
    return stats.exponent_difference(sizes, net.to_numpy(), lazy.to_numpy(), seed=seed)


def learning_curves(rows: pd.DataFrame, learners: Sequence[str], seed: int) -> pd.DataFrame:
    """Mean test error of each learner with its interval: learner, train_size, mean, lower, upper, seeds."""
    tables = []
    for learner in learners:
        found = table(rows, "test_error", learner)
        tables.append(_intervals(found.columns, found.to_numpy(), "train_size", seed).assign(learner=learner))
    return pd.concat(tables, ignore_index=True)


def against_net(rows: pd.DataFrame, learners: Sequence[str], seed: int) -> pd.DataFrame:
    """How many times the net's error each learner makes, over all sizes: learner, ratio, lower, upper, seeds."""
    ratios = [(learner, error_ratio(rows, learner, "net", seed)) for learner in learners]
    columns = ["learner", "ratio", "lower", "upper", "seeds"]
    return pd.DataFrame([[name, found.estimate, *found.interval, found.n] for name, found in ratios], columns=columns)


def single_ratios(rows: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Ratio of test errors of each pair of learners, net by net: numerator, denominator, train_size, seed, ratio."""
    tables = []
    for numerator, denominator in pairs:
        ratio = table(rows, "test_error", numerator) / table(rows, "test_error", denominator)
        long = ratio.reset_index().melt("seed", var_name="train_size", value_name="ratio")
        tables.append(long.assign(numerator=numerator, denominator=denominator))
    return pd.concat(tables, ignore_index=True)


def before_and_after(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Information, share and alignment of both kernels and of their baselines against size, with intervals."""
    tables = []
    for quantity in QUANTITIES:
        for subject in (*KERNELS, *map(PERMUTED.format, KERNELS)):
            found = table(rows, quantity, subject)
            intervals = _intervals(found.columns, found.to_numpy(), "train_size", seed)
            tables.append(intervals.assign(quantity=quantity, subject=subject))
    return pd.concat(tables, ignore_index=True)


def spectra(rows: pd.DataFrame, train_size: int, seed: int) -> pd.DataFrame:
    """Information of each leading eigenvector and share of |y|² on the first ones together, at one size."""
    tables = []
    for quantity in ("information", "share"):
        for subject in (*KERNELS, *map(PERMUTED.format, KERNELS)):
            chosen = rows[
                (rows["quantity"] == quantity) & (rows["subject"] == subject) & (rows["train_size"] == train_size)
            ]
            found = chosen.pivot(index="seed", columns="rank", values="value")
            values = found.to_numpy() if quantity == "information" else found.to_numpy().cumsum(1)
            tables.append(_intervals(found.columns, values, "rank", seed).assign(quantity=quantity, subject=subject))
    return pd.concat(tables, ignore_index=True)


def by_dimension(rows: pd.DataFrame, analyse: Callable[..., pd.DataFrame], *options: Any) -> pd.DataFrame:
    """The table of each dimension below one another, with a column that names it."""
    tables = [analyse(part, *options).assign(dimension=d) for d, part in rows.groupby("dimension")]
    return pd.concat(tables, ignore_index=True)


def _intervals(positions: pd.Index, values: npt.NDArray[np.float64], name: str, seed: int) -> pd.DataFrame:
    mean = stats.mean_interval(values, seed=seed)
    columns = {name: positions, "mean": mean.estimate, "lower": mean.lower, "upper": mean.upper, "seeds": mean.n}
    return pd.DataFrame(columns)
