"""Figures of tangent kernels before and after training (arXiv 2007.11471)."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro import style

KERNEL_LOOK: dict[str, dict[str, Any]] = {  # colour, marker and line tell the curves apart, any one of them alone
    "initial": {"color": style.ORANGE, "marker": "s", "linestyle": "--", "label": "before training"},
    "final": {"color": style.BLUE, "marker": "o", "linestyle": "-", "label": "after training"},
    "initial, labels permuted": {
        "color": "0.55", "marker": "x", "linestyle": ":", "label": "before, labels permuted",
    },
    "final, labels permuted": {
        "color": "0.3", "marker": "+", "linestyle": "-.", "label": "after, labels permuted",
    },
}  # fmt: skip
LEARNERS: dict[Any, dict[str, Any]] = {
    "net": {"color": "black", "marker": "o", "linestyle": "-", "label": "net"},
    "analytic": {"color": style.VERMILION, "marker": "s", "linestyle": "--", "label": "analytic NTK"},
    "lazy": {"color": style.VERMILION, "marker": "s", "linestyle": "--", "label": "initial NTK, training set"},
    "initial": {"color": style.ORANGE, "marker": "^", "linestyle": "--", "label": "initial NTK, fresh set"},
    "final": {"color": style.BLUE, "marker": "v", "linestyle": "-", "label": "final NTK, fresh set"},
    "stretched": {"color": style.GREEN, "marker": "D", "linestyle": "-.", "label": "analytic NTK, stretched"},
    "stretched_B": {
        "color": style.GREEN,
        "marker": "d",
        "linestyle": ":",
        "label": "analytic NTK, stretched by $\\Lambda_B$",
    },
    "wrong_axis": {"color": style.GREY, "marker": "X", "linestyle": ":", "label": "analytic NTK, wrong axis kept"},
    "last_layer_initial": {"color": style.PINK, "marker": "<", "linestyle": ":", "label": "last layer, before"},
    "last_layer_final": {"color": style.SKY, "marker": ">", "linestyle": ":", "label": "last layer, after"},
    "laplace": {"color": style.BROWN, "marker": "P", "linestyle": ":", "label": "Laplace kernel"},
    "laplace_stretched": {"color": style.BROWN, "marker": "*", "linestyle": ":", "label": "Laplace kernel, stretched"},
}
QUANTITIES = {
    "information": "I(φ₁; y) (bits)",
    "share": "share of |y|² on top 10",
    "alignment": "alignment y·Ky / (p |K|)",
}
SPECTRA = {"information": "I(φᵣ; y) (bits)", "share": "share of |y|² on φ₁ … φᵣ"}


@style.draws("train_size", "mean", "lower", "upper", "seeds", "quantity", "subject", optional=("dimension",))
def before_and_after(frame: pd.DataFrame) -> Figure:
    """Information, share and alignment against training points: a column each, a row per dimension.

    Args:
        frame: columns quantity, subject, train_size, mean, lower, upper, seeds and, for several rows, dimension.
    """
    rows = _rows(frame)
    figure, axes = style.panels(len(QUANTITIES), rows=len(rows), height=0.6 + 2.0 * len(rows))
    tops = frame.groupby("quantity")["upper"].max().fillna(frame.groupby("quantity")["mean"].max())
    for row, (title, part) in enumerate(rows):
        for column, (quantity, name) in enumerate(QUANTITIES.items()):
            axis = axes[row * len(QUANTITIES) + column]
            for shift, (subject, look) in zip((0.98, 1.02, 0.98, 1.02), KERNEL_LOOK.items(), strict=True):
                chosen = part[(part["quantity"] == quantity) & (part["subject"] == subject)]
                shifted = chosen.assign(train_size=chosen["train_size"] * shift)  # so that bars do not hide one another
                style.with_interval(axis, shifted, "train_size", look)
            axis.set(xscale="log", ylabel=name, ylim=(0, 1.1 * tops[quantity]))
            style.size_ticks(axis, part["train_size"])
            if title:
                axis.set_title(title, loc="left")
            if row == len(rows) - 1:
                axis.set_xlabel("points p")
    style.legend_below(figure, axes[0].get_legend_handles_labels()[0], style.interval_meaning(frame), 4)
    return figure


@style.draws("rank", "mean", "lower", "upper", "seeds", "quantity", "subject", optional=("dimension",))
def spectra(frame: pd.DataFrame) -> Figure:
    """Information of each leading eigenvector, and the share of the label on the first ones, a row per dimension.

    Args:
        frame: columns quantity, subject, rank, mean, lower, upper, seeds and, for several rows, dimension.
    """
    rows = _rows(frame)
    figure, axes = style.panels(len(SPECTRA), rows=len(rows), height=0.6 + 2.0 * len(rows))
    for row, (title, part) in enumerate(rows):
        for column, (quantity, name) in enumerate(SPECTRA.items()):
            axis = axes[row * len(SPECTRA) + column]
            for subject, look in KERNEL_LOOK.items():
                chosen = part[(part["quantity"] == quantity) & (part["subject"] == subject)]
                style.with_interval(axis, chosen, "rank", look)
            axis.set(ylabel=name, ylim=(0, 1), xticks=range(1, int(part["rank"].max()) + 1))
            if title:
                axis.set_title(title, loc="left")
            if row == len(rows) - 1:
                axis.set_xlabel("rank r of the eigenvector")
    style.legend_below(figure, axes[0].get_legend_handles_labels()[0], style.interval_meaning(frame), 4)
    return figure


@style.draws("train_size", "mean", "lower", "upper", "seeds", "learner", optional=("dimension",))
def learning_curves(frame: pd.DataFrame) -> Figure:
    """Test error of each learner against training points, a panel per dimension.

    Args:
        frame: columns learner (keys of `LEARNERS`), train_size, mean, lower, upper, seeds and, for several panels,
            dimension.
    """
    rows = _rows(frame)
    width = style.PAGE if len(rows) > 1 else 5.0
    figure, axes = style.panels(len(rows), width=width, height=3.6, sharey=True)
    learners = list(frame["learner"].unique())
    for axis, (title, part) in zip(axes, rows, strict=True):
        for number, learner in enumerate(learners):
            shift = 1.025 ** (number - (len(learners) - 1) / 2)  # so that bars do not hide one another
            chosen = part[part["learner"] == learner]
            shifted = chosen.assign(train_size=chosen["train_size"] * shift)
            style.with_interval(axis, shifted, "train_size", LEARNERS[learner])
        axis.set(xscale="log", yscale="log", title=title, xlabel="training points p")
        style.size_ticks(axis, part["train_size"])
    axes[0].set_ylabel("test error")
    low = frame["lower"].where(frame["lower"] > 0, frame["mean"]).clip(lower=0.3 * frame["mean"])
    high = frame["upper"].fillna(frame["mean"]).max()
    axes[0].set_ylim(low.min() / 1.1, 1.1 * high)
    style.plain_log_ticks(axes[0], low.min(), high)
    style.legend_below(figure, axes[0].get_legend_handles_labels()[0], style.interval_meaning(frame), 3)
    return figure


@style.draws("learner", "ratio", "lower", "upper", "seeds", optional=("dimension",))
def controls(frame: pd.DataFrame) -> Figure:
    """Test error of each learner relative to the net's, one line each, a panel per dimension.

    Args:
        frame: columns learner (keys of `LEARNERS`), ratio, lower, upper, seeds and, for several panels, dimension.
    """
    rows = _rows(frame)
    learners = list(frame["learner"].unique())
    figure, axes = style.panels(len(rows), height=0.9 + 0.22 * len(learners), sharey=True)
    for axis, (title, part) in zip(axes, rows, strict=True):
        for height, learner in enumerate(learners):
            line = part[part["learner"] == learner].iloc[0]
            look = LEARNERS[learner]
            bars = np.abs([[line["lower"] - line["ratio"]], [line["upper"] - line["ratio"]]])
            axis.errorbar(line["ratio"], height, xerr=bars, color=look["color"], marker=look["marker"])
        axis.axvline(1.0, color="0.2", linewidth=0.8)
        ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50) if 0.7 * part["ratio"].min() <= tick]
        axis.set(xscale="log", title=title, xlabel="test error / net's test error")
        axis.set_xticks([tick for tick in ticks if tick <= 1.5 * part["ratio"].max()])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.grid(axis="y", color="0.9", linewidth=0.6)
    axes[0].set_yticks(range(len(learners)), [LEARNERS[learner]["label"] for learner in learners])
    axes[0].set_ylim(len(learners) - 0.5, -0.5)
    figure.supxlabel(f"{style.interval_meaning(frame)}; geometric mean over p", fontsize=7)
    return figure


@style.draws("seed", "train_size", "ratio", "numerator", "denominator")
def single_ratios(frame: pd.DataFrame) -> Figure:
    """Ratio of test errors of pairs of learners, one mark for each net, a line of marks per pair and size.

    Args:
        frame: columns numerator, denominator (keys of `LEARNERS`), train_size, seed, ratio.
    """
    lines = list(frame.groupby(["numerator", "denominator", "train_size"], sort=False))
    figure, (axis,) = style.panels(1, width=5.0, height=0.7 + 0.3 * len(lines))
    for height, ((numerator, _, _), part) in enumerate(lines):
        look = LEARNERS[numerator]
        axis.plot(part["ratio"], [height] * len(part), look["marker"], color=look["color"], fillstyle="none")
    axis.axvline(1.0, color="0.2", linewidth=0.8)
    names = [f"{LEARNERS[one]['label']}\n/ {LEARNERS[two]['label']}, p = {size}" for (one, two, size), _ in lines]
    axis.set_yticks(range(len(lines)), names)
    axis.set(ylim=(len(lines) - 0.5, -0.5), xlabel="ratio of test errors (a mark for each net)", xlim=(0, None))
    axis.grid(axis="y", color="0.9", linewidth=0.6)
    return figure


def _rows(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Title and part of the frame for each dimension; no title where there is none."""
    if "dimension" not in frame:
        return [("", frame)]
    return [(f"d = {dimension}", part) for dimension, part in frame.groupby("dimension")]
