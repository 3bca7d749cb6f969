"""Residual convolutional networks with batch normalisation, small ones and ResNet-34."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from repro.models.architectures import activation_module, draw_uniform

Nonlinearity = Literal["gelu", "relu", "linear", "mixed"]
Padding = Literal["zeros", "circular"]
Start = Literal["he", "torch"]
RESNET_34 = {"channels": (64, 128, 256, 512), "blocks": (3, 4, 6, 3), "stem_stride": 1, "strides": (1, 2, 2, 2)}


class ResidualNetwork(nn.Module):
    """3×3 stem, stages of residual blocks, average over the image, linear read-out (arXiv 2301.11375, released code).

    Each stage begins with a block of its stride. In the released code of that paper the chosen nonlinearity does not
    reach the blocks: "mixed" has a ReLU after the stem and GELU in the blocks, as its runs called ReLU have.

    Args:
        image_channels: of the images.
        classes: outputs.
        generator: source of the weights, drawn in float64 and then rounded.
        channels: of each stage; the last are the features.
        blocks: of each stage.
        stem_stride: of the first convolution.
        strides: of each stage.
        nonlinearity: "gelu", "relu", "linear" or "mixed".
        normalised: whether every convolution is followed by batch normalisation.
        skips: whether blocks have a shortcut.
        padding: "zeros" or "circular".
        flat_side: of square images whose last stage is read pixel by pixel instead of averaged.
        start: weights of convolutions N(0, 2/fan-out) ("he", as torch's ResNets) or all U(−1, 1)/√fan-in ("torch", its
            default).
        dtype: of the parameters.

    Raises:
        ValueError: for another nonlinearity or start, or stages told differently often.

    Example:
        >>> network = ResidualNetwork(1, 10, np.random.default_rng(0), channels=(4, 8), blocks=(1, 1), strides=(1, 2))
        >>> network.eval()(torch.zeros(2, 1, 14, 14)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        image_channels: int,
        classes: int,
        generator: np.random.Generator,
        *,
        channels: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] = (1, 1, 1),
        stem_stride: int = 2,
        strides: Sequence[int] = (1, 2, 2),
        nonlinearity: Nonlinearity = "gelu",
        normalised: bool = True,
        skips: bool = True,
        padding: Padding = "zeros",
        flat_side: int | None = None,
        start: Start = "he",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if start not in ("he", "torch"):
            raise ValueError(f"start must be he or torch, got {start!r}")
        if not len(channels) == len(blocks) == len(strides):
            raise ValueError(
                f"expected channels, blocks and strides of each stage, got {channels}, {blocks}, {strides}"
            )
        stem, inner = ("relu", "gelu") if nonlinearity == "mixed" else (nonlinearity, nonlinearity)
        form = Form(inner, normalised, skips, padding)
        layers: list[nn.Module] = [
            _convolution(image_channels, channels[0], form, stem_stride),
            activation_module(stem),
        ]
        width = channels[0]
        for stage, count, stride in zip(channels, blocks, strides, strict=True):
            for block in range(count):
                layers.append(ResidualBlock(width, stage, 1 if block else stride, form))
                width = stage
        self.body = nn.Sequential(*layers)
        self.averages = flat_side is None
        side = flat_side or 1
        for stride in (stem_stride, *strides):
            side = -(-side // stride)
        self.readout = nn.Linear(width * side**2, classes)
        with torch.no_grad():
            if start == "torch":
                draw_uniform(self.to(dtype), generator)
            else:
                _draw(self.modules(), generator)
        self.to(dtype)

    def features(self, images: Tensor) -> Tensor:
        """Last stage, averaged over the image or flat: (points, features) for images (points, channels, side, side)."""
        last: Tensor = self.body(images)
        return last.mean((2, 3)) if self.averages else last.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (points, classes)."""
        logits: Tensor = self.readout(self.features(images))
        return logits


class Form(NamedTuple):
    """What all blocks of a net have in common."""

    nonlinearity: str
    normalised: bool
    skips: bool
    padding: Padding


class ResidualBlock(nn.Module):
    """φ(x + r(x)), r two (normalised) 3×3 convolutions; x goes through a 1×1 one where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int, form: Form) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _convolution(inputs, outputs, form, stride),
            activation_module(form.nonlinearity),
            _convolution(outputs, outputs, form),
        )
        self.shortcut: nn.Module | None = None
        if form.skips:
            same = stride == 1 and inputs == outputs
            self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, form, stride, size=1)
        self.activation = activation_module(form.nonlinearity)

    def forward(self, images: Tensor) -> Tensor:
        """The block."""
        residual: Tensor = self.residual(images)
        output: Tensor = self.activation(residual if self.shortcut is None else self.shortcut(images) + residual)
        return output


def set_statistics(network: nn.Module, images: Tensor, batch_size: int = 256) -> None:
    """Set the running statistics of batch normalisation to averages over these images, in place; no weight moves.

    For networks whose statistics no training has set. The network is left in evaluation mode.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    network.train()
    with torch.no_grad():
        for chunk in torch.split(images, batch_size):
            network(chunk)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _convolution(inputs: int, outputs: int, form: Form, stride: int = 1, size: int = 3) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False, padding_mode=form.padding)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs)) if form.normalised else nn.Sequential(layer)


def _draw(modules: Iterable[nn.Module], generator: np.random.Generator) -> None:
    for module in modules:
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            values = generator.standard_normal(module.weight.shape) * math.sqrt(2 / fan_out)
            module.weight.copy_(torch.from_numpy(values))
        elif isinstance(module, nn.Linear):
            for part in (module.weight, module.bias):
                values = generator.uniform(-1, 1, part.shape) / math.sqrt(module.in_features)
                part.copy_(torch.from_numpy(values))
