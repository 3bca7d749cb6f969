"""Figures of the Ricci scalar: as printed against the true one, and of trained nets in the plane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style
from repro.data.synthetic import sinusoid_height
from repro.papers.magnification.boundary_plots import ABOUT, REACH
from repro.papers.magnification.curvature_analysis import PRINTED, TRUE
from repro.papers.magnification.looks import STATES, state_handles

FORMULAS = ("Eq. 4", "B.16", "Eq. 7", "C.46", "B.70")  # from top to bottom
BY_ROUTE = ("Eq. 7", "C.46")
SURFACES = ("sphere", "paraboloid", "deep net")
EDGE = 100.0  # of ratios that are drawn to scale
SIDES: dict[str, dict[str, Any]] = {
    TRUE: {"color": style.BLUE, "marker": "o", "linestyle": "-"},
    PRINTED: {"color": style.VERMILION, "marker": "s", "linestyle": "--"},
}
CLIP, LINEAR = 1000.0, 1.0  # colours of maps: linear within ±1, logarithmic beyond, the same from ±1 000 on
COLOURS = "cividis"  # of R: dark below 0, light above, so that the sign is seen on grey paper too
TICKS = (-1000, -100, -10, -1, 0, 1, 10, 100, 1000)
DIRECT: dict[str, Any] = {"color": style.BLUE, "marker": "o", "linewidths": 0}
ROUTE: dict[str, Any] = {"facecolors": "none", "edgecolors": style.VERMILION, "marker": "s", "linewidths": 0.5}


@style.draws("formula", "net", "true", "ratio")
def printed(frame: pd.DataFrame) -> Figure:
    """Printed over true Ricci scalar, a mark per point, a row per formula.

    Args:
        frame: columns formula, net, true, ratio.
    """
    figure, (axis,) = style.panels(1, height=2.6)
    for row, formula in enumerate(FORMULAS):
        part = frame[frame["formula"] == formula]
        spread = 0.28 * np.sin(2.4 * np.arange(len(part)))
        axis.scatter(part["ratio"], row + spread, s=7, **(ROUTE if formula in BY_ROUTE else DIRECT))
    for ratio in (1, 3):
        axis.axvline(ratio, color="0.2", linewidth=0.7, linestyle="--", zorder=0)
    axis.set_yticks(range(len(FORMULAS)), FORMULAS)
    axis.invert_yaxis()
    axis.set(
        xlim=(0, 4.5), xlabel="printed / true Ricci scalar", title="The same quantity, three times apart in one paper"
    )
    names = {"the printed formula": DIRECT, "the paper's route to it (A.5), its printed form not being at hand": ROUTE}
    handles = [axis.scatter([], [], s=12, label=name, **look) for name, look in names.items()]
    style.legend_below(figure, handles, "a mark per point and net (spread only to be seen)", 2)
    return figure


@style.draws("surface", "true", "ratio")
def other_maps(frame: pd.DataFrame) -> Figure:
    """The paper's route over the true Ricci scalar, against the true one, for maps that are no single layer.

    Args:
        frame: columns surface, true, ratio.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN, height=3.1)
    for surface, look in zip(SURFACES, style.LOOKS, strict=False):
        part = frame[frame["surface"] == surface]
        place = part["true"].abs(), part["ratio"].clip(-EDGE, EDGE)
        axis.scatter(*place, s=36 if surface == "sphere" else 8, color=look["color"], marker=look["marker"],
                     label=surface, zorder=3 if surface == "sphere" else 2)  # fmt: skip
    for ratio, line in ((1, "-"), (3, "--")):
        axis.axhline(ratio, color="0.2", linewidth=0.7, linestyle=line, zorder=0)
    axis.set_yscale("symlog", linthresh=4)
    axis.set_yticks([-100, -10, -3, 0, 1, 3, 10, 100], ["−100", "−10", "−3", "0", "1", "3", "10", "100"])
    axis.set_ylim(-1.5 * EDGE, 1.5 * EDGE)
    axis.minorticks_off()
    axis.set(
        xscale="log",
        xlabel="|true Ricci scalar|",
        ylabel="paper's route / true",
        title="For other maps it is no factor",
    )
    handles, _ = axis.get_legend_handles_labels()
    style.legend_below(
        figure, handles, f"a mark per point, beyond ±{EDGE:g} drawn there;\nlines: 1 (right), 3 (one hidden layer)", 3
    )
    return figure


