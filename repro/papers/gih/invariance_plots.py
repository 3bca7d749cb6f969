"""Figures of the invariance of the average geometry."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style
from repro.papers.gih.looks import CHANCE, CRITERION

DATA: dict[str, dict[str, Any]] = dict(zip(("aligned", "flipped", "matched"), style.LOOKS, strict=False))
LABELS = {"speed": "speed of the geometry", "train": "training accuracy"}
SAME: dict[str, Any] = {"color": style.VERMILION, "marker": "x", "linestyle": ""}


@style.draws("setting", "data", "quantity", "share", "mean", "lower", "upper", "draws")
def along(frame: pd.DataFrame) -> Figure:
    """Speed of the average geometry and training accuracy along training.

    Args:
        frame: columns setting, data, quantity (speed, train), share (of training), mean, lower, upper, draws.
    """
    settings = list(dict.fromkeys(frame["setting"]))
    figure, axes = style.panels(len(settings), rows=2, height=4.4)
    for row, (quantity, label) in enumerate(LABELS.items()):
        for column, setting in enumerate(settings):
            axis = axes[row * len(settings) + column]
            part = frame[(frame["setting"] == setting) & (frame["quantity"] == quantity)]
            for data, look in DATA.items():
                style.with_interval(axis, part[part["data"] == data], "share", look)
            if quantity == "speed":
                axis.set(yscale="log", title=setting)
            else:
                axis.axhline(0.5, **CHANCE)
                axis.set(xlabel="share of training", ylim=(0.45, 1.02))
        axes[row * len(settings)].set_ylabel(label)
    handles = [Line2D([], [], label=f"{data} data", **DATA[data]) for data in DATA if data in set(frame["data"])]
    handles.append(Line2D([], [], label="chance", **CHANCE))
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"), 4)
    return figure


@style.draws("setting", "mean", "lower", "upper", "draws", "corrected")
def ratios(frame: pd.DataFrame) -> Figure:
    """Speed on aligned data over that on other data, of each setting, with the declared regions.

    Args:
        frame: columns setting, mean, lower, upper, draws, corrected (the ratio without the motion of single nets,
            missing where nothing is left).
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN + 1.6, height=0.3 * len(frame) + 1.5)
    place = -np.arange(len(frame))
    axis.errorbar(
        frame["mean"], place, xerr=style.reach(frame), color=style.BLUE, marker="o", linestyle="", elinewidth=1.0
    )
    axis.plot(frame["corrected"], place, zorder=3, **SAME)
    axis.axvline(1.0, **CHANCE)
    axis.axvline(1.2, **CRITERION)
    axis.set(xscale="log", xlabel="speed on aligned over speed on other data", ylim=(-len(frame) + 0.5, 0.5))
    axis.set_yticks(place, frame["setting"])
    axis.set_title("Does the geometry rest where $G$ is small?")
    handles = [
        Line2D([], [], label="ratio of speeds", color=style.BLUE, marker="o", linestyle=""),
        Line2D([], [], label="the same without the motion of single nets (no cross: nothing is left)", **SAME),
        Line2D([], [], label="declared: above 1.2 (dense: 0.9 to 1.1)", **CRITERION),
    ]
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"), 1)
    return figure
