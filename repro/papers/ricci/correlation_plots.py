"""Figures of the correlation between curvature and expansion (arXiv 2404.14265): signs, scales, accuracy."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from repro import style
from repro.papers.ricci.looks import CONDITIONS, DATASETS, INITIAL, SHUFFLED_LAYERS, dataset_panels
from repro.papers.ricci.study import ARCHITECTURES, KEY, PUBLISHED_SHARE, PUBLISHED_T


@style.draws("dataset", "architecture", "depth", "condition", "net", "k", "rho")
def distributions(frame: pd.DataFrame) -> Figure:
    """Coefficient of every net by cell, a panel per data set, with the untrained and shuffled-label nets beside.

    Args:
        frame: columns dataset, architecture, depth, condition, rho (one row per net; NaN is left out).
    """
    frame = frame.dropna(subset=["rho"])
    figure, axes, left = dataset_panels(frame, columns=2, base=0.7, height=1.6, sharey=True)
    cells = _cells(frame)
    conditions = [name for name in CONDITIONS if name in set(frame["condition"])]
    offsets = np.linspace(-0.3, 0.3, len(conditions)) if len(conditions) > 1 else [0.0]
    for dataset, axis in axes.items():
        nets = frame[frame["dataset"] == dataset].set_index(["condition", "architecture", "depth"])["rho"]
        for condition, offset in zip(conditions, offsets, strict=True):
            for position, cell in enumerate(cells):
                if (condition, *cell) in nets.index:
                    values = nets.loc[[(condition, *cell)]].to_numpy(float)
                    _points(axis, position + offset, values, CONDITIONS[condition])
        axis.axhline(0, color="0.2", linewidth=0.8)
        axis.set(ylim=(-1.05, 1.05), xlim=(-0.6, len(cells) - 0.4))
        axis.set_xticks(range(len(cells)), [f"{a}\n{d}" for a, d in cells])
    for axis in left:
        axis.set_ylabel("coefficient ρ")
    handles = [Line2D([], [], linestyle="", markersize=4, **CONDITIONS[name]) for name in conditions]
    title = "a point per net, bar: median; columns: width and number of hidden layers"
    style.legend_below(figure, handles, title, 4)
    return figure


def _points(axis: Axes, position: float, values: np.ndarray, look: dict[str, Any]) -> None:
    """Nets in a narrow column, spread by rank so that equal inputs give equal pictures, and their median."""
    spread = 0.07 * np.sin(2.4 * np.arange(len(values)))
    axis.scatter(position + spread, values, s=6, color=look["color"], marker=look["marker"], alpha=0.6, linewidths=0)
    axis.plot([position - 0.1, position + 0.1], [np.median(values)] * 2, color="black", linewidth=1.2)


def _cells(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Architectures by depth, in the paper's order."""
    found = {(a, int(d)) for a, d in frame[["architecture", "depth"]].itertuples(index=False)}
    return sorted(found, key=lambda cell: (cell[1], ARCHITECTURES.index(cell[0])))


@style.draws(
    "dataset", "architecture", "depth", "points", "k", "coefficient", "lower", "upper", "connected", "nets", "best"
)
def scales(frame: pd.DataFrame) -> Figure:
    """Pooled coefficient over k and cell, synthetic data and images apart; the best k of each cell in a box.

    Args:
        frame: columns dataset, architecture, depth, k, coefficient, connected, best.
    """
    kinds = [part for _, part in frame.groupby(frame.groupby(KEY)["k"].transform("max"), sort=True)]
    heights = [0.16 * part["k"].nunique() + 0.5 for part in kinds]
    figure, axes = mpl.pyplot.subplots(
        len(kinds), 1, figsize=(style.PAGE, 0.6 + sum(heights)), squeeze=False, height_ratios=heights
    )
    for axis, part in zip(axes[:, 0], kinds, strict=True):
        cells = _ordered(part)
        coefficient, connected, best = (
            part.pivot(index="k", columns=KEY, values=name)[cells].sort_index()
            for name in ("coefficient", "connected", "best")
        )
        _heat(axis, coefficient, connected.to_numpy(float) < 0.5)
        _label_cells(axis, cells)
        for row, column in np.argwhere(best.to_numpy(bool)):
            axis.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="black", linewidth=1.8))
        axis.set_ylabel("neighbours k")
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(-1, 1), "RdBu")
    figure.colorbar(scale, ax=list(axes[:, 0]), label="pooled coefficient", fraction=0.03, pad=0.01)
    figure.supxlabel(
        "width (N 25, W 50, B 50 with a middle of 25) and depth; box: best k; hatched: most nets disconnected",
        fontsize=7,
    )
    return figure


