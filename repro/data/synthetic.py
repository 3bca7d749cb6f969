"""Synthetic classification tasks, drawn in float64 with numpy so that every device sees the same points."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

STRIPE = (-0.3, 1.18549)  # x₁ of the two interfaces; both classes are equally likely: Φ(1.18549) − Φ(−0.3) = 1/2


class Sample(NamedTuple):
    """Labelled points of a two-class task, float64 on the CPU."""

    inputs: Tensor  # (points, dimension)
    labels: Tensor  # (points,), +1 or -1


def stripe(
    points: int,
    dimension: int,
    generator: np.random.Generator,
    lower: float = STRIPE[0],
    upper: float = STRIPE[1],
) -> Sample:
    """Gaussian points whose label depends on the first coordinate alone: a stripe between two parallel planes.

    Inputs are N(0, I) in `dimension` dimensions; the label is −1 where lower < x₁ < upper and +1 outside. Task
    of arXiv 2007.11471 with one informative direction.

    Args:
        points: number of points, at least 1.
        dimension: input dimension d, at least 2 (one informative coordinate, d − 1 uninformative ones).
        generator: source of randomness; consumed in order, so a longer draw starts with the shorter one's points.
        lower: lower plane, in standard deviations of x₁.
        upper: upper plane, in standard deviations of x₁.

    Raises:
        ValueError: if points < 1, dimension < 2, or not lower < upper.
    """
    if points < 1:
        raise ValueError(f"points must be at least 1, got {points}")
    if dimension < 2:
        raise ValueError(f"dimension must be at least 2, got {dimension}")
    if not lower < upper:  # this form also refuses NaN
        raise ValueError(f"lower must be below upper, got lower={lower}, upper={upper}")
    inputs = torch.from_numpy(generator.standard_normal((points, dimension)))
    inside = (inputs[:, 0] > lower) & (inputs[:, 0] < upper)
    return Sample(inputs, 1.0 - 2.0 * inside.to(torch.float64))


def cylinder_radius(informative: int) -> float:
    """Radius of the cylinder: the median of |x∥| for two informative directions, nearly so for more.

    √(2 ln 2) for two and √(d∥ − 2/3) from three on (arXiv 2007.11471's released code): there 49.4 % (d∥ = 3) of the
    points lie inside, and the share tends to one half.

    Raises:
        ValueError: if informative < 2.
    """
    if informative < 2:
        raise ValueError(f"a cylinder has at least 2 informative directions, got {informative}")
    return math.sqrt(2 * math.log(2)) if informative == 2 else math.sqrt(informative - 2 / 3)


def cylinder(points: int, dimension: int, informative: int, generator: np.random.Generator) -> Sample:
    """Gaussian points whose label depends on the norm of the first coordinates: a (hyper)cylinder.

    Inputs are N(0, I) in `dimension` dimensions; with r the norm of the first `informative` coordinates, the label is
    +1 where r <= `cylinder_radius` and −1 outside. This is arXiv 2007.11471's sign for two informative directions; we
    keep it for more, where its public material states the cut alone. The sign cannot matter: flipping it is
    flipping every readout weight, whose distribution is symmetric.

    Args:
        points: number of points, at least 1.
        dimension: input dimension d, above `informative`.
        informative: number d∥ of informative directions, at least 2.
        generator: source of randomness; consumed in order, so a longer draw starts with the shorter one's points.

    Raises:
        ValueError: if points < 1, informative < 2, or dimension <= informative.
    """
    radius = cylinder_radius(informative)
    if points < 1:
        raise ValueError(f"points must be at least 1, got {points}")
    if dimension <= informative:
        raise ValueError(f"dimension must exceed the informative directions, got {dimension} and {informative}")
    inputs = torch.from_numpy(generator.standard_normal((points, dimension)))
    inside = inputs[:, :informative].norm(dim=1) <= radius
    return Sample(inputs, 2.0 * inside.to(torch.float64) - 1.0)
