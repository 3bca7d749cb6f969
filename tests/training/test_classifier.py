"""Training of one classifier: against the loop written out, repeatable, and refusing what cannot be trained."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from repro.training.classifier import train_classifier


def problem():
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.normal(size=(50, 3)))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 1).long()


def network():
    layers = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        for number, part in enumerate(layers.parameters()):
            part.copy_(torch.from_numpy(np.random.default_rng(number).normal(size=part.shape)))
    return layers


def test_is_momentum_with_a_cosine():
    x, y = problem()
    start = network()
    trained = train_classifier(start, x, y, np.random.default_rng(7), epochs=3, batch_size=20, learning_rate=0.1)
    values = [part.detach().clone() for part in start.parameters()]
    velocity = [torch.zeros_like(part) for part in values]
    order, step = np.random.default_rng(7), 0
    plain = copy.deepcopy(start)
    for _ in range(3):
        rows = order.permutation(50)
        for first in (0, 20):  # the last ten are left out
            for part, value in zip(plain.parameters(), values, strict=True):
                part.data = value
            loss = nn.functional.cross_entropy(plain(x[rows[first : first + 20]]), y[rows[first : first + 20]])
            rate = 0.1 * (1 + np.cos(np.pi * step / 6)) / 2
            for i, slope in enumerate(torch.autograd.grad(loss, list(plain.parameters()))):
                velocity[i] = 0.9 * velocity[i] + slope + 1e-4 * values[i]
                values[i] = values[i] - rate * velocity[i]
            step += 1
    for part, value in zip(trained.parameters(), values, strict=True):
        torch.testing.assert_close(part.detach(), value, rtol=1e-9, atol=1e-12)
    assert not trained.training and torch.equal(start[0].weight, network()[0].weight)


def test_learns():
    x, y = problem()
    trained = train_classifier(network(), x, y, np.random.default_rng(0), epochs=100, batch_size=25)
    assert float((trained(x).argmax(1) == y).double().mean()) > 0.9


def test_refuses_what_cannot_be_trained():
    x, y = problem()
    for change in ({"epochs": 0}, {"batch_size": 0}, {"batch_size": 51}, {"classes": y[1:]}):
        given = {"inputs": x, "classes": y, "generator": np.random.default_rng(0), "epochs": 1, "batch_size": 10}
        with pytest.raises(ValueError, match="expected an epoch"):
            train_classifier(network(), **given | change)
    with pytest.raises(RuntimeError, match="diverged"):
        train_classifier(
            network(), x * 1e200, y, np.random.default_rng(0), epochs=3, batch_size=10, learning_rate=1e200
        )