def _heat(axis: Axes, table: pd.DataFrame, ineligible: np.ndarray) -> None:
    numbers = table.map(lambda value: _signed(value, 1))
    sns.heatmap(
        table, ax=axis, vmin=-1, vmax=1, cmap="RdBu", cbar=False, annot=numbers, fmt="", annot_kws={"fontsize": 4.5},
        linewidths=0.3, linecolor="0.9", mask=table.isna(),
    )  # fmt: skip
    for row, column in np.argwhere(ineligible | table.isna().to_numpy()):
        axis.add_patch(Rectangle((column, row), 1, 1, fill=False, hatch="////", edgecolor="0.6", linewidth=0))
    axis.set_yticks(np.arange(len(table)) + 0.5, [f"{k}" for k in table.index], rotation=0, fontsize=6)


def _label_cells(axis: Axes, cells: list[tuple[str, str, int]]) -> None:
    """Width and depth under each column, the data set over its columns."""
    labels = [f"{INITIAL[architecture]}{depth}" for _, architecture, depth in cells]
    axis.set_xticks(np.arange(len(cells)) + 0.5, labels, rotation=0, fontsize=6)
    axis.set_xlabel("")
    datasets = [dataset for dataset, *_ in cells]
    for dataset in dict.fromkeys(datasets):
        first, count = datasets.index(dataset), datasets.count(dataset)
        axis.text(first + count / 2, -0.25, DATASETS[dataset]["label"], ha="center", va="bottom", fontsize=6.5)
        if first:
            axis.axvline(first, color="black", linewidth=0.8)


