"""Figures of the Ricci coefficients along training."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from repro import style
from repro.papers.ricci.looks import CONDITIONS, DATASETS, datasets_of
from repro.papers.ricci.study import ARCHITECTURES

DEPTHS: tuple[dict[str, Any], ...] = (  # in ascending order
    {"color": style.BLUE, "linestyle": "-"},
    {"color": style.ORANGE, "linestyle": "--"},
    {"color": style.GREEN, "linestyle": ":"},
)
DASHES: dict[str, Any] = dict(zip(ARCHITECTURES, ("-", "--", ":"), strict=True))
WEIGHTS = dict(zip(ARCHITECTURES, (1.2, 2.2, 0.6), strict=True))  # of lines whose dashes tell the depth
ROWS = {  # quantity, what the vertical axis says, its limits
    "test accuracy": ("test accuracy", (0.4, 1.02)),
    "global": ("global ρ\n(directed)", (-1.05, 1.05)),
    "local, augmented": ("mean local ρ\n(augmented)", (-1.0, 0.5)),
    "local, Forman": ("mean local ρ\n(Forman)", (-1.0, 0.5)),
}
FEW = "local, Ollivier, few points"
DIAMOND: dict[str, Any] = {"marker": "D", "markerfacecolor": "white", "linestyle": ""}
STOPS: dict[str, dict[str, Any]] = {
    "heuristic": {"color": "0.1", "marker": "o", "label": "heuristic"},
    "fixed": {"color": style.SKY, "marker": "D", "label": "control: all nets at the heuristic's mean epoch"},
    "last": {"color": style.BROWN, "marker": "^", "label": "end of training"},
}


@style.draws("dataset", "architecture", "depth", "epoch", "mean", "lower", "upper", "nets", "quantity")
def along_training(frame: pd.DataFrame) -> Figure:
    """Accuracy, global and mean local coefficients against epoch, a column per data set, a curve per depth.

    Args:
        frame: columns dataset, architecture, depth, quantity, epoch, mean, lower, upper, nets.
    """
    datasets = datasets_of(frame)
    figure, axes = style.panels(len(datasets), rows=len(ROWS), height=6.2)
    looks = _depth_looks(frame)
    for row, (quantity, (label, limits)) in enumerate(ROWS.items()):
        for column, dataset in enumerate(datasets):
            axis = axes[row * len(datasets) + column]
            part = frame[frame["dataset"] == dataset]
            for depth, architecture, curve in _lines(part[part["quantity"] == quantity]):
                _banded(axis, curve, "epoch", linewidth=WEIGHTS[architecture], **looks[depth])
            if quantity == "local, augmented":
                for depth, _, few in _lines(part[part["quantity"] == FEW]):
                    style.with_interval(axis, few, "epoch", DIAMOND | {"color": looks[depth]["color"]})
            _frame(axis, limits, column == 0, label)
            if quantity == "test accuracy":
                axis.set_title(_title(dataset), loc="left")
            if row == len(ROWS) - 1:
                axis.set_xlabel("epoch")
            else:
                axis.set_xticklabels([])
    handles = [Line2D([], [], label=f"{depth} hidden layers", **look) for depth, look in looks.items()]
    names = [name for name in ARCHITECTURES if name in set(frame["architecture"])]
    if len(names) > 1:
        handles += [Line2D([], [], color="0.3", linewidth=WEIGHTS[name], label=name) for name in names]
    handles.append(Line2D([], [], color="0.3", label="Ollivier, few points", **DIAMOND))
    style.legend_below(figure, handles, style.interval_meaning(frame, "bands and bars", "nets"), 5)
    return figure


@style.draws("dataset", "architecture", "depth", "net", "curvature", "untrained", "trained")
def before_and_after(frame: pd.DataFrame) -> Figure:
    """Mean local coefficient of every net before and after training, a panel per curvature.

    Args:
        frame: columns dataset, architecture, depth, curvature, untrained, trained (one row per net; NaN is left out).
    """
    curvatures = list(frame["curvature"].unique())
    figure, axes = style.panels(1, rows=len(curvatures), height=0.8 + 1.4 * len(curvatures), sharey=True)
    cells = [
        (dataset, depth, architecture)
        for dataset in datasets_of(frame)
        for depth, architecture, _ in _lines(frame[frame["dataset"] == dataset])
    ]
    states = {name: CONDITIONS[name] for name in ("untrained", "trained")}
    for axis, curvature in zip(axes, curvatures, strict=True):
        for position, (dataset, depth, architecture) in enumerate(cells):
            cell = (frame["dataset"] == dataset) & (frame["depth"] == depth) & (frame["architecture"] == architecture)
            pairs = frame.loc[cell & (frame["curvature"] == curvature), list(states)].dropna().to_numpy(float)
            at = position + np.array([-0.2, 0.2])
            axis.plot(at, pairs.T, color="0.75", linewidth=0.6, zorder=1)
            for place, values, look in zip(at, pairs.T, states.values(), strict=True):
                axis.scatter(
                    np.full(len(values), place), values, s=12, color=look["color"], marker=look["marker"], zorder=2
                )
        axis.set(xlim=(-0.6, len(cells) - 0.4), ylim=(-1, 0.6), ylabel="mean local ρ")
        axis.axhline(0, color="0.2", linewidth=0.8, zorder=0)
        axis.set_title(f"{curvature} curvature", loc="left")
        axis.set_xticks(range(len(cells)), [])
    several = len(frame["architecture"].unique()) > 1
    names = [f"{depth}\n{architecture[0].upper()}\n{dataset}" if several else f"{depth} layers\n{dataset}"
             for dataset, depth, architecture in cells]  # fmt: skip
    axes[-1].set_xticklabels(names)
    handles = [Line2D([], [], linestyle="", **look) for look in states.values()]
    style.legend_below(figure, handles, "a point per net, joined before and after training", 2)
    return figure


@style.draws("dataset", "architecture", "depth", "state", "step", "mean", "lower", "upper", "nets")
def layers(frame: pd.DataFrame) -> Figure:
    """Layer coefficients of untrained and trained nets against the step between layers.

    Args:
        frame: columns dataset, architecture, depth, state, step, mean, lower, upper, nets.
    """
    datasets, depths = datasets_of(frame), sorted(frame["depth"].unique())
    figure, axes = style.panels(len(datasets), rows=len(depths), height=0.9 + 1.6 * len(depths))
    for row, depth in enumerate(depths):
        for column, dataset in enumerate(datasets):
            axis = axes[row * len(datasets) + column]
            part = frame[(frame["dataset"] == dataset) & (frame["depth"] == depth)]
            for state in ("untrained", "trained"):
                look = {name: CONDITIONS[state][name] for name in ("color", "marker")} | {"markersize": 3}
                for _, architecture, curve in _lines(part[part["state"] == state]):
                    _banded(axis, curve, "step", linestyle=DASHES[architecture], **look)
            _frame(axis, (-1.05, 0.5), column == 0, f"{depth} hidden layers\nlayer ρ (augmented)")
            axis.set_xticks(range(1, depth + 2, 1 if depth < 7 else 2))
            if row == 0:
                axis.set_title(_title(dataset), loc="left")
            if row == len(depths) - 1:
                axis.set_xlabel("step between layers")
    handles = [Line2D([], [], **CONDITIONS[name]) for name in ("untrained", "trained")]
    title = (
        f"step 1: input to first hidden layer; last: to the output. {style.interval_meaning(frame, 'bands', 'nets')}"
    )
    style.legend_below(figure, handles, title, 2)
    return figure


@style.draws(
    "dataset",
    "architecture",
    "depth",
    "net",
    "heuristic_share",
    "rule_share",
    "heuristic_lost",
    "fixed_lost",
    "last_lost",
)
def early_stopping(frame: pd.DataFrame, largest_loss: float) -> Figure:
    """Where the heuristic and the validation rule stop each net, and the test accuracy that is lost against the rule.

    Args:
        frame: columns dataset, heuristic_share, rule_share (of training that is run), and heuristic_lost, fixed_lost,
            last_lost (accuracy of the rule's net − theirs), one row per net.
        largest_loss: the declared limit, drawn as a line.
    """
    datasets = datasets_of(frame)
    figure, (left, right) = style.panels(2, height=3.7)
    for number, dataset in enumerate(datasets):
        part, look = frame[frame["dataset"] == dataset], DATASETS[dataset]
        shift = 0.012 * (number - (len(datasets) - 1) / 2)  # checkpoints are few: keeps data sets apart
        left.scatter(
            part["rule_share"] + shift, part["heuristic_share"] - shift, s=16, alpha=0.75, linewidths=0, **look
        )
    left.plot([0, 1], [0, 1], color="0.2", linewidth=0.8)
    left.set(xlim=(0, 1.03), ylim=(0, 1.03), xlabel="training run by the validation rule (share of epochs)",
             ylabel="training run by the heuristic (share)")  # fmt: skip
    offsets = np.linspace(-0.27, 0.27, len(STOPS))
    for position, dataset in enumerate(datasets):
        part = frame[frame["dataset"] == dataset]
        for offset, (name, look) in zip(offsets, STOPS.items(), strict=True):
            lost = part[f"{name}_lost"].to_numpy(float)
            spread = 0.06 * np.sin(2.4 * np.arange(len(lost)))
            right.scatter(position + offset + spread, lost, s=9, color=look["color"], marker=look["marker"], alpha=0.6,
                          linewidths=0)  # fmt: skip
            right.plot(position + offset + np.array([-0.11, 0.11]), [lost.mean()] * 2, color="black", linewidth=1.4)
    right.axhline(0, color="0.2", linewidth=0.8)
    right.axhline(largest_loss, color="0.2", linewidth=0.8, linestyle="--")
    right.set_yscale("symlog", linthresh=0.01, linscale=0.8)
    ticks = [-0.1, -0.01, 0, 0.01, 0.1, 0.5]
    right.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    right.yaxis.set_minor_locator(NullLocator())
    right.yaxis.set_major_locator(FixedLocator(ticks))
    right.set(ylim=(-0.1, 0.6), xlim=(-0.5, len(datasets) - 0.5), ylabel="test accuracy lost against the rule's net")
    right.set_xticks(range(len(datasets)), [name.replace("-", "\n", 1) for name in datasets])
    limit = Line2D([], [], color="0.2", linestyle="--", label=f"declared limit of the mean: {largest_loss:g}")
    choices = [Line2D([], [], linestyle="", **look) for look in STOPS.values()]
    below: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    left.legend(title="a point per net; below the line the heuristic stops first", ncols=2, **below)
    right.legend(handles=[*choices, limit], title="a point per net, bar: mean", **below)
    return figure


def _title(dataset: str) -> str:
    """Name of a data set in two lines."""
    return str(DATASETS[dataset]["label"]).replace(": ", ":\n").replace("Fashion ", "Fashion\n")


def _lines(frame: pd.DataFrame) -> Iterator[tuple[int, str, pd.DataFrame]]:
    """The rows of each depth and architecture."""
    for _, part in frame.groupby(["depth", "architecture"]):
        depth, architecture = part[["depth", "architecture"]].iloc[0]
        yield int(depth), str(architecture), part


def _depth_looks(frame: pd.DataFrame) -> dict[int, dict[str, Any]]:
    return dict(zip(sorted(int(depth) for depth in frame["depth"].unique()), DEPTHS, strict=False))


def _banded(axis: Axes, curve: pd.DataFrame, position: str, **look: Any) -> None:
    axis.plot(curve[position], curve["mean"], **look)
    axis.fill_between(curve[position], curve["lower"], curve["upper"], color=look["color"], alpha=0.15, linewidth=0)


def _frame(axis: Axes, limits: tuple[float, float], first: bool, label: str) -> None:
    axis.set_ylim(*limits)
    if limits[0] < 0:
        axis.axhline(0, color="0.2", linewidth=0.6)
    if first:
        axis.set_ylabel(label)
    else:
        axis.set_yticklabels([])
