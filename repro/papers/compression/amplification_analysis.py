"""From the rows of `papers.compression.amplification` to the tables that figures and claims use (arXiv 2007.11471)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.data.synthetic import STRIPE
from repro.stats import estimate as stats
from repro.stats.power_law import log_slope

LARGEST_SHIFT = 1.2
"""Factor between Λ at the end with steps of one tolerance and of twice it, beyond which a plateau is not judged."""

SATURATION = math.sqrt(2 / math.pi) * (math.exp(-(STRIPE[0] ** 2) / 2) - math.exp(-(STRIPE[1] ** 2) / 2))
"""Λ_∞/√p = √(2/π) |exp(−x²_min/2) − exp(−x²_max/2)| = 0.3676 of the released code."""


def table_by_seed(rows: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    """One row per seed, one column per value of `column`. ValueError when a seed lacks one."""
    table = rows.pivot(index="seed", columns=column, values=value)
    if table.empty or table.isna().to_numpy().any():
        raise ValueError(f"not every seed has {value} at every {column}")
    return table


def growth(rows: pd.DataFrame, fit_from: int) -> pd.DataFrame:
    """Λ at t* by definition, dimension and p: geometric mean with interval, Λ_∞, and the fitted slope with its own.

    Args:
        rows: of `amplification_cell`.
        fit_from: smallest p of the fit.
    """
    tables = []
    for definition in sorted(rows["definition"].unique()):
        for dimension in sorted(rows["dimension"].unique()):
            table = _by_size(rows, definition, dimension)
            sizes = table.columns.to_numpy(np.int64)
            fitted = sizes >= fit_from
            slope = log_slope(sizes[fitted], table.to_numpy()[:, fitted])
            axis = {"definition": definition, "dimension": dimension, "train_size": sizes}
            line = stats.geometric_mean(table).frame(**axis)
            line = line.assign(slope=slope.value, slope_lower=slope.lower, slope_upper=slope.upper)
            tables.append(line.assign(saturation=SATURATION * np.sqrt(sizes)))
    return pd.concat(tables, ignore_index=True)


CROSSOVER = {
    "amplification_A": "Λ at t*",
    "amplification_final": "Λ at the end",
    "test_error": "test error",
}


def crossover(rows: pd.DataFrame) -> pd.DataFrame:
    """Λ at t* and at the end, and the test error, against α, each a geometric mean with its interval."""
    tables = []
    for column, quantity in CROSSOVER.items():
        table = table_by_seed(rows, "output_scale", column)
        axis = {"quantity": quantity, "output_scale": table.columns.to_numpy(float)}
        tables.append(stats.geometric_mean(table).frame(**axis))
    return pd.concat(tables, ignore_index=True)


def stages(rows: pd.DataFrame, progress: Sequence[float]) -> pd.DataFrame:
    """Λ, loss, share of satisfied points and test error against s/t*, by size, with intervals over seeds.

    Each net is read at its own s = progress · t*, between its rows linearly (Λ: its logarithm), and after its end,
    where nothing moves any more, as it was there. Λ is a geometric mean.

    Args:
        rows: of `stages_cell`; where there are several tolerances, the finest is read.
        progress: s/t* of the table.
    """
    tables = []
    finest = rows[rows["tolerance"] == rows["tolerance"].min()]
    for size, chosen in finest.groupby("train_size"):
        runs = [run for _, run in chosen.groupby("seed")]
        for column in ("amplification_A", "loss", "satisfied", "test_error"):
            logarithmic = column == "amplification_A"
            read = [_read(run, column, progress, _t_star(run), logarithmic) for run in runs]
            average = stats.geometric_mean if logarithmic else stats.mean
            axis = {"train_size": size, "quantity": column, "progress": np.asarray(progress)}
            tables.append(average(np.array(read)).frame(**axis))
    return pd.concat(tables, ignore_index=True)


def stage_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """By size, tolerance of the steps and seed: Λ_A(t*)/Λ_A(0) (growth) and Λ_A(end)/Λ_A(t*) (plateau)."""
    found = []
    for (size, tolerance, seed), run in rows.groupby(["train_size", "tolerance", "seed"]):
        amplification = run["amplification_A"]
        at_t_star = amplification[run["stage"] == "explicit"].iloc[-1]
        ratios = {"growth": at_t_star / amplification.iloc[0], "plateau": amplification.iloc[-1] / at_t_star}
        found.append({"train_size": size, "tolerance": tolerance, "seed": seed, **ratios})
    return pd.DataFrame(found)


def one_neuron_growth(rows: pd.DataFrame, progress: Sequence[float]) -> pd.DataFrame:
    """Λ_A against s/t* by size and source: geometric mean over seeds with its interval."""
    tables = []
    for (size, source), chosen in rows.groupby(["train_size", "source"]):
        runs = [run for _, run in chosen.groupby("seed")]
        read = [_read(run, "amplification_A", progress, run["t_star"].iloc[0], True) for run in runs]
        axis = {"train_size": size, "source": source, "progress": np.asarray(progress)}
        tables.append(stats.geometric_mean(np.array(read)).frame(**axis))
    return pd.concat(tables, ignore_index=True)


def nuisances(
    rows: pd.DataFrame, reference: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Λ at t* and test error of variants over those of the reference on the same seeds, as geometric means.

    Args:
        rows: of `learning_curve_cell`, for the reference and every variant.
        reference: the columns that tell the reference's rows.
        variants: name → the columns in which it differs from the reference.
    """
    quantities = {"amplification_A": "Λ at t*", "test_error": "test error"}
    base = _matching(rows, reference)
    tables = []
    for name, change in variants.items():
        variant = _matching(rows, {**reference, **change})
        if list(variant.index) != list(base.index):
            raise ValueError(f"the variant {name} has seeds {list(variant.index)}, the reference {list(base.index)}")
        for column, quantity in quantities.items():
            tables.append(stats.geometric_mean(variant[column] / base[column]).frame(variant=name, quantity=quantity))
    return pd.concat(tables, ignore_index=True)


