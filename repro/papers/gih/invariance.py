"""How fast the average geometry moves in training, on data where it is large and where it is small: the cell.

Inputs are normal with covariance G over its largest eigenvalue (aligned), or with G's eigenvalues in reverse order
(flipped); labels say nothing of them. Source: arXiv 2410.12025, second conjecture and Fig. 3 (released code).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from repro.device import resolve_device
from repro.geometry.average import input_gradients, stack
from repro.papers.gih.study import DENSE, RESIDUAL, Directions, Network, draw_directions, family, started
from repro.training.stacked import Recipe, accuracy, train_classifiers

Row = dict[str, Any]
Arm = Literal["aligned", "flipped", "matched"]

CLASSES = 2


def invariance_cell(
    *,
    draw: int,
    kind: str,
    arm: Arm,
    optimiser: Literal["sgd", "adam"],
    learning_rate: float,
    epochs: int,
    clip: float = 0.5,
    foreign: bool = False,
    points: int = 256,
    nets: int = 8,
    intervals: int = 5,
    probes: int = 16,
    networks: int = 600,
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    strides: str = "2-2-2",
    dense_channels: str = "100-100",
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Nets of one draw on one kind of data.

    Rows, one per interval between two looks: interval (from 1), share (of training at its end), speed (1 − cosine of
    the average geometries at its ends), corrected (the same from products of different nets only, so that the motion of
    single nets does not count; it may be negative by noise), train (accuracy at its end, mean over nets), and response
    (tr(G Cov) over that of aligned data).

    Args:
        draw: number of the draw.
        kind: "residual", without normalisation, or "dense".
        arm: of the data; "matched" is flipped data scaled to the linear response of aligned ones.
        optimiser: under "sgd", residual nets start from convolutions √6 times as large, since they do not train else.
        learning_rate: of the optimiser; see `Recipe`.
        epochs: passes over the points.
        clip: largest norm of a net's gradient; 0.5 is the released default.
        foreign: whether a dense net's data follow the residual net's G instead of its own.
        points: training inputs.
        nets: of a draw, with batches of their own; aligned and flipped data share starts and random numbers.
        intervals: between looks at the geometry.
        probes: normal inputs at which it is taken.
        networks: untrained nets of G.
        side, channels, blocks, strides, dense_channels: see `study.Network`.
        seed: non-negative integer.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if a training diverges.
    """
    if arm not in ("aligned", "flipped", "matched") or intervals < 1 or epochs < intervals or nets < 2:
        raise ValueError(
            f"expected arm aligned, flipped or matched, an epoch an interval and two nets, "
            f"got {arm!r}, {epochs}, {intervals} and {nets}"
        )
    place = resolve_device(device)
    residual = Network(RESIDUAL, side, 1, channels, blocks, strides, normalised=False)
    network = Network(DENSE, side, channels=dense_channels) if kind == DENSE else residual
    directions = draw_directions(residual if foreign else network, networks, seed, draw, device=place)
    deviations, response = data_deviations(directions, arm)
    generator = np.random.default_rng(np.random.SeedSequence([seed, draw, 2]))
    x = (generator.standard_normal((points, network.inputs)) * deviations) @ directions.vectors.T
    classes = generator.permutation(np.arange(points) % CLASSES)
    looks = generator.standard_normal((probes, *network.image_shape))
    inputs = _images(x, network, place)
    labels = torch.from_numpy(classes).to(place)
    streams = [np.random.default_rng(np.random.SeedSequence([seed, draw, 3, net])) for net in range(nets)]
    starts = [family(network, CLASSES)(stream).to(place) for stream in streams]
    if optimiser == "sgd":
        starts = [started(start, network) for start in starts]
    recipe = Recipe(epochs, learning_rate, clip=clip, optimiser=optimiser)
    probe = torch.from_numpy(looks).float().to(place)
    geometries, fitted = _geometries(starts, inputs, labels, streams, recipe, probe, intervals, together=kind == DENSE)
    return [
        {
            "interval": index + 1,
            "share": (index + 1) / intervals,
            "speed": 1 - cosine(geometries[index], geometries[index + 1]),
            "corrected": 1 - cosine(geometries[index], geometries[index + 1], different=True),
            "train": float(np.mean(fitted[index + 1])),
            "response": response,
        }
        for index in range(intervals)
    ]


def data_deviations(directions: Directions, arm: str) -> tuple[np.ndarray, float]:
    """Standard deviations of the data along the eigenvectors (D,), and tr(G Cov) over that of aligned data."""
    values = directions.eigenvalues.clip(min=0)
    variances = values / values[0] if arm == "aligned" else values[::-1] / values[0]
    aligned = float(values @ (values / values[0]))
    if arm == "matched":
        variances = variances * aligned / float(values @ variances)
    return np.sqrt(variances), float(values @ variances) / aligned


def cosine(first: Tensor, second: Tensor, *, different: bool = False) -> float:
    """Frobenius cosine of two averages over nets, (nets, D, D) each, from products of all nets or of different ones."""

    def product(a: Tensor, b: Tensor) -> float:
        everything = float((a.mean(0) * b.mean(0)).sum())
        if not different:
            return everything
        own = float((a * b).sum()) / len(a) ** 2
        return (everything - own) * len(a) / (len(a) - 1)

    scale = product(first, first) * product(second, second)
    return float("nan") if scale <= 0 else product(first, second) / scale**0.5


def _geometries(
    starts: list[nn.Module],
    inputs: Tensor,
    labels: Tensor,
    streams: list[np.random.Generator],
    recipe: Recipe,
    probe: Tensor,
    intervals: int,
    *,
    together: bool,
) -> tuple[list[Tensor], list[list[float]]]:
    """Geometry (nets, D, D) and training accuracies of the nets at each look."""
    passes = max(1, len(inputs) // recipe.batch_size)
    wanted = {round(recipe.epochs * look / intervals) * passes: look for look in range(intervals + 1)}
    geometries: list[list[Tensor]] = [[] for _ in range(intervals + 1)]
    fitted: list[list[float]] = [[] for _ in range(intervals + 1)]

    def look(step: int, networks: list[nn.Module]) -> None:
        if step in wanted:
            gradients = input_gradients(stack(networks), probe).flatten(1, 2).double()  # (nets, samples, D)
            geometry = gradients.transpose(1, 2) @ gradients / gradients.shape[1]
            geometries[wanted[step]] += list(geometry.cpu())
            fitted[wanted[step]] += [accuracy(network, inputs, labels) for network in networks]

    count = len(starts)
    train_classifiers(
        starts,
        inputs.expand(count, *inputs.shape),
        labels.expand(count, -1),
        streams,
        recipe,
        together=together,
        watch=look,
    )
    return [torch.stack(each) for each in geometries], fitted


def _images(x: np.ndarray, network: Network, place: torch.device) -> Tensor:
    return torch.from_numpy(x).float().reshape(-1, *network.image_shape).to(place)
