"""Image classifiers of arXiv 2301.11375 along segments and in planes between test images.

Dense nets have one hidden layer of sigmoids and all parameters N(0, 1); those of a cell are trained together. A
residual net is a cell. Every net draws its own training images, weights, batches, segments and planes. Volumes are
decimal logarithms; crossings are those of the trained net, also where its untrained copy is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from repro.device import resolve_device, resolve_dtype
from repro.geometry.pullback import log_effective_volume, shallow_log_volume, singular_values
from repro.models.residual import ResidualNetwork, set_statistics
from repro.models.sigmoid_ensemble import SigmoidEnsemble, normal_ensemble
from repro.papers.magnification.pictures import Labelled, draw_split
from repro.papers.magnification.planes import draw_triple, junction, plane_coordinates, plane_points
from repro.papers.magnification.segments import (
    FULL,
    TRAINED,
    UNTRAINED,
    Array,
    Row,
    by_rank,
    draw_misread,
    draw_pairs,
    interpolate,
    rows_of,
    scanned,
)
from repro.training.classifier import train_classifier
from repro.training.sigmoid_ensemble import Descent, training_steps

CLASSES = 10
SMALLEST = 1e-30  # singular value that a spectrum still shows


class Classifier(NamedTuple):
    """A net as the scans need it."""

    logits: Callable[[Tensor], Tensor]  # (points, ...) → (points, classes)
    log_volumes: Callable[[Tensor], dict[int, Array]]  # by rank, (points,) each

    def predict(self, points: Tensor) -> Tensor:
        """Class of each image."""
        with torch.no_grad():
            return torch.cat([self.logits(part).argmax(1) for part in torch.split(points, 512)])


class Look(NamedTuple):
    """How much of a net is scanned."""

    between: int  # segments between classes
    same: int  # within one
    misread: int  # from a misread image, at most
    points: int  # of a segment
    planes: int  # through three images
    plane_side: int  # points along a side of a plane


class Task(NamedTuple):
    """The images of a net, and what draws it."""

    dataset: str
    pooling: bool
    seed: int
    net: int
    precision: torch.dtype
    place: torch.device


class Recipe(NamedTuple):
    """A residual net and its training."""

    channels: list[int]
    blocks: list[int]
    strides: list[int]
    stem_stride: int
    nonlinearity: str
    epochs: int
    learning_rate: float
    batch_size: int


def dense_cell(
    *,
    dataset: str,
    width: int,
    first_net: int,
    nets: int,
    epochs: int,
    learning_rate: float,
    weight_decay: float = 1e-4,
    batch_size: int = 200,
    between: int = 40,
    same: int = 12,
    misread: int = 0,
    points: int = 33,
    planes: int = 0,
    plane_side: int = 25,
    lines: int = 0,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Dense nets on images, trained by Adam, and scanned at full rank before and after.

    Rows have net, `quantity`, and

    - segment: see `segments.rows_of`, with curve and classes (lists); kinds "between", "same", "misread";
    - plane: state, plane, and junction, the mean natural logarithm of the volume where three classes meet less that on
      boundaries of two (NaN where there are none); of the first plane of the first net also classes, entropy (base 10)
      and log_volume (lists over the grid), and pixels of its three images;
    - line: state, line, and curve, the log-volume by the Jacobian itself along straight lines between test images,
      where there are no more units than inputs;
    - spectrum: state, and values, log₁₀ of the singular values at the start of the first segment, of the first net;
    - picture: segment, place ("left", "middle", "right") and pixels, of the first segments of the first net;
    - accuracy: value, on test images.

    Args:
        dataset: "digits", or see `repro.data.images.load`.
        width: hidden units.
        first_net, nets: numbers of the nets, from the first one.
        epochs, learning_rate, weight_decay, batch_size: of Adam.
        between, same, misread, points, planes, plane_side: see `Look`.
        lines: straight lines.
        seed: non-negative integer.
        dtype: "float32" or "float64", of the training; the scans are in float64.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
        repro.data.images.DataError: if the images are not at hand.
        RuntimeError: if a training diverges.
    """
    look = Look(between, same, misread, points, planes, plane_side)
    _check(look, width, nets, epochs, seed)
    place, precision = resolve_device(device), resolve_dtype(dtype)
    streams = [_streams(seed, net) for net in range(first_net, first_net + nets)]
    splits = [draw_split(dataset, False, torch.float64, place, own["images"]) for own in streams]
    x = torch.stack([train.inputs.flatten(1) for train, _ in splits]).to(precision)
    y = torch.from_numpy(np.stack([train.classes for train, _ in splits]).astype(np.int64)).to(place)
    start = normal_ensemble([x.shape[2], width, CLASSES], [own["weights"] for own in streams], precision, place)
    descent = Descent("adam", learning_rate, weight_decay)
    steps = training_steps(start, x, y, [own["order"] for own in streams], batch_size=batch_size, descent=descent)
    trained = next(islice(steps, epochs * (x.shape[1] // batch_size) - 1, None))
    rows = []
    for index, (own, (_, test)) in enumerate(zip(streams, splits, strict=True)):
        pair = {UNTRAINED: _dense(start, index), TRAINED: _dense(trained, index)}
        flat = Labelled(test.inputs.flatten(1), test.classes)
        found = [*_scans(pair, flat, look, own["segments"], pictures=index + first_net == 0)]
        if lines:
            layers = {UNTRAINED: start, TRAINED: trained}
            found += [
                row for state, nets_ in layers.items() for row in _lines(nets_, index, flat, lines, points, state)
            ]
        if index + first_net == 0:
            found += [_spectrum(start, index, flat, UNTRAINED), _spectrum(trained, index, flat, TRAINED)]
        rows += [{"net": index + first_net} | row for row in found]
    return rows


def residual_cell(
    *,
    dataset: str,
    net: int,
    epochs: int,
    channels: list[int],
    blocks: list[int],
    strides: list[int],
    stem_stride: int = 2,
    nonlinearity: str = "gelu",
    pooling: bool = True,
    learning_rate: float = 0.05,
    batch_size: int = 128,
    between: int = 20,
    same: int = 8,
    misread: int = 10,
    points: int = 17,
    planes: int = 0,
    plane_side: int = 25,
    rank: int = 10,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """A residual net on images, trained by SGD, and scanned at full rank and at `rank` before and after.

    Rows as those of `dense_cell`, but lines. The untrained net has its statistics of normalisation from one sweep over
    its training images.

    Args:
        dataset: see `repro.data.images.load`.
        net: number of the net.
        epochs, learning_rate, batch_size: of SGD, see `train_classifier`.
        channels, blocks, strides, stem_stride, nonlinearity: see `ResidualNetwork`.
        pooling: whether images are averaged over squares of 2 × 2 pixels.
        between, same, misread, points, planes, plane_side: see `Look`.
        rank: singular values taken beside all of them.
        seed, dtype, device: see `dense_cell`; the scans are in the precision of the net.

    Raises:
        ValueError: for a parameter out of range.
        repro.data.images.DataError: if the images are not at hand.
        RuntimeError: if a training diverges.
    """
    look = Look(between, same, misread, points, planes, plane_side)
    _check(look, min(channels), 1, epochs, seed)
    if not 1 <= rank <= channels[-1]:
        raise ValueError(f"rank must be from 1 to {channels[-1]} features, got {rank}")
    recipe = Recipe(channels, blocks, strides, stem_stride, nonlinearity, epochs, learning_rate, batch_size)
    task = Task(dataset, pooling, seed, net, resolve_dtype(dtype), resolve_device(device))
    test, networks = _residual_networks(task, recipe)
    pair = {state: _residual(network, rank) for state, network in networks.items()}
    found = [*_scans(pair, test, look, _streams(seed, net)["segments"], pictures=net == 0)]
    if net == 0:
        for state, network in networks.items():
            logs = singular_values(network.features, test.inputs[:1])[0].double().clamp_min(SMALLEST).log10()
            found.append({"quantity": "spectrum", "state": state, "values": logs.tolist()})
    return [{"net": net} | row for row in found]


def nonlinearity_cell(
    *,
    dataset: str,
    net: int,
    nonlinearities: list[str],
    epochs: int,
    channels: list[int],
    blocks: list[int],
    strides: list[int],
    stem_stride: int = 2,
    pooling: bool = True,
    learning_rate: float = 0.05,
    batch_size: int = 128,
    between: int = 2,
    points: int = 17,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Residual nets that differ in their nonlinearity alone, along the same segments, at full rank.

    They start from the same weights and see the same batches; the ends of segments are read correctly by all of them.
    Rows have net, nonlinearity, and those of `residual_cell` of quantity segment (kind "between") and picture.

    Args:
        nonlinearities: see `ResidualNetwork`.
        between: segments, each between two classes.
        dataset, net, epochs, channels, blocks, strides, stem_stride, pooling, learning_rate, batch_size, points, seed,
            dtype, device: see `residual_cell`.

    Raises:
        ValueError: for a parameter out of range.
        repro.data.images.DataError: if the images are not at hand.
        RuntimeError: if a training diverges.
    """
    _check(Look(between, 1, 0, points, 0, 0), min(channels), len(nonlinearities), epochs, seed)
    task = Task(dataset, pooling, seed, net, resolve_dtype(dtype), resolve_device(device))
    pairs: dict[str, dict[str, Classifier]] = {}
    for name in nonlinearities:
        recipe = Recipe(channels, blocks, strides, stem_stride, name, epochs, learning_rate, batch_size)
        test, networks = _residual_networks(task, recipe)
        pairs[name] = {state: _residual(network) for state, network in networks.items()}
    read = np.stack([pair[TRAINED].predict(test.inputs).cpu().numpy() for pair in pairs.values()])
    agreed = np.where((read == test.classes).all(axis=0), test.classes, -1)
    ends = draw_pairs(test.classes, agreed, between, False, _streams(seed, net)["segments"])
    rows = []
    for name, pair in pairs.items():
        found = [*_segments(pair, test, ends, points, "between"), *_pictures(test, ends)]
        rows += [{"net": net, "nonlinearity": name} | row for row in found]
    return rows


def _residual_networks(task: Task, recipe: Recipe) -> tuple[Labelled, dict[str, ResidualNetwork]]:
    """Test images, and a network before and after training."""
    own = _streams(task.seed, task.net)
    train, test = draw_split(task.dataset, task.pooling, task.precision, task.place, own["images"])
    start = ResidualNetwork(
        train.inputs.shape[1], CLASSES, own["weights"], channels=recipe.channels, blocks=recipe.blocks,
        strides=recipe.strides, stem_stride=recipe.stem_stride,
        nonlinearity=recipe.nonlinearity, dtype=task.precision,  # type: ignore[arg-type]  # it checks the word
    )  # fmt: skip
    start = start.to(task.place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    set_statistics(start, train.inputs)
    classes = torch.from_numpy(train.classes.astype(np.int64)).to(task.place)
    trained = train_classifier(
        start,
        train.inputs,
        classes,
        own["order"],
        epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
    )
    return test, {UNTRAINED: start, TRAINED: trained}


def _check(look: Look, width: int, nets: int, epochs: int, seed: int) -> None:
    counts = look._asdict()
    if min(look.between, look.same, width, nets, epochs) < 1 or look.points < 3 or min(counts.values()) < 0 or seed < 0:
        raise ValueError(
            f"expected units, nets, epochs and segments of each kind, points >= 3 and a seed >= 0, got width {width}, "
            f"{nets} nets, {epochs} epochs, seed {seed} and {counts}"
        )
    if look.planes and look.plane_side < 3:
        raise ValueError(f"plane_side must be at least 3, got {look.plane_side}")


def _streams(seed: int, net: int) -> dict[str, np.random.Generator]:
    names = ("images", "weights", "order", "segments")
    spawned = np.random.SeedSequence([seed, net]).spawn(len(names))
    return {name: np.random.default_rng(stream) for name, stream in zip(names, spawned, strict=True)}


def _dense(ensemble: SigmoidEnsemble, net: int) -> Classifier:
    """One net of an ensemble, in float64; images are flat."""
    single = ensemble[net : net + 1].to(torch.float64)
    weight, bias = single.weights[0][0].T.contiguous(), single.biases[0][0, 0]

    def log_volumes(points: Tensor) -> dict[int, Array]:
        return {FULL: shallow_log_volume(weight, bias, points).cpu().numpy()}

    return Classifier(lambda points: single(points)[0], log_volumes)


def _residual(network: ResidualNetwork, *ranks: int) -> Classifier:
    """At full rank, and at `ranks`."""

    def log_volumes(points: Tensor) -> dict[int, Array]:
        return by_rank(singular_values(network.features, points), [FULL, *ranks])

    return Classifier(network, log_volumes)


def _scans(
    pair: dict[str, Classifier], test: Labelled, look: Look, generator: np.random.Generator, pictures: bool
) -> Iterator[Row]:
    """Rows of one net, without its number."""
    read = pair[TRAINED].predict(test.inputs).cpu().numpy()
    for state, classifier in pair.items():
        score = float((classifier.predict(test.inputs).cpu().numpy() == test.classes).mean())
        yield {"quantity": "accuracy", "state": state, "value": score}
    for kind, count in (("between", look.between), ("same", look.same)):
        ends = draw_pairs(test.classes, read, count, kind == "same", generator)
        yield from _segments(pair, test, ends, look.points, kind)
        if pictures and kind == "between":
            yield from _pictures(test, ends)
    if look.misread:
        ends = draw_misread(test.classes, read, look.misread, generator)
        if len(ends[0]):
            yield from _segments(pair, test, ends, look.points, "misread")
    yield from _planes(pair, test, read, look, generator, pictures)


def _segments(
    pair: dict[str, Classifier], test: Labelled, ends: tuple[Array, Array], points: int, kind: str
) -> Iterator[Row]:
    images = tuple(test.inputs[torch.from_numpy(end)] for end in ends)
    scans = {state: scanned(images, points, net.predict, net.log_volumes) for state, net in pair.items()}  # type: ignore[arg-type]
    boundary = scans[TRAINED].classes
    for state, scan in scans.items():
        for row in rows_of(scan, kind, state, boundary):
            curve = scan.log_volumes[row["rank"]][row["segment"]].tolist()
            yield {"quantity": "segment"} | row | {"curve": curve, "classes": boundary[row["segment"]].tolist()}


def _planes(
    pair: dict[str, Classifier],
    test: Labelled,
    read: Array,
    look: Look,
    generator: np.random.Generator,
    pictures: bool,
) -> Iterator[Row]:
    """Planes through three correctly read images of different classes."""
    for plane in range(look.planes):
        anchors = draw_triple(test.classes, read, generator)
        points = plane_points(test.inputs[torch.from_numpy(anchors)], plane_coordinates(look.plane_side))
        classes = pair[TRAINED].predict(points).cpu().numpy().reshape(look.plane_side, look.plane_side)
        for state, net in pair.items():
            logs = net.log_volumes(points)[FULL].reshape(classes.shape)
            row: Row = {"quantity": "plane", "state": state, "plane": plane, "junction": junction(logs, classes)}
            if plane == 0 and pictures:
                row |= {"log_volume": logs.ravel().tolist(), "classes": classes.ravel().tolist()}
                row |= {"entropy": _entropy(net, points), "pixels": _pixels(test.inputs[torch.from_numpy(anchors)])}
            yield row


@torch.no_grad()
def _entropy(net: Classifier, points: Tensor) -> list[float]:
    """Of the predicted probabilities, in base 10: from 0 to 1 for ten classes."""
    logs = torch.log_softmax(net.logits(points).double(), 1)
    found: list[float] = (-(logs.exp() * logs).sum(1) / np.log(10)).tolist()
    return found


def _pictures(test: Labelled, ends: tuple[Array, Array], count: int = 3) -> Iterator[Row]:
    """Left, middle and right image of the first segments."""
    first, last = (test.inputs[torch.from_numpy(end[:count])] for end in ends)
    shown = interpolate(first, last, 3)
    for segment in range(len(first)):
        for number, place in enumerate(("left", "middle", "right")):
            pixels = _pixels(shown[3 * segment + number][None])[0]
            yield {"quantity": "picture", "segment": segment, "place": place, "pixels": pixels}


def _pixels(images: Tensor) -> list[list[float]]:
    """Grey values of images, flat or with channels, each a flat list; of a square image."""
    grey = images.mean(1).flatten(1) if images.ndim == 4 else images
    found: list[list[float]] = grey.double().cpu().tolist()
    return found


def _lines(ensemble: SigmoidEnsemble, net: int, test: Labelled, lines: int, points: int, state: str) -> Iterator[Row]:
    """Log-volume along straight lines by Jacobians, without the closed form."""
    features = ensemble[net : net + 1].to(torch.float64).features(0, 0)
    half = len(test.inputs) // 2
    images = interpolate(test.inputs[:lines], test.inputs[half : half + lines], points)
    curves = log_effective_volume(features, images).reshape(-1, points)
    for line, curve in enumerate(curves.tolist()):
        yield {"quantity": "line", "state": state, "line": line, "curve": curve}


def _spectrum(ensemble: SigmoidEnsemble, net: int, test: Labelled, state: str) -> Row:
    features = ensemble[net : net + 1].to(torch.float64).features(0, 0)
    logs: Sequence[float] = singular_values(features, test.inputs[:1])[0].clamp_min(SMALLEST).log10().tolist()
    return {"quantity": "spectrum", "state": state, "values": logs}
