"""Ricci coefficients along training (arXiv 2509.22362): curves, before against after, and when they would stop a run.

Rows come from `papers.ricci.training.training_cell`: one net at one checkpoint, number 0 before training.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.papers.ricci.study import KEY, TRAINED, UNTRAINED
from repro.stats import estimate as stats

NET = [*KEY, "net"]
LOCAL = {"Forman": "local_forman", "augmented": "local_augmented", "Ollivier": "few_ollivier"}  # columns of the rows
QUANTITIES = {
    "test accuracy": "test_accuracy", "global": "rho_directed", "global, union": "rho_union",
    "local, augmented": "local_augmented", "local, Forman": "local_forman",
    "local, Ollivier, few points": "few_ollivier", "local, augmented, few points": "few_augmented",
}  # fmt: skip


class Stop(NamedTuple):
    """Numbers of two checkpoints of a run, counted from 0."""

    stopped: int  # the last one that was run
    kept: int  # the one whose net is kept


def stopping(values: npt.ArrayLike, patience: int, smallest_fall: float = 0.0) -> Stop:
    """Where a run stops when a value that should fall does not: at the `patience`-th checkpoint without a fall.

    A checkpoint is a fall if its value lies below all earlier ones, by `smallest_fall` or more; the first one is. The
    net of the lowest value so far is kept, the first one of equals. A run that never stops ends with its last
    checkpoint. NaN is never a fall and never the lowest.

    Args:
        values: (checkpoints,) of one run.
        patience: checkpoints without a fall, at least 1.
        smallest_fall: not negative.

    Raises:
        ValueError: for values that are not one row of numbers with at least one defined, or another patience or fall.
    """
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or np.isnan(row).all():
        raise ValueError(f"expected a row of values, at least one of them a number, got {row.tolist()}")
    if patience < 1 or not smallest_fall >= 0:
        raise ValueError(f"expected patience >= 1 and smallest_fall >= 0, got {patience} and {smallest_fall}")
    lowest, kept, waited, checkpoint = np.inf, 0, 0, 0
    for checkpoint, value in enumerate(row):
        fall = lowest - value if value < lowest else -np.inf
        waited = 0 if fall >= smallest_fall else waited + 1
        if value < lowest:
            lowest, kept = value, checkpoint
        if waited == patience:
            break
    return Stop(checkpoint, kept)


def curves(rows: pd.DataFrame, quantities: Sequence[str] = tuple(QUANTITIES)) -> pd.DataFrame:
    """Mean over nets along training: dataset, architecture, depth, quantity, epoch, mean, lower, upper, nets."""
    tables = [_means(rows, QUANTITIES[name], [*KEY, "epoch"]).assign(quantity=name) for name in quantities]
    return pd.concat([table for table in tables if len(table)], ignore_index=True)  # an empty one has no types


def before_and_after(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean local coefficient of each net: dataset, architecture, depth, net, curvature, untrained, trained."""
    start, end = (rows[rows["checkpoint"] == c].set_index(NET) for c in (0, rows["checkpoint"].max()))
    tables = [
        pd.DataFrame({"curvature": curvature, UNTRAINED: start[column], TRAINED: end[column]})
        for curvature, column in LOCAL.items()
    ]
    return pd.concat(tables).reset_index()


def change(pairs: pd.DataFrame) -> stats.Estimate:
    """Trained − untrained, mean over the nets of `before_and_after` (of one curvature) where both are defined."""
    return stats.mean((pairs[TRAINED] - pairs[UNTRAINED]).dropna())


def changes(pairs: pd.DataFrame) -> dict[str, float]:
    """Mean change by data set and depth, with augmented curvature, and by curvature; share of nets negative."""
    augmented = pairs[pairs["curvature"] == "augmented"]
    tables = {
        "change": (pairs, "curvature"),
        "augmented": (augmented, "dataset"),
        "augmented_depth": (augmented, "depth"),
    }
    found = {
        f"{name}_{value}": float((part[TRAINED] - part[UNTRAINED]).mean())
        for name, (table, column) in tables.items()
        for value, part in table.groupby(column, sort=False)
    }
    for state in (UNTRAINED, TRAINED):
        found[f"mean_{state}"] = float(augmented[state].mean())
        found[f"negative_{state}"] = float((augmented[state].dropna() < 0).mean())
    return found


def layers(rows: pd.DataFrame) -> pd.DataFrame:
    """Layer coefficients before and after training: columns of a cell, state, step, mean, lower, upper, nets.

    Step 1 leads from the input to the first hidden layer, the last one to the output.
    """
    states = {0: UNTRAINED, rows["checkpoint"].max(): TRAINED}
    chosen = rows[rows["checkpoint"].isin(states)]
    single = chosen.assign(state=chosen["checkpoint"].map(states)).explode("layers_augmented")
    single["step"] = single.groupby([*NET, "state"]).cumcount() + 1
    single["layers_augmented"] = single["layers_augmented"].astype(float)
    return _means(single, "layers_augmented", [*KEY, "state", "step"])


