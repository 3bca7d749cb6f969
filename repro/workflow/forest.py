"""Estimates with their intervals against the regions that were declared for them."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro import style

MARKERS = {"reproduced": "o", "not reproduced": "X", "inconclusive": "D", "not judged": "s"}


@style.styled
def forest(frame: pd.DataFrame, *, label: str) -> Figure:
    """One line per judged part: its interval over the acceptance region in grey, the verdict as the marker.

    Args:
        frame: columns claim, part, estimate, lower, upper, region_lower, region_upper (infinite where open),
            verdict.
        label: what is on the horizontal axis.
    """
    figure, (axis,) = style.panels(1, width=style.PAGE, height=0.7 + 0.24 * len(frame))
    finite = frame[["estimate", "lower", "upper", "region_lower", "region_upper"]].to_numpy(float)
    finite = finite[np.isfinite(finite)]
    parts = frame.to_dict("records")
    margin = 0.05 * (finite.max() - finite.min() or 1.0)
    left, right = finite.min() - margin, finite.max() + margin
    for row, part in enumerate(parts):
        region = np.clip([part["region_lower"], part["region_upper"]], left, right)
        axis.barh(row, region[1] - region[0], left=region[0], height=0.8, color="0.88", zorder=1)
        colour = (
            style.BLUE
            if part["verdict"] == "reproduced"
            else style.VERMILION
            if part["verdict"] == "not reproduced"
            else "0.35"
        )
        axis.plot([part["lower"], part["upper"]], [row, row], color=colour, zorder=2, solid_capstyle="butt")
        axis.plot(part["estimate"], row, MARKERS[part["verdict"]], color=colour, zorder=3)
        axis.text(1.01, row, part["verdict"], transform=axis.get_yaxis_transform(), va="center", fontsize=7)
    axis.set_yticks(range(len(frame)), [f"{part['claim'].partition('.')[2]}  {part['part']}" for part in parts])
    axis.set(
        xlim=(left, right),
        ylim=(len(frame) - 0.5, -0.5),
        xlabel=f"{label} (line: 95 % interval; grey: region declared in advance)",
    )
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return figure
