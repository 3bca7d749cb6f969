"""Training of the small classifiers of the Ricci study: one-by-one, stacked, and in the compiled loop.

For each architecture of the study with 3 and with 784 inputs, batches of 32: steps of one net per CPU second with

1. plain torch, a net at a time: `nn.Sequential`, autograd and `torch.optim.RMSprop`;
2. nets stacked in batched products, autograd and torch's optimiser, for groups of 4, 12 and 36 (the best is shown);
3. `repro.training.ensemble`, which takes the nets in turn, so that there is no group to choose.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from timing import seconds, tell_shortfalls
from torch import Tensor, nn

from repro.models.ensemble import DenseEnsemble, glorot_ensemble
from repro.training.ensemble import KERAS, _stacked_epochs, training_epochs

BATCH, STEPS = 32, 30  # an epoch has so many steps
GROUPS = (4, 12, 36)
USUAL = {"plain torch": 4.0, "the best group": 1.0}
HIDDEN = {
    "narrow": lambda depth: [25] * depth,
    "wide": lambda depth: [50] * depth,
    "bottleneck": lambda depth: [50] * (depth // 2) + [25] + [50] * (depth // 2),
}


def problem(dimension: int) -> tuple[Tensor, Tensor]:
    """Points of a cube or raw pixels, and labels that some coordinates decide."""
    x = np.random.default_rng(0).uniform(0, 1, (BATCH * STEPS, dimension))
    x = x if dimension == 3 else np.round(255 * x)
    return torch.from_numpy(x).float(), torch.from_numpy(x[:, 0] > x[:, 1])


def generators(nets: int) -> list[np.random.Generator]:
    return [np.random.default_rng(net) for net in range(nets)]


def plain(ensemble: DenseEnsemble, x: Tensor, labels: Tensor) -> Callable[[], object]:
    """An epoch of a single net the usual way."""
    network, criterion, y = ensemble.network(0), nn.BCEWithLogitsLoss(), labels.float()
    descent = torch.optim.RMSprop(network.parameters(), lr=KERAS.learning_rate, alpha=KERAS.decay, eps=KERAS.epsilon)
    generator = np.random.default_rng(0)

    def epoch() -> None:
        for rows in torch.from_numpy(generator.permutation(len(x))).split(BATCH):
            descent.zero_grad()
            criterion(network(x[rows])[:, 0], y[rows]).backward()
            descent.step()

    return epoch


def stacked(ensemble: DenseEnsemble, x: Tensor, labels: Tensor) -> Callable[[], object]:
    y = labels.float().expand(len(ensemble), -1)
    epochs = _stacked_epochs(ensemble, x, y, generators(len(ensemble)), BATCH, KERAS)
    return lambda: next(epochs)


def compiled(ensemble: DenseEnsemble, x: Tensor, labels: Tensor) -> Callable[[], object]:
    epochs = training_epochs(ensemble, x, labels, generators(len(ensemble)), batch_size=BATCH)
    return lambda: next(epochs)


def net_steps_per_second(epoch: Callable[[], object], nets: int) -> float:
    return nets * STEPS / seconds(epoch)


def compare(name: str, depth: int, dimension: int) -> None:
    x, labels = problem(dimension)
    nets = glorot_ensemble([dimension, *HIDDEN[name](depth), 1], generators(max(GROUPS)))
    slow = net_steps_per_second(plain(nets, x, labels), 1)
    groups = {size: net_steps_per_second(stacked(nets[:size], x, labels), size) for size in GROUPS}
    best = max(groups, key=lambda size: groups[size])
    fast = net_steps_per_second(compiled(nets[:12], x, labels), 12)
    speeds = f"one by one {slow:6,.0f}, stacked {groups[best]:6,.0f} (by {best:2}), compiled {fast:6,.0f}"
    ratios = {"plain torch": fast / slow, "the best group": fast / groups[best]}
    print(
        f"{dimension:3} inputs, {name:10} {depth:2}: {speeds}: "
        f"{ratios['plain torch']:4.1f} and {ratios['the best group']:3.1f} times as fast",
        flush=True,
    )
    tell_shortfalls(ratios, USUAL)


def main() -> None:
    torch.set_num_threads(1)
    print("Steps of a net per CPU second, float32, batches of 32")
    for dimension, depth, name in product((3, 784), (5, 11), HIDDEN):
        compare(name, depth, dimension)


if __name__ == "__main__":
    main()
