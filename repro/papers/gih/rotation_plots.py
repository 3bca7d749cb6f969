"""Figures of the rotation test."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style
from repro.papers.gih.looks import CHANCE, NETWORKS

PLANES: dict[str, dict[str, Any]] = {
    "top": {"color": style.BLUE, "marker": "o", "linestyle": "-"},
    "upper": {"color": style.SKY, "marker": "h", "linestyle": "-"},
    "lower": {"color": style.BROWN, "marker": "X", "linestyle": "-."},
    "mixed": {"color": style.GREEN, "marker": "^", "linestyle": "-."},
    "middle": {"color": style.PINK, "marker": "D", "linestyle": ":"},
    "random": {"color": style.ORANGE, "marker": "s", "linestyle": "--"},
    "bottom": {"color": "0.4", "marker": "v", "linestyle": (0, (3, 1, 1, 1))},
}
ACCURACY = "test accuracy"
LIMITS = (0.45, 1.02)
PASSED: dict[str, Any] = {"color": style.BLUE, "marker": "o", "linestyle": ""}
BOUND: dict[str, Any] = {"color": style.VERMILION, "marker": "^", "linestyle": "", "fillstyle": "none"}


@style.draws("network", "plane", "mean", "lower", "upper", "draws", "train")
def accuracies(frame: pd.DataFrame) -> Figure:
    """Test accuracy of dense and residual nets by kind of plane.

    Args:
        frame: columns network, plane, mean, lower, upper, draws, train.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN + 1.4, height=3.0)
    kinds = list(dict.fromkeys(frame["plane"]))
    networks = list(dict.fromkeys(frame["network"]))
    for shift, network in enumerate(networks):
        part = frame[frame["network"] == network]
        place = np.array([kinds.index(kind) for kind in part["plane"]]) + 0.12 * (shift - (len(networks) - 1) / 2)
        style.with_interval(
            axis, part.assign(place=place), "place", NETWORKS[network] | {"linestyle": "", "markersize": 5}
        )
    axis.axhline(0.5, **CHANCE)
    axis.set(ylabel=ACCURACY, xlabel="plane of the circles, in eigenvectors of $G$ of the residual net", ylim=LIMITS)
    axis.set_xticks(range(len(kinds)), kinds)
    axis.set_title("The dense net learns circles anywhere, the residual one does not")
    handles = [Line2D([], [], label=network, **(NETWORKS[network] | {"linestyle": ""})) for network in networks]
    handles.append(Line2D([], [], label="chance", **CHANCE))
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"))
    return figure


@style.draws("plane", "draw", "u1", "u2", "logit")
def maps(frame: pd.DataFrame, outer: float, inner: float) -> Figure:
    """Decision curves of several nets in the plane, noise set to 0, as in the paper's Fig. 1; the rings are grey.

    Args:
        frame: columns plane, draw, u1, u2, logit.
        outer, inner: radii of the rings.
    """
    kinds = list(dict.fromkeys(frame["plane"]))
    figure, axes = style.panels(len(kinds), height=2.6)
    for axis, kind in zip(axes, kinds, strict=True):
        for number, (_, part) in enumerate(frame[frame["plane"] == kind].groupby("draw")):
            table = part.pivot(index="u2", columns="u1", values="logit")
            color = style.PALETTE[number % len(style.PALETTE)]
            dashes = ("solid", "dashed", "dashdot", "dotted")[number % 4]
            axis.contour(
                table.columns, table.index, table, levels=[0], colors=[color], linestyles=[dashes], linewidths=1.1
            )
        _rings(axis, outer, inner)
        axis.set(title=kind, xlabel="$u_1$", xlim=(-1.3 * outer, 1.3 * outer), ylim=(-1.3 * outer, 1.3 * outer))
    axes[0].set_ylabel("$u_2$")
    count = frame["draw"].nunique()
    handles = [
        Line2D([], [], color=style.BLUE, label=f"where a net is undecided, one curve a draw ({count} draws)"),
        Line2D([], [], color="0.75", linewidth=3, label="the two rings"),
    ]
    style.legend_below(figure, handles, "", 2)
    return figure


