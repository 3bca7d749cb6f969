"""Figures of nets in the plane: maps of the volume element, and what it is near and far of a boundary."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from repro import style
from repro.data.synthetic import sinusoid_height
from repro.papers.magnification.looks import STATES, state_handles

REACH = 1.5
LARGER = np.log(1.25)  # what the registry calls magnified
ABOUT: dict[str, dict[str, Any]] = {
    "boundary": {"color": style.BLUE, "marker": "o", "linestyle": "-"},
    "mirror images": {"color": style.ORANGE, "marker": "s", "linestyle": "--"},
}
HIGHEST = 20.0  # factor that the figure of levels still draws to scale
NEAR_FAR = "volume near / far of the boundary"


@style.draws("panel", "x1", "x2", "log10_volume", "margin")
def volume_maps(frame: pd.DataFrame, task: str, columns: int = 3, spread: bool = False) -> Figure:
    """log10 of the volume element over the plane, a panel each, with the net's own decision boundary and the task's.

    Args:
        frame: columns panel, x1, x2, log10_volume, margin (difference of the logits).
        task: "sinusoid" or "xor", for the true boundary.
        columns: panels in a row.
        spread: every panel is shown less its own mean, where levels of panels cannot be compared (other widths or
            layers).
    """
    panels = list(frame["panel"].unique())
    rows = -(-len(panels) // columns)
    figure, axes = style.panels(columns, rows=rows, height=0.5 + 2.35 * rows)
    pictures = [_grid(frame[frame["panel"] == panel], spread) for panel in panels]
    norm = _norm([picture[0] for picture in pictures], spread)
    for axis, panel, (volume, margin) in zip(axes, panels, pictures, strict=False):
        _map(axis, volume, margin, task, norm)
        axis.set_title(panel)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis in axes[: len(panels) : columns]:
        axis.set_ylabel("$x_2$")
    unit = "log$_{10}$ volume element" + (", less its mean" if spread else "")
    figure.colorbar(ScalarMappable(norm, "viridis"), ax=axes, label=unit, shrink=0.9, extend="both")
    _map_legend(figure)
    return figure


def training_film(maps: pd.DataFrame, curve: pd.DataFrame, pictures_per_second: int = 5) -> bytes:
    """The map of one net along training as an animated GIF, beside near/far of all nets up to that step.

    Args:
        maps: columns step, x1, x2, log10_volume, margin, of a net on the sinusoid.
        curve: columns step, about, mean, lower, upper, nets.
        pictures_per_second: of the film.
    """
    steps = sorted(maps["step"].unique())
    pictures = [_grid(maps[maps["step"] == step], spread=False) for step in steps]
    norm, colours = _norm([picture[0] for picture in pictures]), plt.get_cmap("viridis", 24)  # a GIF has few colours
    with style.house_style(), tempfile.TemporaryDirectory() as folder:
        figure, (left, right) = style.panels(2, height=3.3)
        figure.colorbar(ScalarMappable(norm, colours), ax=left, label="log$_{10}$ volume element", extend="both")
        _curves(right, curve)
        right.set(title="near / far, all nets", xlabel="step + 1", ylabel=NEAR_FAR)
        right.legend(handles=_about_handles(), title=style.interval_meaning(curve, "bands", "nets"), loc="upper left")
        right.set_ylim(top=1.9 * style.extent(curve)[1])
        now = right.axvline(1, color="0.2", linewidth=1.2)

        def draw(number: int) -> list[Any]:
            left.clear()
            _map(left, *pictures[number], "sinusoid", norm, colours)
            left.set(title=f"one net, step {steps[number]}", ylabel="$x_2$")
            now.set_xdata([steps[number] + 1] * 2)
            return []

        draw(0)
        figure.canvas.draw()  # the layout is settled once, so that no frame is shifted
        figure.set_layout_engine("none")
        order = [*[0] * 3, *range(len(steps)), *[len(steps) - 1] * 8]  # rests at both ends
        path = Path(folder) / "film.gif"
        film = FuncAnimation(figure, lambda frame: draw(order[frame]), frames=len(order))
        film.save(path, PillowWriter(pictures_per_second), dpi=100)
        plt.close(figure)
        return path.read_bytes()


@style.draws("width", "step", "about", "mean", "lower", "upper", "nets")
def along_training(frame: pd.DataFrame) -> Figure:
    """Near over far along training on the sinusoid, about the boundary and its mirror images, a panel per width.

    Args:
        frame: columns width, step, about, mean, lower, upper, nets.
    """
    sizes = sorted(frame["width"].unique())
    figure, axes = style.panels(len(sizes), height=2.9, sharey=True)
    for axis, width in zip(axes, sizes, strict=True):
        _curves(axis, frame[frame["width"] == width])
        axis.set(title=f"width {width}", xlabel="step + 1")
    axes[0].set_ylabel(NEAR_FAR)
    low, high = style.extent(frame, 1e-3)
    axes[0].set_ylim(low / 1.1, high * 1.1)
    style.plain_log_ticks(axes[0], low / 1.1, high * 1.1)
    style.legend_below(figure, _about_handles(), style.interval_meaning(frame, "bands", "nets"), 2)
    return figure


@style.draws("task", "width", "state", "about", "mean", "lower", "upper", "nets")
def near_and_far(frame: pd.DataFrame) -> Figure:
    """Near over far by task and width, about the boundary and its mirror images, before and after training.

    Args:
        frame: columns task, width, state, about, mean, lower, upper, nets.
    """
    cells = list(frame[["task", "width"]].drop_duplicates().itertuples(index=False, name=None))
    figure, (axis,) = style.panels(1, height=3.3)
    for position, (task, width) in enumerate(cells):
        cell = frame[(frame["task"] == task) & (frame["width"] == width)]
        for offset, (state, about) in zip(
            (-0.27, -0.09, 0.09, 0.27), [(s, a) for s in ("untrained", "trained") for a in ABOUT], strict=True
        ):
            point = cell[(cell["state"] == state) & (cell["about"] == about)].assign(at=position + offset)
            look = {name: ABOUT[about][name] for name in ("color", "marker")} | {"linestyle": ""}
            style.with_interval(axis, point, "at", look | ({"mfc": "white"} if state == "untrained" else {}))
    axis.axhline(1, color="0.2", linewidth=0.8)
    low, high = style.extent(frame, 1e-3)
    axis.set(yscale="log", xlim=(-0.5, len(cells) - 0.5), ylim=(low / 1.15, high * 1.15), ylabel=NEAR_FAR)
    style.plain_log_ticks(axis, low / 1.15, high * 1.15)
    names = {"sinusoid": "sinusoid", "xor": "XOR"}
    axis.set_xticks(range(len(cells)), [f"{names[task]}\nwidth {width}" for task, width in cells])
    handles = [
        Line2D([], [], **(look | {"linestyle": ""}), mfc=fill, label=f"{about}, {state}")
        for about, look in ABOUT.items()
        for state, fill in (("untrained", "white"), ("trained", look["color"]))
    ]
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "nets"), 4)
    return figure


@style.draws("quantity", "width", "state", "mean", "lower", "upper", "nets")
def against_width(frame: pd.DataFrame) -> Figure:
    """What the width does: spread over the angle, magnification at equal loss, crests over flanks; a panel each.

    Args:
        frame: columns quantity, width, state, mean, lower, upper, nets.
    """
    panels = {
        "angular spread": ("XOR: symmetry returns", "spread of log volume over the angle"),
        "equal loss": ("sinusoid: at equal training loss", "near / far over mirror images'"),
        "crests over flanks": ("sinusoid: crests", "volume at crests / at flanks"),
    }
    figure, axes = style.panels(len(panels), height=3.0)
    for axis, (quantity, (title, label)) in zip(axes, panels.items(), strict=True):
        part = frame[frame["quantity"] == quantity]
        for state, look in STATES.items():
            style.with_interval(axis, part[part["state"] == state], "width", look)
        axis.set(xscale="log", yscale="log", title=title, xlabel="width", ylabel=label)
        if len(part):
            low, high = style.extent(part, 1e-3)
            axis.set_ylim(low / 1.3, high * 1.3)
            style.plain_log_ticks(axis, low, high)
            style.size_ticks(axis, part["width"])
        if quantity != "angular spread":
            axis.axhline(1, color="0.2", linewidth=0.8)
    style.legend_below(figure, state_handles(), style.interval_meaning(frame, "bars", "nets"), 2)
    return figure


@style.draws("state", "net", "layer", "contrast")
def layers(frame: pd.DataFrame) -> Figure:
    """Contrast of the volume in every hidden layer, a line per net, before and after training.

    Args:
        frame: columns state, net, layer, contrast (decades).
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN, height=3.0)
    for state, look in STATES.items():
        table = frame[frame["state"] == state].pivot(index="layer", columns="net", values="contrast")
        axis.plot(table.index, table, color=look["color"], linewidth=0.6, alpha=0.5, linestyle=look["linestyle"])
        axis.plot(table.index, np.exp(np.log(table).mean(axis=1)), **look, label=f"{state}, geometric mean")
    axis.set(yscale="log", xlabel="hidden layer", ylabel="contrast, 90 % − 10 % (decades)")
    axis.set_xticks(sorted(frame["layer"].unique()))
    low, high = frame["contrast"].min(), frame["contrast"].max()
    style.plain_log_ticks(axis, low, high)
    nets = frame["net"].nunique()
    style.legend_below(figure, axis.get_legend_handles_labels()[0], f"a thin line per net, n = {nets}", 1)
    return figure


