"""Figures of the compression itself (arXiv 2007.11471): its growth with p, its regimes, its stages, its neurons."""

import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style

GUIDE: dict[str, Any] = {"color": "0.2", "linestyle": ":", "linewidth": 1.6}
REACH = 3.0  # half width of the neuron map, in standard deviations of the data
MOMENTS = ("start", "t*", "90 % satisfied", "end")


@style.draws(
    "definition",
    "dimension",
    "train_size",
    "mean",
    "lower",
    "upper",
    "seeds",
    "slope",
    "slope_lower",
    "slope_upper",
    "saturation",
)
def growth(frame: pd.DataFrame) -> Figure:
    """Λ at t* against training points, a panel per definition, a line per dimension, with Λ_∞ = 0.3676 √p.

    Args:
        frame: columns definition, dimension, train_size, mean, lower, upper, seeds, saturation, slope, slope_lower,
            slope_upper.
    """
    definitions = sorted(frame["definition"].unique())
    figure, axes = style.panels(len(definitions), height=3.0, sharey=True)
    for axis, definition in zip(axes, definitions, strict=True):
        chosen = frame[frame["definition"] == definition]
        for look, (dimension, line) in zip(style.LOOKS, chosen.groupby("dimension"), strict=False):
            slope, low, high = line[["slope", "slope_lower", "slope_upper"]].iloc[0]
            named = look | {"label": f"d = {dimension}: slope {slope:.2f} [{low:.2f}, {high:.2f}]"}
            style.with_interval(axis, line, "train_size", named)
        axis.plot(line["train_size"], line["saturation"], **GUIDE)
        axis.set(xscale="log", yscale="log", title=f"version {definition}", xlabel="training points p")
        style.size_ticks(axis, frame["train_size"])
        axis.legend(loc="upper left")
    low, high = style.extent(frame)
    style.plain_log_ticks(axes[0], low, high)
    axes[0].set(ylabel="compression Λ at t*", ylim=(low / 1.3, 5 * high))
    guide = Line2D([], [], label="Λ∞ = 0.3676 √p", **GUIDE)
    style.legend_below(figure, [guide], style.interval_meaning(frame))
    return figure