def relative_cost(config: Mapping[str, Any]) -> float:
    """Rough relative time of a cell: nets to t* cost p, those trained to the end more, and more so at large p."""
    return float(config["train_size"] ** 1.3 * config["width"] / config.get("tolerance", 1.0))


def _matching(rows: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    chosen = np.all([rows[name] == value for name, value in columns.items()], axis=0)
    return rows[chosen].drop_duplicates("seed").set_index("seed").sort_index()


def _t_star(run: pd.DataFrame) -> float:
    return float(run.loc[run["stage"] == "explicit", "time"].iloc[-1])


def _read(
    run: pd.DataFrame, column: str, progress: Sequence[float], t_star: float, logarithmic: bool
) -> npt.NDArray[np.float64]:
    values = run[column].to_numpy(float)
    times = run["time"].to_numpy(float) / t_star
    if logarithmic:
        return np.asarray(np.exp(np.interp(progress, times, np.log(values))))
    return np.asarray(np.interp(progress, times, values))


def check_sizes(train_sizes: Sequence[int], fit_from: int, judged_size: int) -> None:
    """Refuse, before anything is trained, sizes that repeat or decrease, leave nothing to fit or nothing to judge."""
    if list(train_sizes) != sorted(set(train_sizes)):
        raise ValueError(f"train_sizes must increase, got {list(train_sizes)}")
    if sum(size >= fit_from for size in train_sizes) < 2:
        raise ValueError(f"a fit needs two train_sizes from fit_from = {fit_from} on, got {list(train_sizes)}")
    if judged_size not in train_sizes:
        raise ValueError(f"scale_size = {judged_size} is not one of train_sizes {list(train_sizes)}")


def amplification(rows: pd.DataFrame, dimension: int, train_size: int) -> stats.Finding:
    """Λ_A at t* at one size: geometric mean over seeds."""
    return stats.Finding(stats.geometric_mean(_by_size(rows, "A", dimension)[train_size]))


def prefactor(rows: pd.DataFrame, dimension: int) -> stats.Finding:
    """Λ_B(t*)/√p at the largest size, which the released formula predicts: geometric mean over seeds."""
    table = _by_size(rows, "B", dimension)
    largest = table.columns.max()
    return stats.Finding(stats.geometric_mean(table[largest] / np.sqrt(largest)))


def exponent(rows: pd.DataFrame, dimension: int, fit_from: int) -> stats.Finding:
    """Slope of log Λ_A(t*) on log p from `fit_from` on, with that over all sizes."""
    table = _by_size(rows, "A", dimension)
    fitted = table.loc[:, fit_from:]
    whole = log_slope(table.columns, table)
    return stats.Finding(log_slope(fitted.columns, fitted), {"whole_range": whole.value})


def lazy_amplification(rows: pd.DataFrame) -> stats.Finding:
    """Λ_A at the end of training at the largest α: geometric mean over seeds; takes rows of `learning_curve_cell`."""
    lazy = rows[rows["output_scale"] == rows["output_scale"].max()]
    return stats.Finding(stats.geometric_mean(lazy["amplification_final"].astype(float)))


def stage_ratio(rows: pd.DataFrame, train_size: int, stage: str) -> stats.Finding:
    """Growth or plateau ("growth", "plateau") of `stage_ratios` at one size: geometric mean over seeds.

    It is read at the finest steps, and withheld where it moves by more than a factor of 1.2 from the next coarser ones.
    """
    ratios = stage_ratios(rows[rows["train_size"] == train_size])
    fine, coarse, *_ = (chosen.set_index("seed")[stage] for _, chosen in ratios.groupby("tolerance"))
    shift = stats.geometric_mean(fine / coarse).value
    moved = not 1 / LARGEST_SHIFT <= shift <= LARGEST_SHIFT
    withheld = f"with steps twice as long it is {1 / shift:.2f} times as large" if moved else ""
    return stats.Finding(stats.geometric_mean(fine), {"over_coarser_steps": shift}, withheld)


def _by_size(rows: pd.DataFrame, definition: str, dimension: int) -> pd.DataFrame:
    chosen = rows[(rows["definition"] == definition) & (rows["dimension"] == dimension)]
    return table_by_seed(chosen, "train_size", "amplification")
