"""Mini-batch training to the margin."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

SHARPNESS = 3.0  # of the soft hinge, for images (arXiv 2007.11471, released code)
POLYAK = 0.5  # share of the step L/|g|² that would bring a linear loss to 0
LARGEST_MOVE = 0.02  # of a step, relative to the norm of the parameters
NEGLIGIBLE = 1e-4  # a batch with a smaller mean soft hinge is skipped: L and g underflow, and L/|g|² becomes 0/0


Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class MarginTraining(Generic[Network]):
    """Outcome of `train_to_margin`."""

    network: Network
    epochs: int
    steps: int  # batches that were not skipped
    smallest_margin: float
    converged: bool  # every training margin is above 1


def train_to_margin(
    network: Network,
    inputs: Tensor,
    labels: Tensor,
    output_scale: float,
    generator: np.random.Generator,
    *,
    batch_size: int = 32,
    epoch_limit: int = 2000,
) -> MarginTraining[Network]:
    """Train F = α (f − f₀) by plain stochastic gradient descent until every margin yF exceeds 1.

    The loss of a batch is the mean of softplus(s (1 − yF))/s, s = 3, a soft hinge; without momentum. A step along −g is
    min(L/(2|g|²), 0.02 |W|/|g|) long: Polyak's step, capped. It replaces the adaptive controller of the released code
    of arXiv 2007.11471.

    Args:
        network: the net at time 0, which also defines f₀; it is not changed. From (points, ...) to (points,).
        inputs: (p, ...) training inputs.
        labels: (p,) of +1 and −1, of the precision and device of the network.
        output_scale: α.
        generator: order of the batches.
        batch_size: examples per step.
        epoch_limit: passes over the data after which to give up; `converged` is then False.

    Raises:
        ValueError: for labels other than ±1 or not one per input, or a scale, batch size or limit that is not positive.
        RuntimeError: if an output is no longer finite.
    """
    _check(inputs, labels, output_scale, batch_size, epoch_limit)
    trained = copy.deepcopy(network)
    parameters: list[Tensor] = list(trained.parameters())
    with torch.no_grad():
        start = _outputs(network, inputs)
    steps, epoch, smallest = 0, 0, -math.inf
    while epoch < epoch_limit and smallest <= 1:
        for batch in torch.split(torch.from_numpy(generator.permutation(len(inputs))).to(inputs.device), batch_size):
            margins = labels[batch] * output_scale * (trained(inputs[batch]) - start[batch])
            loss = softplus(SHARPNESS * (1 - margins)).mean() / SHARPNESS
            if float(loss.detach()) >= NEGLIGIBLE:
                gradients = torch.autograd.grad(loss, parameters)
                _descend(parameters, list(gradients), float(loss.detach()))
                steps += 1
        epoch += 1
        with torch.no_grad():
            smallest = float((labels * output_scale * (_outputs(trained, inputs) - start)).min())
        if not math.isfinite(smallest):
            raise RuntimeError(f"training diverged in epoch {epoch}, after {steps} steps: an output is not finite")
    return MarginTraining(trained, epoch, steps, smallest, smallest > 1)


@torch.no_grad()
def _descend(parameters: list[Tensor], gradients: list[Tensor], loss: float) -> None:
    slope, size = (float(torch.stack(torch._foreach_norm(tensors)).norm()) for tensors in (gradients, parameters))
    if slope > 0:
        torch._foreach_add_(parameters, gradients, alpha=-min(POLYAK * loss / slope**2, LARGEST_MOVE * size / slope))


def _outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([network(chunk) for chunk in torch.split(inputs, 256)])


def _check(inputs: Tensor, labels: Tensor, output_scale: float, batch_size: int, epoch_limit: int) -> None:
    if labels.shape != inputs.shape[:1] or not len(labels) or not bool((labels.abs() == 1).all()):
        raise ValueError(f"expected a label +1 or -1 for each of {len(inputs)} inputs, got {tuple(labels.shape)}")
    for name, value in (("output_scale", output_scale), ("batch_size", batch_size), ("epoch_limit", epoch_limit)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
