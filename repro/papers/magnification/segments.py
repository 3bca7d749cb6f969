"""What a classifier does along straight segments between two images: its class, its volume, and where each changes.

A segment has length 1, t from 0 to 1. Logarithms of volumes are decimal ones, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray
Row = dict[str, Any]

NEAR, FAR = 0.1, 0.3  # distances from a crossing
FULL = 0  # stands for the full rank
TRAINED, UNTRAINED = "trained", "untrained"  # states of a net


class Scan(NamedTuple):
    """A classifier along segments: numbers at equally spaced points of each, both ends among them."""

    classes: Array  # (segments, points)
    log_volumes: dict[int, Array]  # by rank, (segments, points); 0 for the full rank


def interpolate(starts: Tensor, ends: Tensor, points: int) -> Tensor:
    """Images on straight segments: (segments, ...) twice → (segments · points, ...), a segment after the other."""
    t = torch.linspace(0, 1, points, dtype=starts.dtype, device=starts.device)
    t = t.reshape(1, points, *[1] * (starts.ndim - 1))
    return ((1 - t) * starts[:, None] + t * ends[:, None]).flatten(0, 1)


def by_rank(singular_values: Tensor, ranks: Sequence[int]) -> dict[int, Array]:
    """Sums of log₁₀ of the largest singular values, (points,) by rank; rank 0 takes all of them.

    A value that vanishes to rounding beside the largest, as of a feature that a ReLU has switched off, counts as the
    rounding: its logarithm would have no end.

    Args:
        singular_values: (points, r), largest first.
        ranks: each 0 or from 1 to r.
    """
    rounding = torch.finfo(singular_values.dtype).eps * singular_values[:, :1]
    kept = torch.maximum(singular_values, rounding).double().clamp_min(torch.finfo(torch.float64).tiny)
    sums = kept.log10().cumsum(1).cpu().numpy()
    return {rank: sums[:, rank - 1 if rank else -1] for rank in ranks}


def draw_pairs(
    labels: Array, predicted: Array, count: int, same: bool, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Pairs of correctly read images of one class, or of two different ones: indices (count,) of both ends.

    Raises:
        ValueError: if there is no such pair.
    """
    right = np.flatnonzero(labels == predicted)
    members = np.unique(labels[right], return_counts=True)[1]
    if not (members > 1).any() if same else len(members) < 2:
        wanted = "two correctly read images of one class" if same else "correctly read images of two classes"
        raise ValueError(f"expected {wanted}, got {len(right)} of {len(labels)} in {len(members)} classes")
    first, second = np.empty(count, dtype=int), np.empty(count, dtype=int)
    for number in range(count):
        while True:
            a, b = generator.choice(right, 2, replace=False)
            if (labels[a] == labels[b]) == same:
                first[number], second[number] = a, b
                break
    return first, second


def draw_misread(labels: Array, predicted: Array, count: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """Pairs of a misread image and a correctly read one of a third class: indices (pairs,) of both ends.

    The third class is neither the label of the first image nor what the net reads there. Each misread image is used
    once, so there may be fewer pairs than asked for.
    """
    wrong = generator.permutation(np.flatnonzero(labels != predicted))[:count]
    right = np.flatnonzero(labels == predicted)
    pairs = []
    for image in wrong:
        others = right[(labels[right] != labels[image]) & (labels[right] != predicted[image])]
        if len(others):
            pairs.append((image, generator.choice(others)))
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    return first, second


def crossing(classes: Array) -> Array:
    """Mean place t at which the predicted class changes along each segment: (segments, points) → (segments,).

    A change between two points is put half-way between them. NaN where the class never changes.
    """
    changes = classes[:, 1:] != classes[:, :-1]
    middles = (np.arange(changes.shape[1]) + 0.5) / changes.shape[1]
    with np.errstate(invalid="ignore"):
        place: Array = (changes * middles).sum(1) / changes.sum(1)
    return place


def peak(log_volume: Array) -> Array:
    """Place t of the largest log-volume of each segment, the first of equals: (segments, points) → (segments,)."""
    return np.asarray(log_volume.argmax(1) / (log_volume.shape[1] - 1))


def contrast(log_volume: Array, classes: Array) -> Array:
    """Mean log-volume within 0.1 of a change of the class less that beyond 0.3 of every one: (segments,) decades.

    NaN where the class never changes, or nothing is that far.
    """
    points = classes.shape[1]
    t = np.arange(points) / (points - 1)
    middles = (np.arange(points - 1) + 0.5) / (points - 1)
    found = np.full(len(classes), np.nan)
    for number, (row, logs) in enumerate(zip(classes, log_volume, strict=True)):
        places = middles[row[1:] != row[:-1]]
        if len(places):
            distance = np.abs(t[:, None] - places).min(1)
            near, far = distance < NEAR, distance > FAR
            if near.any() and far.any():
                found[number] = logs[near].mean() - logs[far].mean()
    return found


def rows_of(scan: Scan, kind: str, state: str, boundary: Array) -> list[Row]:
    """A row for every segment and rank: kind, state, segment, rank, crossing, peak, and in decades contrast and range.

    Args:
        scan: of a net.
        kind: of the segments, "between" classes, "same" class, ...
        state: of the net, "trained" or "untrained".
        boundary: (segments, points) classes that say where the boundary is: those of the trained net, also for an
            untrained one, whose peak is compared with the same places.
    """
    rows = []
    place = crossing(boundary)
    for rank, logs in scan.log_volumes.items():
        peaks, contrasts = peak(logs), contrast(logs, boundary)
        spans = np.ptp(logs, axis=1)
        rows += [
            {"kind": kind, "state": state, "segment": number, "rank": rank, "crossing": float(place[number])}
            | {"peak": float(peaks[number]), "contrast": float(contrasts[number]), "range": float(spans[number])}
            for number in range(len(logs))
        ]
    return rows


def scanned(
    ends: tuple[Tensor, Tensor],
    points: int,
    predict: Callable[[Tensor], Tensor],
    log_volumes: Callable[[Tensor], dict[int, Array]],
) -> Scan:
    """Scan the segments between two sets of images.

    Args:
        ends: (segments, ...) each.
        points: of a segment.
        predict: from images to classes (points,).
        log_volumes: from images to log-volumes by rank, (points,) each.
    """
    images = interpolate(*ends, points)
    shape = len(ends[0]), points
    volumes = {rank: values.reshape(shape) for rank, values in log_volumes(images).items()}
    return Scan(predict(images).cpu().numpy().reshape(shape), volumes)
