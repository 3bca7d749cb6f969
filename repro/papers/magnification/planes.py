"""Planes through three images, and what a classifier does in them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray

ANCHORS = ((-0.5, 0.5 / math.sqrt(3)), (0.5, 0.5 / math.sqrt(3)), (0.0, -1 / math.sqrt(3)))  # of the three images


def draw_triple(labels: Array, predicted: Array, generator: np.random.Generator) -> Array:
    """Indices (3,) of correctly read images of three different classes.

    Raises:
        ValueError: if there are none.
    """
    right = np.flatnonzero(labels == predicted)
    classes = len(np.unique(labels[right]))
    if classes < 3:
        raise ValueError(f"expected correctly read images of three classes, got {len(right)} in {classes} classes")
    while True:
        anchors: Array = generator.choice(right, 3, replace=False)
        if len(np.unique(labels[anchors])) == 3:
            return anchors


def plane_coordinates(side: int) -> Array:
    """Coordinates (side², 2) of a square grid on [−1, 1]², the first running fastest."""
    line = np.linspace(-1, 1, side)
    second, first = np.meshgrid(line, line, indexing="ij")
    return np.column_stack([first.ravel(), second.ravel()])


def plane_points(images: Tensor, coordinates: Array) -> Tensor:
    """Points o + a (x₂ − x₁) + 2√3 b ((x₁ + x₂)/2 − o) of the plane through three images, o their mean.

    The images lie at `ANCHORS` (arXiv 2301.11375, released code). The two directions need be neither orthogonal nor
    equally long.

    Args:
        images: (3, ...).
        coordinates: (points, 2) of a and b.

    Returns:
        (points, ...).

    Example:
        >>> corners = torch.eye(3, dtype=torch.float64)
        >>> torch.allclose(plane_points(corners, np.array(ANCHORS)), corners)
        True
    """
    first, second, _ = images
    centre = images.mean(0)
    right, up = second - first, 2 * math.sqrt(3) * ((first + second) / 2 - centre)
    a, b = (torch.from_numpy(column).to(images).reshape(-1, *[1] * (images.ndim - 1)) for column in coordinates.T)
    points: Tensor = centre + a * right + b * up
    return points


def neighbouring_classes(classes: Array) -> Array:
    """Number of different classes in the 3 × 3 neighbourhood of each grid point; the rim has fewer neighbours."""
    side = classes.shape[0]
    padded = np.pad(classes, 1, mode="edge")
    windows = np.stack([padded[i : i + side, j : j + side] for i in range(3) for j in range(3)])
    ordered = np.sort(windows, axis=0)
    return np.asarray(1 + (ordered[1:] != ordered[:-1]).sum(0))


def junction(log_volume: Array, classes: Array) -> float:
    """Mean natural logarithm of the volume where three classes or more meet, less that where exactly two do.

    NaN where the plane has no such place.

    Args:
        log_volume: decimal logarithms on a square grid (side, side).
        classes: on the same grid.
    """
    count = neighbouring_classes(classes)
    if not ((count > 2).any() and (count == 2).any()):
        return float("nan")
    return float(np.log(10) * (log_volume[count > 2].mean() - log_volume[count == 2].mean()))
