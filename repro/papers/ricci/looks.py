"""How the figures of the Ricci study show its data sets, architectures and conditions."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro import style
from repro.papers.ricci.study import ARCHITECTURES

CONDITIONS: dict[str, dict[str, Any]] = {  # colour and marker tell the conditions apart, either of them alone
    "trained": {"color": style.BLUE, "marker": "o", "label": "trained"},
    "untrained": {"color": "0.55", "marker": "s", "label": "untrained"},
    "shuffled labels": {"color": style.ORANGE, "marker": "^", "label": "shuffled labels, few points"},
    "few labels": {"color": style.GREEN, "marker": "v", "label": "true labels, few points"},
}
SHUFFLED_LAYERS = {"color": style.PINK, "marker": "D", "label": "trained, layers shuffled"}
DATASETS: dict[str, dict[str, Any]] = {
    "A": {"color": style.BLUE, "marker": "o", "label": "A: spiral rolls"},
    "B": {"color": style.ORANGE, "marker": "s", "label": "B: box with channels"},
    "C": {"color": style.GREEN, "marker": "^", "label": "C: sine sheet and slab"},
    "mnist-1v7": {"color": style.PINK, "marker": "v", "label": "MNIST 1 v 7"},
    "mnist-6v8": {"color": style.BROWN, "marker": "D", "label": "MNIST 6 v 8"},
    "sandal-boot": {"color": style.VERMILION, "marker": "X", "label": "Fashion sandal v boot"},
    "shirt-coat": {"color": style.GREY, "marker": "P", "label": "Fashion shirt v coat"},
}
INITIAL = {"narrow": "N", "wide": "W", "bottleneck": "B"}
COLOURS = dict(zip(ARCHITECTURES, (style.BLUE, style.ORANGE, style.GREEN), strict=True))


def datasets_of(frame: pd.DataFrame) -> list[str]:
    """The data sets of a frame, in the paper's order."""
    return [name for name in DATASETS if name in set(frame["dataset"])]


def dataset_panels(
    frame: pd.DataFrame, columns: int, base: float, height: float, sharey: bool = False
) -> tuple[Figure, dict[str, Axes], list[Axes]]:
    """A titled panel per data set, in rows of so many columns at most, and the leftmost panels."""
    datasets = datasets_of(frame)
    columns = min(columns, len(datasets))
    rows = -(-len(datasets) // columns)
    figure, axes = style.panels(columns, rows=rows, height=base + height * rows, sharey=sharey)
    for axis, dataset in zip(axes, datasets, strict=False):
        axis.set_title(DATASETS[dataset]["label"], loc="left", fontsize=9 if columns < 3 else 7)
    for axis in axes[len(datasets) :]:
        axis.set_visible(False)
    return figure, dict(zip(datasets, axes, strict=False)), axes[::columns]