@style.draws("loss", "level", "about", "mean", "lower", "upper", "nets")
def levels(frame: pd.DataFrame) -> Figure:
    """Near over far at the hidden layer, the logits and the probability, by loss; trained nets.

    Args:
        frame: columns loss, level, about, mean, lower, upper, nets.
    """
    losses, names = list(frame["loss"].unique()), list(frame["level"].unique())
    figure, axes = style.panels(len(losses), height=3.0, sharey=True)
    for axis, loss in zip(axes, losses, strict=True):
        part = frame[frame["loss"] == loss]
        _by_name(axis, part[part["mean"] <= HIGHEST], "level", names)
        for offset, (_, point) in enumerate(part[part["mean"] > HIGHEST].iterrows()):
            place, look = names.index(point["level"]) - 0.1 + 0.2 * offset, ABOUT[point["about"]]
            axis.plot(place, 0.93 * HIGHEST, "^", color=look["color"])
            axis.text(place, 0.8 * HIGHEST, f"{point['mean']:,.0f}", ha="center", va="top", fontsize=7, rotation=90)
        axis.axhspan(np.exp(-LARGER), np.exp(LARGER), color="0.9", zorder=0)
        axis.set_title(loss)
    words = {"hidden": "hidden layer:\nvolume", "logit": "logits:\ngradient", "probability": "probability:\ngradient"}
    for axis in axes:
        axis.set_xticks(range(len(names)), [words[name] for name in names])
    low, _ = style.extent(frame, 1e-3)
    axes[0].set(yscale="log", ylabel="near / far of the boundary", ylim=(min(low, 0.8) / 1.2, HIGHEST))
    style.plain_log_ticks(axes[0], low, HIGHEST)
    handles = [*_about_handles(""), Rectangle((0, 0), 1, 1, color="0.9", label="within a quarter of 1")]
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "nets"), 3)
    return figure


