"""The figure of the cylinder (arXiv 2007.11471)."""

import pandas as pd
from matplotlib.figure import Figure

from repro import style


@style.draws("quantity", "informative", "dimension", "train_size", "mean", "lower", "upper", "seeds")
def gain(frame: pd.DataFrame) -> Figure:
    """Ratio of test errors, lazy over feature, and Λ at t*, against training points; a line per task.

    Args:
        frame: columns quantity ("error ratio", "amplification"), informative, dimension, train_size, mean, lower,
            upper, seeds.
    """
    figure, axes = style.panels(2, height=2.8)
    labels = {"error ratio": "test error, lazy / feature", "amplification": "compression Λ at t* (version A)"}
    for axis, (quantity, label) in zip(axes, labels.items(), strict=True):
        chosen = frame[frame["quantity"] == quantity]
        tasks = chosen.groupby(["informative", "dimension"])
        for look, ((informative, dimension), line) in zip(style.LOOKS, tasks, strict=False):
            named = look | {"label": f"d = {dimension}, {informative} informative"}
            style.with_interval(axis, line, "train_size", named)
        axis.axhline(1.0, color="0.2", linewidth=0.8)
        axis.set(xscale="log", xlabel="training points p", ylabel=label)
        style.size_ticks(axis, frame["train_size"])
    ratio, amplification = (frame[frame["quantity"] == quantity] for quantity in labels)
    axes[0].set_ylim(0, 1.15 * style.extent(ratio)[1])
    axes[1].set(yscale="log", ylim=(0.7, 2 * style.extent(amplification)[1]))
    style.plain_log_ticks(axes[1], 0.7, style.extent(amplification)[1])
    for axis, text in zip(axes, ("no gain", "no compression"), strict=True):
        place = (frame["train_size"].max(), 1)
        axis.annotate(text, place, (0, -9), textcoords="offset points", fontsize=7, ha="right")
    style.legend_below(figure, axes[0].get_legend_handles_labels()[0], style.interval_meaning(frame))
    return figure
