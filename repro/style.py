"""The look of every figure: journal widths, one font, a palette that survives colour blindness and grey print."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

P = ParamSpec("P")

COLUMN = 3.4  # inches: one column of a journal page
PAGE = 7.0  # inches: both columns
# seaborn's colour-blind palette, written out: to load seaborn for it would take a second of every run.
PALETTE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")
BLUE, ORANGE, GREEN, VERMILION, PINK, BROWN, LIGHT_PINK, GREY, YELLOW, SKY = PALETTE

# Lines of one panel: colour, marker and dashes tell them apart, any one of them alone.
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linestyle": "-"},
    {"color": ORANGE, "marker": "s", "linestyle": "--"},
    {"color": GREEN, "marker": "^", "linestyle": "-."},
    {"color": PINK, "marker": "D", "linestyle": ":"},
)

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


@contextmanager
def house_style() -> Iterator[None]:
    """The rules above on matplotlib's own defaults: a user's matplotlibrc has no say."""
    with plt.style.context("default"), plt.rc_context(RULES):
        yield


def draws(*columns: str, optional: tuple[str, ...] = ()) -> Callable[[Callable[P, Figure]], Callable[P, Figure]]:
    """Mark a function that draws a table: these are all the columns that it takes, kept beside the picture as CSV.

    Those in `optional` need not be there.
    It draws in the house style, whatever the caller's settings are, and leaves those as they were.
    """

    def marked(draw: Callable[P, Figure]) -> Callable[P, Figure]:
        @wraps(draw)
        def drawn(*args: P.args, **options: P.kwargs) -> Figure:
            with house_style():
                figure = draw(*args, **options)
            plt.close(figure)  # it lives in the caller's hands, not in pyplot's list
            return figure

        drawn.columns, drawn.optional = columns, optional  # type: ignore[attr-defined]
        return drawn

    return marked


def panels(
    columns: int,
    *,
    rows: int = 1,
    width: float = PAGE,
    height: float = 2.8,
    sharey: bool = False,
    ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure with rows × columns axes, as a flat list; `ratios` of the heights of the rows."""
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), sharey=sharey, squeeze=False, height_ratios=ratios
    )
    return figure, list(axes.flat)


def extent(frame: pd.DataFrame, least: float = 0.0) -> tuple[float, float]:
    """Lowest and highest end of the intervals of a table, at least `least`; a mean without interval stands for both."""
    low, high = (frame[end].fillna(frame["mean"]) for end in ("lower", "upper"))
    return float(low.clip(lower=least).min()), float(high.max())


def plain_log_ticks(axis: Axes, low: float, high: float) -> None:
    """Label a logarithmic vertical axis 0.1, 0.2, 0.5 rather than by powers of ten."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = [tick for tick in np.outer(decades, [1, 2, 5]).ravel() if low / 1.5 <= tick <= high * 1.5]
    axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.yaxis.set_minor_formatter(NullFormatter())


def with_interval(axis: Axes, curve: pd.DataFrame, position: str, look: Mapping[str, Any]) -> None:
    """A line through column mean with bars from lower to upper, over column `position`."""
    axis.errorbar(curve[position], curve["mean"], yerr=reach(curve), elinewidth=1.0, **look)


def reach(frame: pd.DataFrame) -> np.ndarray:
    """How far the intervals of a table reach below and above the means, (2, rows): rounding leaves none negative."""
    return np.asarray(np.abs(frame[["lower", "upper"]].to_numpy(float).T - frame["mean"].to_numpy(float)))


def interval_meaning(frame: pd.DataFrame, marks: str = "bars", units: str = "seeds") -> str:
    """What the bars (or bands) are, and over how many units: the column of their name."""
    fewest, most = frame[units].min(), frame[units].max()
    return f"{marks}: 95 % interval over {units}, n = {fewest if fewest == most else f'{fewest} to {most}'}"


def legend_below(figure: Figure, handles: Sequence[Artist], title: str, columns: int = 3) -> None:
    """A legend under the panels, where it can cover no data."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, title=title, title_fontsize=7)


def size_ticks(axis: Axes, sizes: pd.Series) -> None:
    """Label a logarithmic horizontal axis with the sizes that were run, or as many of them as fit the panel."""
    grid = axis.get_subplotspec()
    fitting = max(3, 12 // (grid.get_gridspec().ncols if grid else 1))
    every = np.sort(sizes.unique())
    shown = every[:: -(-len(every) // fitting)]
    axis.set_xticks(shown, [f"{size:.0f}" for size in shown])
    axis.minorticks_off()
