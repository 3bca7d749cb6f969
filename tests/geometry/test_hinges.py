import numpy as np
import pytest
import torch

from repro.geometry.hinges import hinge_points, neuron_shares
from repro.models.dense import initialise


def test_hinge_points_lie_on_the_hinge_along_the_weight():
    net = initialise(7, 4, np.random.default_rng(0))
    points = hinge_points(net.weight, net.bias)
    on_hinge = (points * net.weight).sum(1) / 2 + net.bias
    assert torch.allclose(on_hinge, torch.zeros(7, dtype=torch.float64), atol=1e-12)  # rounding
    cosine = torch.nn.functional.cosine_similarity(points, net.weight)
    assert torch.allclose(cosine.abs(), torch.ones(7, dtype=torch.float64))


def test_neuron_shares_do_not_see_how_a_neuron_is_scaled_between_its_layers():
    net = initialise(7, 4, np.random.default_rng(0))
    scale = torch.linspace(0.5, 2, 7, dtype=torch.float64)
    shares = neuron_shares(net.weight, net.bias, net.readout)
    scaled = neuron_shares(net.weight * scale[:, None], net.bias * scale, net.readout / scale)
    assert torch.allclose(scaled, shares) and float(shares.sum()) == pytest.approx(1)
