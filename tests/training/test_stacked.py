"""Classifiers trained one by one and all at once: the same networks, and what the recipe says."""

from functools import partial

import numpy as np
import pytest
import torch

from repro.models.architectures import DenseNetwork
from repro.models.residual import ResidualNetwork
from repro.training.stacked import Recipe, accuracy, outputs, train_classifiers


def task(nets=3, points=96):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((nets, points, 1, 8, 8))).double()
    return x, (x.flatten(2).sum(2) > 0).long()


def dense(seed):
    return DenseNetwork([64, 20, 2], np.random.default_rng(seed), dtype=torch.float64)


def residual(seed):
    return ResidualNetwork(
        1, 2, np.random.default_rng(seed), channels=(8,), blocks=(1,), strides=(2,), start="torch", dtype=torch.float64
    )


def _note(looks, step, networks):
    looks.append((step, len(networks)))


def generators(nets=3):
    return [np.random.default_rng(seed) for seed in range(nets)]


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("draw", [dense, residual])
def test_together_is_one_by_one(draw, optimiser):
    x, y = task()
    networks = [draw(seed) for seed in range(3)]
    before = [[value.clone() for value in network.state_dict().values()] for network in networks]
    recipe = Recipe(3, 0.05 if optimiser == "sgd" else 0.01, 32, weight_decay=1e-3, optimiser=optimiser)
    seen = {True: [], False: []}
    found = {}
    for together, looks in seen.items():
        watch = partial(_note, looks)
        found[together] = train_classifiers(networks, x, y, generators(), recipe, together=together, watch=watch)
    for one, other in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(outputs(one, x[0]), outputs(other, x[0]), rtol=1e-8, atol=1e-10)
        assert not one.training and not other.training
    assert seen[True] == [(0, 3), (3, 3), (6, 3), (9, 3)]
    assert seen[False] == [(0, 1), (3, 1), (6, 1), (9, 1)] * 3
    assert all(
        torch.equal(old, new)
        for olds, network in zip(before, networks, strict=True)
        for old, new in zip(olds, network.state_dict().values(), strict=True)
    )


def test_a_network_learns_and_does_not_depend_on_those_beside_it():
    x, y = task(points=256)
    networks = [dense(seed) for seed in range(3)]
    found = train_classifiers(networks, x, y, generators(), Recipe(40), together=True)
    alone = train_classifiers(networks[1:2], x[1:2], y[1:2], generators()[1:2], Recipe(40), together=True)
    assert accuracy(found[1], x[1], y[1]) > 0.95
    torch.testing.assert_close(outputs(found[1], x[0]), outputs(alone[0], x[0]), rtol=1e-8, atol=1e-10)


def test_the_first_step_is_that_of_torch():
    x, y = task(nets=1, points=32)
    network, plain = dense(0), dense(0)
    (found,) = train_classifiers([network], x, y, generators(1), Recipe(1, 0.1, 32, clip=0.01))
    loss = torch.nn.functional.cross_entropy(plain(x[0]), y[0])
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.01)
    torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9).step()
    torch.testing.assert_close(outputs(found, x[0]), outputs(plain, x[0]))


def test_steps():
    assert Recipe(3, batch_size=32).steps(100) == 9
    assert Recipe(3, batch_size=128).steps(100) == 3
    assert Recipe(3, batch_size=32, least_steps=20).steps(100) == 20


def test_refusals():
    x, y = task()
    with pytest.raises(ValueError, match="a generator for each"):
        train_classifiers([dense(0)], x, y, generators(), Recipe(1))
    with pytest.raises(RuntimeError, match="diverged"):
        train_classifiers([dense(0)], x[:1] * float("inf"), y[:1], generators(1), Recipe(1))
