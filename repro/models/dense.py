"""Fully connected networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

GAIN = math.sqrt(2.0)  # makes E[(gain·relu(z))²] = 1 for z ~ N(0, 1)


@dataclass(frozen=True)
class ShallowNetwork:
    """One hidden ReLU layer in the mean-field scaling, f(x) = (1/h) Σₙ βₙ √2 relu(wₙ·x/√d + bₙ).

    Network of arXiv 2007.11471: all three parameter tensors are trained, the output has no bias.
    """

    weight: Tensor  # w, (h, d)
    bias: Tensor  # b, (h,)
    readout: Tensor  # β, (h,)

    def __post_init__(self) -> None:
        width = self.readout.shape[0] if self.readout.ndim == 1 else -1
        if self.weight.ndim != 2 or self.weight.shape[0] != width or self.bias.shape != (width,):
            raise ValueError(
                "expected weight (h, d), bias (h,), readout (h,), got "
                f"{tuple(self.weight.shape)}, {tuple(self.bias.shape)}, {tuple(self.readout.shape)}"
            )

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs f, shape (points,), for inputs of shape (points, d)."""
        preactivation = torch.addmm(self.bias, inputs, self.weight.T / math.sqrt(self.weight.shape[1]))  # (points, h)
        return torch.relu(preactivation) @ self.readout * (GAIN / self.readout.shape[0])


def initialise(
    width: int,
    dimension: int,
    generator: np.random.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> ShallowNetwork:
    """Draw all parameters of a `ShallowNetwork` i.i.d. from N(0, 1).

    They are drawn in float64 with numpy and then rounded, so that precisions and devices start from the same net.

    Args:
        width: number of hidden neurons h, at least 1.
        dimension: input dimension d, at least 1.
        generator: source of randomness.
        dtype: floating type of the parameters.
        device: where they live.

    Raises:
        ValueError: if width or dimension is below 1, or dtype is not a floating type.
    """
    if width < 1 or dimension < 1:
        raise ValueError(f"width and dimension must be at least 1, got {width} and {dimension}")
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating type, got {dtype}")

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(generator.standard_normal(shape)).to(device=device, dtype=dtype)

    return ShallowNetwork(weight=draw(width, dimension), bias=draw(width), readout=draw(width))