@style.draws("control", "about", "mean", "lower", "upper", "nets")
def controls(frame: pd.DataFrame) -> Figure:
    """Near over far of the controls, about the boundary and its mirror images; trained nets.

    Args:
        frame: columns control, about, mean, lower, upper, nets.
    """
    names = list(frame["control"].unique())
    figure, (axis,) = style.panels(1, height=3.2)
    _by_name(axis, frame, "control", names)
    axis.axhspan(np.exp(-LARGER), np.exp(LARGER), color="0.9", zorder=0)
    low, high = style.extent(frame, 1e-3)
    axis.set(yscale="log", ylabel=NEAR_FAR, ylim=(low / 1.15, high * 1.15))
    style.plain_log_ticks(axis, low / 1.15, high * 1.15)
    axis.set_xticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
    handles = [*_about_handles(""), Rectangle((0, 0), 1, 1, color="0.9", label="within a quarter of 1")]
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "nets"), 3)
    return figure


def _by_name(axis: Axes, frame: pd.DataFrame, column: str, names: Sequence[str]) -> None:
    """Both images of the boundary side by side at every name."""
    for offset, (about, look) in zip((-0.1, 0.1), ABOUT.items(), strict=True):
        part = frame[frame["about"] == about]
        places = part[column].map(names.index) + offset
        style.with_interval(axis, part.assign(at=places), "at", look | {"linestyle": ""})
    axis.axhline(1, color="0.2", linewidth=0.8)
    axis.set_xlim(-0.5, len(names) - 0.5)


