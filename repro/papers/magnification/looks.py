"""How nets and classes look in the figures of this paper."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from repro import style

STATES: dict[str, dict[str, Any]] = {
    "trained": {"color": style.BLUE, "marker": "o", "linestyle": "-"},
    "untrained": {"color": "0.5", "marker": "D", "linestyle": ":"},
}
CLASS_MARKS = "osD^vP*X<>"  # one a class, beside its colour


def state_handles(**changes: Any) -> list[Line2D]:
    """Legend entries of trained and untrained nets, with parts of their looks changed."""
    return [Line2D([], [], label=state, **(look | changes)) for state, look in STATES.items()]


def mark_classes(axis: Axes, line: Mapping[str, pd.Series], x: str, y: str) -> None:
    """Points of a curve in the colour and mark of their class, column class."""
    for number in sorted(set(line["class"])):
        chosen = line["class"] == number
        index = int(number) % len(CLASS_MARKS)
        axis.plot(line[x][chosen], line[y][chosen], CLASS_MARKS[index], color=style.PALETTE[index], markersize=3)