@style.draws("plane", "step", "test", "u1", "u2", "logit")
def film(frame: pd.DataFrame, outer: float, inner: float) -> Figure:
    """One net of each plane along training: its decision in the plane, noise set to 0.

    Args:
        frame: columns plane, step, test, u1, u2, logit.
        outer, inner: radii of the rings.
    """
    kinds = list(dict.fromkeys(frame["plane"]))
    shown = np.sort(frame["step"].unique())
    figure, axes = style.panels(len(shown), rows=len(kinds), height=1.55 * len(kinds))
    reach = (-1.3 * outer, 1.3 * outer)
    for position, axis in enumerate(axes):
        kind, step = kinds[position // len(shown)], shown[position % len(shown)]
        part = frame[(frame["plane"] == kind) & (frame["step"] == step)]
        table = part.pivot(index="u2", columns="u1", values="logit")
        axis.imshow(np.tanh(table / 2), origin="lower", extent=(*reach, *reach), cmap="PuOr", vmin=-1, vmax=1)
        if np.ptp(np.sign(table.to_numpy())):
            axis.contour(table.columns, table.index, table, levels=[0], colors="black", linewidths=0.9)
        _rings(axis, outer, inner, color="0.55", linewidth=0.8)
        axis.set_title(f"step {step}: {part['test'].iloc[0]:.0%}", fontsize=7)
        axis.set_xticks([])
        axis.set_yticks([])
        if position % len(shown) == 0:
            axis.set_ylabel(kind)
    figure.supxlabel(
        "$u_1$ (and $u_2$ upwards); above each, test accuracy. Purple: inner ring, orange: outer ring", fontsize=7
    )
    return figure


@style.draws("plane", "arc", "mean", "lower", "upper", "draws")
def arcs(frame: pd.DataFrame) -> Figure:
    """Recall of the outer ring near each direction of the plane.

    Args:
        frame: columns plane, arc (arc_1, arc_2), mean, lower, upper, draws.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN + 1.0, height=2.8)
    kinds = list(dict.fromkeys(frame["plane"]))
    looks: dict[str, dict[str, Any]] = {
        "arc_1": {"color": style.BLUE, "marker": "o"},
        "arc_2": {"color": style.VERMILION, "marker": "s"},
    }
    for shift, (arc, look) in zip((-0.1, 0.1), looks.items(), strict=True):
        part = frame[frame["arc"] == arc]
        place = [kinds.index(kind) + shift for kind in part["plane"]]
        style.with_interval(axis, part.assign(place=place), "place", look | {"linestyle": ""})
    axis.set(ylabel="outer ring recognised", xlabel="plane", ylim=(0, 1.03), title="Mixed planes: strips, not circles")
    axis.set_xticks(range(len(kinds)), kinds)
    names = {"arc_1": "within 15° of $u_1$", "arc_2": "within 15° of $u_2$"}
    handles = [Line2D([], [], label=names[arc], linestyle="", **look) for arc, look in looks.items()]
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"), 2)
    return figure


@style.draws("draw", "plane", "share", "test")
def shares(frame: pd.DataFrame) -> Figure:
    """Test accuracy of every plane against its smaller uᵀGu.

    Args:
        frame: columns draw, plane, share, test.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN + 0.6, height=3.0)
    for kind, part in frame.groupby("plane", sort=False):
        look = PLANES[str(kind)]
        axis.plot(part["share"], part["test"], look["marker"], color=look["color"], label=str(kind), fillstyle="none")
    axis.axvline(1, **CHANCE)
    axis.set(xscale="log", xlabel="smaller $u^T G u$ of the plane over its mean", ylabel=ACCURACY, ylim=LIMITS)
    axis.set_title("Every plane of every draw")
    handles = [
        Line2D([], [], label=kind, fillstyle="none", **(PLANES[kind] | {"linestyle": ""}))
        for kind in dict.fromkeys(frame["plane"])
    ]
    style.legend_below(figure, handles, f"a mark: one plane, {frame['draw'].nunique()} draws of $G$", 4)
    return figure


@style.draws("network", "angle", "mean", "lower", "upper", "draws")
def angles(frame: pd.DataFrame) -> Figure:
    """Test accuracy as a top plane is turned into a random one.

    Args:
        frame: columns network, angle, mean, lower, upper, draws.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN + 0.4, height=2.9)
    for network, part in frame.groupby("network", sort=False):
        style.with_interval(axis, part, "angle", NETWORKS[str(network)])
    axis.axhline(0.5, **CHANCE)
    axis.set(xlabel="angle from the top plane (degrees)", ylabel=ACCURACY, ylim=LIMITS, xticks=np.arange(0, 91, 15))
    axis.set_title("The rotation itself")
    handles = [Line2D([], [], label=network, **NETWORKS[network]) for network in dict.fromkeys(frame["network"])]
    handles.append(Line2D([], [], label="chance", **CHANCE))
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"))
    return figure


@style.draws("series", "radius", "mean", "lower", "upper", "draws")
def radii(frame: pd.DataFrame) -> Figure:
    """Test accuracy against the outer radius in units of the noise.

    Args:
        frame: columns series (network and plane), radius, mean, lower, upper, draws.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN + 0.4, height=2.9)
    looks = dict(zip(dict.fromkeys(frame["series"]), style.LOOKS, strict=False))
    for series, look in looks.items():
        style.with_interval(axis, frame[frame["series"] == series], "radius", look)
    axis.axhline(0.5, **CHANCE)
    axis.set(xlabel="radius of the outer ring over the noise", ylabel=ACCURACY, ylim=LIMITS)
    axis.set_title("The contrast lives in a window")
    handles = [Line2D([], [], label=series, **look) for series, look in looks.items()]
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"), 2)
    return figure


