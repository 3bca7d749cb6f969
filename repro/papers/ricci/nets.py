"""Hop sums and curvatures of the layers of many classifiers (arXiv 2404.14265), trained as stacked ensembles.

A cell trains some nets of one architecture on one data set and returns a row per net and k. Net number i has the same
initial weights in every condition; all nets of a data set see the same training and test points.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from repro.data import images, synthetic
from repro.device import resolve_device, resolve_dtype
from repro.geometry.graph import graph_statistics
from repro.models.ensemble import DenseEnsemble, glorot_ensemble
from repro.papers.ricci.study import CONDITIONS, IMAGES, SHUFFLED, SYNTHETIC, UNTRAINED, hidden_widths
from repro.training.ensemble import train_classifiers

Row = dict[str, Any]
DRAWN = dict(zip(SYNTHETIC, (synthetic.spiral_rolls, synthetic.box_with_channels, synthetic.sine_sheet), strict=True))


class Task(NamedTuple):
    """Two classes, labelled 0 and 1: training and test points."""

    train_inputs: Tensor  # (train points, dimension)
    train_labels: Tensor  # (train points,)
    test_inputs: Tensor  # (n, dimension)
    test_labels: Tensor  # (n,)


def task(dataset: str, train_size: int, test_size: int, seed: int, dtype: torch.dtype = torch.float32) -> Task:
    """The points of a data set, the same for every net of a study.

    Args:
        dataset: "A", "B", "C" (drawn), or "mnist-1v7", "mnist-6v8", "sandal-boot", "shirt-coat": raw pixels, 0 to 255.
        train_size: training points; of images a random choice from the two classes of the training split.
        test_size: test points; of images at most this many from the two classes of the test split, a random choice.
        seed: non-negative integer.
        dtype: of inputs and labels.

    Raises:
        ValueError: for an unknown data set or more training images than there are.
        DataError: if images are missing or damaged.
    """
    if dataset not in SYNTHETIC and dataset not in IMAGES:
        raise ValueError(f"expected a data set of {[*SYNTHETIC, *IMAGES]}, got {dataset!r}")
    train, test = (np.random.default_rng(stream) for stream in random_stream(seed, dataset).spawn(2))
    parts: list[Tensor] = []
    draws: list[tuple[images.Split, int, np.random.Generator]]
    draws = [("train", train_size, train), ("test", test_size, test)]
    for split, size, generator in draws:
        if dataset in SYNTHETIC:
            inputs, labels = DRAWN[dataset](size, generator)
        else:
            inputs, labels = _draw_images(dataset, split, size, generator)
        parts += [inputs.to(dtype), (labels.to(dtype) + 1) / 2]
    return Task(*parts)


def _draw_images(dataset: str, split: images.Split, size: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and labels ±1 of images of the two classes, drawn without replacement."""
    name, first, second = IMAGES[dataset]
    inputs, labels = images.class_pair(images.load(name, split), second, first)
    if split == "train" and size > len(labels):
        raise ValueError(f"{dataset} has {len(labels)} training images, got train_size={size}")
    chosen = generator.permutation(len(labels))[:size]
    return torch.from_numpy(inputs[chosen]), torch.from_numpy(labels[chosen])


def require_data(datasets: Sequence[str]) -> None:
    """Load the images of these data sets once, before many processes ask for them.

    Raises:
        DataError: if a set is missing or damaged, with every way to supply it.
    """
    splits: tuple[images.Split, ...] = ("train", "test")
    for name in sorted({IMAGES[dataset][0] for dataset in datasets if dataset in IMAGES}):
        for split in splits:
            images.load(name, split)


