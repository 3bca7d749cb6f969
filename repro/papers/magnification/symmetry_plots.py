"""Figures of random nets and their limit of infinite width."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style
from repro.papers.magnification.symmetry_analysis import INFINITE, PRINTED

ACTIVATIONS = dict(zip(("erf", "quadratic", "sigmoid"), style.LOOKS, strict=False))
DEPTHS = dict(zip((1, 2, 3), style.LOOKS, strict=False))
REFERENCE: dict[str, Any] = {"color": "0.2", "linewidth": 0.9, "linestyle": (0, (1, 1)), "label": "slope −1/2"}
CRITERION: dict[str, Any] = {"color": "0.2", "linewidth": 0.9, "linestyle": (0, (6, 2))}
LIMITS: dict[str, dict[str, Any]] = {
    INFINITE: {"color": "black", "linewidth": 1.6, "linestyle": "-"},
    PRINTED: {"color": style.VERMILION, "linewidth": 1.6, "linestyle": "--"},
}
TITLES = {"volume": "the volume tends to its limit", "ricci": "a third of the printed curvature"}
SHADES = ("#86c5e8", "#4fa3d1", style.BLUE, "#015a90", "#01395c")  # from narrow to wide
DASHES = (":", (0, (3, 1, 1, 1)), "-.", (0, (5, 1)), "-")
QUANTITIES = {
    "metric_error": ("relative error of the metric", "The metric tends to the closed form"),
    "angular_spread": ("sd over the angle of log volume, $|x| = 1$", "and loses its dependence on the angle"),
}


@style.draws("quantity", "activation", "width", "mean", "lower", "upper", "draws")
def convergence(frame: pd.DataFrame, largest: float) -> Figure:
    """Error of the metric and angular spread of the volume against the width, with the expected slope.

    Args:
        frame: columns quantity, activation, width, mean, lower, upper, draws.
        largest: the declared limit of the error at the largest width, drawn as a line.
    """
    figure, axes = style.panels(2, height=3.0)
    for axis, (quantity, (label, title)) in zip(axes, QUANTITIES.items(), strict=True):
        part = frame[frame["quantity"] == quantity]
        for activation, look in ACTIVATIONS.items():
            style.with_interval(axis, part[part["activation"] == activation], "width", look)
        _reference(axis, part)
        axis.set(ylabel=label, title=title)
    axes[0].axhline(largest, **CRITERION)
    handles = [Line2D([], [], label=name, **look) for name, look in ACTIVATIONS.items()]
    handles += [Line2D([], [], **REFERENCE), Line2D([], [], label=f"declared: below {largest:g}", **CRITERION)]
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"), 5)
    return figure


@style.draws("depth", "width", "mean", "lower", "upper", "draws")
def depths(frame: pd.DataFrame) -> Figure:
    """Error of the metric of deep random nets against the width, with the expected slope.

    Args:
        frame: columns depth, width, mean, lower, upper, draws.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN, height=3.0)
    for depth, look in DEPTHS.items():
        style.with_interval(axis, frame[frame["depth"] == depth], "width", look)
    _reference(axis, frame)
    style.plain_log_ticks(axis, *axis.get_ylim())
    axis.set(ylabel="relative error of the metric", title="Deep nets tend to the recursion (erf)")
    handles = [Line2D([], [], label=f"{depth} hidden", **look) for depth, look in DEPTHS.items()]
    style.legend_below(
        figure, [*handles, Line2D([], [], **REFERENCE)], style.interval_meaning(frame, "bars", "draws"), 2
    )
    return figure


@style.draws("quantity", "activation", "net", "length", "mean", "lower", "upper", "draws")
def profiles(frame: pd.DataFrame) -> Figure:
    """Volume element and Ricci scalar against |x|, finite nets and limit; of the scalar the printed curve too.

    Args:
        frame: columns quantity, activation, net, length, mean, lower, upper, draws.
    """
    activations = list(frame["activation"].unique())
    figure, axes = style.panels(len(activations), rows=2, height=5.0)
    finite = [net for net in frame["net"].unique() if net not in LIMITS]
    looks = {net: {"color": shade, "linestyle": dash} for net, shade, dash in zip(finite, SHADES, DASHES, strict=False)}
    for row, (quantity, label) in enumerate((("volume", "volume element"), ("ricci", "Ricci scalar"))):
        for column, activation in enumerate(activations):
            axis = axes[row * len(activations) + column]
            part = frame[(frame["quantity"] == quantity) & (frame["activation"] == activation)]
            for net, look in (looks | LIMITS).items():
                curve, colour = part[part["net"] == net], look["color"]
                axis.plot(curve["length"], curve["mean"], zorder=3 if net in LIMITS else 2, **look)
                axis.fill_between(
                    curve["length"], curve["lower"], curve["upper"], color=colour, alpha=0.12, linewidth=0
                )
            axis.set(xlim=(0, frame["length"].max()), title=f"{activation}: {TITLES[quantity]}")
            _hold(axis, part, quantity)
            if row:
                axis.set_xlabel("$|x|$")
            if column == 0:
                axis.set_ylabel(label)
    handles = [Line2D([], [], label=net, **look) for net, look in (looks | LIMITS).items() if net in set(frame["net"])]
    some = frame[frame["draws"] > 0]
    style.legend_below(figure, handles, f"lines: mean; {style.interval_meaning(some, 'bands', 'draws')}", 4)
    return figure


def _reference(axis: Axes, frame: pd.DataFrame) -> None:
    """A line of slope −1/2 below the curves, on logarithmic axes."""
    widths = np.array([frame["width"].min(), frame["width"].max()])
    start = frame.loc[frame["width"] == widths[0], "mean"].min() / 1.6
    axis.plot(widths, start * (widths / widths[0]) ** -0.5, **REFERENCE)
    axis.set(xscale="log", yscale="log", xlabel="width $n$")


def _hold(axis: Axes, part: pd.DataFrame, quantity: str) -> None:
    """Limits that hold the curves; single wild means of narrow nets may leave the frame."""
    limits = part[part["net"].isin(list(LIMITS))]["mean"]
    low, high = limits.min(), limits.max()
    spare = 0.2 * (high - low)
    axis.set_ylim(0 if quantity == "volume" else low - spare, high + spare)
    if quantity == "ricci":
        axis.axhline(0, color="0.2", linewidth=0.6)
