"""Training of the small classifiers of the Ricci study: one-by-one, stacked, by JAX, and in the compiled loop.

For each architecture of the study with 3 and with 784 inputs, batches of 32: steps of one net per CPU second with

1. plain torch, a net at a time: `nn.Sequential`, autograd and `torch.optim.RMSprop`;
2. nets stacked in batched products, autograd and torch's optimiser, for groups of 4, 12 and 36 (the best is shown);
3. JAX, the strongest library: an epoch of 12 nets compiled as a whole, `vmap` over nets and `scan` over batches, on one
   thread (the extra `bench`);
4. `repro.training.ensemble`, which takes the nets in turn, so that there is no group to choose.

Beside them the physical limit: the steps whose products alone (three of the size of the forward pass) fit into a second
at the rate of a large single-precision product measured in the same run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import torch
from timing import product_rate, seconds, tell_row, tell_shortfalls
from torch import Tensor, nn

from repro.models.ensemble import DenseEnsemble, glorot_ensemble
from repro.training.ensemble import KERAS, _stacked_epochs, training_epochs

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
try:
    import jax
except ImportError:
    jax = None

BATCH, STEPS = 32, 30  # an epoch has so many steps
GROUPS = (4, 12, 36)
USUAL = {"plain torch": 4.0, "the best group": 1.0, "JAX": 1.0}
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


def by_jax(ensemble: DenseEnsemble, x: Tensor, labels: Tensor) -> Callable[[], object]:
    """An epoch of all nets, RMSprop as Keras has it, each net with an order of its own."""
    numpy = jax.numpy
    inputs, targets = numpy.asarray(x.numpy()), numpy.asarray(labels.float().numpy())
    state = tuple(tuple(numpy.asarray(part.numpy()) for part in layer) for layer in ensemble.layers())
    order = generators(len(ensemble))

    def loss(layers: tuple, rows: object) -> object:
        hidden = inputs[rows]
        for weight, bias in layers[:-1]:
            hidden = jax.nn.relu(hidden @ weight + bias)
        logit = (hidden @ layers[-1][0] + layers[-1][1])[:, 0]
        return numpy.mean(jax.nn.softplus(logit) - targets[rows] * logit)

    def step(carried: tuple, rows: object) -> tuple:
        layers, squares = carried
        gradients = jax.grad(loss)(layers, rows)
        squares = jax.tree.map(lambda s, g: KERAS.decay * s + (1 - KERAS.decay) * g * g, squares, gradients)
        layers = jax.tree.map(
            lambda w, g, s: w - KERAS.learning_rate * g / (numpy.sqrt(s) + KERAS.epsilon), layers, gradients, squares
        )
        return (layers, squares), None

    whole = jax.jit(jax.vmap(lambda carried, rows: jax.lax.scan(step, carried, rows)[0]))
    carried = (state, jax.tree.map(numpy.zeros_like, state))

    def epoch() -> None:
        nonlocal carried
        rows = np.stack([generator.permutation(len(x)).reshape(-1, BATCH) for generator in order])
        carried = jax.block_until_ready(whole(carried, rows))

    return epoch


def net_steps_per_second(epoch: Callable[[], object], nets: int) -> float:
    return nets * STEPS / seconds(epoch)


def compare(name: str, depth: int, dimension: int) -> None:
    x, labels = problem(dimension)
    nets = glorot_ensemble([dimension, *HIDDEN[name](depth), 1], generators(max(GROUPS)))
    slow = net_steps_per_second(plain(nets, x, labels), 1)
    groups = {size: net_steps_per_second(stacked(nets[:size], x, labels), size) for size in GROUPS}
    best = max(groups, key=lambda size: groups[size])
    fast = net_steps_per_second(compiled(nets[:12], x, labels), 12)
    speeds = {"plain torch": slow, f"stacked by {best:2}": groups[best]}
    ratios = {"plain torch": fast / slow, "the best group": fast / groups[best]}
    if jax is not None:
        speeds["JAX"] = net_steps_per_second(by_jax(nets[:12], x, labels), 12)
        ratios["JAX"] = fast / speeds["JAX"]
    speeds["compiled"] = fast
    widths = [dimension, *HIDDEN[name](depth), 1]
    operations = 6 * BATCH * sum(first * second for first, second in pairwise(widths))
    speeds["limit"] = product_rate() / operations
    print(
        f"{dimension:3} inputs, {name:10} {depth:2}: "
        + ", ".join(f"{each} {speed:7,.0f}" for each, speed in speeds.items())
        + f": {', '.join(f'{ratio:.1f}' for ratio in ratios.values())} times as fast",
        flush=True,
    )
    rival = "JAX" if jax is not None else f"stacked by {best:2}"
    tell_row(f"step of a {name} net, {dimension}, {depth}", 1 / fast, rival, 1 / speeds[rival], operations)
    tell_shortfalls(ratios, {each: usual for each, usual in USUAL.items() if each in ratios})


def main() -> None:
    torch.set_num_threads(1)
    if jax is None:
        print("JAX is not installed: no comparison with it (pip install 'repro[bench]')")
    print("Steps of a net per CPU second, float32, batches of 32")
    for dimension, depth, name in product((3, 784), (5, 11), HIDDEN):
        compare(name, depth, dimension)


if __name__ == "__main__":
    main()
