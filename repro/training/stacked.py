"""Training of many classifiers of one architecture by the recipe of arXiv 2410.12025, one by one or all at once.

On a GPU small networks cost as much as many of them stacked; on a CPU a stack of convolutional networks is no faster
than one after another, and one of dense networks is (benchmarks/gih_training.py).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy

Watch = Callable[[int, list[nn.Module]], None]


class Recipe(NamedTuple):
    """How a network learns: SGD with momentum or Adam on the mean cross-entropy, gradients clipped in norm."""

    epochs: int
    learning_rate: float = 0.1
    batch_size: int = 128
    weight_decay: float = 0.0
    clip: float = 0.5  # largest norm of a network's gradient
    optimiser: Literal["sgd", "adam"] = "sgd"  # SGD has momentum 0.9 and a rate that falls in line to 0; Adam's stays
    least_steps: int = 0  # more epochs where few points would give fewer steps

    def steps(self, points: int) -> int:
        """Steps on that many points, whole batches only."""
        return max(self.epochs * max(1, points // self.batch_size), self.least_steps)


def train_classifiers(
    networks: Sequence[nn.Module],
    inputs: Sequence[Tensor] | Tensor,
    classes: Sequence[Tensor] | Tensor,
    generators: Sequence[np.random.Generator],
    recipe: Recipe,
    *,
    together: bool = False,
    watch: Watch | None = None,
) -> list[nn.Module]:
    """Train copies of networks, each on its own points; they are returned in evaluation mode.

    Args:
        networks: of one architecture, from (points, ...) to logits (points, classes); not changed.
        inputs: (networks, points, ...).
        classes: (networks, points) whole numbers from 0.
        generators: order of each network's batches.
        recipe: see `Recipe`.
        together: whether one stack takes every step at once; results agree to rounding.
        watch: called with the number of the step and the networks before the first step, after each pass over the
            points and after the last step.

    Raises:
        ValueError: for unequal numbers of networks, inputs, classes and generators, or none.
        RuntimeError: if a loss is no longer finite.
    """
    counts = {len(networks), len(inputs), len(classes), len(generators)}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(f"expected inputs, classes and a generator for each of some networks, got {sorted(counts)}")
    if together:
        return _together(networks, inputs, classes, generators, recipe, watch)
    found = []
    for network, x, y, generator in zip(networks, inputs, classes, generators, strict=True):
        found.append(_alone(network, x, y, generator, recipe, watch))
    return found


@torch.no_grad()
def outputs(network: nn.Module, inputs: Tensor, batch_size: int = 1000) -> Tensor:
    """Logits (points, classes), some points at a time."""
    return torch.cat([network(part) for part in torch.split(inputs, batch_size)])


@torch.no_grad()
def accuracy(network: nn.Module, inputs: Tensor, classes: Tensor) -> float:
    """Share of points whose largest logit is that of their class."""
    return float((outputs(network, inputs).argmax(1) == classes).double().mean())


def _alone(
    network: nn.Module, x: Tensor, y: Tensor, generator: np.random.Generator, recipe: Recipe, watch: Watch | None
) -> nn.Module:
    trained = copy.deepcopy(network).train()
    parameters = list(trained.parameters())
    update = _Update(parameters, recipe, recipe.steps(len(x)))
    batches = _batches(len(x), generator, recipe)
    for step in range(recipe.steps(len(x))):
        if watch and step % max(1, len(x) // recipe.batch_size) == 0:
            watch(step, [trained.eval()])
            trained.train()
        rows = next(batches)
        loss = cross_entropy(trained(x[rows]), y[rows])
        gradients = list(torch.autograd.grad(loss, parameters))
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_mul_(gradients, (recipe.clip / (norm + 1e-6)).clamp(max=1.0))
        update(gradients)
    _check_finite(loss)
    if watch:
        watch(recipe.steps(len(x)), [trained.eval()])
    return trained.eval()


def _together(
    networks: Sequence[nn.Module],
    inputs: Sequence[Tensor] | Tensor,
    classes: Sequence[Tensor] | Tensor,
    generators: Sequence[np.random.Generator],
    recipe: Recipe,
    watch: Watch | None,
) -> list[nn.Module]:
    x, y = (each if isinstance(each, Tensor) else torch.stack(list(each)) for each in (inputs, classes))
    base = copy.deepcopy(networks[0]).train()
    parameters, buffers = stack_module_state([copy.deepcopy(network) for network in networks])
    values = list(parameters.values())
    update = _Update(values, recipe, recipe.steps(x.shape[1]))
    orders = [_batches(x.shape[1], generator, recipe) for generator in generators]
    numbers = torch.arange(len(networks), device=x.device)[:, None]

    def losses(own: dict[str, Tensor], state: dict[str, Tensor], points: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(functional_call(base, (own, state), (points,)), labels)

    for step in range(recipe.steps(x.shape[1])):
        if watch and step % max(1, x.shape[1] // recipe.batch_size) == 0:
            watch(step, _unstacked(networks, parameters, buffers))
        rows = torch.stack([next(order) for order in orders]).to(x.device)
        loss = vmap(losses)(parameters, buffers, x[numbers, rows], y[numbers, rows])
        gradients = list(torch.autograd.grad(loss.sum(), values))
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factors = (recipe.clip / (norms + 1e-6)).clamp(max=1.0)
        update([gradient * factors.view(-1, *[1] * (gradient.ndim - 1)) for gradient in gradients])
    _check_finite(loss)
    found = _unstacked(networks, parameters, buffers)
    if watch:
        watch(recipe.steps(x.shape[1]), found)
    return found


class _Update:
    """SGD with momentum 0.9 and a rate that falls in line to 0, or Adam with a constant one; in place."""

    def __init__(self, parameters: Sequence[Tensor], recipe: Recipe, steps: int) -> None:
        self.recipe, self.steps, self.parameters = recipe, steps, list(parameters)
        rate, decay = recipe.learning_rate, recipe.weight_decay
        self.descent: torch.optim.Optimizer = (
            torch.optim.Adam(self.parameters, lr=rate, weight_decay=decay)
            if recipe.optimiser == "adam"
            else torch.optim.SGD(self.parameters, lr=rate, momentum=0.9, weight_decay=decay)
        )
        self.step = 0

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.recipe.optimiser == "sgd":
            self.descent.param_groups[0]["lr"] = self.recipe.learning_rate * (1 - self.step / self.steps)
        self.descent.step()
        self.step += 1


def _batches(points: int, generator: np.random.Generator, recipe: Recipe) -> Iterator[Tensor]:
    """Rows of batch after batch, each pass over the points in a new order; what is left over is dropped."""
    size = min(points, recipe.batch_size)
    while True:
        order = torch.from_numpy(generator.permutation(points))
        yield from torch.split(order[: points // size * size], size)


def _unstacked(
    networks: Sequence[nn.Module], parameters: dict[str, Tensor], buffers: dict[str, Tensor]
) -> list[nn.Module]:
    found = []
    for index, network in enumerate(networks):
        single = copy.deepcopy(network)
        own = {name: value[index].detach().clone() for name, value in (parameters | buffers).items()}
        single.load_state_dict(own)
        found.append(single.eval())
    return found


def _check_finite(loss: Tensor) -> None:
    if not math.isfinite(float(loss.detach().sum())):
        raise RuntimeError("training diverged: the loss is not finite")
