"""Estimates with their intervals against the regions that were declared for them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro import style
from repro.workflow.claims import Claim

LOOKS: dict[str, tuple[str, str]] = {  # marker and colour, either of them alone tells the verdict
    "reproduced": ("o", style.BLUE),
    "not reproduced": ("X", style.VERMILION),
    "inconclusive": ("D", "0.35"),
    "withheld": ("v", "0.6"),
    "not judged": ("s", "0.35"),
}


def verdict_table(registry: Mapping[str, Claim], measured: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per measurement, with the columns that `verdicts` draws."""
    rows = []
    for m in measured:
        claim = registry[m["claim"]]
        part = claim.part_or_none(m["part"])
        region = (part.criterion.lower, part.criterion.upper) if part else (-np.inf, np.inf)
        rows.append(
            [
                claim.id,
                m["part"],
                claim.axis,
                m["estimate"],
                *m["interval"],
                *region,
                m["n"],
                m["verdict"],
                m["withheld"],
            ]
        )
    return pd.DataFrame(rows, columns=list(verdicts.columns))  # type: ignore[attr-defined]


@style.draws(
    "claim", "part", "axis", "estimate", "lower", "upper", "region_lower", "region_upper", "n", "verdict", "withheld",
)  # fmt: skip
def verdicts(frame: pd.DataFrame) -> Figure:
    """One line per judged part: its interval over the acceptance region in grey, the verdict as the marker.

    Statistics of one kind share an axis, a panel each. Where a verdict is withheld, the reason stands in the line.

    Args:
        frame: as of `verdict_table`; a region is infinite where it is open.
    """
    kinds = [str(kind) for kind in frame["axis"].unique()]
    counts = [int((frame["axis"] == kind).sum()) for kind in kinds]
    height = sum(0.45 + 0.22 * count for count in counts) + 0.3
    figure, axes = style.panels(1, rows=len(kinds), height=height, ratios=[count + 0.5 for count in counts])
    for axis, kind in zip(axes, kinds, strict=True):
        _panel(axis, frame[frame["axis"] == kind], kind)
    figure.supxlabel("line: 95 % interval; grey: region declared in advance", fontsize=7)
    return figure


def _panel(axis: Axes, frame: pd.DataFrame, kind: str) -> None:
    finite = frame[["estimate", "lower", "upper", "region_lower", "region_upper"]].to_numpy(float)
    finite = finite[np.isfinite(finite)]
    margin = 0.05 * (np.ptp(finite) or 1.0) if len(finite) else 1.0
    left, right = (finite.min() - margin, finite.max() + margin) if len(finite) else (-1.0, 1.0)
    for row, part in enumerate(frame.to_dict("records")):
        region = np.clip([part["region_lower"], part["region_upper"]], left, right)
        if np.isfinite([part["region_lower"], part["region_upper"]]).any():
            axis.barh(row, region[1] - region[0], left=region[0], height=0.8, color="0.88", zorder=1)
        marker, colour = LOOKS[part["verdict"]]
        axis.plot([part["lower"], part["upper"]], [row, row], color=colour, zorder=2, solid_capstyle="butt")
        axis.plot(part["estimate"], row, marker, color=colour, zorder=3)
        side = axis.get_yaxis_transform()
        axis.text(1.01, row, part["verdict"], transform=side, va="center", fontsize=7)
        if isinstance(part["withheld"], str) and part["withheld"]:  # an empty text reads as NaN from a table
            place, align = (0.99, "right") if part["estimate"] < (left + right) / 2 else (0.01, "left")
            axis.text(place, row, part["withheld"], transform=side, va="center", ha=align, fontsize=6)
    claims, parts = frame["claim"].str.partition(".")[2], frame["part"].astype(object).fillna("")  # empty in a table
    axis.set_yticks(range(len(frame)), [f"{claim}  {part}" for claim, part in zip(claims, parts, strict=True)])
    axis.set(xlim=(left, right), ylim=(len(frame) - 0.5, -0.5), xlabel=kind)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