def stops(rows: pd.DataFrame, patience: int, smallest_fall: float) -> pd.DataFrame:
    """Where the heuristic and the validation rule stop each net, and the test accuracies of the nets they keep.

    Columns: dataset, architecture, depth, net, epochs (of a whole run); heuristic_epoch, rule_epoch, fixed_epoch
    (epochs run); heuristic_kept, rule_kept (epoch of the net that is kept); heuristic_stopped, rule_stopped (false: the
    run went to its end); heuristic_accuracy, rule_accuracy, fixed_accuracy, last_accuracy, and stop_accuracy, that of
    the net at which the heuristic stops.

    The fixed stop is a control: every net of a data set stops at the checkpoint nearest to the heuristic's mean there.
    """
    found = []
    runs = [(key, run.sort_values("checkpoint")) for key, run in rows[rows["checkpoint"] > 0].groupby(NET, sort=False)]
    for key, run in runs:
        epoch, accuracy = run["epoch"].to_numpy(), run["test_accuracy"].to_numpy()
        row = dict(zip(NET, key, strict=True)) | {"epochs": epoch[-1], "last_accuracy": accuracy[-1]}
        for name, column, fall in (("heuristic", "local_augmented", smallest_fall), ("rule", "validation_loss", 0.0)):
            stop = stopping(run[column], patience, fall)
            row |= {f"{name}_epoch": epoch[stop.stopped], f"{name}_kept": epoch[stop.kept]}
            row |= {f"{name}_accuracy": accuracy[stop.kept], f"{name}_stopped": stop.stopped < len(run) - 1}
            row |= {"stop_accuracy": accuracy[stop.stopped]} if name == "heuristic" else {}
        found.append(row)
    table = pd.DataFrame(found)
    mean = table.groupby("dataset")["heuristic_epoch"].transform("mean")
    nearest = [(run["epoch"] - epoch).abs().argmin() for (_, run), epoch in zip(runs, mean, strict=True)]
    for column, name in (("epoch", "fixed_epoch"), ("test_accuracy", "fixed_accuracy")):
        table[name] = [run[column].iloc[place] for (_, run), place in zip(runs, nearest, strict=True)]
    return table


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """What the figure of `stops` draws: shares of a whole run's epochs, and accuracies below that of the rule's net."""
    shares = {f"{name}_share": table[f"{name}_epoch"] / table["epochs"] for name in ("heuristic", "rule")}
    names = ("heuristic", "fixed", "last")
    lost = {f"{name}_lost": table["rule_accuracy"] - table[f"{name}_accuracy"] for name in names}
    return table[NET].assign(**shares, **lost)


def accuracy_lost(table: pd.DataFrame, by: str = "heuristic") -> stats.Estimate:
    """Mean test accuracy of the rule's nets − of those "heuristic", "fixed", "stop" or "last" (columns of `stops`)."""
    return stats.mean(table["rule_accuracy"] - table[f"{by}_accuracy"])


def epochs_saved(table: pd.DataFrame) -> stats.Estimate:
    """1 − mean epochs run by the heuristic / by the rule."""
    epochs = (table["heuristic_epoch"], table["rule_epoch"])
    share = stats.estimate(lambda h, r: h.mean(axis=0) / r.mean(axis=0), *epochs, scale=stats.LOGARITHM)
    return share.map(lambda ratio: 1 - ratio)


def by_dataset(table: pd.DataFrame) -> pd.DataFrame:
    """Means by data set and depth: epochs run, accuracies, accuracy lost by the heuristic and by the fixed stop."""
    means = table.groupby(["dataset", "depth"], sort=False)[
        ["heuristic_epoch", "fixed_epoch", "rule_epoch", "heuristic_accuracy", "fixed_accuracy", "rule_accuracy"]
    ].mean()
    means["lost"] = means["rule_accuracy"] - means["heuristic_accuracy"]
    means["lost_fixed"] = means["rule_accuracy"] - means["fixed_accuracy"]
    return means.reset_index()


def _means(rows: pd.DataFrame, column: str, by: list[str]) -> pd.DataFrame:
    """Mean with interval over the nets where the column is defined, by group."""
    found = []
    for key, part in rows.dropna(subset=[column]).groupby(by, sort=False):
        mean = stats.mean(part[column])
        found.append([*key, mean.value, *mean.interval, mean.n])
    return pd.DataFrame(found, columns=[*by, "mean", "lower", "upper", "nets"])


def local_change(pairs: pd.DataFrame) -> stats.Finding:
    """`change` with augmented curvature, with the means of `changes`; takes `before_and_after`."""
    return stats.Finding(change(pairs[pairs["curvature"] == "augmented"]), changes(pairs))


def stop_accuracy(table: pd.DataFrame) -> stats.Finding:
    """Accuracy lost by the heuristic, with that lost by the other stops, and mean accuracies; takes `stops`."""
    values = {f"lost_{name}": accuracy_lost(table, name).value for name in ("fixed", "stop", "last")}
    values |= {f"{name}_accuracy": table[f"{name}_accuracy"].mean() for name in ("heuristic", "fixed", "rule", "last")}
    return stats.Finding(accuracy_lost(table), values)


def stop_epochs(table: pd.DataFrame) -> stats.Finding:
    """Epochs saved by the heuristic, with mean epochs and how often each rule stopped a run; takes `stops`."""
    values = {f"{name}_epochs": table[f"{name}_epoch"].mean() for name in ("heuristic", "fixed", "rule")}
    values |= {f"{name}_stopped": table[f"{name}_stopped"].mean() for name in ("heuristic", "rule")}
    return stats.Finding(epochs_saved(table), values)
