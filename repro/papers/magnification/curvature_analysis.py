"""Printed against true curvature, and curvature near a boundary: rows to numbers and tables.

Rows come from `papers.magnification.curvature`, and those of trained nets from `papers.magnification.boundary`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from repro.geometry import infinite_width
from repro.papers.magnification.boundary_analysis import BOUNDARY, MIRRORED, TRAINED, first_and_last, near_far, setting
from repro.papers.magnification.planar import square
from repro.papers.magnification.symmetry_analysis import shown_name
from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]

PARTS = {  # of the claim, and what is computed for it
    "Eq. 4, any net": "Eq. 4",
    "B.16, three units": "B.16",
    "Eq. 7 and C.28, erf": "Eq. 7",
    "C.46, monomial": "C.46",
    "B.70, three units": "B.70",
}
ABSENT = "B.69, three units"
SMALLEST = 1e-3  # of the largest true scalar of a net: below, a ratio is rounding
TRUE, PRINTED = "true", "as printed"
QUANTILES = ("low", "median", "high")  # 5, 50 and 95 %


def ratios(rows: pd.DataFrame, by: str = "formula") -> pd.DataFrame:
    """Printed over true by group and net, where the true scalar is not small: the group, net, true, ratio."""
    keys = [by, *(["net"] if "net" in rows else [])]
    largest = rows.groupby(keys)["true"].transform(lambda true: true.abs().max())
    kept = rows[rows["true"].abs() > SMALLEST * largest]
    return kept[[*keys, "true"]].assign(ratio=kept["printed"] / kept["true"]).reset_index(drop=True)


def printed_over_true(rows: pd.DataFrame, formula: str) -> stats.Finding:
    """Median over points of printed over true, with the whole range as its interval."""
    ratio = ratios(rows[rows["formula"] == formula])["ratio"].to_numpy(float)
    ends = float(ratio.min()), float(ratio.max())
    return stats.Finding(stats.Estimate(float(np.median(ratio)), *ends, len(ratio), "median, and whole range"))


def not_at_hand() -> stats.Finding:
    """What stands for B.69, whose formula cannot be computed here."""
    nothing = stats.Estimate(np.nan, np.nan, np.nan, 0, "none")
    return stats.Finding(nothing, {}, "the printed formula is not at hand")


def both_sides(rows: pd.DataFrame, lengths: Sequence[float]) -> pd.DataFrame:
    """Ricci scalar against |x|: activation, formula, net, length, mean, lower, upper, draws.

    `formula` is "true" or "as printed"; `net` a width, or the limit (without an interval, 0 draws).
    """
    tables = []
    for (activation, width), part in rows.groupby(["activation", "width"], sort=False):
        name = shown_name(str(activation))
        for formula, column in ((TRUE, "true"), (PRINTED, "printed")):
            found = stats.mean(np.array(part[column].tolist()))
            fixed = {"activation": name, "formula": formula, "length": lengths}
            tables.append(found.frame("draws", **fixed, net=f"n = {width}"))
            limit = _limit(str(activation), lengths) * (1 if formula == TRUE else 3)
            curve = {"mean": limit, "lower": np.nan, "upper": np.nan, "draws": 0}
            tables.append(pd.DataFrame({**fixed, "net": "infinite width", **curve}))
    return pd.concat(tables, ignore_index=True)


def _limit(activation: str, lengths: Sequence[float]) -> Array:
    points = torch.tensor([[length, 0.0] for length in lengths], dtype=torch.float64)
    return np.asarray(infinite_width.ricci_scalar(points, activation).numpy())


def at_boundary(chosen: pd.DataFrame) -> stats.Finding:
    """Log of |R| near over far of trained nets, less that of the mirror images; the numbers behind it as factors."""
    untrained, trained = (near_far(part, "curvature") for part in first_and_last(chosen).values())
    gain = trained[BOUNDARY] - trained[MIRRORED]
    values = {
        "trained": np.exp(trained[BOUNDARY].mean()),
        "mirrored": np.exp(trained[MIRRORED].mean()),
        "untrained": np.exp(untrained[BOUNDARY].mean()),
        "untrained_mirrored": np.exp(untrained[MIRRORED].mean()),
        "wins": (gain > 0).mean(),
        "ratio": np.exp(gain.mean()),
    }
    return stats.Finding(stats.mean(gain), values)


def near_and_far(rows: pd.DataFrame, widths: Iterable[int]) -> pd.DataFrame:
    """|R| near over far, a row per net: width, state, about, net, ratio (a factor)."""
    tables = [
        pd.DataFrame({"width": width, "state": state, "about": about, "net": part["net"], "ratio": np.exp(values)})
        for width in widths
        for state, part in first_and_last(setting(rows, width=width)).items()
        for about, values in near_far(part, "curvature").items()
    ]
    return pd.concat(tables, ignore_index=True)


def distributions(rows: pd.DataFrame, widths: Iterable[int]) -> pd.DataFrame:
    """Quantiles of R over the square, a row per net: width, state, net, low, median, high."""
    tables = []
    for width in widths:
        for state, part in first_and_last(setting(rows, width=width)).items():
            quantiles = np.array(part["curvature_quantiles"].tolist(), dtype=np.float64)
            columns = dict(zip(QUANTILES, quantiles.T, strict=True))
            tables.append(pd.DataFrame({"width": width, "state": state, "net": part["net"].to_numpy(), **columns}))
    return pd.concat(tables, ignore_index=True)


def negative(rows: pd.DataFrame, width: int) -> float:
    """Share of trained nets whose median R over the square is negative."""
    table = distributions(rows, [width])
    return float((table.loc[table["state"] == TRAINED, "median"] < 0).mean())


def maps(rows: pd.DataFrame, widths: Iterable[int]) -> pd.DataFrame:
    """R of net 0 before and after training, a row per point: panel, x1, x2, ricci, margin."""
    tables = []
    for width in widths:
        for state, part in first_and_last(setting(rows, width=width)).items():
            row = part[part["net"] == 0].iloc[0]
            points = square(round(np.sqrt(len(row["curvature_map"]))), 1.5)
            values = {"ricci": row["curvature_map"], "margin": row["margin_map"]}
            panel = f"width {width}, {state}"
            tables.append(pd.DataFrame({"panel": panel, "x1": points[:, 0], "x2": points[:, 1], **values}))
    return pd.concat(tables, ignore_index=True)
