"""Nets trained without labels, and by labels, along the same segments between images.

One backbone learns by Barlow Twins, by SimCLR and, as positive control, by labels. In each the boundary is that of a
linear probe: a logistic regression on the features of the training images. An untrained copy is scanned along the same
segments, whose ends all the probes of trained nets read correctly.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from repro.data import images
from repro.device import resolve_device, resolve_dtype
from repro.geometry.pullback import singular_values
from repro.models.residual import ResidualNetwork, set_statistics
from repro.papers.magnification.pictures import Labelled, draw_split
from repro.papers.magnification.segments import TRAINED, UNTRAINED, Scan, by_rank, draw_pairs, rows_of, scanned
from repro.training.classifier import train_classifier
from repro.training.selfsupervised import SelfSupervised, train_selfsupervised

Row = dict[str, Any]

METHODS = ("barlow", "simclr", "supervised")
KINDS = ("between", "same")
PROBE_ITERATIONS = 2000
PENALTY = 1.0  # inverse strength of the probe's, on standardised features


class Probe:
    """A linear classifier on the features of a network: logistic regression, features standardised."""

    def __init__(self, network: ResidualNetwork, points: Tensor, classes: np.ndarray) -> None:
        self.network = network
        features = self._features(points)
        self.mean, self.spread = features.mean(0), np.maximum(features.std(0), 1e-9)
        self.regression = LogisticRegression(C=PENALTY, max_iter=PROBE_ITERATIONS)
        self.regression.fit(self._standardised(features), classes)

    def __call__(self, points: Tensor) -> Tensor:
        """Predicted class of each image."""
        return torch.from_numpy(np.asarray(self.regression.predict(self._standardised(self._features(points)))))

    def _standardised(self, features: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (features - self.mean) / self.spread
        return scaled

    @torch.no_grad()
    def _features(self, points: Tensor) -> np.ndarray:
        chunks = [self.network.features(chunk).double().cpu() for chunk in torch.split(points, 256)]
        return torch.cat(chunks).numpy()


def selfsupervised_cell(
    *,
    dataset: images.Name,
    net: int,
    epochs: int,
    supervised_epochs: int,
    channels: list[int],
    blocks: list[int],
    strides: list[int],
    stem_stride: int = 2,
    pooling: bool = True,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    projector_width: int = 256,
    outputs: int = 256,
    temperature: float = 0.2,
    between: int = 30,
    same: int = 10,
    points: int = 17,
    rank: int = 10,
    train_size: int = 0,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """One backbone, trained in three ways from one start, and scanned along the same segments.

    Rows have `quantity`:

    - segment: see `segments.rows_of`; with method, net, and curve and classes, the log-volume and the predicted class
      at each point (lists). Ranks 0, for the full one, and `rank`. An untrained net's boundary is that of the method's
      probe.
    - accuracy: of the probe on test images, by method and state, in `value`.
    - loss: mean loss of each epoch, by method, in `value`.

    Args:
        dataset: see `repro.data.images.load`; segments lie between its test images.
        net: number of the net; it draws its training images (three quarters), weights, order, views and segments.
        epochs: of training without labels.
        supervised_epochs: of training by labels, with batches half as large.
        channels, blocks, strides, stem_stride: of the backbone, see `ResidualNetwork`.
        pooling: whether images are averaged over squares of 2 × 2 pixels.
        batch_size, learning_rate, projector_width, outputs, temperature: see `SelfSupervised`.
        between, same: segments between classes, and within one.
        points: of a segment.
        rank: singular values taken beside all of them.
        train_size: training images, the first ones that are drawn; 0 for all of these.
        seed: non-negative integer.
        dtype: "float32" or "float64", of the nets.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
        repro.data.images.DataError: if the images are not at hand.
        RuntimeError: if a training diverges.
    """
    if min(net, seed, train_size) < 0 or min(between, same) < 1 or points < 3 or not 1 <= rank <= channels[-1]:
        raise ValueError(
            f"expected net, seed and train_size >= 0, segments of each kind, points >= 3 and a rank up to the "
            f"{channels[-1]} features, got {net}, {seed}, {train_size}, {between}, {same}, {points} and {rank}"
        )
    names = (*METHODS, "weights", "segments", "images")
    streams = np.random.SeedSequence([seed, net]).spawn(len(names))
    generators = {name: np.random.default_rng(stream) for name, stream in zip(names, streams, strict=True)}
    place, precision = resolve_device(device), resolve_dtype(dtype)
    train, test = draw_split(dataset, pooling, precision, place, generators["images"])
    train = Labelled(train.inputs[: train_size or None], train.classes[: train_size or None])
    shape = {"channels": channels, "blocks": blocks, "strides": strides, "stem_stride": stem_stride}
    start = ResidualNetwork(train.inputs.shape[1], 10, generators["weights"], dtype=precision, **shape)  # type: ignore[arg-type]
    start = start.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    set_statistics(start, train.inputs)
    settings = {"batch_size": batch_size, "epochs": epochs, "learning_rate": learning_rate, "temperature": temperature}
    settings |= {"projector_width": projector_width, "outputs": outputs}
    nets, rows = {UNTRAINED: start}, []
    for method in METHODS[:2]:
        chosen = SelfSupervised(method, **settings)  # type: ignore[arg-type]
        trained = train_selfsupervised(start, train.inputs, generators[method], chosen)
        nets[method] = trained.network
        rows += [_row("loss", method, net, value=loss, epoch=epoch) for epoch, loss in enumerate(trained.losses, 1)]
    classes = torch.from_numpy(train.classes.astype(np.int64)).to(place)
    nets["supervised"] = train_classifier(
        start, train.inputs, classes, generators["supervised"], epochs=supervised_epochs, batch_size=batch_size // 2
    )
    probes = {name: Probe(network, *train) for name, network in nets.items()}
    read = {name: probe(test.inputs).numpy() for name, probe in probes.items()}
    for method, (state, name) in itertools.product(METHODS, _states()):
        score = float((read[name or method] == test.classes).mean())
        rows.append(_row("accuracy", method, net, value=score, state=state))
    agreed = np.where(np.all([read[method] == test.classes for method in METHODS], axis=0), test.classes, -1)
    for kind, count in zip(KINDS, (between, same), strict=True):
        ends = draw_pairs(test.classes, agreed, count, kind == "same", generators["segments"])
        pair = tuple(test.inputs[torch.from_numpy(end)] for end in ends)
        scans = {name: scanned(pair, points, probes[name], _volumes(nets[name], rank)) for name in nets}  # type: ignore[arg-type]
        for method, (state, name) in itertools.product(METHODS, _states()):
            found = _segments(scans[name or method], kind, state, scans[method].classes)
            rows += [_row("segment", method, net, **row) for row in found]
    return rows


def _states() -> list[tuple[str, str]]:
    """States of a net, and the name of the one that shows it: the common untrained net, or that of the method."""
    return [(UNTRAINED, UNTRAINED), (TRAINED, "")]


def _segments(scan: Scan, kind: str, state: str, boundary: np.ndarray) -> list[Row]:
    """Rows of segments with their curves."""
    rows = rows_of(scan, kind, state, boundary)
    for row in rows:
        row["curve"] = scan.log_volumes[row["rank"]][row["segment"]].tolist()
        row["classes"] = boundary[row["segment"]].tolist()
    return rows


def _row(quantity: str, method: str, net: int, **values: Any) -> Row:
    return {"quantity": quantity, "method": method, "net": net} | values


def _volumes(network: ResidualNetwork, rank: int) -> Any:
    """Log-volumes at full rank and at `rank` of the features at images."""
    return lambda points: by_rank(singular_values(network.features, points), [0, rank])
