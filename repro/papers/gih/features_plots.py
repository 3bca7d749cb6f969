"""Figures of features along eigenvectors of the average geometry."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style
from repro.papers.gih.looks import CHANCE, NETWORKS

QUANTITIES: dict[str, tuple[str, dict[str, Any]]] = {
    "reliance": ("follow the cue against the circle", style.LOOKS[0]),
    "linear": ("accuracy by the cue alone", style.LOOKS[1]),
    "circle": ("accuracy by the circle alone", style.LOOKS[2]),
}
INTERVAL = "bars: 95 % interval over draws"
CHOICES: dict[str, dict[str, Any]] = {
    "geometry": {"color": style.BLUE, "marker": "o"},
    "random": {"color": style.ORANGE, "marker": "s"},
}
KEPT = {
    "all": "all images",
    "random": "random half",
    "score": "largest score",
    "within": "largest score within each class",
    "lowest": "lowest score",
}


@style.draws("network", "label", "place", "mean", "lower", "upper", "draws")
def along_index(frame: pd.DataFrame) -> Figure:
    """Test accuracy against the place of the eigenvector that the label depends on.

    Args:
        frame: columns network, label, place (share of all eigenvectors), mean, lower, upper, draws.
    """
    labels = list(dict.fromkeys(frame["label"]))
    figure, axes = style.panels(len(labels), height=2.7, sharey=True)
    for axis, label in zip(axes, labels, strict=True):
        for network, part in frame[frame["label"] == label].groupby("network", sort=False):
            style.with_interval(axis, part, "place", NETWORKS[str(network)])
        axis.axhline(0.5, **CHANCE)
        axis.set(title=f"{label} label", xlabel="place of the eigenvector", ylim=(0.45, 1.02))
    axes[0].set_ylabel("test accuracy")
    handles = [
        Line2D([], [], label=_counted(str(network), part), **NETWORKS[str(network)])
        for network, part in frame.groupby("network", sort=False)
    ]
    handles.append(Line2D([], [], label="chance", **CHANCE))
    style.legend_below(figure, handles, INTERVAL)
    return figure


@style.draws("network", "quantity", "place", "mean", "lower", "upper", "draws")
def cues(frame: pd.DataFrame) -> Figure:
    """Which of two features a net uses, against the place of the linear one.

    Args:
        frame: columns network, quantity (reliance, linear, circle), place, mean, lower, upper, draws.
    """
    networks = list(dict.fromkeys(frame["network"]))
    figure, axes = style.panels(len(networks), height=2.9, sharey=True)
    places = np.sort(frame["place"].unique())
    for axis, network in zip(axes, networks, strict=True):
        own = frame[frame["network"] == network]
        for shift, (quantity, (_, look)) in zip((-0.14, 0.0, 0.14), QUANTITIES.items(), strict=True):
            part = own[own["quantity"] == quantity]  # beside each other, or lines at 1 would hide one another
            style.with_interval(axis, part.assign(spot=np.searchsorted(places, part["place"]) + shift), "spot", look)
        axis.axhline(0.5, **CHANCE)
        axis.set(title=_counted(network, own), xlabel="place of the cue's eigenvector", ylim=(-0.02, 1.03))
        axis.set_xticks(range(len(places)), [f"{place:g}" for place in places])
    axes[0].set_ylabel("share of test points")
    handles = [Line2D([], [], label=label, **look) for label, look in QUANTITIES.values()]
    handles.append(Line2D([], [], label="chance", **CHANCE))
    style.legend_below(figure, handles, INTERVAL, 2)
    return figure


@style.draws("experiment", "choice", "count", "mean", "lower", "upper", "draws", "variance", "classes")
def choices(frame: pd.DataFrame) -> Figure:
    """Accuracy on images without some directions, and after training on some images.

    Args:
        frame: columns experiment (removal, pruning), choice, count, mean, lower, upper, draws, variance (removed),
            classes (images of the rarest class over those of the commonest).
    """
    figure, (left, right) = style.panels(2, height=3.0)
    removal, pruning = (frame[frame["experiment"] == name] for name in ("removal", "pruning"))
    untouched = removal[removal["choice"] == "none"].iloc[0]
    left.axhspan(untouched["lower"], untouched["upper"], color="0.85")
    left.axhline(untouched["mean"], color="0.5", linewidth=0.9)
    counts = np.sort(removal["count"][removal["count"] > 0].unique())
    for shift, (choice, look) in zip((-0.08, 0.08), CHOICES.items(), strict=True):
        part = removal[removal["choice"] == choice].sort_values("count")
        style.with_interval(left, part.assign(spot=np.arange(len(part)) + shift), "spot", look | {"linestyle": ""})
    variance = removal[removal["choice"] == "geometry"].set_index("count")["variance"]
    ticks = [f"{count}\n({variance[count]:.0%} of variance)" for count in counts]
    left.set_xticks(np.arange(len(counts)), ticks)
    left.set(xlabel="directions removed", ylabel="test accuracy", title="removal", xlim=(-0.5, len(counts) - 0.5))
    pruning = pruning.set_index("choice").loc[[choice for choice in KEPT if choice in set(pruning["choice"])]]
    place = -np.arange(len(pruning))
    right.errorbar(
        pruning["mean"], place, xerr=style.reach(pruning), color=style.BLUE, marker="o", linestyle="", elinewidth=1.0
    )
    right.set_yticks(place, [KEPT[str(choice)] for choice in pruning.index])
    right.set(xlabel="test accuracy", title="pruning", ylim=(-len(pruning) + 0.5, 0.5))
    handles = [
        Line2D([], [], label="first of $GSG$", linestyle="", **CHOICES["geometry"]),
        Line2D([], [], label="random, as much variance", linestyle="", **CHOICES["random"]),
        Line2D([], [], label="nothing removed", color="0.5", linewidth=0.9),
    ]
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars and band", "draws"))
    return figure


def _counted(network: str, frame: pd.DataFrame) -> str:
    """Name of a network with its number of draws, which differs from one to the other."""
    return f"{network} net, n = {frame['draws'].max()}"