@style.draws("quantity", "output_scale", "mean", "lower", "upper", "seeds")
def crossover(frame: pd.DataFrame) -> Figure:
    """Λ at t* and at the end, and the test error, against the output scale α.

    Args:
        frame: columns quantity, output_scale, mean, lower, upper, seeds.
    """
    figure, axes = style.panels(2, height=2.9)
    for look, quantity in zip(style.LOOKS, ("Λ at t*", "Λ at the end"), strict=False):
        style.with_interval(axes[0], frame[frame["quantity"] == quantity], "output_scale", look | {"label": quantity})
    axes[0].axhline(1.0, color="0.2", linewidth=0.8)
    axes[0].annotate(
        "no compression", (frame["output_scale"].min(), 1), (0, -8), textcoords="offset points", fontsize=7
    )
    style.with_interval(axes[1], frame[frame["quantity"] == "test error"], "output_scale", style.LOOKS[0])
    for axis, label in zip(axes, ("compression Λ (version A)", "test error"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="output scale α  (features ←  → lazy)", ylabel=label)
    compression = frame[frame["quantity"] != "test error"]
    style.plain_log_ticks(axes[0], *style.extent(compression))
    axes[0].set_ylim(0.6, None)
    error = frame[frame["quantity"] == "test error"]
    style.plain_log_ticks(axes[1], *style.extent(error))
    style.legend_below(figure, axes[0].get_legend_handles_labels()[0], style.interval_meaning(frame))
    return figure


@style.draws("train_size", "quantity", "progress", "mean", "lower", "upper", "seeds")
def stages(frame: pd.DataFrame) -> Figure:
    """Λ, loss, share of satisfied points and test error against time, in units of t*, a line per training-set size.

    Args:
        frame: columns train_size, quantity, progress (s/t*), mean, lower, upper, seeds.
    """
    labels = {
        "amplification_A": "compression Λ (version A)",
        "loss": "hinge loss (1 at start)",
        "satisfied": "share with yF > 0.98",
        "test_error": "test error",
    }
    figure, axes = style.panels(2, rows=2, height=4.4)
    for axis, (quantity, label) in zip(axes, labels.items(), strict=True):
        chosen = frame[frame["quantity"] == quantity]
        for look, (size, line) in zip(style.LOOKS, chosen.groupby("train_size"), strict=False):
            _with_band(axis, line, look, f"p = {size}")
        axis.axvline(1.0, color="0.2", linestyle=":", linewidth=1.2)
        scale = "linear" if quantity == "satisfied" else "log"
        axis.set(xscale="log", yscale=scale, ylabel=label, xlabel="time s / t*")
    for axis, quantity in ((axes[0], "amplification_A"), (axes[3], "test_error")):
        values = frame[frame["quantity"] == quantity]
        style.plain_log_ticks(axis, *style.extent(values, 1e-3))
    axes[1].set_ylim(1e-4, 2)
    axes[2].set_ylim(-0.02, 1.02)
    axes[0].text(1.05, 0.02, "t*", transform=axes[0].get_xaxis_transform())
    style.legend_below(figure, axes[0].get_legend_handles_labels()[0], style.interval_meaning(frame, "bands"))
    return figure


@style.draws("moment", "time", "satisfied", "neuron", "z1", "z2", "share")
def neuron_map(frame: pd.DataFrame, boundaries: tuple[float, float]) -> Figure:
    """Hinge points of the neurons on the plane (x₁, x₂) at four moments; the area is the neuron's share of the net.

    Args:
        frame: columns moment (start, t*, 90 % satisfied, end), z1, z2, share.
        boundaries: x₁ of the two true interfaces.
    """
    figure, axes = style.panels(len(MOMENTS), height=2.3, sharey=True)
    for axis, moment in zip(axes, MOMENTS, strict=True):
        _plane(axis, boundaries)
        chosen = frame[frame["moment"] == moment]
        _scatter(axis, chosen)
        axis.set_title(moment)
    axes[0].set_ylabel("uninformative z₂")
    return figure


def neuron_film(frame: pd.DataFrame, boundaries: tuple[float, float], pictures_per_second: int = 6) -> bytes:
    """The map of `neuron_map` as an animated GIF, one picture per frame number.

    Args:
        frame: columns frame, time (s), satisfied, z1, z2, share.
        boundaries: x₁ of the two true interfaces.
        pictures_per_second: of the film.
    """
    pictures = [picture for _, picture in frame.groupby("frame")]
    with style.house_style(), tempfile.TemporaryDirectory() as folder:
        figure, (axis,) = style.panels(1, width=style.COLUMN, height=3.6)
        _plane(axis, boundaries)
        axis.set_ylabel("uninformative z₂")
        dots = _scatter(axis, pictures[0])

        def draw(number: int) -> list[PathCollection]:
            picture = pictures[number]
            dots.set_offsets(picture[["z1", "z2"]].to_numpy())
            dots.set_sizes(_areas(picture))
            time, satisfied = picture[["time", "satisfied"]].iloc[0]
            axis.set_title(f"time s = {time:.3g}, {100 * satisfied:.0f} % of points with yF > 0.98")
            return [dots]

        path = Path(folder) / "film.gif"
        FuncAnimation(figure, draw, frames=len(pictures)).save(path, PillowWriter(pictures_per_second), dpi=110)
        plt.close(figure)
        return path.read_bytes()


@style.draws("train_size", "source", "progress", "mean", "lower", "upper", "seeds")
def one_neuron_growth(frame: pd.DataFrame) -> Figure:
    """Λ up to t* in the net and by the one-neuron equation, with and without the noise of p points; a panel per p.

    Args:
        frame: columns train_size, source, progress (s/t*), mean, lower, upper, seeds.
    """
    sources = {"net": "net", "equation, p": "equation with the noise of p points", "equation": "equation, p → ∞"}
    sizes = sorted(frame["train_size"].unique())
    figure, axes = style.panels(len(sizes), height=2.9, sharey=True)
    for axis, size in zip(axes, sizes, strict=True):
        for look, (source, label) in zip(style.LOOKS, sources.items(), strict=False):
            line = frame[(frame["train_size"] == size) & (frame["source"] == source)]
            _with_band(axis, line, look, label)
        axis.set(yscale="log", title=f"p = {size}", xlabel="time s / t*")
    measured = frame[frame["source"] != "equation"]
    axes[0].set(ylabel="compression Λ (version A)", ylim=(0.7, 20 * style.extent(measured)[1]))
    style.legend_below(figure, axes[0].get_legend_handles_labels()[0], style.interval_meaning(frame, "bands"))
    style.plain_log_ticks(axes[0], 1, 10 * style.extent(measured)[1])
    return figure


@style.draws("neuron", "source", "time", "z_parallel", "z_perpendicular")
def neuron_paths(frame: pd.DataFrame) -> Figure:
    """Paths of single neurons' hinge points up to t*: the net's as lines, the one-neuron equation's dashed over them.

    Args:
        frame: columns neuron, source (net, "equation, p", equation), time, z_parallel, z_perpendicular.
    """
    figure, (axis,) = style.panels(1, width=style.PAGE, height=3.0)
    looks: dict[str, dict[str, Any]] = {
        "net": {"color": style.BLUE, "linestyle": "-", "linewidth": 2.0, "alpha": 0.7},
        "equation": {"color": "black", "linestyle": "--", "linewidth": 0.9},
    }
    labels = {"net": "net", "equation": "one-neuron equation, p → ∞"}
    for source, look in looks.items():
        for _, path in frame[frame["source"] == source].groupby("neuron"):
            axis.plot(path["z_parallel"], path["z_perpendicular"], **look)
    for _, path in frame[frame["source"] == "net"].groupby("neuron"):
        axis.plot(*path[["z_parallel", "z_perpendicular"]].iloc[0], "o", color=style.BLUE, mfc="white")
        axis.plot(*path[["z_parallel", "z_perpendicular"]].iloc[-1], "o", color=style.BLUE)
    handles = [Line2D([], [], label=labels[source], **look) for source, look in looks.items()]
    ends = (("start", "white"), ("t*", style.BLUE))
    handles += [Line2D([], [], color=style.BLUE, marker="o", linestyle="", mfc=fill, label=text) for text, fill in ends]
    axis.legend(handles=handles, loc="upper center")
    axis.set(xlabel="hinge point along the informative axis, z₁", ylabel="off the axis, |z⊥|")
    axis.set_ylim(bottom=0)
    return figure


@style.draws("variant", "quantity", "mean", "lower", "upper", "seeds")
def nuisances(frame: pd.DataFrame, reference: str) -> Figure:
    """Λ at t* and the test error of variants over the reference's: one line each, a panel per quantity.

    Args:
        frame: columns variant, quantity, mean, lower, upper, seeds.
        reference: what the reference is.
    """
    variants = list(frame["variant"].unique())
    figure, axes = style.panels(2, height=1.0 + 0.25 * len(variants), sharey=True)
    for axis, (quantity, chosen) in zip(axes, frame.groupby("quantity", sort=False), strict=True):
        for row, variant in enumerate(variants):
            point = chosen[chosen["variant"] == variant].iloc[0]
            axis.plot([point["lower"], point["upper"]], [row, row], color=style.BLUE, solid_capstyle="butt")
            axis.plot(point["mean"], row, "o", color=style.BLUE)
        axis.axvline(1.0, color="0.2", linewidth=0.8)
        axis.set(xlabel=f"{quantity}, relative to the reference", ylim=(len(variants) - 0.5, -0.5))
        reach = 1.15 * max(0.1, float((chosen[["mean", "lower", "upper"]] - 1).abs().max().max()))
        axis.set_xlim(1 - reach, 1 + reach)
    axes[0].set_yticks(range(len(variants)), variants)
    axes[0].tick_params(axis="y", length=0)
    figure.suptitle(f"reference: {reference}; {style.interval_meaning(frame, 'lines')}", fontsize=7)
    return figure


def _with_band(axis: Axes, line: pd.DataFrame, look: dict[str, Any], label: str) -> None:
    axis.fill_between(line["progress"], line["lower"], line["upper"], color=look["color"], alpha=0.2, linewidth=0)
    axis.plot(line["progress"], line["mean"], color=look["color"], linestyle=look["linestyle"], label=label)


def _plane(axis: Axes, boundaries: tuple[float, float]) -> None:
    for boundary in boundaries:
        axis.axvline(boundary, color="0.2", linestyle="--", linewidth=0.9)
    axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xlabel="informative z₁")


def _scatter(axis: Axes, picture: pd.DataFrame) -> PathCollection:
    return axis.scatter(picture["z1"], picture["z2"], s=_areas(picture), color=style.BLUE, alpha=0.5, linewidths=0)


def _areas(picture: pd.DataFrame) -> np.ndarray:
    """Area of the dots: all of them together cover the same, whatever their number."""
    return np.asarray(1500.0 * picture["share"])