@style.draws("draw", "plane", "threshold", "censored")
def thresholds(frame: pd.DataFrame) -> Figure:
    """Training points needed for 95 % on top and random planes of each draw.

    Args:
        frame: columns draw, plane, threshold, censored (whether the largest size did not pass).
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN + 0.4, height=3.0)
    kinds = list(dict.fromkeys(frame["plane"]))
    for draw, part in frame.groupby("draw"):
        place = np.array([kinds.index(kind) for kind in part["plane"]]) + 0.03 * (float(draw) - 3.5)  # type: ignore[arg-type]
        axis.plot(place, part["threshold"], color="0.7", linewidth=0.8)
        for x, y, censored in zip(place, part["threshold"], part["censored"], strict=True):
            axis.plot(x, y, **(BOUND if censored else PASSED))
    axis.set(yscale="log", ylabel="training points for 95 % test accuracy", xlim=(-0.4, len(kinds) - 0.6))
    axis.set_xticks(range(len(kinds)), [f"{kind} plane" for kind in kinds])
    sizes = np.sort(frame["threshold"].unique())
    axis.set_yticks(sizes, [f"{size:.0f}" for size in sizes])
    axis.minorticks_off()
    axis.set_title("How much data a plane costs")
    handles = [
        Line2D([], [], label="passed at this size", **PASSED),
        Line2D([], [], label="a bound: half of this did not pass", **BOUND),
    ]
    style.legend_below(figure, handles, f"a line: one draw of $G$, {frame['draw'].nunique()} draws", 1)
    return figure


@style.draws("architecture", "plane", "mean", "lower", "upper", "draws", "share", "participation", "best")
def architectures(frame: pd.DataFrame) -> Figure:
    """Test accuracy of several architectures on planes of their own G; crosses: best along training.

    Args:
        frame: columns architecture, plane, mean, lower, upper, draws, share, participation (ratio of G), best.
    """
    names = list(dict.fromkeys(frame["architecture"]))
    figure, (left, right) = style.panels(2, height=0.32 * len(names) + 1.3)
    kinds = list(dict.fromkeys(frame["plane"]))
    for shift, kind in enumerate(kinds):
        part = frame[frame["plane"] == kind]
        place = -np.array([names.index(name) for name in part["architecture"]], float) - 0.2 * (
            shift - (len(kinds) - 1) / 2
        )
        look = PLANES[kind] | {"linestyle": ""}
        left.errorbar(part["mean"], place, xerr=style.reach(part), elinewidth=1.0, **look)
        left.plot(part["best"], place, "x", color="0.3", markersize=3.5)
        right.plot(part["share"], place, **look)
    left.set_yticks(-np.arange(len(names)), names)
    ratios = frame.groupby("architecture", sort=False)["participation"].first()
    right.set_yticks(-np.arange(len(names)), [f"{ratio:.0f}" for ratio in ratios])
    right.set_ylabel("participation ratio of $G$")
    left.axvline(0.5, **CHANCE)
    left.set(xlabel=ACCURACY, xlim=LIMITS, title="What planes of its own $G$ are worth to a net")
    right.set(
        xscale="log",
        xlabel="smaller $u^T G u$ over its mean",
        title="and their share in $G$",
    )
    handles = [Line2D([], [], label=f"{kind} plane", **(PLANES[kind] | {"linestyle": ""})) for kind in kinds]
    handles.append(Line2D([], [], label="best along training (early stopping)", color="0.3", marker="x", linestyle=""))
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"), 4)
    return figure


@style.draws("architecture", "plane", "mean", "lower", "upper", "draws", "share", "participation", "best")
def variants(frame: pd.DataFrame) -> Figure:
    """Test accuracy of variants of the residual net, drawn as `architectures`."""
    return architectures(frame)


def _rings(axis: Axes, outer: float, inner: float, color: str = "0.75", linewidth: float = 2.5) -> None:
    angle = np.linspace(0, 2 * np.pi, 100)
    for radius in (outer, inner):
        axis.plot(radius * np.cos(angle), radius * np.sin(angle), color=color, linewidth=linewidth, zorder=1)
    axis.set_aspect("equal")