def _signed(value: float, digits: int) -> str:
    """A number with a proper minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def _ordered(frame: pd.DataFrame) -> list[tuple[str, str, int]]:
    cells = {(d, a, int(n)) for d, a, n in frame[KEY].itertuples(index=False)}
    return sorted(cells, key=lambda c: (list(DATASETS).index(c[0]), c[2], ARCHITECTURES.index(c[1])))


@style.draws("condition", "choice", "share", "lower", "upper", "nets", "convention")
def shares(frame: pd.DataFrame) -> Figure:
    """Share of nets with a negative coefficient: trained nets beside the nulls, by how k was chosen, a panel each.

    Args:
        frame: columns convention, condition, choice, share, lower, upper, nets.
    """
    conventions, choices = list(frame["convention"].unique()), list(frame["choice"].unique())
    figure, axes = style.panels(1, rows=len(conventions), height=0.8 + 1.7 * len(conventions))
    looks = CONDITIONS | {"shuffled layers": SHUFFLED_LAYERS}
    for axis, convention in zip(axes, conventions, strict=True):
        part = frame[frame["convention"] == convention]
        for number, (condition, look) in enumerate(looks.items()):
            rows = part[part["condition"] == condition]
            positions = np.array([choices.index(choice) for choice in rows["choice"]]) + 0.13 * (number - 2)
            bars = np.abs(rows[["lower", "upper"]].to_numpy(float).T - rows["share"].to_numpy(float))
            axis.errorbar(positions, rows["share"], yerr=bars, linestyle="", **look)
        axis.axhline(
            PUBLISHED_SHARE, color="black", linestyle="--", linewidth=0.8, label=f"paper, trained: {PUBLISHED_SHARE}"
        )
        axis.axhline(0.5, color="0.7", linewidth=0.8)
        axis.set(ylim=(0, 1.02), title=f"{convention} graphs", xlim=(-0.5, len(choices) - 0.5))
        axis.set_ylabel("share of nets with ρ < 0")
        axis.set_xticks(range(len(choices)), choices)
    handles = axes[0].get_legend_handles_labels()[0]
    style.legend_below(figure, handles, "bars: 95 % interval over nets", 3)
    return figure


@style.draws("dataset", "architecture", "depth", "net", "z_centred", "accuracy_centred")
def accuracy(frame: pd.DataFrame) -> Figure:
    """Test accuracy against z, both less their cell's mean, a panel per data set.

    Args:
        frame: columns dataset, depth, z_centred, accuracy_centred.
    """
    figure, axes, left = dataset_panels(frame, columns=4, base=0.6, height=1.8)
    pair: list[dict[str, Any]] = [{"color": style.BLUE, "marker": "o"}, {"color": style.ORANGE, "marker": "^"}]
    looks = dict(zip(sorted(frame["depth"].unique()), pair, strict=False))
    for dataset, axis in axes.items():
        for depth, look in looks.items():
            nets = frame[(frame["dataset"] == dataset) & (frame["depth"] == depth)]
            axis.scatter(nets["z_centred"], 100 * nets["accuracy_centred"], s=7, alpha=0.7, linewidths=0, **look)
        axis.axhline(0, color="0.8", linewidth=0.6, zorder=0)
        axis.axvline(0, color="0.8", linewidth=0.6, zorder=0)
    for axis in left:
        axis.set_ylabel("accuracy − cell mean (%)")
    figure.supxlabel("z − cell mean", fontsize=8)
    handles = [Line2D([], [], linestyle="", label=f"{depth} layers", **look) for depth, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower right", ncols=2)
    return figure


@style.draws(
    "convention",
    "model",
    "name",
    "t",
    "t_lower",
    "t_upper",
    "p",
    "partial_correlation",
    "lower",
    "upper",
    "nets",
    "null_mean",
    "null_lower",
    "null_upper",
    "permutation_p",
)
def accuracy_models(frame: pd.DataFrame) -> Figure:
    """t of the coefficient in every fit of test accuracy, over its distribution under permutation within cells.

    Args:
        frame: columns convention, model, name, t, t_lower, t_upper, null_lower, null_upper.
    """
    figure, axes = style.panels(frame["model"].nunique(), height=0.9 + 0.085 * len(frame), sharey=True)
    looks: dict[str, dict[str, Any]] = {
        "directed": {"color": style.BLUE, "marker": "o"},
        "union": {"color": style.ORANGE, "marker": "s"},
    }
    names = list(frame["name"].unique())
    for axis, (model, part) in zip(axes, frame.groupby("model", sort=False), strict=True):
        for convention, look in looks.items():
            for _, fit in part[part["convention"] == convention].iterrows():
                row = names.index(fit["name"]) + (0.18 if convention == "union" else -0.18)
                null = fit["null_upper"] - fit["null_lower"]
                axis.barh(row, null, left=fit["null_lower"], height=0.3, color="0.85", zorder=1)
                axis.plot([fit["t_lower"], fit["t_upper"]], [row, row], color=look["color"], zorder=2)
                axis.plot(fit["t"], row, color=look["color"], marker=look["marker"], zorder=3)
        axis.axvline(0, color="0.2", linewidth=0.8)
        axis.axvline(PUBLISHED_T, color="black", linestyle="--", linewidth=0.9)
        axis.set(title=model, xlabel="t of the coefficient")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    handles: list[Artist] = [Line2D([], [], label=f"{name} graphs", **look) for name, look in looks.items()]
    handles += [Patch(color="0.85", label="95 % of permutations within cells")]
    handles += [Line2D([], [], color="black", linestyle="--", label=f"paper: t = {_signed(PUBLISHED_T, 2)}")]
    style.legend_below(figure, handles, "line: 95 % interval of the estimate in units of its standard error", 4)
    return figure
