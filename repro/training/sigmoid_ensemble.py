"""Mini-batch training of many small sigmoid classifiers at once, each on points of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from repro.models.sigmoid_ensemble import SigmoidEnsemble

Loss = Literal["cross-entropy", "squared error"]
CHECK_EVERY = 100  # steps between looks at whether the parameters are finite


@dataclass(frozen=True)
class Descent:
    """How a step follows from a gradient: torch's Adam, or SGD with momentum 0.9; elementwise, so each net on its own.

    Raises:
        ValueError: for another optimiser, a learning rate that is not positive, or a negative weight decay.
    """

    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 0.03
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.optimiser not in ("adam", "sgd") or not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise ValueError(f"expected adam or sgd, a positive learning rate and a weight decay >= 0, got {self}")

    def start(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Torch's optimiser of these parameters."""
        if self.optimiser == "adam":
            return torch.optim.Adam(parameters, lr=self.learning_rate, weight_decay=self.weight_decay, foreach=True)
        return torch.optim.SGD(
            parameters, lr=self.learning_rate, momentum=0.9, weight_decay=self.weight_decay, foreach=True
        )


def training_steps(
    ensemble: SigmoidEnsemble,
    inputs: Tensor,
    classes: Tensor,
    generators: Sequence[np.random.Generator],
    *,
    batch_size: int,
    loss: Loss = "cross-entropy",
    output_scale: float = 1.0,
    descent: Descent | None = None,
) -> Iterator[SigmoidEnsemble]:
    """Train every net on its own points; yields the nets after each step, as views of what training goes on to change.

    There is no last step. An epoch takes the points in a new random order, of each net its own; what is left over by
    whole batches is dropped, as in the released code of arXiv 2301.11375.

    Args:
        ensemble: the nets to start from, which are not changed.
        inputs: (nets, points, d).
        classes: (nets, points), whole numbers from 0.
        generators: order of the batches, one for each net; not used where the batch holds all points.
        batch_size: points per step, at most all.
        loss: mean cross-entropy of the logits, or mean squared error against one-hot vectors.
        output_scale: α of the logits α (f − f₀), f₀ at the start; at 1 the logits are f itself.
        descent: Adam with a learning rate of 0.03 if None.

    Raises:
        ValueError: for shapes that do not fit, not one generator per net, or a batch size or scale out of range.
        RuntimeError: while iterating, if a parameter is no longer finite.
    """
    _check(ensemble, inputs, classes, generators, batch_size, output_scale)
    return _steps(ensemble, inputs, classes, generators, batch_size, loss, output_scale, descent or Descent())


def _check(
    ensemble: SigmoidEnsemble,
    inputs: Tensor,
    classes: Tensor,
    generators: Sequence[np.random.Generator],
    batch_size: int,
    output_scale: float,
) -> None:
    d = ensemble.weights[0].shape[1]
    if (
        inputs.ndim != 3
        or inputs.shape[0] != len(ensemble)
        or inputs.shape[2] != d
        or classes.shape != inputs.shape[:2]
    ):
        raise ValueError(
            f"expected inputs ({len(ensemble)}, points, {d}) with a class each, got {tuple(inputs.shape)} and "
            f"{tuple(classes.shape)}"
        )
    if len(generators) != len(ensemble):
        raise ValueError(f"expected a generator for each of {len(ensemble)} nets, got {len(generators)}")
    if not 1 <= batch_size <= inputs.shape[1]:
        raise ValueError(f"batch_size must be from 1 to {inputs.shape[1]} points, got {batch_size}")
    if not output_scale > 0:
        raise ValueError(f"output_scale must be positive, got {output_scale}")


def scaled_logits(ensemble: SigmoidEnsemble, start: SigmoidEnsemble, inputs: Tensor, output_scale: float) -> Tensor:
    """Logits α (f − f₀), or f where α is 1: (nets, points, outputs)."""
    return ensemble(inputs) if output_scale == 1 else output_scale * (ensemble(inputs) - start(inputs))


def net_losses(logits: Tensor, classes: Tensor, loss: Loss) -> Tensor:
    """Mean loss of each net: logits (nets, points, outputs) and classes (nets, points) → (nets,)."""
    if loss == "cross-entropy":
        return cross_entropy(logits.transpose(1, 2), classes, reduction="none").mean(1)
    return mse_loss(logits, one_hot(classes, logits.shape[2]).to(logits), reduction="none").mean((1, 2))


def _steps(
    ensemble: SigmoidEnsemble,
    inputs: Tensor,
    classes: Tensor,
    generators: Sequence[np.random.Generator],
    batch_size: int,
    loss: Loss,
    output_scale: float,
    descent: Descent,
) -> Iterator[SigmoidEnsemble]:
    parts = [
        [part.detach().clone().requires_grad_() for part in whole] for whole in (ensemble.weights, ensemble.biases)
    ]
    trained = SigmoidEnsemble(*(tuple(part) for part in parts))
    detached = SigmoidEnsemble(*(tuple(p.detach() for p in part) for part in parts))  # the same memory
    parameters = [*parts[0], *parts[1]]
    optimiser = descent.start(parameters)
    batches = _batches(inputs.shape[1], batch_size, generators)
    net = torch.arange(len(ensemble), device=inputs.device)[:, None]
    for step, rows in enumerate(batches, 1):
        own = rows.to(inputs.device)
        x, y = (inputs, classes) if batch_size == inputs.shape[1] else (inputs[net, own], classes[net, own])
        optimiser.zero_grad()
        torch.autograd.backward(net_losses(scaled_logits(trained, ensemble, x, output_scale), y, loss).sum())
        optimiser.step()
        if step % CHECK_EVERY == 0 and not all(bool(torch.isfinite(part).all()) for part in parameters):
            raise RuntimeError(f"training diverged within {step} steps: a parameter is not finite")
        yield detached


def _batches(points: int, batch_size: int, generators: Sequence[np.random.Generator]) -> Iterator[Tensor]:
    """Rows of each step, (nets, batch_size), epoch after epoch; for ever."""
    while True:
        order = torch.from_numpy(np.stack([generator.permutation(points) for generator in generators]))
        yield from torch.split(order[:, : points - points % batch_size], batch_size, dim=1)
