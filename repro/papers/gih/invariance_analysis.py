"""How fast the average geometry moves: rows of `papers.gih.invariance` to numbers and tables."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]


def mean_speed(rows: pd.DataFrame) -> Array:
    """Mean over the intervals of training, one value a draw."""
    return rows.groupby("draw")["speed"].mean().to_numpy(float)


def memorisation(rows: pd.DataFrame) -> Array:
    """Mean training accuracy over the looks after the start, less chance, one value a draw."""
    return rows.groupby("draw")["train"].mean().to_numpy(float) - 0.5


def speed_ratio(aligned: pd.DataFrame, other: pd.DataFrame) -> stats.Finding:
    """Speed on aligned data over that on other data, geometric mean over draws; more beside it.

    Among the latter is corrected, the ratio from products of different nets only, where both speeds are positive.
    """
    values = {
        "memorisation_aligned": float(memorisation(aligned).mean()),
        "memorisation_other": float(memorisation(other).mean()),
        "final_aligned": float(aligned["train"][aligned["share"] == 1].mean()),
        "final_other": float(other["train"][other["share"] == 1].mean()),
        "response": float(other["response"].mean()),
    }
    first, second = (float(rows["corrected"].mean(skipna=False)) for rows in (aligned, other))
    if first > 0 and second > 0:
        values["corrected"] = first / second
    return stats.Finding(stats.geometric_mean(mean_speed(aligned) / mean_speed(other)), values)


def along(tables: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """Along training: setting, data, quantity (speed, train), share, mean, lower, upper, draws."""
    found = []
    for setting, arms in tables.items():
        for arm, rows in arms.items():
            for quantity, scale in (("speed", stats.LOGARITHM), ("train", stats.PLAIN)):
                table = rows.pivot(index="draw", columns="share", values=quantity)
                spread = stats.mean(table.to_numpy(float).clip(min=1e-12), scale)
                axes = {"setting": setting, "data": arm, "quantity": quantity, "share": table.columns.to_numpy(float)}
                found.append(spread.frame("draws", **axes))
    return pd.concat(found, ignore_index=True)


def ratios(findings: Mapping[str, stats.Finding]) -> pd.DataFrame:
    """Judged ratios: setting, mean, lower, upper, draws, corrected (missing where no speed is left)."""
    tables = [
        estimate.frame("draws", setting=setting, corrected=values.get("corrected", np.nan))
        for setting, (estimate, values, _) in findings.items()
    ]
    return pd.concat(tables, ignore_index=True)
