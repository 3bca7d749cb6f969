"""Figures of nets trained without labels along segments between images."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from repro import style
from repro.papers.magnification.looks import STATES, mark_classes, state_handles

NAMES = {"barlow": "Barlow Twins", "simclr": "SimCLR", "supervised": "by labels (control)"}
METHODS: dict[str, dict[str, Any]] = dict(zip(NAMES, style.LOOKS, strict=False))


@style.draws("method", "net", "epoch", "loss")
def training_losses(frame: pd.DataFrame) -> Figure:
    """Loss along training without labels, relative to the first epoch's, a line per net.

    Args:
        frame: columns method, net, epoch, loss.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN, height=2.8)
    for method, part in frame.groupby("method", sort=False):
        look = METHODS[str(method)]
        for number, (_, line) in enumerate(part.groupby("net")):
            label = NAMES[str(method)] if number == 0 else None
            axis.plot(line["epoch"], line["loss"], **(look | {"markersize": 2.5, "linewidth": 0.8}), label=label)
    axis.set(xlabel="epoch", ylabel="loss / loss of the first epoch", ylim=(0, 1.05))
    axis.legend(title=f"a line per net, n = {frame['net'].nunique()}")
    return figure


@style.draws("method", "state", "rank", "segment", "t", "log10_volume", "class")
def example_segments(frame: pd.DataFrame) -> Figure:
    """Log-volume along segments of one net, less its mean, marked by the class that the probe reads; a row per rank.

    Args:
        frame: columns method, state, rank, segment, t, log10_volume, class.
    """
    ranks, methods = list(frame["rank"].unique()), list(frame["method"].unique())
    figure, axes = style.panels(len(methods), rows=len(ranks), height=0.7 + 1.9 * len(ranks))
    for axis, (rank, method) in zip(axes, [(r, m) for r in ranks for m in methods], strict=True):
        part = frame[(frame["rank"] == rank) & (frame["method"] == method)]
        for (state, _), line in part.groupby(["state", "segment"]):
            height = line["log10_volume"] - line["log10_volume"].mean()
            axis.plot(line["t"], height, color=STATES[str(state)]["color"], linestyle=STATES[str(state)]["linestyle"])
            if state == "trained":
                mark_classes(axis, line.assign(height=height), "t", "height")
        axis.set_title(f"{NAMES[method]}, {rank}", fontsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(3))
    for axis in axes[:: len(methods)]:
        axis.set_ylabel("log$_{10}$ volume, less mean")
    for axis in axes[-len(methods) :]:
        axis.set_xlabel("place on the segment, t")
    title = "marks and colours: class that the probe of the trained net reads"
    style.legend_below(figure, state_handles(marker=""), title, 2)
    return figure


@style.draws("method", "state", "rank", "offset", "mean", "lower", "upper", "nets")
def about_the_crossing(frame: pd.DataFrame) -> Figure:
    """Mean log-volume against the distance from where the probe changes its class; a row per rank, a column per method.

    Args:
        frame: columns method, state, rank, offset, mean, lower, upper, nets.
    """
    ranks, methods = list(frame["rank"].unique()), list(frame["method"].unique())
    figure, axes = style.panels(len(methods), rows=len(ranks), height=0.7 + 1.9 * len(ranks))
    for axis, (rank, method) in zip(axes, [(r, m) for r in ranks for m in methods], strict=True):
        part = frame[(frame["rank"] == rank) & (frame["method"] == method)]
        for state, look in STATES.items():
            line = part[part["state"] == state].sort_values("offset")
            axis.fill_between(line["offset"], line["lower"], line["upper"], color=look["color"], alpha=0.2, linewidth=0)
            axis.plot(line["offset"], line["mean"], **(look | {"markersize": 2.5}))
        axis.axvline(0, color="0.2", linewidth=0.8)
        axis.axhline(0, color="0.2", linewidth=0.4)
        axis.set_title(f"{NAMES[method]}, {rank}", fontsize=8)
    for axis in axes[:: len(methods)]:
        axis.set_ylabel("log$_{10}$ volume, less mean")
    for axis in axes[-len(methods) :]:
        axis.set_xlabel("distance from the crossing")
    style.legend_below(figure, state_handles(), style.interval_meaning(frame, "bands", "nets"), 2)
    return figure


@style.draws("statistic", "method", "rank", "state", "mean", "lower", "upper", "nets")
def statistics(frame: pd.DataFrame) -> Figure:
    """The judged statistics of every way of training, at both ranks, before and after it; regions in grey.

    Args:
        frame: columns statistic, method, rank, state, mean, lower, upper, nets.
    """
    panels = {
        "over untrained": ("distance to the crossing:\ntrained / untrained", (-np.inf, 0.8)),
        "over a constant": ("distance to the crossing:\npeak / best constant", (-np.inf, 1.0)),
        "rank correlation": ("rank correlation\nof peak and crossing", (0.3, np.inf)),
        "contrast": ("contrast at the crossing\n(decades)", (0.0, np.inf)),
    }
    rows = list(frame[["method", "rank"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = style.panels(len(panels), height=0.9 + 0.34 * len(rows), sharey=True)
    for axis, (statistic, (title, region)) in zip(axes, panels.items(), strict=True):
        part = frame[frame["statistic"] == statistic]
        low, high = float(part["lower"].min()), float(part["upper"].max())
        margin = 0.08 * (high - low)
        limits = min(low - margin, 0), max(high + margin, 1)
        axis.axvspan(max(region[0], limits[0]), min(region[1], limits[1]), color="0.9", zorder=0)
        for shift, (state, look) in zip((-0.12, 0.12), STATES.items(), strict=True):
            chosen = part[part["state"] == state]
            for point in chosen.to_dict("records"):
                place = rows.index((point["method"], point["rank"])) + shift
                axis.plot([point["lower"], point["upper"]], [place, place], color=look["color"])
                axis.plot(point["mean"], place, marker=look["marker"], color=look["color"])
        axis.set(xlim=limits, ylim=(len(rows) - 0.5, -0.5))
        axis.set_title(title, fontsize=8)
    axes[0].set_yticks(range(len(rows)), [f"{NAMES[method]}, {rank}" for method, rank in rows])
    title = f"grey: region of the claim of magnification. {style.interval_meaning(frame, 'lines', 'nets')}"
    style.legend_below(figure, state_handles(linestyle=""), title, 2)
    return figure
