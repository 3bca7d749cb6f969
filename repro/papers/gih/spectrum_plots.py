"""Figures of the spectra of the average geometry."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style
from repro.papers.gih.looks import CHANCE, CRITERION, NETWORKS

QUANTITIES = {
    "participation": "participation ratio",
    "k90": "holding 90 % of $G$",
    "k99": "holding 99 %",
    "top_16": "in the first 16",
}


RANKS = {"rank": "numerical rank of $G$", "participation": "participation ratio of $G$"}


@style.draws("network", "index", "mean", "lower", "upper", "draws")
def spectra(frame: pd.DataFrame) -> Figure:
    """Eigenvalues of G in falling order.

    Args:
        frame: columns network, index, mean, lower, upper, draws.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN + 1.2, height=3.4)
    handles = []
    for network, part in frame.groupby("network", sort=False):
        look = NETWORKS[str(network)]
        line = {"color": look["color"], "linestyle": look["linestyle"]}
        axis.plot(part["index"], part["mean"], **line)
        axis.fill_between(part["index"], part["lower"], part["upper"], color=look["color"], alpha=0.2, linewidth=0)
        marked = part[part["index"].isin(2 ** np.arange(12))]
        axis.plot(marked["index"], marked["mean"], look["marker"], color=look["color"])
        handles.append(Line2D([], [], label=str(network), **look))
    axis.axhline(1, **CHANCE)
    handles.append(Line2D([], [], label="isotropic", **CHANCE))
    axis.set(xscale="log", yscale="log", xlabel="number of the eigenvalue", ylabel="eigenvalue of $G$ over their mean")
    axis.set(
        title="Dense nets know no direction, residual ones a few", ylim=(frame["mean"].clip(lower=1e-5).min() / 2, None)
    )
    style.legend_below(figure, handles, style.interval_meaning(frame, "bands", "draws"), 3)
    return figure


@style.draws("network", "quantity", "mean", "lower", "upper", "draws")
def summary(frame: pd.DataFrame) -> Figure:
    """Participation ratio, k90 and k99 over the number of inputs, and the share of the first 16 eigenvalues.

    Args:
        frame: columns network, quantity, mean, lower, upper, draws.
    """
    figure, axes = style.panels(len(QUANTITIES), height=2.6)
    for axis, (quantity, title) in zip(axes, QUANTITIES.items(), strict=True):
        part = frame[frame["quantity"] == quantity].reset_index(drop=True)
        for position, row in part.iterrows():
            look = NETWORKS[row["network"]] | {"linestyle": ""}
            bars = np.abs([[row["mean"] - row["lower"]], [row["upper"] - row["mean"]]])  # rounding may leave −1e−16
            axis.errorbar(row["mean"], -float(position), xerr=bars, elinewidth=1.0, **look)  # type: ignore[arg-type]
        labels = [name.replace(", ", ",\n", 1) for name in part["network"]]
        axis.set_yticks(-np.arange(len(part)), labels if axis is axes[0] else [])
        axis.set(title=title, xlim=(0, 1.08), ylim=(-len(part) + 0.5, 0.5))
        axis.set_xlabel("of all energy" if quantity == "top_16" else "of all directions")
    for limit in (0.2, 0.95):
        axes[0].axvline(limit, **CRITERION)
    handles = [Line2D([], [], label="declared: residual below 0.2, dense from 0.95 to 1.05", **CRITERION)]
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"), 1)
    return figure


@style.draws("variant", "stride", "quantity", "mean", "lower", "upper", "draws")
def strides(frame: pd.DataFrame) -> Figure:
    """Rank and participation ratio of G against the total stride, with the law.

    Args:
        frame: columns variant, stride, quantity, mean, lower, upper, draws.
    """
    figure, axes = style.panels(2, height=3.1)
    looks = dict(zip(frame["variant"].unique(), style.LOOKS, strict=False))
    for axis, (quantity, label) in zip(axes, RANKS.items(), strict=True):
        part = frame[frame["quantity"] == quantity]
        sizes = np.sort(part["stride"].unique())
        axis.plot(sizes, sizes.astype(float) ** 2, **CHANCE)
        for variant, look in looks.items():
            style.with_interval(
                axis, part[part["variant"] == variant], "stride", look | {"markersize": 5, "fillstyle": "none"}
            )
        axis.set(xscale="log", yscale="log", xlabel="total stride $s$", ylabel=label)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
    axes[0].set_title("Exact for linear nets with circular padding")
    axes[1].set_title("and what is left of it elsewhere")
    handles = [Line2D([], [], label=variant, **look) for variant, look in looks.items()]
    handles.append(Line2D([], [], label="$s^2$", **CHANCE))
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"), 3)
    return figure


@style.draws("network", "first", "mean", "lower", "upper", "draws", "chance")
def fourier(frame: pd.DataFrame) -> Figure:
    """Energy of the eigenvectors at the frequencies that the stride singles out.

    Args:
        frame: columns network, first, mean, lower, upper, draws, chance.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN + 1.2, height=3.2)
    for network, part in frame.groupby("network", sort=False):
        style.with_interval(axis, part, "first", NETWORKS[str(network)])
    axis.axhline(frame["chance"].iloc[0], **CHANCE)
    axis.set(xlabel="number of the eigenvector (averages of four)", ylabel="energy at multiples of side/stride")
    axis.set_ylim(0, 1)
    axis.set_title("First eigenvectors keep to the stride's frequencies")
    handles = [Line2D([], [], label=str(network), **NETWORKS[str(network)]) for network in frame["network"].unique()]
    handles.append(Line2D([], [], label="a random vector", **CHANCE))
    style.legend_below(figure, handles, style.interval_meaning(frame, "bars", "draws"), 3)
    return figure


@style.draws("network", "vector", "row", "column", "value")
def pictures(frame: pd.DataFrame) -> Figure:
    """The first eigenvectors as images.

    Args:
        frame: columns network, vector, row, column, value.
    """
    networks, vectors = frame["network"].unique(), np.sort(frame["vector"].unique())
    figure, axes = style.panels(len(vectors), rows=len(networks), height=0.95 * len(networks) + 0.4)
    for position, axis in enumerate(axes):
        network, vector = networks[position // len(vectors)], vectors[position % len(vectors)]
        part = frame[(frame["network"] == network) & (frame["vector"] == vector)]
        image = part.pivot(index="row", columns="column", values="value").to_numpy()
        shown = axis.imshow(image, cmap="PuOr", vmin=-1, vmax=1)
        axis.set_xticks([])
        axis.set_yticks([])
        if position < len(vectors):
            axis.set_title(f"{vector}")
        if position % len(vectors) == 0:
            axis.set_ylabel(str(network).replace(", ", ",\n"), fontsize=7)
    figure.colorbar(shown, ax=axes, label="of the largest", shrink=0.7)
    figure.suptitle("Eigenvectors of $G$, first draw, largest eigenvalue first", fontsize=9)
    return figure
