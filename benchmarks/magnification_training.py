"""Sixteen sigmoid nets of one shape on points of their own, trained together.

For nets 2-20-2, 2-250-2 and 2-8-8-8-2, batches of 100, Adam, float64: steps of one net per CPU second with

1. plain torch, a net at a time: `nn.Sequential`, autograd and `torch.optim.Adam`;
2. `torch.func`: vmap of grad over stacked parameters, and Adam on the stack;
3. `repro.training.sigmoid_ensemble`: batched products of the stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from timing import seconds, tell_row, tell_shortfalls
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from repro.models.sigmoid_ensemble import normal_ensemble
from repro.training.sigmoid_ensemble import training_steps

NETS, POINTS, BATCH, STEPS = 16, 400, 100, 40
USUAL = {"plain torch": 1.5, "torch.func": 1.0}


class Scaled(nn.Linear):
    """A layer over the root of its fan-in."""

    def forward(self, input: Tensor) -> Tensor:
        """The layer, scaled."""
        return super().forward(input) / math.sqrt(self.in_features)


def problem() -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (NETS, POINTS, 2)))
    return x, (x.prod(2) > 0).long()


def orders() -> list[np.random.Generator]:
    return [np.random.default_rng(net) for net in range(NETS)]


def plain(widths: list[int], x: Tensor, y: Tensor) -> Callable[[], object]:
    layers = [nn.Linear(2, widths[1]), *(Scaled(m, n) for m, n in pairwise(widths[1:]))]
    parts = [part for layer in layers for part in (layer, nn.Sigmoid())][:-1]
    network = nn.Sequential(*parts).double()
    descent, order = torch.optim.Adam(network.parameters(), lr=0.03), orders()[0]

    def steps() -> None:
        for _ in range(STEPS):
            rows = torch.from_numpy(order.permutation(POINTS)[:BATCH])
            descent.zero_grad()
            cross_entropy(network(x[0, rows]), y[0, rows]).backward()
            descent.step()

    return steps


def mapped(widths: list[int], x: Tensor, y: Tensor) -> Callable[[], object]:
    start = normal_ensemble(widths, orders())
    parts = [part.clone() for pair in zip(start.weights, start.biases, strict=True) for part in pair]
    descent, generators = torch.optim.Adam(parts, lr=0.03), orders()

    def loss(parameters: list[Tensor], inputs: Tensor, classes: Tensor) -> Tensor:
        for layer in range(len(widths) - 1):
            inputs = inputs @ parameters[2 * layer] + parameters[2 * layer + 1][0]
            inputs = inputs / math.sqrt(widths[layer]) if layer else inputs
            inputs = torch.sigmoid(inputs) if layer < len(widths) - 2 else inputs
        return cross_entropy(inputs, classes)

    gradient, net = torch.func.vmap(torch.func.grad(loss)), torch.arange(NETS)[:, None]

    def steps() -> None:
        for _ in range(STEPS):
            rows = torch.from_numpy(np.stack([generator.permutation(POINTS)[:BATCH] for generator in generators]))
            for part, slope in zip(parts, gradient(parts, x[net, rows], y[net, rows]), strict=True):
                part.grad = slope
            descent.step()

    return steps


def stacked(widths: list[int], x: Tensor, y: Tensor) -> Callable[[], object]:
    training = training_steps(normal_ensemble(widths, orders()), x, y, orders(), batch_size=BATCH)

    def steps() -> None:
        for _ in range(STEPS):
            next(training)

    return steps


def main() -> None:
    torch.set_num_threads(1)
    x, y = problem()
    print(f"Steps of a net per CPU second, {NETS} nets, float64, batches of {BATCH}")
    for widths in ([2, 20, 2], [2, 250, 2], [2, 8, 8, 8, 2]):
        one = STEPS / seconds(plain(widths, x, y))
        func, ours = (NETS * STEPS / seconds(way(widths, x, y)) for way in (mapped, stacked))
        ratios = {"plain torch": ours / one, "torch.func": ours / func}
        print(
            f"{'-'.join(map(str, widths)):11}: one by one {one:6,.0f}, torch.func {func:6,.0f}, stacked {ours:6,.0f}: "
            f"{ratios['plain torch']:4.1f} and {ratios['torch.func']:3.1f} times as fast",
            flush=True,
        )
        operations = 6 * BATCH * sum(m * n for m, n in pairwise(widths))
        tell_row(f"step of a net {'-'.join(map(str, widths))}", 1 / ours, "torch.func", 1 / func, operations)
        tell_shortfalls(ratios, USUAL)


if __name__ == "__main__":
    main()
