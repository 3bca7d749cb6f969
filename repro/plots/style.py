"""The look of every figure: journal widths, one font, a palette that survives colour blindness and grey print."""

from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN = 3.4  # inches: one column of a journal page
PAGE = 7.0  # inches: both columns
PALETTE = sns.color_palette("colorblind").as_hex()
BLUE, ORANGE, GREEN, VERMILION, PINK, BROWN, LIGHT_PINK, GREY, YELLOW, SKY = PALETTE

RULES: dict[Any, Any] = {  # matplotlib names its settings by literal types
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "errorbar.capsize": 2,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
}


def panels(
    columns: int, *, rows: int = 1, width: float = PAGE, height: float = 2.8, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure in the house style with rows × columns axes, as a flat list."""
    with plt.rc_context(RULES):
        figure, axes = plt.subplots(rows, columns, figsize=(width, height), sharey=sharey, squeeze=False)
    plt.close(figure)  # it lives in the caller's hands, not in pyplot's list
    return figure, list(axes.flat)
