"""Losses against their formulas written out, views that stay images, and a training that lowers the loss."""

import copy

import numpy as np
import pytest
import torch

from repro.models.residual import ResidualNetwork
from repro.training.selfsupervised import (
    SelfSupervised,
    barlow_loss,
    simclr_loss,
    train_selfsupervised,
    view,
)


def outputs(seed=0):
    generator = np.random.default_rng(seed)
    return [torch.from_numpy(generator.normal(size=(12, 5))) for _ in range(2)]


def images(points=48, channels=1):
    """Bars at random heights, which two views of one image share."""
    pixels = 0.1 * torch.ones(points, channels, 8, 8, dtype=torch.float64)
    for number, row in enumerate(np.random.default_rng(3).integers(0, 8, points)):
        pixels[number, :, row] = 0.9
    return pixels


def network():
    return ResidualNetwork(1, 10, np.random.default_rng(0), channels=(4, 6), blocks=(0, 1), strides=(1, 2),
                           dtype=torch.float64)  # fmt: skip


def test_barlow_is_its_double_sum():
    first, second = outputs()
    correlation = np.corrcoef(first.T.numpy(), second.T.numpy())[:5, 5:]
    expected = sum(
        (1 - correlation[i, i]) ** 2 if i == j else 0.005 * correlation[i, j] ** 2 for i in range(5) for j in range(5)
    )
    assert float(barlow_loss(first, second, 0.005)) == pytest.approx(expected, rel=1e-4)  # ε = 1e-5 beside variances


def test_simclr_is_the_cross_entropy_of_the_partner():
    first, second = outputs()
    both = np.concatenate([first, second])
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    total = 0.0
    for i in range(24):
        similar = [both[i] @ both[j] / 0.3 for j in range(24) if j != i]
        total += np.log(np.exp(similar).sum()) - both[i] @ both[(i + 12) % 24] / 0.3
    assert float(simclr_loss(first, second, 0.3)) == pytest.approx(total / 24, rel=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_images_and_differ(channels):
    given = images(channels=channels)
    first, second = (view(given, np.random.default_rng(seed)) for seed in (0, 1))
    assert first.shape == given.shape and float(first.min()) >= 0 and float(first.max()) <= 1
    assert not torch.equal(first, second)
    assert torch.equal(first, view(given, np.random.default_rng(0)))


@pytest.mark.parametrize("method", ["barlow", "simclr"])
def test_training_lowers_the_loss_repeatably_and_keeps_the_start(method):
    settings = SelfSupervised(method, epochs=12, batch_size=16, learning_rate=1e-2, projector_width=8, outputs=6)
    start = network()
    before = copy.deepcopy(start.state_dict())
    runs = [train_selfsupervised(start, images(), np.random.default_rng(5), settings) for _ in range(2)]
    assert runs[0].losses == runs[1].losses and len(runs[0].losses) == 12
    assert runs[0].losses[-1] < 0.8 * runs[0].losses[0]
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    assert torch.equal(runs[0].network.readout.weight, start.readout.weight) and not runs[0].network.training


def test_refuses_what_cannot_be_trained():
    with pytest.raises(ValueError, match="barlow or simclr"):
        SelfSupervised("moco")
    for wrong in ({"epochs": 0}, {"learning_rate": 0.0}, {"batch_size": 1}, {"weight_decay": -1.0}):
        with pytest.raises(ValueError, match="positive"):
            SelfSupervised(**wrong)
    with pytest.raises(ValueError, match="one batch"):
        train_selfsupervised(network(), images(8), np.random.default_rng(0), SelfSupervised(batch_size=16))
