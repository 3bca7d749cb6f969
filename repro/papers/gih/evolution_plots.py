"""Figures of how the average geometry changes, at the start and during training."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style
from repro.papers.gih.evolution import G0, G2, GSG, IDENTITY, LABELS, G, S
from repro.papers.gih.evolution_analysis import KINDS, NAMES
from repro.papers.gih.looks import CRITERION

Look = dict[str, Any]

# Those that coincide in theory (G S G and S where G is isotropic) keep apart: open markers are the larger ones.
CANDIDATE_LOOKS: dict[str, Look] = {
    GSG: style.LOOKS[0] | {"zorder": 4},
    S: style.LOOKS[1] | {"markersize": 7, "markerfacecolor": "none"},
    G: style.LOOKS[2],
    G2: style.LOOKS[3] | {"markersize": 7, "markerfacecolor": "none"},
    IDENTITY: {"color": "0.35", "marker": "x", "linestyle": (0, (1, 2)), "markersize": 5},
}
BASELINE_LOOKS = {GSG: CANDIDATE_LOOKS[GSG], S: CANDIDATE_LOOKS[S], G0: style.LOOKS[2]}
KIND_LOOKS = dict(zip(KINDS, style.LOOKS, strict=False))
SHOWN = {GSG: "G S G"}
SIZES = {"dense": "units", "residual": "channels"}


@style.draws("kind", "nonlinearity", "width", "candidate", "mean", "lower", "upper", "draws")
def start(frame: pd.DataFrame, least: float) -> Figure:
    """Cosine of −Δ with each candidate over the width, a panel for each sort of network and activation function.

    Args:
        frame: columns kind, nonlinearity, width, candidate, mean, lower, upper, draws.
        least: the declared limit of the cosine with G S G, drawn as a line.
    """
    columns = [name for name in NAMES.values() if name in set(frame["nonlinearity"])]
    figure, axes = style.panels(len(columns), rows=len(KINDS), height=4.6, sharey=True)
    for row, kind in enumerate(KINDS):
        for column, nonlinearity in enumerate(columns):
            axis = axes[row * len(columns) + column]
            part = frame[(frame["kind"] == kind) & (frame["nonlinearity"] == nonlinearity)]
            spread = 0.02 * np.log(part["width"].max() / part["width"].min()) if len(part) else 0.0
            for number, (name, look) in enumerate(CANDIDATE_LOOKS.items()):  # side by side, so that bars can be seen
                curve = part[part["candidate"] == name].sort_values("width")
                curve = curve.assign(place=curve["width"] * np.exp(spread * (number - 2)))
                style.with_interval(axis, curve, "place", look)
            axis.axhline(least, **CRITERION)
            axis.axhline(0, color="0.2", linewidth=0.6)
            axis.set(title=f"{kind}, {nonlinearity}", xlabel=f"width ({SIZES[kind]})")
            _log_widths(axis, part["width"])
            if column == 0:
                axis.set_ylabel("cosine of −Δ")
    handles = [Line2D([], [], label=SHOWN.get(name, name), **look) for name, look in CANDIDATE_LOOKS.items()]
    handles.append(Line2D([], [], label=f"declared for G S G: above {least:g}", **CRITERION))
    style.legend_below(figure, handles, _meaning(frame), 6)
    return figure


@style.draws("kind", "labels", "baseline", "step", "mean", "lower", "upper", "draws")
def during(frame: pd.DataFrame) -> Figure:
    """Cosine of Gₜ with G S G, S and G₀ during training, a panel for each sort of network and labels.

    Args:
        frame: columns kind, labels, baseline, step, mean, lower, upper, draws.
    """
    kinds = [kind for kind in reversed(KINDS) if kind in set(frame["kind"])]
    figure, axes = style.panels(len(LABELS), rows=len(kinds), height=2.3 * len(kinds) + 0.4, sharey=True)
    for row, kind in enumerate(kinds):
        for column, labels in enumerate(LABELS):
            axis = axes[row * len(LABELS) + column]
            part = frame[(frame["kind"] == kind) & (frame["labels"] == labels)]
            for name, look in BASELINE_LOOKS.items():
                style.with_interval(axis, part[part["baseline"] == name].sort_values("step"), "step", look)
            axis.axhline(0, color="0.2", linewidth=0.6)
            axis.set(title=f"{kind}, {labels} labels")
            if row == len(kinds) - 1:
                axis.set_xlabel("step of training")
            if column == 0:
                axis.set_ylabel("cosine of $G_t$")
    handles = [Line2D([], [], label=SHOWN.get(name, name), **look) for name, look in BASELINE_LOOKS.items()]
    style.legend_below(figure, handles, _meaning(frame), 3)
    return figure


@style.draws("quantity", "kind", "nonlinearity", "mean", "lower", "upper", "draws")
def controls(frame: pd.DataFrame, reach: float) -> Figure:
    """Left the cosine of Δ with G S G, whose sign was derived; right what random targets change.

    Args:
        frame: columns quantity (sign, labels), kind, nonlinearity, mean, lower, upper, draws.
        reach: the declared largest effect of the labels, drawn as lines.
    """
    figure, axes = style.panels(2, height=2.6)
    labels = ("cosine of Δ with G S G", "added by targets, over |Δ|²")
    titles = ("The geometry shrinks first", "Labels leave it as it is")
    for axis, quantity, label, title in zip(axes, ("sign", "labels"), labels, titles, strict=True):
        part = frame[frame["quantity"] == quantity]
        names = [name for name in NAMES.values() if name in set(part["nonlinearity"])]
        for number, (kind, look) in enumerate(KIND_LOOKS.items()):
            mine = part[part["kind"] == kind]
            place = mine["nonlinearity"].map(names.index) + 0.16 * (number - 0.5)
            style.with_interval(axis, mine.assign(place=place), "place", look | {"linestyle": "none"})
        axis.axhline(0, color="0.2", linewidth=0.6)
        axis.set(ylabel=label, title=title, xlim=(-0.6, len(names) - 0.4))
        axis.set_xticks(np.arange(len(names)), names)
    for end in (-reach, reach):
        axes[1].axhline(end, **CRITERION)
    for axis, quantity, least in zip(axes, ("sign", "labels"), (0.1, 1.6 * reach), strict=True):
        low, high = style.extent(frame[frame["quantity"] == quantity], least=-np.inf)
        axis.set_ylim(min(1.05 * low, -least), max(1.05 * high, least))
    handles = [Line2D([], [], label=kind, **look | {"linestyle": "none"}) for kind, look in KIND_LOOKS.items()]
    handles.append(Line2D([], [], label=f"declared: within {reach:g}", **CRITERION))
    style.legend_below(figure, handles, _meaning(frame), 3)
    return figure


def _log_widths(axis: Axes, widths: pd.Series) -> None:
    axis.set_xscale("log")
    style.size_ticks(axis, widths)
    axis.set_xlim(widths.min() / 1.3, widths.max() * 1.3)


def _meaning(frame: pd.DataFrame) -> str:
    return f"corrected for the noise of finitely many networks; {style.interval_meaning(frame, 'bars', 'draws')}"
