"""What a net learns of features along eigenvectors of its average geometry (arXiv 2410.12025, Figs. 5, 6, 10, tables).

The released code scores images for pruning in a shuffled order and uses the scores in the data set's, and makes labels
from pixels in another order than its eigenvectors; here scores, labels and pixels belong together.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from repro.data import images
from repro.data.synthetic import circles
from repro.device import resolve_device
from repro.papers.gih.study import DENSE, RESIDUAL, TOP, Network, as_images, band, draw_directions, family, stream
from repro.training.stacked import Recipe, accuracy, train_classifiers

Row = dict[str, Any]
Array = np.ndarray
Kind = Literal["linear", "quadratic", "sinusoidal"]

SIZES = {"linear": 2.0, "quadratic": 4.0, "sinusoidal": 8.0}  # of the feature, in units of the noise
OUTER, INNER = 2.5, 0.25  # rings of the circle beside the linear cue
PADDED = 32  # side that images are padded to, before squares of 2 × 2 pixels are averaged
TRAIN_SHARE = 0.75  # of the images that a draw learns from


class Labelled(NamedTuple):
    """Points with their classes."""

    inputs: Tensor  # (points, channels, side, side)
    classes: Tensor  # (points,)


def index_cell(
    *,
    draw: int,
    label: Kind,
    places: list[float],
    kind: str = RESIDUAL,
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    strides: str = "2-2-2",
    dense_channels: str = "100-100",
    networks: int = 600,
    points: int = 1500,
    test_points: int = 1000,
    epochs: int = 8,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Nets that learn a function of one direction u: x = size z u + noise off u, z normal.

    Classes are the sign of z, of z² less its median, or of sin(πz); sizes are 2, 4 and 8.

    Rows, one per direction: place, index (of the eigenvector), test, train (accuracies).

    Args:
        draw: number of the draw.
        label: "linear", "quadratic" or "sinusoidal".
        places: of the eigenvectors, as shares of all; each is moved by one at most, at random.
        kind: of the nets, "residual" or "dense"; the eigenvectors are the residual net's.
        side, channels, blocks, strides, dense_channels: see `study.Network`.
        networks: of G.
        points, test_points, epochs: of training.
        seed: non-negative integer.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if a training diverges.
    """
    if label not in SIZES:
        raise ValueError(f"label must be linear, quadratic or sinusoidal, got {label!r}")
    place = resolve_device(device)
    residual = Network(side=side, channels=channels, blocks=blocks, strides=strides)
    network = residual if kind == RESIDUAL else Network(kind=DENSE, side=side, channels=dense_channels)
    directions = draw_directions(residual, networks, seed, draw, device=place)
    size = residual.inputs
    jobs, rows = [], []
    for number, where in enumerate(places):
        generator = stream(seed, draw, 2, number)
        index = int(np.clip(round(where * (size - 1)) + generator.integers(-1, 2), 0, size - 1))
        parts = [_feature(directions.vectors[:, index], label, count, generator) for count in (points, test_points)]
        jobs.append([_labelled(x, y, network, place) for x, y in parts])
        rows.append({"place": where, "index": index})
    trained = _trained(network, jobs, Recipe(epochs), (seed, draw, 3), place)
    return [
        row | {"test": accuracy(net, *test), "train": accuracy(net, *train)}
        for row, net, (train, test) in zip(rows, trained, jobs, strict=True)
    ]


