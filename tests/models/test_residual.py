"""Residual nets: what their blocks compute, the statistics of untrained ones, and ResNet-34 in thin."""

import numpy as np
import pytest
import torch
from torch import nn

from repro.geometry.pullback import singular_values
from repro.models.residual import RESNET_34, Form, ResidualBlock, ResidualNetwork, set_statistics


def network(**changes):
    settings = {"channels": (4, 6), "blocks": (1, 2), "strides": (1, 2), "dtype": torch.float64} | changes
    return ResidualNetwork(1, 10, np.random.default_rng(0), **settings)


def images(points=9, channels=1, side=12):
    return torch.from_numpy(np.random.default_rng(1).uniform(size=(points, channels, side, side)))


def test_logits_are_the_read_out_of_averages():
    net = network().eval()
    x = images()
    features = net.features(x)
    assert features.shape == (9, 6)
    torch.testing.assert_close(features, net.body(x).mean((2, 3)))
    torch.testing.assert_close(net(x), features @ net.readout.weight.T + net.readout.bias)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2)])
def test_a_block_adds_its_input(inputs, outputs, stride):
    form = Form("relu", normalised=True, skips=True, padding="zeros")
    block = ResidualBlock(inputs, outputs, stride, form).double().eval()
    x = images(3, inputs)
    shortcut = x if (inputs, stride) == (outputs, 1) else block.shortcut(x)
    assert isinstance(block.shortcut, nn.Identity) == ((inputs, stride) == (outputs, 1))
    torch.testing.assert_close(block(x), torch.relu(shortcut + block.residual(x)))


def test_the_released_mixture_has_relu_at_the_stem_alone():
    kinds = {
        name: [type(m) for m in network(nonlinearity=name).modules() if isinstance(m, nn.GELU | nn.ReLU)]
        for name in ("gelu", "relu", "mixed")
    }
    assert set(kinds["gelu"]) == {nn.GELU} and set(kinds["relu"]) == {nn.ReLU}
    assert kinds["mixed"][0] is nn.ReLU and set(kinds["mixed"][1:]) == {nn.GELU}


def test_statistics_are_those_of_the_images_and_no_weight_moves():
    net, x = network(), images(40)
    before = {name: value.clone() for name, value in net.named_parameters()}
    set_statistics(net, x, batch_size=40)
    assert not net.training and all(torch.equal(value, before[name]) for name, value in net.named_parameters())
    first = net.body[0]
    convolved = first[0](x)
    torch.testing.assert_close(first[1].running_mean, convolved.mean((0, 2, 3)))
    torch.testing.assert_close(first[1].running_var, convolved.var((0, 2, 3)))
    assert first[1].momentum == 0.1
    net.train()
    in_training = net(x)
    net.eval()
    torch.testing.assert_close(net(x), in_training, rtol=0.02, atol=0.02)  # n in place of n − 1 in variances


def test_precisions_start_from_the_same_weights():
    double, single = network(), network(dtype=torch.float32)
    for a, b in zip(double.parameters(), single.parameters(), strict=True):
        assert torch.equal(a.float(), b)


def test_a_thin_resnet_34_has_its_depth_and_can_be_scanned():
    thin = RESNET_34 | {"channels": (2, 3, 4, 5)}
    net = ResidualNetwork(3, 10, np.random.default_rng(0), dtype=torch.float64, **thin)
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(layers) + 1 == 34  # convolutions of the main path, and the read-out
    x = images(4, 3, 32)
    set_statistics(net, x)
    assert net(x).shape == (4, 10)
    values = singular_values(net.features, x[:2])
    assert values.shape == (2, 5) and bool((values > 0).all())


def test_refuses_what_it_cannot_build():
    with pytest.raises(ValueError, match="gelu, relu, linear"):
        network(nonlinearity="tanh")
    with pytest.raises(ValueError, match="each stage"):
        network(blocks=(1,))