def ensemble_cell(
    *,
    dataset: str,
    architecture: str,
    depth: int,
    condition: str,
    first_net: int,
    nets: int,
    neighbours: Sequence[int],
    epochs: int,
    train_size: int,
    test_size: int = 1000,
    batch_size: int = 32,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Nets of one architecture: accuracy, and of every layer's neighbour graph the hop sum and total curvatures.

    Rows, one per net and k: dataset, architecture, depth, condition, net, points (n), k, train_accuracy, test_accuracy,
    test_loss (nats), and lists over the hidden layers: hop_sums (inf: disconnected), directed_curvature,
    union_curvature (see `geometry.graph`).

    Args:
        dataset: see `task`.
        architecture: see `hidden_widths`.
        depth: hidden layers.
        condition: "trained"; "untrained" (initial weights); "shuffled labels" (each net has its own permutation of
            the training labels); "few labels" (as "trained": the control of shuffled labels on equally few points).
        first_net: number of the first net.
        nets: number of nets.
        neighbours: the k of the graphs, each below the number of test points.
        epochs: passes over the training points.
        train_size: training points.
        test_size: test points n (of images at most as many as there are).
        batch_size: examples per step.
        seed: non-negative integer.
        dtype: "float32" or "float64", of the nets.
        device: of the nets, "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
    """
    if condition not in CONDITIONS:
        raise ValueError(f"expected a condition of {list(CONDITIONS)}, got {condition!r}")
    if nets < 1:
        raise ValueError(f"nets must be at least 1, got {nets}")
    place, precision = resolve_device(device), resolve_dtype(dtype)
    data = Task(*(tensor.to(place) for tensor in task(dataset, train_size, test_size, seed, precision)))
    labels = data.train_labels
    widths = hidden_widths(architecture, depth)
    numbers = range(first_net, first_net + nets)
    streams = [random_stream(seed, dataset, architecture, depth, net).spawn(3) for net in numbers]
    initial, order, shuffle = (
        [np.random.default_rng(stream) for stream in part] for part in zip(*streams, strict=True)
    )
    ensemble = glorot_ensemble([data.train_inputs.shape[1], *widths, 1], initial, precision, place)
    if condition == SHUFFLED:
        labels = torch.stack([labels[torch.from_numpy(draw.permutation(len(labels)))] for draw in shuffle])
    if condition != UNTRAINED:
        ensemble = train_classifiers(ensemble, data.train_inputs, labels, order, epochs=epochs, batch_size=batch_size)
    fixed = {"dataset": dataset, "architecture": architecture, "depth": depth, "condition": condition}
    scores = _scores(ensemble, data, labels)
    layers = [layer.cpu().numpy() for layer in ensemble.activations(data.test_inputs)]  # (nets, n, width) each
    return [
        fixed | {"net": net, "points": len(data.test_inputs)} | scores[index] | row
        for index, net in enumerate(numbers)
        for row in _geometry([layer[index] for layer in layers], neighbours)
    ]


def random_stream(seed: int, *names: str | int) -> np.random.SeedSequence:
    """Randomness of one purpose: equal names give equal draws, whatever else is run."""
    return np.random.SeedSequence([seed, *(n if isinstance(n, int) else zlib.crc32(n.encode()) for n in names)])


def _scores(ensemble: DenseEnsemble, data: Task, train_labels: Tensor) -> list[dict[str, float]]:
    """Accuracies and test loss of each net."""
    with torch.no_grad():
        train, test = ensemble(data.train_inputs), ensemble(data.test_inputs)  # (nets, points)
    loss = binary_cross_entropy_with_logits(test, data.test_labels.expand_as(test), reduction="none").mean(1)
    columns = {
        "train_accuracy": ((train > 0) == (train_labels > 0.5)).double().mean(1),
        "test_accuracy": ((test > 0) == (data.test_labels > 0.5)).double().mean(1),
        "test_loss": loss.double(),
    }
    return [{name: float(column[net]) for name, column in columns.items()} for net in range(len(loss))]


def _geometry(layers: Sequence[np.ndarray], neighbours: Sequence[int]) -> list[Row]:
    """One row per k: hop sums and curvatures over the layers of one net."""
    statistics = [graph_statistics(layer, neighbours) for layer in layers]
    return [
        {
            "k": at_k[0].k,
            "hop_sums": [found.hop_sum for found in at_k],
            "directed_curvature": [found.directed_curvature for found in at_k],
            "union_curvature": [found.union_curvature for found in at_k],
        }
        for at_k in zip(*statistics, strict=True)
    ]
