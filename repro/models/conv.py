"""Convolutional networks."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

SWISH_GAIN = 1.6768  # makes E[(gain · z · sigmoid(z))²] = 1 for z ~ N(0, 1)


class MobileNetwork(nn.Module):
    """The network of 16 convolutions of arXiv 2007.11471 (released code), with one output and h the unit of width.

    Channels: input 1 → 5×5 stem, stride 2: 4h → depth-wise separable 5×5: 2h → two inverted residual blocks: h → two
    more: 3h → 1×1 head: 20h → global average → linear. Each group of blocks halves the image. Parameters are N(0, 1)
    and the factors 1/√fan-in (1/fan-in in the last layer) stand outside them, so that all learn at comparable rates;
    only the last layer has a bias, which starts at 0 (its start cannot matter to f − f₀).
    """

    def __init__(self, width: int, generator: np.random.Generator, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        h = width
        self.body = nn.Sequential(
            Convolution(1, 4 * h, 5, stride=2),
            Swish(),
            Convolution(4 * h, 4 * h, 5, groups=4 * h),
            Swish(),
            Convolution(4 * h, 2 * h, 1),
            InvertedResidual(2 * h, h, stride=2),
            InvertedResidual(h, h),
            InvertedResidual(h, 3 * h, stride=2),
            InvertedResidual(3 * h, 3 * h),
            Convolution(3 * h, 20 * h, 1),
            Swish(),
        )
        self.readout = nn.Linear(20 * h, 1)
        with torch.no_grad():
            for parameter in self.parameters():  # drawn in float64, so that precisions start from the same net
                parameter.copy_(torch.from_numpy(generator.standard_normal(parameter.shape)))
            self.readout.bias.zero_()
        self.to(dtype)
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)  # twice as fast on the CPU

    def features(self, images: Tensor) -> Tensor:
        """Inputs of the last layer, scaled as it sees them: (points, 20h) for images (points, 1, side, side)."""
        averages: Tensor = self.body(images).mean((2, 3))
        return averages / self.readout.in_features

    def forward(self, images: Tensor) -> Tensor:
        """Outputs f, shape (points,)."""
        output: Tensor = self.readout(self.features(images))[:, 0]
        return output


class Convolution(nn.Module):
    """Convolution with parameters N(0, 1), no bias, odd kernel and equal padding, divided by √fan-in."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        self.factor = 1 / math.sqrt(inputs // groups * size**2)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve and scale."""
        output: Tensor = self.layer(images) * self.factor
        return output


class Swish(nn.Module):
    """z · sigmoid(z), scaled to keep the variance of Gaussian input."""

    def forward(self, values: Tensor) -> Tensor:
        """Apply to each entry."""
        return nn.functional.silu(values) * SWISH_GAIN


class InvertedResidual(nn.Module):
    """1×1 to three times the channels, 5×5 depth-wise, linear 1×1; (x + r)/√2 where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        inner = 3 * inputs
        self.residual = nn.Sequential(
            Convolution(inputs, inner, 1),
            Swish(),
            Convolution(inner, inner, 5, stride, groups=inner),
            Swish(),
            Convolution(inner, outputs, 1),
        )
        self.skips = stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        """The block."""
        residual: Tensor = self.residual(images)
        return (images + residual) / math.sqrt(2) if self.skips else residual
