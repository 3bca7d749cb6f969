"""Ricci coefficients along training: of whole nets, of their layers and of single points.

The nets and their training points are those of `papers.ricci.nets`: net number i of a cell starts from the same weights
there and here. All coefficients are taken on unlabelled validation points, accuracy on test points that nothing else
uses.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from repro.device import resolve_device, resolve_dtype
from repro.geometry.graph import graph_statistics, local_ricci_by_curvature, ricci_correlation
from repro.models.ensemble import DenseEnsemble, glorot_ensemble
from repro.papers.ricci.nets import random_stream, task
from repro.papers.ricci.study import hidden_widths
from repro.training.ensemble import training_epochs

Row = dict[str, Any]


def training_cell(
    *,
    dataset: str,
    architecture: str,
    depth: int,
    nets: int,
    k: int,
    epochs: int,
    train_size: int,
    checkpoints: int = 25,
    points: int = 500,
    few_points: int = 80,
    few_k: int = 8,
    test_size: int = 1000,
    batch_size: int = 32,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Nets of one architecture, measured before training and at equally spaced epochs.

    Rows, one per checkpoint and net: dataset, architecture, depth, net, checkpoint (0: before training), epoch,
    train_accuracy, validation_accuracy, test_accuracy, validation_loss (nats), and of the graphs of the validation
    points

    - rho_directed, rho_union: coefficient of the hidden layers (arXiv 2404.14265);
    - local_forman, local_augmented: mean of the points' local coefficients (arXiv 2509.22362; layers: input, hidden,
      output after the sigmoid), with undefined_forman, undefined_augmented, the share of points that have none;
    - layers_augmented: list of the coefficients of the depth + 1 steps from layer to layer, and layer_augmented, their
      mean;
    - few_ollivier, few_augmented: as the local means, on the first few points. NaN but at the start, a quarter, half
      and the end of training, since Ollivier's curvature is dear.

    Args:
        dataset: see `task`.
        architecture: see `hidden_widths`.
        depth: hidden layers.
        nets: number of nets.
        k: neighbours in the graphs of all validation points.
        epochs: passes over the training points, a multiple of the checkpoints.
        train_size: training points.
        checkpoints: how often the nets are measured, at least 1; the start is not counted.
        points: validation points: fresh ones of a drawn data set, held-out training images.
        few_points: of these, how many have their local coefficient with Ollivier's curvature measured.
        few_k: neighbours in the graphs of these.
        test_size: test points, for accuracy alone.
        batch_size: examples per step.
        seed: non-negative integer.
        dtype: "float32" or "float64", of the nets.
        device: of the nets, "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
    """
    if checkpoints < 1 or epochs < 1 or epochs % checkpoints:
        raise ValueError(f"expected epochs to be a multiple of checkpoints, got {epochs} and {checkpoints}")
    if not 1 < few_points <= points:
        raise ValueError(f"expected 2 to {points} few_points, got {few_points}")
    place, precision = resolve_device(device), resolve_dtype(dtype)
    x, y, *test = (part.to(place) for part in task(dataset, train_size + points, test_size, seed, precision))
    parts = {"train": (x[:train_size], y[:train_size]), "validation": (x[train_size:], y[train_size:])}
    parts["test"] = (test[0], test[1])
    streams = [random_stream(seed, dataset, architecture, depth, net).spawn(2) for net in range(nets)]
    initial, order = ([np.random.default_rng(stream) for stream in part] for part in zip(*streams, strict=True))
    start = glorot_ensemble([x.shape[1], *hidden_widths(architecture, depth), 1], initial, precision, place)
    fixed = {"dataset": dataset, "architecture": architecture, "depth": depth}
    step, rows = epochs // checkpoints, []
    dear = {0, checkpoints // 4, checkpoints // 2, checkpoints}
    along = _checkpoints(start, *parts["train"], order, batch_size, checkpoints, step)
    for checkpoint, ensemble in enumerate(along):
        few = (few_points, few_k) if checkpoint in dear else None
        when = fixed | {"checkpoint": checkpoint, "epoch": checkpoint * step}
        coefficients = _coefficients(ensemble, parts["validation"][0], k, few)
        for net, measured in enumerate(zip(_scores(ensemble, parts), coefficients, strict=True)):
            rows.append(when | {"net": net} | measured[0] | measured[1])
    return rows


def _checkpoints(
    start: DenseEnsemble,
    inputs: Tensor,
    labels: Tensor,
    order: Sequence[np.random.Generator],
    batch_size: int,
    checkpoints: int,
    step: int,
) -> Iterator[DenseEnsemble]:
    """The nets before training and after every `step` epochs."""
    epochs = training_epochs(start, inputs, labels, order, batch_size=batch_size)
    return itertools.chain([start], itertools.islice(epochs, step - 1, checkpoints * step, step))


def _scores(ensemble: DenseEnsemble, parts: Mapping[str, tuple[Tensor, Tensor]]) -> list[Row]:
    """Accuracies of each net, and its loss on the validation points."""
    with torch.no_grad():
        logits = {name: ensemble(inputs).double() for name, (inputs, _) in parts.items()}  # (nets, points)
    columns = {f"{name}_accuracy": ((logits[name] > 0) == (y > 0.5)).double().mean(1) for name, (_, y) in parts.items()}
    target = parts["validation"][1].double().expand_as(logits["validation"])
    loss = binary_cross_entropy_with_logits(logits["validation"], target, reduction="none")
    columns["validation_loss"] = loss.mean(1)
    return [{name: float(column[net]) for name, column in columns.items()} for net in range(len(ensemble))]


def _coefficients(ensemble: DenseEnsemble, inputs: Tensor, k: int, few: tuple[int, int] | None) -> Iterator[Row]:
    """The coefficients of each net on these points; with Ollivier's curvature on the first `few`: (points, k)."""
    with torch.no_grad():
        hidden = [layer.cpu().numpy() for layer in ensemble.activations(inputs)]  # (nets, points, width) each
        # In float64: there it takes a logit of 37 until points tie at 1, in float32 one of 17.
        output = torch.sigmoid(ensemble(inputs).double()).cpu().numpy()[..., None]
    for net in range(len(ensemble)):
        layers = [inputs.cpu().numpy(), *(layer[net] for layer in hidden), output[net]]
        row = _global(layers[1:-1], k) | _local(layers, k) | {"few_ollivier": np.nan, "few_augmented": np.nan}
        yield row | (_few([layer[: few[0]] for layer in layers], few[1]) if few else {})


def _global(hidden: Sequence[np.ndarray], k: int) -> Row:
    graphs = [graph_statistics(layer, [k])[0] for layer in hidden]
    hop_sums = np.array([graph.hop_sum for graph in graphs])
    curvatures = {
        "rho_directed": [graph.directed_curvature for graph in graphs],
        "rho_union": [graph.union_curvature for graph in graphs],
    }
    return {name: float(ricci_correlation(hop_sums, np.array(values))) for name, values in curvatures.items()}


def _local(layers: Sequence[np.ndarray], k: int) -> Row:
    forman, augmented = local_ricci_by_curvature(layers, k, ["forman", "augmented"]).values()
    return {
        "local_forman": _mean(forman.points),
        "local_augmented": _mean(augmented.points),
        "undefined_forman": float(np.isnan(forman.points).mean()),
        "undefined_augmented": float(np.isnan(augmented.points).mean()),
        "layer_augmented": _mean(augmented.layers),
        "layers_augmented": augmented.layers.tolist(),
    }


def _few(layers: Sequence[np.ndarray], k: int) -> Row:
    found = local_ricci_by_curvature(layers, k, ["ollivier", "augmented"])
    return {f"few_{name}": _mean(local.points) for name, local in found.items()}


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are defined; NaN if there is none."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else float("nan")
