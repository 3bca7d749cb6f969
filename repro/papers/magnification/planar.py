"""The tasks of arXiv 2301.11375 in the plane: their points, their boundaries, and what lies near or far of these.

Distances are to the boundary of the task, or to a mirror image of it, about which a net without knowledge of the task
would magnify as much.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import KDTree

from repro.data.synthetic import (
    SINUSOID_AMPLITUDE,
    SINUSOID_FREQUENCY,
    SINUSOID_PHASE,
    Sample,
    sinusoid,
    sinusoid_height,
    xor,
)

Array = np.ndarray

TASKS = ("sinusoid", "xor", "few points", "hole at the boundary", "hole elsewhere")
NEAR, FAR = 0.1, 0.3  # distances from a boundary
REACH = {"sinusoid": 1.0, "xor": 1.5}  # half the side of the square on which near and far are compared
HOLE = 0.15  # half the width of the strip without points
FEW = 30  # points with random labels: as many as such nets can fit
CURVE = np.linspace(-1.6, 1.6, 32001)  # first coordinates at which the curve is sampled for distances
MIRRORS = np.array([[-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])  # of x₁, of x₂, and of both
RADII = (0.5, 1.0, 1.4)  # circles on which the dependence on the angle is measured


def square(side: int, reach: float) -> Array:
    """Points (side², 2) of a square grid on [−reach, reach]², the first coordinate running fastest."""
    line = np.linspace(-reach, reach, side)
    second, first = np.meshgrid(line, line, indexing="ij")
    return np.column_stack([first.ravel(), second.ravel()])


def circles(angles: int = 180) -> Array:
    """Points (3, angles, 2) of the circles of `RADII`."""
    angle = 2 * np.pi * np.arange(angles) / angles
    rings: Array = np.array(RADII)[:, None, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return rings


def curve_distance(points: Array) -> Array:
    """Distance of points (n, 2) to the sinusoid, to 3e-4 on the curve and 1e-6 from a distance of 0.02 on."""
    tree = KDTree(np.column_stack([CURVE, sinusoid_height(CURVE)]))
    return np.asarray(tree.query(points)[0])


class Regions(NamedTuple):
    """Where the volume is compared: points, and for the boundary and each of its mirror images who is near and far."""

    points: Array  # (n, 2)
    near: Array  # (1 + images, n), the boundary itself first
    far: Array  # (1 + images, n)


def regions(task: str, side: int = 80, near: float = NEAR, far: float = FAR) -> Regions:
    """Regions of the sinusoid on [−1, 1]² (three mirror images), or of XOR on a disc (axes, and diagonals as image).

    The diagonals are the axes turned by 45°, so that distances from the origin are distributed alike.

    Args:
        task: see `draw`.
        side: points along a side of the grid.
        near, far: largest distance from a boundary that is near, and smallest that is far.

    Raises:
        ValueError: for another task, or distances that are not 0 < near < far.
    """
    _check_task(task)
    if not 0 < near < far:
        raise ValueError(f"expected distances 0 < near < far, got {near} and {far}")
    if task == "xor":
        points = square(side, REACH["xor"])
        points = points[np.linalg.norm(points, axis=1) < REACH["xor"]]
        turned = points @ np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
        distance = np.stack([np.abs(p).min(1) for p in (points, turned)])
    else:
        points = square(side, REACH["sinusoid"])
        distance = np.stack([curve_distance(points), *(curve_distance(points * mirror) for mirror in MIRRORS)])
    return Regions(points, distance < near, distance > far)


def near_over_far(logs: Array, found: Regions) -> Array:
    """Mean of logarithms (n,) near, less that far: (1 + images,), of the boundary first."""
    return np.array([logs[near].mean() - logs[far].mean() for near, far in zip(found.near, found.far, strict=True)])


def crests_and_flanks(points: Array) -> tuple[Array, Array]:
    """Masks (n,): points within `NEAR` of an extremum of the sinusoid in [−1, 1], and of a zero of it."""
    quarter = np.arange(-20, 21) * np.pi / 2
    first = (quarter - SINUSOID_PHASE) / SINUSOID_FREQUENCY
    inside = np.abs(first) <= 1
    place = np.column_stack([first, SINUSOID_AMPLITUDE * np.sin(quarter)])
    odd = np.arange(-20, 21) % 2 == 1
    crests, flanks = (np.asarray(KDTree(place[inside & chosen]).query(points)[0]) < NEAR for chosen in (odd, ~odd))
    return crests, flanks


def own_boundary(margin: Array, side: int, reach: float) -> Array:
    """Points (m, 2) where a net's own decision changes: zeros of the margin on the edges of a square grid.

    Args:
        margin: (side²,) difference of the two logits on `square(side, reach)`.
        side: of the grid.
        reach: of the grid.
    """
    line, values = np.linspace(-reach, reach, side), margin.reshape(side, side)  # (second, first)
    found = []
    for turned in (False, True):
        rows = values.T if turned else values
        row, column = np.nonzero(rows[:, :-1] * rows[:, 1:] < 0)
        share = rows[row, column] / (rows[row, column] - rows[row, column + 1])
        along = line[column] + share * (line[1] - line[0])
        found.append(np.column_stack([line[row], along] if turned else [along, line[row]]))
    return np.concatenate(found)


def draw(task: str, points: int, generator: np.random.Generator) -> Sample:
    """Training points of a task.

    - sinusoid: uniform points of the square, labelled by the side of the curve they lie on
    - xor: its four corners, whatever `points` is
    - few points: the first 30 points of the sinusoid with random labels, so that any boundary is the net's own
    - hole at the boundary: points of the sinusoid, none within 0.15 of the curve
    - hole elsewhere: none within 0.15 of the curve mirrored in both coordinates, and so unrelated to the labels

    Raises:
        ValueError: for another task, or points < 1.
    """
    _check_task(task)
    if task == "xor":
        return xor()
    if task == "few points":
        inputs = sinusoid(FEW, generator).inputs
        return Sample(inputs, torch.from_numpy(generator.permutation(np.resize([1.0, -1.0], FEW))))
    if task == "sinusoid":
        return sinusoid(points, generator)
    sample = sinusoid(4 * points, generator)  # the strip takes less than half of the square
    mirror = 1.0 if task == "hole at the boundary" else -1.0
    kept = np.flatnonzero(curve_distance(mirror * sample.inputs.numpy()) > HOLE)[:points]
    return Sample(*(part[kept] for part in sample))


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise ValueError(f"task must be one of {[*TASKS]}, got {task!r}")
