"""Many fully connected ReLU classifiers of one architecture, held as one matrix of parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class DenseEnsemble:
    """Nets x → W_L relu(... relu(x W_1 + b_1) ...) + b_L with one output, the logit of class 1.

    A row of `parameters` holds a net, layer after layer: the weights (fan_in, fan_out) row by row, then the biases
    (fan_out,). A net's outputs do not depend, bit for bit, on the nets beside it.

    Raises:
        ValueError: if the widths do not end in 1 or hold no hidden layer, or the parameters do not fit them or are
            neither float32 nor float64.
    """

    parameters: Tensor  # (nets, parameters of a net)
    widths: tuple[int, ...]  # of the input, of each hidden layer, and 1

    def __post_init__(self) -> None:
        _check_widths(self.widths)
        if self.parameters.ndim != 2 or self.parameters.shape[1] != parameter_count(self.widths):
            raise ValueError(
                f"nets of widths {self.widths} have {parameter_count(self.widths)} parameters each, "
                f"got a tensor of shape {tuple(self.parameters.shape)}"
            )

        if self.parameters.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"parameters must be float32 or float64, got {self.parameters.dtype}")

    def __len__(self) -> int:
        """Number of nets."""
        return len(self.parameters)

    def __getitem__(self, nets: int | slice | Sequence[int] | Tensor) -> DenseEnsemble:
        """The chosen nets, as an ensemble also when it is a single one; a slice shares its memory."""
        return DenseEnsemble(self.parameters[[nets] if isinstance(nets, int) else nets], self.widths)

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (nets, fan_in, fan_out) and biases (nets, 1, fan_out) of each layer, views of `parameters`."""
        shapes = list(pairwise(self.widths))
        parts = torch.split(self.parameters, [size for m, n in shapes for size in (m * n, n)], dim=1)
        return [
            (weights.view(-1, m, n), biases.view(-1, 1, n))
            for (m, n), weights, biases in zip(shapes, parts[::2], parts[1::2], strict=True)
        ]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits, (nets, points), at inputs (points, d) for all nets or (nets, points, d) for each its own.

        Raises:
            ValueError: if the inputs have another shape, dtype or device than the nets expect.
        """
        return self._outputs(inputs)[-1].squeeze(2)

    def activations(self, inputs: Tensor) -> list[Tensor]:
        """Outputs of each hidden layer after its ReLU, (nets, points, width), at inputs as for a call."""
        return self._outputs(inputs)[:-1]

    def network(self, index: int) -> nn.Sequential:
        """One net as an ordinary module from (points, d) to (points, 1), with its own copy of the parameters."""
        modules: list[nn.Module] = []
        for weights, biases in self[index].layers():
            layer = nn.Linear(weights.shape[1], weights.shape[2], device="meta")  # draws no numbers
            layer.weight = nn.Parameter(weights[0].T.clone(memory_format=torch.contiguous_format))
            layer.bias = nn.Parameter(biases[0, 0].clone())
            modules += [layer, nn.ReLU()]
        return nn.Sequential(*modules[:-1])

    def _outputs(self, inputs: Tensor) -> list[Tensor]:
        """Outputs of every layer, (nets, points, width)."""
        own = inputs.expand(len(self), *inputs.shape) if inputs.ndim == 2 else inputs
        if own.ndim != 3 or (own.shape[0], own.shape[2]) != (len(self), self.widths[0]):
            raise ValueError(
                f"inputs must have shape (points, {self.widths[0]}) or ({len(self)}, points, {self.widths[0]}), "
                f"got {tuple(inputs.shape)}"
            )
        if (inputs.dtype, inputs.device) != (self.parameters.dtype, self.parameters.device):
            raise ValueError(
                f"inputs must be {self.parameters.dtype} on {self.parameters.device}, "
                f"got {inputs.dtype} on {inputs.device}"
            )
        # One net at a time: a stacked product with one output column rounds differently for another number of nets,
        # and so does one whose memory is aligned otherwise, hence the copy.
        nets = [
            _net_outputs(DenseEnsemble(row[None].clone(), self.widths), x)
            for row, x in zip(self.parameters, own, strict=True)
        ]
        return [torch.stack(layer) for layer in zip(*nets, strict=True)]


def glorot_ensemble(
    widths: Sequence[int],
    generators: Sequence[np.random.Generator],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> DenseEnsemble:
    """Draw nets with Glorot's uniform weights, U(−r, r) with r = √(6/(fan_in + fan_out)), and biases of 0.

    They are drawn in float64 with numpy and then rounded, so that precisions and devices start from the same nets.

    Args:
        widths: of the input, of each hidden layer, and 1.
        generators: one for each net, which therefore does not depend on the others.
        dtype: of the parameters, float32 or float64.
        device: where they live.

    Raises:
        ValueError: if a width is below 1, there is no hidden layer, the last width is not 1, there is no generator, or
            dtype is another one.
    """
    _check_widths(widths)
    if not generators:
        raise ValueError("expected a generator for each net, got none")
    nets = np.stack([_glorot(widths, generator) for generator in generators])
    return DenseEnsemble(torch.from_numpy(nets).to(device=device, dtype=dtype), tuple(widths))


def parameter_count(widths: Sequence[int]) -> int:
    """Number of weights and biases of a net of these widths, input and output included."""
    return sum((m + 1) * n for m, n in pairwise(widths))


def _glorot(widths: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    parts = []
    for m, n in pairwise(widths):
        bound = math.sqrt(6 / (m + n))
        parts += [generator.uniform(-bound, bound, m * n), np.zeros(n)]
    return np.concatenate(parts)


def _net_outputs(net: DenseEnsemble, inputs: Tensor) -> list[Tensor]:
    """Outputs of every layer of a single net, (points, width)."""
    outputs = []
    *hidden, last = net.layers()
    for weights, biases in hidden:
        inputs = torch.addmm(biases[0], inputs, weights[0]).relu_()
        outputs.append(inputs)
    weights, biases = last
    return [*outputs, torch.addmm(biases[0], inputs, weights[0])]


def _check_widths(widths: Sequence[int]) -> None:
    if len(widths) < 3 or min(widths) < 1 or widths[-1] != 1:
        raise ValueError(f"widths must be those of the input, of hidden layers, and 1 at the end, got {tuple(widths)}")