def _curves(axis: Axes, frame: pd.DataFrame) -> None:
    """Near over far against the step, with bands."""
    for about, look in ABOUT.items():
        line = frame[frame["about"] == about]
        axis.fill_between(line["step"] + 1, line["lower"], line["upper"], color=look["color"], alpha=0.2, linewidth=0)
        axis.plot(line["step"] + 1, line["mean"], **(look | {"markersize": 2.5}))
    axis.axhline(1, color="0.2", linewidth=0.8)
    axis.set(xscale="log", yscale="log")
    style.plain_log_ticks(axis, *style.extent(frame, 1e-3))


def _about_handles(linestyle: str | None = None) -> list[Line2D]:
    dashes = {} if linestyle is None else {"linestyle": linestyle}
    return [Line2D([], [], label=about, **(look | dashes)) for about, look in ABOUT.items()]


def _grid(frame: pd.DataFrame, spread: bool) -> tuple[np.ndarray, np.ndarray]:
    """Volume and margin of a square grid, (second coordinate, first)."""
    side = round(np.sqrt(len(frame)))
    volume, margin = (frame[name].to_numpy(float).reshape(side, side) for name in ("log10_volume", "margin"))
    return (volume - volume.mean() if spread else volume), margin


def _norm(volumes: Sequence[np.ndarray], spread: bool = False) -> Normalize:
    """One scale for all panels that leaves out the lowest and highest half per cent.

    Of panels less their own mean it is symmetric and reaches as far as the panel of median reach needs: a narrow net
    would else leave the others without colour.
    """
    if spread:
        reach = float(np.median([np.quantile(np.abs(volume), 0.99) for volume in volumes]))
        return Normalize(-reach, reach)
    low, high = np.quantile(np.concatenate([volume.ravel() for volume in volumes]), [0.005, 0.995])
    return Normalize(low, high)


def _map(
    axis: Axes, volume: np.ndarray, margin: np.ndarray, task: str, norm: Normalize, colours: Colormap | str = "viridis"
) -> None:
    line = np.linspace(-REACH, REACH, len(volume))
    axis.imshow(volume, origin="lower", extent=(-REACH, REACH, -REACH, REACH), cmap=colours, norm=norm,
                interpolation="bilinear")  # fmt: skip
    if margin.min() < 0 < margin.max():
        axis.contour(line, line, margin, levels=[0], colors="white", linewidths=1.6)
        axis.contour(line, line, margin, levels=[0], colors="black", linewidths=0.8)
    if task == "xor":
        axis.axhline(0, color="white", linestyle=":", linewidth=1.0)
        axis.axvline(0, color="white", linestyle=":", linewidth=1.0)
    else:
        first = np.linspace(-1, 1, 200)
        axis.plot(first, sinusoid_height(first), color="white", linestyle=":", linewidth=1.2)
    axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xlabel="$x_1$")
    axis.set_xticks([-1, 0, 1])
    axis.set_yticks([-1, 0, 1])


def _map_legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], color="black", linewidth=1.2, label="where the net changes its decision"),
        Line2D([], [], color="0.6", linestyle=":", linewidth=1.4, label="boundary of the task (white in the maps)"),
    ]
    style.legend_below(figure, handles, "one net; one colour scale for all panels", 2)