def simplicity_cell(
    *,
    draw: int,
    places: list[float],
    cue_size: float = 1.0,
    kind: str = RESIDUAL,
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    strides: str = "2-2-2",
    dense_channels: str = "100-100",
    networks: int = 600,
    points: int = 2500,
    test_points: int = 1000,
    epochs: int = 8,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Nets offered a circle in a plane of top eigenvectors and a linear cue along another eigenvector.

    Rows, one per place of the cue: place, index, test, train, reliance (share of test points that follow the cue when
    its sign is reversed), linear (accuracy with the plane removed), circle (accuracy with the cue removed).

    Args:
        places: of the cue's eigenvector, as shares of all; the nearest one outside the plane is taken.
        cue_size: distance of the classes along the cue, in units of the noise.
        draw, kind, side, channels, blocks, strides, dense_channels, networks, points, test_points, epochs, seed,
            device: see `index_cell`.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if a training diverges.
    """
    place = resolve_device(device)
    residual = Network(side=side, channels=channels, blocks=blocks, strides=strides)
    network = residual if kind == RESIDUAL else Network(kind=DENSE, side=side, channels=dense_channels)
    directions = draw_directions(residual, networks, seed, draw, device=place)
    chosen = stream(seed, draw, 4).choice(band(residual.inputs, TOP), 2, replace=False)
    plane = directions.vectors[:, chosen]
    free = np.setdiff1d(np.arange(residual.inputs), chosen)
    jobs, rows, tests = [], [], []
    for number, where in enumerate(places):
        index = int(free[np.abs(free - where * (residual.inputs - 1)).argmin()])
        cue = directions.vectors[:, index]
        generator = stream(seed, draw, 5, number)
        parts = [
            circles(count, plane, OUTER, INNER, generator, cue=cue, cue_size=cue_size)
            for count in (points, test_points)
        ]
        jobs.append([_labelled(x, y, network, place) for x, y, _ in parts])
        tests.append((parts[1][0], parts[1][1], cue))
        rows.append({"place": where, "index": index})
    trained = _trained(network, jobs, Recipe(epochs), (seed, draw, 6), place)
    found = []
    for row, net, (train, test), (x, y, cue) in zip(rows, trained, jobs, tests, strict=True):
        along = (x @ cue)[:, None] * cue
        conflict = _labelled(x - 2 * along, y, network, place)  # its class by the circle; the cue says the other
        row |= {"test": accuracy(net, *test), "train": accuracy(net, *train), "reliance": 1 - accuracy(net, *conflict)}
        row["linear"] = accuracy(net, *_labelled(x - x @ plane @ plane.T, y, network, place))
        row["circle"] = accuracy(net, *_labelled(x - along, y, network, place))
        found.append(row)
    return found


def images_cell(
    *,
    draw: int,
    dataset: str,
    counts: list[int],
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    strides: str = "2-2-2",
    networks: int = 600,
    epochs: int = 7,
    prune_epochs: int = 12,
    weight_decay: float = 5e-4,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Images without some directions, and fewer images: a residual net each.

    A draw learns from three quarters of the training images, standardised over all pixels. Rows have experiment
    ("removal" or "pruning"), count (directions removed, 0 for none; images kept), choice, test and

    - removal: variance, the share of the images' second moment S that is removed. Choices: "none"; "geometry", the
      first eigenvectors of G S G; "random", as many random directions that hold as much variance;
    - pruning: classes, the images of the rarest class over those of the commonest. Choices: "all", "random", "score"
      (the half with the largest xᵀGx/|x|²), "lowest", "within" (the largest within each class).

    Args:
        draw: number of the draw.
        dataset: see `repro.data.images.load`.
        counts: of directions to remove.
        side: of the images after averaging over 2 × 2 pixels, 16, or of CIFAR-10 as it is, 32.
        channels, blocks, strides: see `study.Network`.
        networks: of G.
        epochs, prune_epochs: passes over the images.
        weight_decay: of training.
        seed: non-negative integer.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
        repro.data.images.DataError: if the images are not at hand.
        RuntimeError: if a training diverges.
    """
    place = resolve_device(device)
    train, test = (load_images(dataset, split, side) for split in ("train", "test"))
    network = Network(RESIDUAL, side, train[0].shape[1], channels, blocks, strides)
    directions = draw_directions(network, networks, seed, draw, device=place)
    chosen = np.sort(stream(seed, draw, 7).permutation(len(train[1]))[: round(TRAIN_SHARE * len(train[1]))])
    flat, classes = train[0][chosen].reshape(len(chosen), -1), train[1][chosen]
    fresh = test[0].reshape(len(test[1]), -1)
    geometry = directions.halves.mean(0).numpy()
    removed = {("none", 0): np.zeros((network.inputs, 0))} | {
        (choice, count): directions_to_remove(flat, geometry, count, choice, stream(seed, draw, 8, count))
        for count in counts
        for choice in ("geometry", "random")
    }
    rows = []
    recipe = Recipe(epochs, weight_decay=weight_decay)
    for (choice, count), basis in removed.items():
        job = [_labelled(x - x @ basis @ basis.T, y, network, place) for x, y in ((flat, classes), (fresh, test[1]))]
        (net,) = _trained(network, [job], recipe, (seed, draw, 9), place, classes=10)
        row = {"experiment": "removal", "choice": choice, "count": count, "test": accuracy(net, *job[1])}
        rows.append(row | {"variance": float(((flat @ basis) ** 2).sum() / (flat**2).sum()), "classes": 1.0})
    held_out = _labelled(fresh, test[1], network, place)
    for choice, kept in pruned(flat, classes, geometry, stream(seed, draw, 10)).items():
        job = [_labelled(flat[kept], classes[kept], network, place), held_out]
        recipe = Recipe(prune_epochs, weight_decay=weight_decay)
        (net,) = _trained(network, [job], recipe, (seed, draw, 11), place, classes=10)
        numbers = np.bincount(classes[kept], minlength=10)
        row = {"experiment": "pruning", "choice": choice, "count": len(kept), "test": accuracy(net, *held_out)}
        rows.append(row | {"variance": 0.0, "classes": float(numbers.min() / numbers.max())})
    return rows


def load_images(dataset: str, split: Literal["train", "test"], side: int) -> tuple[Array, Array]:
    """Images (points, channels, side, side), pixels standardised as training ones over all of them, and classes.

    Grey ones of 28 × 28 pixels are padded to 32 × 32; those are averaged over squares where `side` is smaller.

    Raises:
        ValueError: for an unknown set, or a side that does not divide 32.
        repro.data.images.DataError: if the images are not at hand.
    """
    if PADDED % side:
        raise ValueError(f"side must divide {PADDED}, got {side}")
    found = {name: images.load(dataset, name) for name in {split, "train"}}  # type: ignore[arg-type]
    shaped = {name: _shaped(pool.images, side) for name, pool in found.items()}
    mean, deviation = shaped["train"].mean(), shaped["train"].std()
    return (shaped[split] - mean) / deviation, found[split].classes.astype(np.int64)


def directions_to_remove(x: Array, geometry: Array, count: int, choice: str, generator: np.random.Generator) -> Array:
    """Orthonormal directions (D, count): the first eigenvectors of G S G, or random ones that hold as much variance.

    Random ones span S^(a/2) Z, Z normal, with a found so that they hold the same share of S, the uncentred second
    moment of the images.

    Args:
        x: (points, D).
        geometry: G, (D, D).
        count: of directions, from 1 to D.
        choice: "geometry" or "random".
        generator: of random directions.
    """
    moment = x.T @ x / len(x)
    first = np.linalg.eigh(geometry @ moment @ geometry)[1][:, ::-1][:, :count]
    if choice == "geometry":
        return first
    values, vectors = np.linalg.eigh(moment)
    logs = np.log(values.clip(min=1e-9 * values[-1]))
    normal = generator.standard_normal((len(values), count))

    def spanned(power: float) -> Array:
        scaled = np.exp(power / 2 * (logs - logs[-1]))[:, None] * normal
        return np.asarray(vectors @ np.linalg.qr(scaled)[0])

    def held(basis: Array) -> float:
        return float(np.trace(basis.T @ moment @ basis))

    wanted = held(first)
    low, high = -2.0, 6.0
    excess = [held(spanned(power)) - wanted for power in (low, high)]
    if excess[0] >= 0 or excess[1] <= 0:  # as near as such directions come
        return spanned(low if excess[0] >= 0 else high)
    return spanned(float(brentq(lambda power: held(spanned(power)) - wanted, low, high, xtol=1e-4)))


def pruned(x: Array, classes: Array, geometry: Array, generator: np.random.Generator) -> dict[str, Array]:
    """Indices of the images that each choice keeps: all of them, or half."""
    score = np.einsum("ij,jk,ik->i", x, geometry, x) / (x**2).sum(axis=1)
    half = len(x) // 2
    order = np.argsort(-score, kind="stable")
    within = [order[classes[order] == number][: np.sum(classes == number) // 2] for number in np.unique(classes)]
    return {
        "all": np.arange(len(x)),
        "random": np.sort(generator.permutation(len(x))[:half]),
        "score": np.sort(order[:half]),
        "lowest": np.sort(order[half:]),
        "within": np.sort(np.concatenate(within)),
    }


def _feature(direction: Array, label: Kind, points: int, generator: np.random.Generator) -> tuple[Array, Array]:
    z = generator.standard_normal(points)
    noise = generator.standard_normal((points, len(direction)))
    noise -= (noise @ direction)[:, None] * direction
    values = {"linear": z, "quadratic": z**2 - 0.45493642, "sinusoidal": np.sin(np.pi * z)}[label]  # χ²₁ median
    return noise + SIZES[label] * z[:, None] * direction, (values > 0).astype(np.int64)


def _trained(
    network: Network,
    jobs: list[list[Labelled]],
    recipe: Recipe,
    numbers: tuple[int, ...],
    place: torch.device,
    classes: int = 2,
) -> list[nn.Module]:
    """A net for the training points of each job; on CUDA, and where they are dense, all at once."""
    build = family(network, classes)
    starts = [build(stream(*numbers, 0, job)).to(place) for job in range(len(jobs))]
    if network.kind != DENSE and place.type == "cpu":
        for start in starts:  # a quarter faster
            nn.utils.convert_conv2d_weight_memory_format(start, torch.channels_last)
    order = [stream(*numbers, 1, job) for job in range(len(jobs))]
    inputs, labels = ([train[part] for train, _ in jobs] for part in (0, 1))
    together = network.kind == DENSE or place.type == "cuda"
    return train_classifiers(starts, inputs, labels, order, recipe, together=together)


def _labelled(x: Array, classes: Array, network: Network, place: torch.device) -> Labelled:
    return Labelled(as_images(x, network, place), torch.from_numpy(np.asarray(classes, np.int64)).to(place))


def _shaped(pixels: Array, side: int) -> Array:
    """(points, channels, side, side) float64 of grey or coloured images."""
    grey = pixels.ndim == 3
    found = (pixels[:, None] if grey else pixels.transpose(0, 3, 1, 2)).astype(np.float64)
    edge = (PADDED - found.shape[-1]) // 2
    found = np.pad(found, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    block = PADDED // side
    return np.asarray(found.reshape(*found.shape[:2], side, block, side, block).mean(axis=(3, 5)))
