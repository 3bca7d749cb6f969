"""The grids of the Ricci study and what their cells cost, apart from the cells, which neither of these can change."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro.papers.ricci.nets import require_data
from repro.papers.ricci.study import CONDITIONS, SYNTHETIC, TRAINED, UNTRAINED, hidden_widths

Config = dict[str, Any]
BLOCK = 12  # nets of a cell: what an interruption can cost, and what one process trains


@dataclass(frozen=True)
class Group:
    """Data sets that are trained and measured alike."""

    datasets: Sequence[str]
    neighbours: Sequence[int]  # the k of the graphs
    epochs: int  # passes over the training points of the condition "trained"
    train_size: int  # its training points
    test_size: int
    batch_size: int = 32


def study_grid(
    groups: Sequence[Group],
    *,
    architectures: Sequence[str],
    depths: Sequence[int],
    nets: Mapping[str, int],
    few_points: int = 0,
    few_epochs: int = 0,
    **shared: Any,
) -> list[Config]:
    """Configurations of `ensemble_cell` for every data set, architecture, depth and condition, in blocks of 12 nets.

    Args:
        groups: the data sets.
        architectures: see `hidden_widths`.
        depths: numbers of hidden layers.
        nets: how many nets of each cell are measured in each condition; the first ones of the cell.
        few_points: training points of the conditions "shuffled labels" and "few labels", where these are asked for.
        few_epochs: passes over these.
        shared: seed, dtype, device.

    Raises:
        ValueError: for an unknown condition.
        DataError: if images are missing or damaged.
    """
    unknown = set(nets) - set(CONDITIONS)
    if unknown:
        raise ValueError(f"expected conditions of {list(CONDITIONS)}, got {sorted(unknown)}")
    require_data([dataset for group in groups for dataset in group.datasets])
    few = {"train_size": few_points, "epochs": few_epochs}
    return [
        {"dataset": dataset, "architecture": architecture, "depth": depth, "condition": condition}
        | {"first_net": first, "nets": min(BLOCK, count - first), "neighbours": list(group.neighbours)}
        | {"test_size": group.test_size, "batch_size": group.batch_size}
        | {TRAINED: _training(group, group.epochs), UNTRAINED: _training(group, 0)}.get(condition, few)
        | shared
        for group in groups
        for condition, count in nets.items()
        for dataset in group.datasets
        for architecture in architectures
        for depth in depths
        for first in range(0, count, BLOCK)
    ]


def _training(group: Group, epochs: int) -> Config:
    return {"train_size": group.train_size, "epochs": epochs}


def relative_cost(config: Mapping[str, Any]) -> float:
    """Rough time of a cell in seconds of one core, so that a sweep starts with the dearest and tells the time left."""
    inputs = 3 if config["dataset"] in SYNTHETIC else 784
    widths = [inputs, *hidden_widths(config["architecture"], config["depth"])]
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    steps = config["epochs"] * -(-config["train_size"] // config.get("batch_size", 32))
    graphs = config["depth"] * len(config["neighbours"]) * (config.get("test_size", 1000) / 1000) ** 2
    return float(config["nets"] * (steps * (1e-5 + 2.6e-9 * weights) + 0.003 * graphs))


def training_cost(config: Mapping[str, Any]) -> float:
    """Rough CPU seconds of a cell, so that a sweep starts with the dearest and tells the time left."""
    layers = config["depth"] + 2
    inputs = 0 if config["dataset"] in SYNTHETIC else 1
    looks = (config["checkpoints"] + 1) * (0.007 * layers + 0.02 * inputs) * (config["points"] / 500) ** 2
    dear = 4 * 0.03 * layers * (config["few_points"] / 80) * (config["few_k"] / 8) ** 3
    training = config["epochs"] * config["train_size"] * (1e-7 * layers + 2e-6 * inputs)
    return float(config["nets"] * (looks + dear + training))
