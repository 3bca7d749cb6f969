"""The kernel of a network by layers against the product of its whole Jacobians."""

import numpy as np
import pytest
import torch
from torch import nn

from repro.geometry import layer_factors
from repro.geometry.jacobian import jacobian
from repro.geometry.layer_factors import factored_layers
from repro.geometry.ntk import empirical_ntk


def points(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


class Built(nn.Module):
    """A network of named layers with a forward pass of its own."""

    def __init__(self, run, **layers):
        super().__init__()
        self.layers, self.run = nn.ModuleDict(layers), run

    def forward(self, x):
        return self.run(self.layers, x)


def dense(bias=True):
    layers = [nn.Linear(20, 90, bias), nn.ReLU(inplace=True), nn.Linear(90, 100, bias), nn.GELU(), nn.Linear(100, 1)]
    return nn.Sequential(*layers)


def convolutional():
    layers = [nn.Conv2d(3, 40, 3, padding=1), nn.Conv2d(40, 40, 3, groups=40), nn.SiLU(), nn.Conv2d(40, 64, 3, 2, 1)]
    return nn.Sequential(
        *layers, nn.ReLU(), nn.Conv2d(64, 50, 2, bias=False, dilation=1), nn.Flatten(), nn.Linear(50, 1)
    )


def residual(norm, **options):
    def run(layers, x):
        hidden = layers["norm"](layers["first"](x))
        return layers["head"](hidden + layers["second"](torch.relu(hidden)))[:, 0]

    layers = {"first": nn.Linear(20, 80), "norm": norm, "second": nn.Linear(80, 80), "head": nn.Linear(80, 1)}
    return Built(run, **layers)


def batch_norm():
    norm = nn.BatchNorm1d(80)
    norm.running_mean.normal_()
    return norm


def frozen(name):
    network = dense()
    network.get_parameter(name).requires_grad_(False)
    return network


def reused():
    return Built(
        lambda layers, x: layers["head"](layers["again"](torch.relu(layers["again"](layers["first"](x))))),
        **{"first": nn.Linear(20, 90), "again": nn.Linear(90, 90), "head": nn.Linear(90, 1)},
    )


def tied():
    """A weight is used once more, outside its layer, and another layer's is shared with a third."""

    def run(layers, x):
        hidden = torch.relu(layers["first"](x)) + x @ layers["first"].weight.T
        return layers["head"](layers["third"](torch.tanh(layers["second"](hidden))))

    layers = {"first": nn.Linear(20, 90), "second": nn.Linear(90, 90), "third": nn.Linear(90, 90)}
    layers["third"].weight = layers["second"].weight
    return Built(run, **layers, head=nn.Linear(90, 1))


def positions(first):
    """Three positions, of as many examples where the factors are checked, along the first axis or the second."""

    def run(layers, x):
        x = x.view(-1, 3, 20)
        hidden = torch.relu(layers["body"](x.transpose(0, 1) if first else x))
        return layers["head"](hidden).mean(0 if first else 1)

    return Built(run, body=nn.Linear(20, 3000, bias=False), head=nn.Linear(3000, 1))


CASES = {
    "dense": (dense, (20,), {"0", "2"}),
    "dense without bias": (lambda: dense(False), (20,), {"0", "2"}),
    "convolutions": (convolutional, (3, 5, 5), {"3", "5"}),
    "layer normalisation": (lambda: residual(nn.LayerNorm(80)), (20,), {"layers.first", "layers.second"}),
    "batch normalisation": (lambda: residual(batch_norm()).eval(), (20,), {"layers.first", "layers.second"}),
    "frozen weight": (lambda: frozen("2.weight"), (20,), {"0"}),
    "frozen bias": (lambda: frozen("0.bias"), (20,), {"0", "2"}),
    "a layer called twice": (reused, (20,), {"layers.first"}),
    "weights used twice": (tied, (20,), set()),
    "positions": (lambda: positions(False), (60,), {"layers.body"}),
    "positions first": (lambda: positions(True), (60,), set()),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_kernel_is_the_product_of_jacobians(name, dtype, tolerance):
    build, shape, factored = CASES[name]
    torch.manual_seed(0)
    network = build().to(dtype)
    x, y = points(9, *shape).to(dtype), points(4, *shape, seed=1).to(dtype)
    modes = [module.training for module in network.modules()], [p.requires_grad for p in network.parameters()]
    assert set(factored_layers(network, x)) == factored
    left, right = jacobian(network, x), jacobian(network, y)
    scale = tolerance * float((left**2).sum(1).max())
    for batch_size in (1, 4, 64):
        kernel = empirical_ntk(network, x, batch_size=batch_size)
        assert torch.allclose(kernel, left @ left.T, rtol=0, atol=scale) and torch.equal(kernel, kernel.T)
        assert not kernel.requires_grad
        assert torch.allclose(empirical_ntk(network, x, y, batch_size), left @ right.T, rtol=0, atol=scale)
    assert torch.allclose(empirical_ntk(network, x[:1]), left[:1] @ left[:1].T, rtol=0, atol=scale)
    assert modes == ([module.training for module in network.modules()], [p.requires_grad for p in network.parameters()])
    assert all(value.grad is None for value in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_tiles_and_blocks_change_nothing(monkeypatch):
    torch.manual_seed(0)
    for name in ("dense", "convolutions"):
        build, shape, _ = CASES[name]
        network, x = build().double(), points(11, *shape)
        whole = empirical_ntk(network, x)
        monkeypatch.setattr("repro.geometry.ntk.TILE", 4)
        tiles = empirical_ntk(network, x)
        monkeypatch.setattr("repro.geometry.ntk.LEFT_BYTES", 1)
        monkeypatch.setattr("repro.geometry.ntk.RIGHT_BYTES", 1)
        for found in (tiles, empirical_ntk(network, x)):
            assert torch.allclose(found, whole, rtol=1e-10) and torch.equal(found, found.T)
        monkeypatch.undo()


def test_hooks_are_taken_off_when_the_network_fails():
    def fail(layers, x):
        raise RuntimeError(f"{layers['body'](x).sum()}")

    network = Built(fail, body=nn.Linear(20, 90))
    with pytest.raises(RuntimeError):
        empirical_ntk(network, torch.ones(3, 20))
    assert not network.layers["body"]._forward_hooks


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_may_be_off_around(mode):
    torch.manual_seed(0)
    network, x = dense().double(), points(5, 20)
    expected = empirical_ntk(network, x)
    with mode():
        assert torch.allclose(empirical_ntk(network, x), expected, rtol=1e-10)


def test_no_trainable_parameter_is_named():
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        empirical_ntk(dense().requires_grad_(False), torch.ones(3, 20))


def test_wide_layers_are_not_written_out(monkeypatch):
    rows = []
    whole = layer_factors.parameter_rows
    monkeypatch.setattr("repro.geometry.ntk.parameter_rows", lambda *given: rows.append(whole(*given)) or rows[-1])
    empirical_ntk(dense(), torch.ones(5, 20))
    assert sum(each.shape[1] for each in rows) == 101  # the head
