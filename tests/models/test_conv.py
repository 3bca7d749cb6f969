import copy

import numpy as np
import pytest
import torch
from torch import nn

from repro.models.conv import SWISH_GAIN, MobileNetwork
from repro.training.sgd import train_to_margin


def rng(seed=0):
    return np.random.default_rng(seed)


def problem(points=24):
    """Images that are brighter on the left or on the right."""
    images = torch.from_numpy(rng(1).standard_normal((points, 1, 28, 28))).float()
    labels = torch.from_numpy(np.resize([1.0, -1.0], points)).float()
    images[..., :14] += labels[:, None, None, None]
    return images, labels


def train(seed=0, **options):
    images, labels = problem()
    return train_to_margin(MobileNetwork(2, rng(3)), images, labels, 2e-3, rng(seed), **options)


@pytest.mark.parametrize(("width", "parameters"), [(5, 7_676), (10, 23_251)])  # sizes of the released network
def test_sixteen_convolutions_and_their_parameters(width, parameters):
    network = MobileNetwork(width, rng())
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) == 16
    assert sum(value.numel() for value in network.parameters()) == parameters


def test_swish_keeps_the_variance():
    z = torch.from_numpy(rng().standard_normal(1_000_000))
    assert float((SWISH_GAIN * nn.functional.silu(z)).square().mean()) == pytest.approx(1, abs=0.01)  # four errors


def test_precisions_start_from_the_same_net():
    images, _ = problem()
    single, double = (MobileNetwork(2, rng(), dtype)(images.to(dtype)) for dtype in (torch.float32, torch.float64))
    assert torch.allclose(single.double(), double, atol=1e-5)  # sums of about a thousand float32 products


def test_training_reaches_every_margin_and_leaves_the_initial_net_alone():
    images, labels = problem()
    initial = MobileNetwork(2, rng(3))
    before = copy.deepcopy(initial.state_dict())
    result = train_to_margin(initial, images, labels, 2e-3, rng())
    with torch.no_grad():
        margins = labels * 2e-3 * (result.network(images) - initial(images))
    assert result.converged and float(margins.min()) == pytest.approx(result.smallest_margin, rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in initial.state_dict().items())


def test_training_is_bitwise_repeatable_and_depends_on_the_order_of_the_batches():
    first, second, other = train(0, batch_size=8), train(0, batch_size=8), train(1, batch_size=8)
    pairs = list(zip(first.network.parameters(), second.network.parameters(), strict=True))
    assert all(torch.equal(one, two) for one, two in pairs)
    assert first.smallest_margin != other.smallest_margin


def test_satisfied_batches_are_skipped():
    """Past defect of a prototype: the Polyak step of a batch without loss is 0/0, and the net turns to NaN."""
    images, labels = problem(2)
    images, labels = torch.cat([images] * 8), torch.cat([labels] * 8)
    far = train_to_margin(MobileNetwork(1, rng()), images, labels, 1e3, rng(), batch_size=2, epoch_limit=5)
    assert np.isfinite(far.smallest_margin)


def test_giving_up_is_told():
    result = train(epoch_limit=1)
    assert (result.epochs, result.steps, result.converged) == (1, 1, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.zeros(24)}, r"label \+1 or -1"),
        ({"labels": torch.ones(23)}, r"label \+1 or -1"),
        ({"output_scale": 0.0}, "output_scale must be positive, got 0.0"),
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        ({"epoch_limit": 0}, "epoch_limit must be positive, got 0"),
    ],
)
def test_bad_arguments_are_named(change, message):
    images, labels = problem()
    arguments = {"inputs": images, "labels": labels, "output_scale": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        train_to_margin(MobileNetwork(1, rng()), **arguments, generator=rng())
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        MobileNetwork(0, rng())
