"""How fast the average geometry moves: rows of `papers.gih.invariance` to numbers and tables."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]


def mean_speed(rows: pd.DataFrame, column: str = "speed") -> Array:
    """Mean over the intervals of training, one value a draw."""
    return rows.groupby("draw")[column].mean().to_numpy(float)


def memorisation(rows: pd.DataFrame) -> Array:
    """Mean training accuracy over the looks after the start, less chance, one value a draw."""
    return mean_speed(rows, "train") - 0.5


def speed_ratio(aligned: pd.DataFrame, other: pd.DataFrame) -> stats.Finding:
    """Speed on aligned data over that on other data, geometric mean over draws; more beside it."""
    values = {
        "corrected": float(mean_speed(aligned, "corrected").mean() / mean_speed(other, "corrected").mean()),
        "memorisation_aligned": float(memorisation(aligned).mean()),
        "memorisation_other": float(memorisation(other).mean()),
        "final_aligned": float(aligned["train"][aligned["share"] == 1].mean()),
        "final_other": float(other["train"][other["share"] == 1].mean()),
        "response": float(other["response"].mean()),
    }
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
    """Judged ratios: setting, mean, lower, upper, draws, corrected."""
    tables = [
        estimate.frame("draws", setting=setting, corrected=values["corrected"])
        for setting, (estimate, values, _) in findings.items()
    ]
    return pd.concat(tables, ignore_index=True)
