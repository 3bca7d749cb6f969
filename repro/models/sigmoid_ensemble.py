"""Many fully connected sigmoid classifiers of one shape, trained and evaluated together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class SigmoidEnsemble:
    """Nets of arXiv 2301.11375 (released code): x → a₁ = σ(x W₁ + b₁), aₗ = σ((aₗ₋₁ Wₗ + bₗ)/√fan-in), logits alike.

    Every layer from the second on, the read-out with its bias included, is divided by the root of its fan-in; the first
    is not.

    Raises:
        ValueError: if weights and biases are not those of layers that follow one another, with a hidden layer.
    """

    weights: tuple[Tensor, ...]  # (nets, fan_in, fan_out) each
    biases: tuple[Tensor, ...]  # (nets, 1, fan_out) each

    def __post_init__(self) -> None:
        shapes = [tuple(weight.shape) for weight in self.weights]
        biases = [tuple(bias.shape) for bias in self.biases]
        follow = all(a[-1] == b[1] for a, b in pairwise(shapes) if len(a) == len(b) == 3)
        if len(shapes) < 2 or not follow or biases != [(shape[0], 1, shape[-1]) for shape in shapes]:
            raise ValueError(f"expected weights (nets, m, n) and biases (nets, 1, n), got {shapes} and {biases}")

    def __len__(self) -> int:
        """Number of nets."""
        return len(self.weights[0])

    def __getitem__(self, nets: Sequence[int] | slice) -> SigmoidEnsemble:
        """The chosen nets; a slice shares its memory."""
        return SigmoidEnsemble(*(tuple(part[nets] for part in parts) for parts in (self.weights, self.biases)))

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits (nets, points, outputs) at inputs (points, d) for all nets, or (nets, points, d) for each its own."""
        *_, last = self.hidden(inputs)
        return self._affine(len(self.weights) - 1, last)

    def hidden(self, inputs: Tensor) -> list[Tensor]:
        """Outputs of each hidden layer, (nets, points, width), at inputs as for a call."""
        values = inputs.expand(len(self), *inputs.shape) if inputs.ndim == 2 else inputs
        layers = []
        for layer in range(len(self.weights) - 1):
            values = torch.sigmoid(self._affine(layer, values))
            layers.append(values)
        return layers

    def features(self, net: int, layer: int) -> Callable[[Tensor], Tensor]:
        """The map of one net from inputs (points, d) to its hidden layer, counted from 0: (points, width)."""
        single = self[net : net + 1]
        return lambda inputs: single.hidden(inputs)[layer][0]

    def to(self, dtype: torch.dtype) -> SigmoidEnsemble:
        """The same nets in another precision."""
        return SigmoidEnsemble(*(tuple(part.to(dtype) for part in parts) for parts in (self.weights, self.biases)))

    def _affine(self, layer: int, values: Tensor) -> Tensor:
        sums = torch.baddbmm(self.biases[layer], values, self.weights[layer])
        return sums / math.sqrt(self.weights[layer].shape[1]) if layer else sums


def normal_ensemble(
    widths: Sequence[int],
    generators: Sequence[np.random.Generator],
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> SigmoidEnsemble:
    """Draw every weight and bias from N(0, 1), in float64 with numpy, so that precisions start from the same nets.

    Args:
        widths: of the input, of each hidden layer, and of the output.
        generators: one for each net, which therefore does not depend on the others.
        dtype: of the parameters.
        device: where they live.

    Raises:
        ValueError: for a width below 1, no hidden layer, or no generator.

    Example:
        >>> normal_ensemble([2, 10, 3], [np.random.default_rng(0)])(torch.zeros(5, 2).double()).shape
        torch.Size([1, 5, 3])
    """
    if len(widths) < 3 or min(widths) < 1 or not generators:
        raise ValueError(f"expected widths of input, hidden layers and output, and generators, got {tuple(widths)}")
    drawn = [[generator.standard_normal((m + 1, n)) for m, n in pairwise(widths)] for generator in generators]
    layers = [torch.from_numpy(np.stack(layer)).to(device, dtype) for layer in zip(*drawn, strict=True)]
    return SigmoidEnsemble(tuple(layer[:, :-1] for layer in layers), tuple(layer[:, -1:] for layer in layers))