@style.draws("activation", "formula", "net", "length", "mean", "lower", "upper", "draws")
def both_sides(frame: pd.DataFrame) -> Figure:
    """Ricci scalar against |x|, finite nets and limit, each true and as printed.

    Args:
        frame: columns activation, formula, net, length, mean, lower, upper, draws.
    """
    activations = list(frame["activation"].unique())
    figure, axes = style.panels(len(activations), height=3.2)
    for axis, activation in zip(axes, activations, strict=True):
        for formula, look in SIDES.items():
            part = frame[(frame["activation"] == activation) & (frame["formula"] == formula)]
            limit, finite = part[part["draws"] == 0], part[part["draws"] > 0]
            axis.plot(limit["length"], limit["mean"], color=look["color"], linestyle=look["linestyle"])
            style.with_interval(axis, finite, "length", look | {"linestyle": ""})
        axis.axhline(0, color="0.2", linewidth=0.6)
        axis.set(xlabel="$|x|$", title=f"{activation}: agreement, twice")
    axes[0].set_ylabel("Ricci scalar")
    widths = ", ".join(sorted(set(frame.loc[frame["draws"] > 0, "net"])))
    handles = [Line2D([], [], label=f"{name}: limit (line), nets with {widths} (marks)", **look)
               for name, look in SIDES.items()]  # fmt: skip
    style.legend_below(figure, handles, style.interval_meaning(frame[frame["draws"] > 0], "bars", "draws"), 2)
    return figure


