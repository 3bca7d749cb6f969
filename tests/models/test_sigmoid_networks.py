"""Stacked sigmoid nets against the formula written out net by net."""

import math

import numpy as np
import pytest
import torch

from repro.models.sigmoid_ensemble import SigmoidEnsemble, normal_ensemble


def ensemble(widths=(2, 7, 5, 3), nets=4, dtype=torch.float64):
    return normal_ensemble(widths, [np.random.default_rng([1, net]) for net in range(nets)], dtype)


def written_out(nets, net, x):
    """Each layer, and the logits, of one net."""
    layers = []
    for number, (weight, bias) in enumerate(zip(nets.weights, nets.biases, strict=True)):
        x = (x @ weight[net] + bias[net, 0]) / (math.sqrt(weight.shape[1]) if number else 1)
        last = number == len(nets.weights) - 1
        x = x if last else torch.sigmoid(x)
        layers.append(x)
    return layers


def test_layers_and_logits_are_those_of_the_formula():
    nets, x = ensemble(), torch.randn(11, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hidden, logits = nets.hidden(x), nets(x)
    for net in range(len(nets)):
        *layers, output = written_out(nets, net, x)
        torch.testing.assert_close(logits[net], output)
        for number, layer in enumerate(layers):
            torch.testing.assert_close(hidden[number][net], layer)
            torch.testing.assert_close(nets.features(net, number)(x), layer)


def test_each_net_may_have_points_of_its_own():
    nets = ensemble()
    own = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 6, 2)))
    together = nets(own)
    for net in range(4):
        torch.testing.assert_close(together[net], nets(own[net])[net])


def test_a_net_does_not_depend_on_the_others_nor_its_start_on_the_precision():
    many, few = ensemble(nets=4), ensemble(nets=2)
    for a, b in zip((*many.weights, *many.biases), (*few.weights, *few.biases), strict=True):
        assert torch.equal(a[:2], b)
    single = ensemble(dtype=torch.float32)
    assert torch.equal(single.weights[0], many.weights[0].float())
    assert torch.equal(many.to(torch.float32).biases[1], single.biases[1])
    assert len(many[1:3]) == 2 and torch.equal(many[1:3].weights[1], many.weights[1][1:3])


def test_parameters_are_standard_normal():
    nets = ensemble((50, 100, 50), nets=4)
    drawn = torch.cat([part.flatten() for part in (*nets.weights, *nets.biases)])
    assert abs(drawn.mean()) < 4 / math.sqrt(len(drawn)) and abs(drawn.var() - 1) < 4 * math.sqrt(2 / len(drawn))


@pytest.mark.parametrize("widths", [(2, 3), (2, 0, 3), ()])
def test_refuses_widths(widths):
    with pytest.raises(ValueError, match="expected widths"):
        normal_ensemble(widths, [np.random.default_rng(0)])
    with pytest.raises(ValueError, match="generators"):
        normal_ensemble([2, 3, 2], [])


def test_refuses_layers_that_do_not_follow_one_another():
    a, b, c = torch.zeros(1, 2, 3), torch.zeros(1, 4, 2), torch.zeros(1, 1, 3)
    with pytest.raises(ValueError, match="expected weights"):
        SigmoidEnsemble((a, b), (c, torch.zeros(1, 1, 2)))
    with pytest.raises(ValueError, match="expected weights"):
        SigmoidEnsemble((a,), (c,))
