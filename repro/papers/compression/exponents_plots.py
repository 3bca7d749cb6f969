"""Figures of the compression paper (arXiv 2007.11471)."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repro import style

LOOK: dict[str, dict[str, Any]] = {  # colour, marker and line tell the regimes apart, any one of them alone
    "feature": {"color": style.BLUE, "marker": "o", "linestyle": "-"},
    "lazy": {"color": style.ORANGE, "marker": "s", "linestyle": "--"},
}
NAMES = {"feature": "feature regime (net, α → 0)", "lazy": "lazy regime (SVM, analytic NTK)"}


@style.draws("dimension", "regime", "train_size", "mean", "lower", "upper", "seeds", "theory")
def learning_curves(frame: pd.DataFrame) -> Figure:
    """Test error against training points in both regimes, a panel per dimension, with the theory's slopes.

    Args:
        frame: columns dimension, regime, train_size, mean, lower, upper, seeds, theory (NaN outside the fit).
    """
    dimensions = sorted(frame["dimension"].unique())
    figure, axes = style.panels(len(dimensions), height=3.3, sharey=True)
    for axis, dimension in zip(axes, dimensions, strict=True):
        for regime, look in LOOK.items():
            curve = frame[(frame["dimension"] == dimension) & (frame["regime"] == regime)]
            style.with_interval(axis, curve, "train_size", look)
            axis.plot(curve["train_size"], curve["theory"], color="0.2", linestyle=":", linewidth=1.6, zorder=4)
        axis.set(xscale="log", yscale="log", title=f"d = {dimension}", xlabel="training points p")
        style.size_ticks(axis, frame["train_size"])
    axes[0].set_ylabel("test error")
    style.plain_log_ticks(axes[0], *style.extent(frame, 1e-4))
    theory = Line2D([], [], color="0.2", linestyle=":", linewidth=1.6, label="slope predicted as p → ∞")
    style.legend_below(figure, [*_regime_handles(), theory], style.interval_meaning(frame))
    return figure


@style.draws("dimension", "regime", "train_size", "mean", "lower", "upper", "seeds", "theory")
def local_exponents(frame: pd.DataFrame) -> Figure:
    """Exponent between neighbouring sizes against size, with the predicted asymptotes, a panel per dimension.

    Args:
        frame: columns dimension, regime, train_size, mean, lower, upper, seeds, theory.
    """
    dimensions = sorted(frame["dimension"].unique())
    figure, axes = style.panels(len(dimensions), height=3.1, sharey=True)
    for axis, dimension in zip(axes, dimensions, strict=True):
        for shift, (regime, look) in zip((0.97, 1.03), LOOK.items(), strict=True):
            curve = frame[(frame["dimension"] == dimension) & (frame["regime"] == regime)]
            style.with_interval(axis, curve.assign(train_size=curve["train_size"] * shift), "train_size", look)
            axis.axhline(curve["theory"].iloc[0], color=look["color"], linestyle=":", linewidth=1.6)
        axis.set(
            xscale="log",
            title=f"d = {dimension}",
            xlabel="p, between two sizes",
            ylim=(-0.1, 1.6),
        )
        style.size_ticks(axis, frame["train_size"])
    axes[0].set_ylabel("local exponent β")
    theory = Line2D([], [], color="0.2", linestyle=":", linewidth=1.6, label="predicted asymptote, in its colour")
    style.legend_below(figure, [*_regime_handles(), theory], style.interval_meaning(frame))
    return figure


@style.draws("dimension", "regime", "train_size", "mean", "lower", "upper", "seeds")
def error_ratio(frame: pd.DataFrame) -> Figure:
    """How many times the lazy error exceeds the feature error, against size, one line per dimension.

    Args:
        frame: columns dimension, train_size, mean, lower, upper, seeds.
    """
    figure, (axis,) = style.panels(1, width=style.COLUMN, height=3.0)
    for look, (dimension, curve) in zip(style.LOOKS, frame.groupby("dimension"), strict=False):
        style.with_interval(axis, curve, "train_size", look | {"label": f"d = {dimension}"})
    axis.axhline(1.0, color="0.2", linewidth=0.8)
    place = (frame["train_size"].max(), 1)
    axis.annotate("no gain", place, (0, -9), textcoords="offset points", fontsize=7, ha="right")
    axis.set(xscale="log", xlabel="training points p", ylabel="test error, lazy / feature", ylim=(0, None))
    style.size_ticks(axis, frame["train_size"])
    style.legend_below(figure, axis.get_legend_handles_labels()[0], style.interval_meaning(frame))
    return figure


@style.draws("regime", "x1", "x2", "decision")
def decision_slices(frame: pd.DataFrame, boundaries: tuple[float, float]) -> Figure:
    """Decision functions on the plane of the informative and one uninformative coordinate, a panel per regime.

    Args:
        frame: columns regime, x1, x2, decision (in units of the margin) on a square grid.
        boundaries: x1 of the two true interfaces.
    """
    figure, axes = style.panels(2, height=3.6, sharey=True)
    mesh = None
    for axis, regime in zip(axes, LOOK, strict=True):
        grid = frame[frame["regime"] == regime].pivot(index="x2", columns="x1", values="decision")
        x1, x2, decision = grid.columns.to_numpy(float), grid.index.to_numpy(float), grid.to_numpy(float)
        mesh = axis.pcolormesh(
            x1, x2, np.clip(decision, -2, 2), cmap="PuOr", vmin=-2, vmax=2, rasterized=True, shading="nearest"
        )
        axis.contour(x1, x2, decision, levels=[0.0], colors="black", linewidths=1.4)
        for boundary in boundaries:
            axis.axvline(boundary, color="black", linestyle="--", linewidth=1.0)
        axis.set(title=NAMES[regime], xlabel="informative coordinate x₁", aspect="equal")
    axes[0].set_ylabel("uninformative coordinate x₂")
    if mesh is not None:
        bar = figure.colorbar(mesh, ax=axes, extend="both", shrink=0.85)
        bar.set_label("decision function (margins)")
    handles = [
        Line2D([], [], color="black", linewidth=1.4, label="learned boundary"),
        Line2D([], [], color="black", linestyle="--", linewidth=1.0, label="true boundary"),
    ]
    style.legend_below(figure, handles, "")
    return figure


def _regime_handles() -> list[Line2D]:
    return [Line2D([], [], label=NAMES[regime], **look) for regime, look in LOOK.items()]