@style.draws("panel", "x1", "x2", "ricci", "margin")
def curvature_maps(frame: pd.DataFrame) -> Figure:
    """Ricci scalar over the plane, a panel each, with the net's own decision boundary and the task's.

    Args:
        frame: columns panel, x1, x2, ricci, margin (difference of the logits).
    """
    panels = list(frame["panel"].unique())
    figure, axes = style.panels(2, rows=-(-len(panels) // 2), height=0.9 + 2.9 * -(-len(panels) // 2))
    norm = SymLogNorm(LINEAR, vmin=-CLIP, vmax=CLIP)
    for axis, panel in zip(axes, panels, strict=False):
        part = frame[frame["panel"] == panel].sort_values(["x2", "x1"])
        side = round(np.sqrt(len(part)))
        ricci, margin = (part[name].to_numpy(float).reshape(side, side) for name in ("ricci", "margin"))
        line = np.linspace(-REACH, REACH, side)
        axis.pcolormesh(line, line, np.clip(ricci, -CLIP, CLIP), norm=norm, cmap=COLOURS, shading="gouraud",
                        rasterized=True)  # fmt: skip
        _task(axis)
        if ricci.min() < 0 < ricci.max():
            axis.contour(line, line, ricci, [0.0], colors="white", linewidths=0.8, linestyles=":")
        if margin.min() < 0 < margin.max():
            axis.contour(line, line, margin, [0.0], colors="white", linewidths=3.0)
            axis.contour(line, line, margin, [0.0], colors="black", linewidths=1.5)
        axis.set_title(panel)
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=axes, shrink=0.7, extend="both")
    bar.set_label(f"Ricci scalar (linear within ±{LINEAR:g}, clipped at ±{CLIP:g})")
    bar.set_ticks(TICKS, labels=_labels(TICKS))
    handles = [
        Line2D([], [], color="black", linewidth=1.5, label="the net's decision"),
        Line2D([], [], color="black", linewidth=1.0, linestyle="--", label="boundary of the task"),
        Line2D([], [], color="0.6", linewidth=0.8, linestyle=":", label="R = 0 (white on the map)"),
    ]
    style.legend_below(figure, handles, "one net of each width; dark: R < 0, light: R > 0", 3)
    return figure


@style.draws("width", "state", "about", "net", "ratio")
def near_and_far(frame: pd.DataFrame) -> Figure:
    """|R| near the boundary over far from it, of the boundary and its mirror images, a mark per net.

    Args:
        frame: columns width, state, about, net, ratio (a factor).
    """
    widths = list(frame["width"].unique())
    figure, axes = style.panels(len(widths), height=3.1, sharey=True)
    for axis, width in zip(axes, widths, strict=True):
        for column, state in enumerate(("untrained", "trained")):
            part = frame[(frame["width"] == width) & (frame["state"] == state)]
            pairs = part.pivot(index="net", columns="about", values="ratio")[list(ABOUT)].to_numpy(float)
            at = column + np.array([-0.17, 0.17])
            axis.plot(at, pairs.T, color="0.8", linewidth=0.6, zorder=1)
            for place, values, look in zip(at, pairs.T, ABOUT.values(), strict=True):
                axis.scatter(
                    np.full(len(values), place), values, s=14, color=look["color"], marker=look["marker"], zorder=2
                )
                mean = np.exp(np.log(values).mean())
                axis.plot(place + np.array([-0.12, 0.12]), [mean] * 2, color="black", linewidth=1.6, zorder=3)
        axis.axhline(1, color="0.2", linewidth=0.7, linestyle="--")
        axis.set_yscale("log")
        axis.set(xlim=(-0.5, 1.5), title=f"width {width}")
        axis.set_xticks([0, 1], ["untrained", "trained"])
    style.plain_log_ticks(axes[0], frame["ratio"].min(), frame["ratio"].max())
    axes[0].set_ylabel("|R| near / far")
    handles = [Line2D([], [], linestyle="", color=look["color"], marker=look["marker"], label=f"about the {name}")
               for name, look in ABOUT.items()]  # fmt: skip
    nets = frame["net"].nunique()
    style.legend_below(figure, handles, f"a mark per net, n = {nets}, joined; bar: geometric mean", 2)
    return figure


@style.draws("width", "state", "net", "low", "median", "high")
def distributions(frame: pd.DataFrame) -> Figure:
    """Range and median of R over the square, a bar per net, by width and before or after training.

    Args:
        frame: columns width, state, net, low, median, high.
    """
    widths = list(frame["width"].unique())
    figure, axes = style.panels(len(widths), height=3.0, sharey=True)
    for axis, width in zip(axes, widths, strict=True):
        for column, state in enumerate(("untrained", "trained")):
            part = frame[(frame["width"] == width) & (frame["state"] == state)].sort_values("median")
            at, look = column + np.linspace(-0.36, 0.36, len(part)), STATES[state]
            axis.vlines(at, part["low"], part["high"], color=look["color"], linewidth=1.2)
            axis.scatter(at, part["median"], s=12, color=look["color"], marker=look["marker"], zorder=3)
        axis.axhline(0, color="0.2", linewidth=0.7)
        axis.set_yscale("symlog", linthresh=1)
        axis.set_xticks([0, 1], ["untrained", "trained"])
        axis.set(xlim=(-0.5, 1.5), title=f"width {width}")
    ends = 2 * frame["low"].min(), 2 * max(frame["high"].max(), 1)
    ticks = [tick for tick in TICKS if ends[0] <= tick <= ends[1]]
    axes[0].set_yticks(ticks, _labels(ticks))
    axes[0].minorticks_off()
    axes[0].set_ylabel("Ricci scalar on $[-1, 1]^2$")
    handles = state_handles()
    title = f"a bar per net, n = {frame['net'].nunique()}: 5 to 95 % of the points; mark: their median"
    style.legend_below(figure, handles, title, 2)
    return figure


def _labels(ticks: Sequence[float]) -> list[str]:
    return [f"{tick:g}".replace("-", "−") for tick in ticks]


def _task(axis: Axes) -> None:
    """The sinusoid, and a square frame."""
    first = np.linspace(-REACH, REACH, 400)
    axis.plot(first, sinusoid_height(first), color="white", linewidth=2.2)
    axis.plot(first, sinusoid_height(first), color="black", linewidth=1.0, linestyle="--")
    axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
