"""Figures of the pooled Ricci coefficient over k (arXiv 2404.14265)."""

from typing import Literal

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.cluster.hierarchy import dendrogram

from repro import style
from repro.papers.ricci.looks import COLOURS, DATASETS, INITIAL, dataset_panels, datasets_of
from repro.papers.ricci.study import ARCHITECTURES

LINES: tuple[Literal["-", "--"], ...] = ("-", "--")  # of the smaller and the larger depth


@style.draws(
    "dataset", "architecture", "depth", "k", "coefficient", "share", "published_k", "published_share", "at_edge", "grid"
)
def best_scales(frame: pd.DataFrame) -> Figure:
    """Best k of each cell as a share of the points, beside the published one.

    Args:
        frame: columns dataset, architecture, depth, grid (which k), share, published_share, at_edge.
    """
    figure, axes = style.panels(2, height=3.4, sharey=True)
    for axis, depth in zip(axes, sorted(frame["depth"].unique()), strict=False):
        part = frame[frame["depth"] == depth]
        datasets = datasets_of(frame)
        for row in part.to_dict("records"):
            y = datasets.index(row["dataset"]) + 0.22 * (ARCHITECTURES.index(row["architecture"]) - 1)
            if row["grid"] == "paper":
                axis.plot(row["published_share"], y, "D", color="black", markerfacecolor="none", markersize=4)
                filled = "none" if row["at_edge"] else style.BLUE
                axis.plot(row["share"], y, "o", color=style.BLUE, markerfacecolor=filled, markersize=4.5)
                axis.text(1.3, y, INITIAL[row["architecture"]], fontsize=5.5, va="center", ha="center")
            else:
                axis.plot(row["share"], y, "x", color=style.VERMILION, markersize=4.5)
        axis.set(xscale="log", xlim=(0.004, 1.6), xlabel="best k / points n", title=f"{depth} hidden layers")
        axis.set_xticks([0.01, 0.1, 1], ["1 %", "10 %", "100 %"])
        axis.minorticks_off()
        axis.set_yticks(range(len(datasets)), [DATASETS[name]["label"] for name in datasets])
        axis.grid(axis="y", color="0.92", linewidth=0.6)
    axes[0].invert_yaxis()
    handles = [
        Line2D([], [], linestyle="", marker="D", color="black", markerfacecolor="none", label="published"),
        Line2D([], [], linestyle="", marker="o", color=style.BLUE, label="here, paper's k"),
        Line2D([], [], linestyle="", marker="o", color=style.BLUE, markerfacecolor="none", label="at the grid's edge"),
        Line2D([], [], linestyle="", marker="x", color=style.VERMILION, label="here, all k"),
    ]
    style.legend_below(figure, handles, "N narrow, W wide, B bottleneck", 4)
    return figure


@style.draws(
    "dataset", "architecture", "depth", "points", "k", "coefficient", "lower", "upper", "connected", "nets", "best"
)
def profiles(frame: pd.DataFrame, limits: dict[str, float]) -> Figure:
    """Pooled coefficient against k, a panel per data set, a curve per architecture and depth.

    Args:
        frame: columns dataset, architecture, depth, points, k, coefficient, lower, upper.
        limits: of each data set, the largest k of the paper's grid.
    """
    figure, axes, left = dataset_panels(frame, columns=4, base=0.8, height=1.7, sharey=True)
    for dataset, axis in axes.items():
        part = frame[frame["dataset"] == dataset]
        _curves(axis, part, "k", "coefficient", frame["depth"])
        axis.axhline(0, color="0.2", linewidth=0.8)
        if part["k"].max() > limits[dataset]:
            axis.axvspan(limits[dataset] * 1.08, part["k"].max() * 1.1, color="0.93", zorder=0)
        axis.set(xscale="log", ylim=(-1, 1), xlabel="neighbours k")
        style.size_ticks(axis, part["k"])
    for axis in left:
        axis.set_ylabel("pooled coefficient")
    handles = [*_curve_handles(frame["depth"]), Patch(color="0.93", label="beyond the paper's grid")]
    style.legend_below(figure, handles, "band: 95 % interval over nets", 6)
    return figure


def _curves(axis: Axes, part: pd.DataFrame, position: str, value: str, depths: pd.Series) -> None:
    """A line per architecture and depth, with its band from lower to upper."""
    for depth, line in zip(sorted(depths.unique()), LINES, strict=False):
        for architecture, colour in COLOURS.items():
            curve = part[(part["depth"] == depth) & (part["architecture"] == architecture)]
            axis.plot(curve[position], curve[value], color=colour, linestyle=line, linewidth=1.1)
            axis.fill_between(curve[position], curve["lower"], curve["upper"], color=colour, alpha=0.12, linewidth=0)


def _curve_handles(depths: pd.Series) -> list[Artist]:
    found = [Line2D([], [], color=colour, label=name) for name, colour in COLOURS.items()]
    lines = zip(sorted(depths.unique()), LINES, strict=False)
    return [*found, *(Line2D([], [], color="0.3", linestyle=line, label=f"{depth} layers") for depth, line in lines)]


@style.draws("left", "right", "distance", "cells", "kind", "name")
def groups(frame: pd.DataFrame) -> Figure:
    """Dendrograms of the cells by their profiles over k, one per kind of data.

    Args:
        frame: columns kind, left, right, distance, cells (a Ward linkage; empty in the last row of a kind), name.
    """
    kinds = list(frame["kind"].unique())
    figure, axes = style.panels(len(kinds), height=3.2)
    for axis, kind in zip(axes, kinds, strict=True):
        part = frame[frame["kind"] == kind]
        tree = part[["left", "right", "distance", "cells"]].dropna().to_numpy(float)
        names = part["name"].to_list()
        dendrogram(tree, labels=names, ax=axis, color_threshold=0, above_threshold_color="0.2", leaf_font_size=6)
        axis.set(title=kind, ylabel="Ward distance of profiles")
        axis.tick_params(axis="x", rotation=90)
    return figure


@style.draws("dataset", "architecture", "depth", "k", "layer", "quantity", "mean", "lower", "upper", "seeds")
def layers(frame: pd.DataFrame) -> Figure:
    """Mean hop distance and the curvature due to hubs against layer, a column per data set, at each cell's best k.

    Args:
        frame: columns dataset, architecture, depth, layer, quantity, mean, lower, upper.
    """
    datasets = datasets_of(frame)
    quantities = {"hop distance": "mean hop distance", "curvature": "curvature due to hubs"}
    figure, axes = style.panels(len(datasets), rows=2, height=3.6)
    for row, (quantity, name) in enumerate(quantities.items()):
        for dataset, axis in zip(datasets, axes[row * len(datasets) :], strict=False):
            part = frame[(frame["dataset"] == dataset) & (frame["quantity"] == quantity)]
            _curves(axis, part, "layer", "mean", frame["depth"])
            axis.set_xticks([1, 5, 11] if frame["layer"].max() > 5 else [1, 3, 5])
            axis.tick_params(labelsize=6)
        axes[row * len(datasets)].set_ylabel(name)
    for dataset, top, bottom in zip(datasets, axes, axes[len(datasets) :], strict=False):
        label = DATASETS[dataset]["label"]
        short = label.split(":")[0].replace(" ", "\n", 1)
        top.set_title(short if len(datasets) > 4 else label, loc="left", fontsize=7)
        bottom.set_xlabel("layer")
    handles = _curve_handles(frame["depth"])
    style.legend_below(figure, handles, "each cell at its own best k; band: 95 % interval over nets", 5)
    return figure
