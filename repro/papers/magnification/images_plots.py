"""Figures of image classifiers along segments and in planes."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style
from repro.papers.magnification.looks import STATES, mark_classes, state_handles

PLACES: dict[str, dict[str, Any]] = {
    "peak, trained": {"color": style.BLUE, "marker": "o"},
    "trained, less offset": {"color": style.BLUE, "marker": "o", "markerfacecolor": "white"},
    "peak, shuffled": {"color": style.SKY, "marker": "v"},
    "peak, untrained": {"color": "0.5", "marker": "D"},
    "t = 1/2": {"color": style.VERMILION, "marker": "s"},
    "best constant": {"color": style.ORANGE, "marker": "^"},
}


@style.draws("kind", "segment", "part", "state", "x", "y", "value", "class")
def example_segments(frame: pd.DataFrame) -> Figure:
    """Log-volume along segments of one net of each kind, marked by the predicted class, with the images on top.

    Args:
        frame: columns kind, segment, part (curve, left, middle, right), state, x, y, value, class; see
            `images_analysis.examples`.
    """
    kinds, numbers = list(frame["kind"].unique()), sorted(frame["segment"].unique())
    figure, axes = style.panels(len(kinds), rows=len(numbers), height=0.6 + 2.3 * len(numbers))
    for axis, (number, kind) in zip(axes, [(n, k) for n in numbers for k in kinds], strict=True):
        part = frame[(frame["kind"] == kind) & (frame["segment"] == number)]
        curves = part[part["part"] == "curve"]
        for state, line in curves.groupby("state"):
            look = STATES[str(state)]
            axis.plot(line["x"], line["y"], color=look["color"], linestyle=look["linestyle"], linewidth=0.9)
            if state == "trained":
                mark_classes(axis, line, "x", "y")
        low, high = curves["y"].min(), curves["y"].max()
        axis.set_ylim(low - 0.05 * (high - low), high + 0.65 * (high - low))
        for place, left in (("left", 0.02), ("middle", 0.37), ("right", 0.72)):
            pixels = part[part["part"] == place]
            inset = axis.inset_axes((left, 0.7, 0.26, 0.28))
            inset.imshow(_square(pixels), cmap="gray_r", vmin=0, vmax=1)
            inset.set_axis_off()
        if number == numbers[0]:
            axis.set_title(kind, fontsize=8)
        if number == numbers[-1]:
            axis.set_xlabel("place on the segment, t")
    for axis in axes[:: len(kinds)]:
        axis.set_ylabel("log$_{10}$ volume, less mean")
    style.legend_below(figure, state_handles(marker=""), "marks and colours: class that the trained net reads", 2)
    return figure


@style.draws("kind", "state", "net", "crossing", "peak")
def peaks_and_crossings(frame: pd.DataFrame) -> Figure:
    """Place of the peak against that of the crossing, a point per segment, before and after training.

    Args:
        frame: columns kind, state, net, crossing, peak.
    """
    kinds, states = list(frame["kind"].unique()), ["untrained", "trained"]
    figure, axes = style.panels(len(kinds), rows=2, height=5.0)
    for axis, (state, kind) in zip(axes, [(s, k) for s in states for k in kinds], strict=True):
        part = frame[(frame["kind"] == kind) & (frame["state"] == state)]
        look = STATES[state]
        axis.plot([0, 1], [0, 1], color="0.2", linewidth=0.8)
        axis.plot([0, 1], [part["crossing"].median()] * 2, color=style.ORANGE, linestyle="--", linewidth=1)
        axis.scatter(part["crossing"], part["peak"], s=7, color=look["color"], marker=look["marker"], alpha=0.4,
                     linewidths=0)  # fmt: skip
        axis.set(xlim=(0, 1), ylim=(-0.03, 1.03), aspect="equal", title=f"{kind}, {state}")
        axis.title.set_fontsize(8)
        if state == "trained":
            axis.set_xlabel("crossing of the trained net")
    for axis in axes[:: len(kinds)]:
        axis.set_ylabel("peak of the volume")
    handles = [
        Line2D([], [], color="0.2", label="peak at the crossing"),
        Line2D([], [], color=style.ORANGE, linestyle="--", label="best constant guess"),
    ]
    style.legend_below(figure, handles, f"a point per segment, of {frame['net'].nunique()} nets of each kind", 2)
    return figure


@style.draws("kind", "segments", "place", "mean", "lower", "upper", "nets")
def distances(frame: pd.DataFrame) -> Figure:
    """Mean distance from the trained net's crossing: of the peak, and of what should be farther from it.

    Args:
        frame: columns kind, segments (all, off centre), place, mean, lower, upper, nets.
    """
    kinds = list(frame["kind"].unique())
    figure, axes = style.panels(2, height=3.2, sharey=True)
    for axis, segments in zip(axes, ("all", "off centre"), strict=True):
        part = frame[frame["segments"] == segments]
        for offset, (place, look) in zip(np.linspace(-0.3, 0.3, len(PLACES)), PLACES.items(), strict=True):
            chosen = part[part["place"] == place]
            at = chosen["kind"].map(kinds.index) + offset
            style.with_interval(axis, chosen.assign(at=at), "at", look | {"linestyle": ""})
        axis.set_xticks(range(len(kinds)), [kind.replace(", ", ",\n") for kind in kinds])
        axis.set(xlim=(-0.5, len(kinds) - 0.5), title={"all": "all segments"}.get(segments, "crossing off the centre"))
    axes[0].set(ylabel="distance from the crossing", ylim=(0, 1.05 * frame["upper"].max()))
    handles = [Line2D([], [], linestyle="", label=place, **look) for place, look in PLACES.items()]
    title = f"less offset: without what is common to a net's segments. {style.interval_meaning(frame, 'bars', 'nets')}"
    style.legend_below(figure, handles, title, len(PLACES))
    return figure


@style.draws("kind", "segments", "state", "net", "range", "interior")
def within_and_between(frame: pd.DataFrame) -> Figure:
    """Range of the log-volume along segments, and how often it peaks inside: within a class and between classes.

    Args:
        frame: columns kind, segments (same, between), state, net, range (decades), interior (share).
    """
    kinds = list(frame["kind"].unique())
    quantities = {
        "range": "median range of the\nlog$_{10}$ volume (decades)",
        "interior": "share of segments\nthat peak inside",
    }
    figure, axes = style.panels(len(kinds), rows=2, height=4.4)
    for axis, (quantity, kind) in zip(axes, [(q, k) for q in quantities for k in kinds], strict=True):
        part = frame[frame["kind"] == kind]
        for left, (state, look) in zip((2, 0), STATES.items(), strict=True):
            pairs = part[part["state"] == state].pivot(index="net", columns="segments", values=quantity)
            at = left + np.array([0.2, 0.8])
            axis.plot(at, pairs[["same", "between"]].to_numpy().T, color="0.8", linewidth=0.7, zorder=1)
            for place, segments in zip(at, ("same", "between"), strict=True):
                marks = {"color": look["color"], "marker": look["marker"], "linestyle": "", "markersize": 3.5}
                axis.plot(np.full(len(pairs), place), pairs[segments], **marks)
        axis.set_xticks([0.2, 0.8, 2.2, 2.8], ["1", "2"] * 2)
        axis.set(xlim=(-0.3, 3.3), ylim=(0, 1.05) if quantity == "interior" else (0, None))
        if quantity == "range":
            axis.set_title(kind, fontsize=8)
        else:
            axis.set_xlabel("classes of a segment's ends")
    for axis, label in zip(axes[:: len(kinds)], quantities.values(), strict=True):
        axis.set_ylabel(label)
    title = f"a pair of points per net, n = {frame['net'].nunique()}"
    style.legend_below(figure, state_handles(linestyle=""), title, 2)
    return figure


@style.draws("kind", "part", "x", "y", "value")
def planes(frame: pd.DataFrame) -> Figure:
    """A plane through three images for each kind of net: class, entropy, and log-volume after and before training.

    Args:
        frame: columns kind, part, x, y, value; see `images_analysis.planes`.
    """
    kinds = list(frame["kind"].unique())
    parts = ["class", "entropy", "log volume", "log volume, untrained"]
    titles = ["predicted class", "entropy (base 10)", "log$_{10}$ volume, trained", "log$_{10}$ volume, untrained"]
    figure, axes = style.panels(len(parts), rows=len(kinds), height=0.4 + 1.75 * len(kinds))
    for axis, (kind, part) in zip(axes, [(k, p) for k in kinds for p in parts], strict=True):
        chosen = frame[frame["kind"] == kind]
        classes, values = (_square(chosen[chosen["part"] == name]) for name in ("class", part))
        look: dict[str, Any] = {"origin": "lower", "extent": (-1, 1, -1, 1)}
        if part == "class":
            axis.imshow(values, cmap="tab10", vmin=-0.5, vmax=9.5, interpolation="nearest", **look)
            _anchors(axis, chosen)
        else:
            limits: dict[str, Any] = {"vmin": 0, "vmax": 1} if part == "entropy" else {}
            shown = axis.imshow(values, cmap="viridis" if limits == {} else "cividis", **look, **limits)
            figure.colorbar(shown, ax=axis, shrink=0.75)
        line = np.linspace(-1, 1, len(classes))
        for number in np.unique(classes):
            for width, colour in ((1.4, "white"), (0.6, "black")):
                axis.contour(line, line, classes == number, levels=[0.5], colors=colour, linewidths=width)
        axis.set_xticks([])
        axis.set_yticks([])
        if kind == kinds[0]:
            axis.set_title(titles[parts.index(part)], fontsize=8)
    for axis, kind in zip(axes[:: len(parts)], kinds, strict=True):
        axis.set_ylabel(kind)
    return figure


@style.draws("kind", "state", "net", "junction")
def junctions(frame: pd.DataFrame) -> Figure:
    """Volume where three classes meet over that on boundaries of two, a pair of points per net.

    Args:
        frame: columns kind, state, net, junction (decades).
    """
    kinds = list(frame["kind"].unique())
    figure, (axis,) = style.panels(1, width=style.COLUMN, height=2.8)
    for position, kind in enumerate(kinds):
        table = frame[frame["kind"] == kind].pivot(index="net", columns="state", values="junction")
        at = position + np.array([-0.15, 0.15])
        axis.plot(at, table[["untrained", "trained"]].to_numpy().T, color="0.8", linewidth=0.7, zorder=1)
        for place, state in zip(at, ("untrained", "trained"), strict=True):
            look = {name: STATES[state][name] for name in ("color", "marker")}
            axis.plot(np.full(len(table), place), table[state], linestyle="", markersize=3.5, **look)
    axis.axhline(0, color="0.2", linewidth=0.8)
    axis.set_xticks(range(len(kinds)), [kind.replace(", ", ",\n") for kind in kinds])
    axis.set(xlim=(-0.5, len(kinds) - 0.5), ylabel="log$_{10}$ volume, junction − boundary")
    style.legend_below(figure, state_handles(linestyle=""), f"a pair per net, n = {frame['net'].nunique()}", 2)
    return figure


@style.draws("kind", "state", "net", "crossing", "peak")
def misread(frame: pd.DataFrame) -> Figure:
    """Peaks on segments from misread images against the net's crossing; the labels change at the mid-point.

    Args:
        frame: columns kind, state, net, crossing, peak.
    """
    panels = [(kind, state) for kind in frame["kind"].unique() for state in ("untrained", "trained")]
    figure, axes = style.panels(len(panels), height=2.7, sharey=True)
    for axis, (kind, state) in zip(axes, panels, strict=True):
        part = frame[(frame["kind"] == kind) & (frame["state"] == state)]
        look = STATES[state]
        axis.plot([0, 1], [0, 1], color="0.2", linewidth=0.8)
        axis.plot([0, 1], [0.5, 0.5], color=style.VERMILION, linestyle="--", linewidth=1)
        axis.scatter(part["crossing"], part["peak"], s=9, color=look["color"], marker=look["marker"], alpha=0.5,
                     linewidths=0)  # fmt: skip
        axis.set(xlim=(0, 1), ylim=(-0.03, 1.03), aspect="equal", xlabel="trained net's crossing")
        axis.set_title(f"{kind}, {state}", fontsize=8)
    axes[0].set_ylabel("peak of the volume")
    handles = [
        Line2D([], [], color="0.2", label="peak at the net's boundary"),
        Line2D([], [], color=style.VERMILION, linestyle="--", label="where the labels change"),
    ]
    style.legend_below(figure, handles, f"a point per segment, of {frame['net'].nunique()} nets of each kind", 2)
    return figure


@style.draws("state", "line", "t", "log10_volume")
def concave(frame: pd.DataFrame) -> Figure:
    """Log-volume along straight lines of a net with fewer units than inputs: concave, trained or not.

    Args:
        frame: columns state, line, t, log10_volume (less its largest value).
    """
    figure, axes = style.panels(2, height=2.7)
    for axis, state in zip(axes, ("untrained", "trained"), strict=True):
        for _, line in frame[frame["state"] == state].groupby("line"):
            axis.plot(line["t"], line["log10_volume"], color=STATES[state]["color"], linewidth=0.8)
            top = line.sort_values("log10_volume").iloc[[-1]]
            axis.plot(top["t"], top["log10_volume"], "v", color="black", markersize=3)
        axis.set(xlim=(0, 1), title=f"{state}: every curve is concave", xlabel="place on a straight line, t")
    axes[0].set_ylabel("log$_{10}$ volume, less its largest")
    handle = Line2D([], [], color="black", marker="v", linestyle="", label="peak of a line")
    style.legend_below(figure, [handle], "a bump inside a segment is a theorem here, and no evidence of training", 1)
    return figure


@style.draws("kind", "state", "number", "log10_value")
def spectra(frame: pd.DataFrame) -> Figure:
    """Singular values of the Jacobian at one test image, before and after training.

    Args:
        frame: columns kind, state, number, log10_value.
    """
    kinds = list(frame["kind"].unique())
    figure, axes = style.panels(len(kinds), height=2.6)
    for axis, kind in zip(axes, kinds, strict=True):
        for state, look in STATES.items():
            line = frame[(frame["kind"] == kind) & (frame["state"] == state)]
            axis.plot(line["number"], line["log10_value"], color=look["color"], linestyle=look["linestyle"])
        axis.axvline(10, color=style.VERMILION, linestyle="--", linewidth=0.8)
        axis.set(title=kind, xlabel="number of the singular value", xscale="log")
    axes[0].set_ylabel("log$_{10}$ singular value of J/√n")
    cut = Line2D([], [], color=style.VERMILION, linestyle="--", label="k = 10")
    style.legend_below(figure, [*state_handles(marker=""), cut], "at one test image", 3)
    return figure


def _anchors(axis: Axes, frame: pd.DataFrame) -> None:
    """The three images at their places."""
    for number, (a, b) in enumerate(((-0.5, 0.29), (0.5, 0.29), (0.0, -0.58)), 1):
        inset = axis.inset_axes((a - 0.22, b - 0.22, 0.44, 0.44), transform=axis.transData)
        inset.imshow(_square(frame[frame["part"] == f"image {number}"]), cmap="gray_r", vmin=0, vmax=1)
        inset.set_axis_off()


def _square(pixels: pd.DataFrame) -> np.ndarray:
    """Values of a square grid as an array, row by row."""
    ordered = pixels.sort_values(["y", "x"])
    side = round(np.sqrt(len(ordered)))
    return ordered["value"].to_numpy(float).reshape(side, side)
