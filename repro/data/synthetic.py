"""Synthetic classification tasks, drawn in float64 with numpy so that every device sees the same points."""

from __future__ import annotations

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
