"""How random nets tend to their limit: rows of `papers.magnification.symmetry` to numbers and tables."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from repro.geometry import infinite_width
from repro.stats import estimate as stats
from repro.stats.power_law import log_slope

Array = npt.NDArray[np.float64]

NAMES = {"erf": "erf", "monomial2": "quadratic", "sigmoid": "sigmoid"}  # activation functions, as the claims name them
INFINITE, PRINTED = "infinite width", "infinite width, as printed"
FACTOR = 3  # printed over true Ricci scalar: notebooks/magnification_curvature.ipynb


def shown_name(activation: str) -> str:
    """The name of an activation function in the claims and figures."""
    return NAMES.get(activation, activation)


def by_width(rows: pd.DataFrame, activation: str, column: str = "metric_error") -> tuple[Array, Array]:
    """Widths, increasing, and the values of a column (draws, widths) of one activation function."""
    table = rows[rows["activation"] == activation].pivot(index="draw", columns="width", values=column)
    return table.columns.to_numpy(float), table.to_numpy(float)


def slope(rows: pd.DataFrame, activation: str) -> stats.Finding:
    """Log-log slope of the metric's error on the width, draw by draw; errors at width 1 000 and of R beside it."""
    widths, errors = by_width(rows, activation)
    values = {"error_1000": errors[:, widths == 1000].mean()} if 1000 in widths else {}
    curvature = by_width(rows, activation, "curvature_error")[1][:, -1]
    if np.isfinite(curvature).any():
        values["curvature_error"] = np.nanmean(curvature)
    spread_widths, spreads = by_width(rows, activation, "angular_spread")
    values["angular_slope"] = log_slope(spread_widths, spreads).value
    return stats.Finding(log_slope(widths, errors), values)


def largest_width(rows: pd.DataFrame, activation: str) -> stats.Finding:
    """Mean error of the metric at the largest width; the angular spread there beside it."""
    spread = by_width(rows, activation, "angular_spread")[1][:, -1]
    return stats.Finding(
        stats.mean(by_width(rows, activation)[1][:, -1], stats.LOGARITHM), {"angular_spread": spread.mean()}
    )


def convergence(rows: pd.DataFrame) -> pd.DataFrame:
    """Against the width: quantity (metric_error, angular_spread), activation, width, mean, lower, upper, draws."""
    tables = []
    for quantity in ("metric_error", "angular_spread"):
        for activation in rows["activation"].unique():
            widths, values = by_width(rows, activation, quantity)
            found = stats.mean(values, stats.LOGARITHM)
            tables.append(found.frame("draws", quantity=quantity, activation=shown_name(str(activation)), width=widths))
    return pd.concat(tables, ignore_index=True)


def depths(rows: pd.DataFrame) -> pd.DataFrame:
    """Error of the metric of deep nets: depth, width, mean, lower, upper, draws."""
    tables = []
    for depth, part in rows.groupby("depth"):
        table = part.pivot(index="draw", columns="width", values="metric_error")
        found = stats.mean(table.to_numpy(float), stats.LOGARITHM)
        tables.append(found.frame("draws", depth=depth, width=table.columns.to_numpy(float)))
    return pd.concat(tables, ignore_index=True)


def profiles(rows: pd.DataFrame, lengths: Sequence[float]) -> pd.DataFrame:
    """Volume and Ricci scalar against |x|: quantity, activation, net, length, mean, lower, upper, draws.

    `net` is a width, or the limit, whose mean is the curve and whose interval is empty (NaN, 0 draws); of the Ricci
    scalar the limit stands twice, true and as printed.
    """
    tables = []
    for (activation, width), part in rows.groupby(["activation", "width"], sort=False):
        for quantity in ("volume", "ricci"):
            found = stats.mean(np.array(part[quantity].tolist()))
            name = shown_name(str(activation))
            tables.append(found.frame("draws", quantity=quantity, activation=name, net=f"n = {width}", length=lengths))
    for activation in rows["activation"].unique():
        name = shown_name(str(activation))
        tables += [
            _curve(quantity, name, net, lengths, values) for quantity, net, values in _limits(activation, lengths)
        ]
    return pd.concat(tables, ignore_index=True)


def _limits(activation: str, lengths: Sequence[float]) -> list[tuple[str, str, Array]]:
    points = torch.tensor([[length, 0.0] for length in lengths], dtype=torch.float64)
    volume = infinite_width.volume_element(points, activation).numpy()
    ricci = infinite_width.ricci_scalar(points, activation).numpy()
    return [("volume", INFINITE, volume), ("ricci", INFINITE, ricci), ("ricci", PRINTED, FACTOR * ricci)]


def _curve(quantity: str, activation: str, net: str, lengths: Sequence[float], values: Array) -> pd.DataFrame:
    fixed = {"quantity": quantity, "activation": activation, "net": net}
    return pd.DataFrame({**fixed, "length": lengths, "mean": values, "lower": np.nan, "upper": np.nan, "draws": 0})
