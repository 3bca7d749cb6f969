import numpy as np
import pytest
import torch
from torch import nn

from repro.geometry.jacobian import jacobian
from repro.geometry.ntk import empirical_ntk, shallow_ntk
from repro.models.conv import MobileNetwork
from repro.models.dense import initialise


class Shallow(nn.Module):
    """The network of `ShallowNetwork` as a module with parameters of its own, outside any layer."""

    def __init__(self, net):
        super().__init__()
        self.weight, self.bias, self.readout = (nn.Parameter(t) for t in (net.weight, net.bias, net.readout))

    def forward(self, x):
        hidden = torch.relu(x @ self.weight.T / x.shape[1] ** 0.5 + self.bias)
        return hidden @ self.readout * 2**0.5 / len(self.readout)


def points(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def convolutional(**options):
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 5, stride=2, padding=2), nn.SiLU(), nn.Conv2d(4, 6, 3, groups=2, dilation=2, bias=False)]
    return nn.Sequential(*layers, nn.SiLU(), nn.Flatten(), nn.Linear(6 * 3 * 3, 1, **options)).double()


def autograd_rows(network, x):
    rows = []
    for example in x:
        gradients = torch.autograd.grad(network(example[None]).sum(), list(network.parameters()))
        rows.append(torch.cat([gradient.ravel() for gradient in gradients]))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (convolutional(), points(5, 2, 14, 14)),
        (convolutional(bias=False), points(5, 2, 14, 14)),
        (MobileNetwork(2, np.random.default_rng(1), torch.float64), points(3, 1, 28, 28)),
        (Shallow(initialise(7, 3, np.random.default_rng(2))), points(6, 3)),
        (nn.Linear(3, 1).double(), points(4, 3)),
    ],
    ids=["convolutions", "no bias", "mobile", "own parameters", "one layer"],
)
def test_rows_are_those_of_autograd_one_example_at_a_time(network, x):
    expected = autograd_rows(network, x)
    found = jacobian(network, x, batch_size=2)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12 * float(expected.abs().max()))  # order of sums


def test_empirical_ntk_of_the_shallow_net_is_its_closed_form():
    net, x, y = initialise(20, 3, np.random.default_rng(1)), points(6, 3), points(5, 3, seed=2)
    expected = shallow_ntk(net.weight, net.bias, net.readout, x, y)
    assert torch.allclose(empirical_ntk(Shallow(net), x, y), expected, rtol=1e-12, atol=1e-15)  # rounding


def test_batch_and_block_size_change_nothing(monkeypatch):
    network, x = MobileNetwork(1, np.random.default_rng(0), torch.float64), points(7, 1, 28, 28)
    whole = empirical_ntk(network, x)
    for batch_size in (1, 3):
        assert torch.allclose(empirical_ntk(network, x, batch_size=batch_size), whole, rtol=1e-12)
    parameters = sum(value.numel() for value in network.parameters())
    monkeypatch.setattr("repro.geometry.ntk.LEFT_BYTES", 3 * 8 * parameters)  # three rows a block
    monkeypatch.setattr("repro.geometry.ntk.RIGHT_BYTES", 2 * 8 * parameters)
    blocks = empirical_ntk(network, x)
    assert torch.allclose(blocks, whole, rtol=1e-12) and torch.equal(blocks, blocks.T)
    assert torch.allclose(empirical_ntk(network, x, x[:5]), whole[:, :5], rtol=1e-12)


def test_frozen_parameters_are_left_out_and_the_network_is_not_changed():
    network, x = convolutional(), points(3, 2, 14, 14)
    network[0].weight.requires_grad_(False)
    expected = sum(value.numel() for value in network.parameters() if value.requires_grad)
    assert jacobian(network, x).shape == (3, expected)
    assert all(value.grad is None for value in network.parameters())


@pytest.mark.parametrize(
    ("network", "x", "message"),
    [
        (nn.Linear(3, 2), torch.ones(4, 3), "one output"),
        (nn.Linear(3, 1), torch.ones(4, 3, dtype=torch.float64), "float64"),
        (nn.Linear(3, 1), torch.ones(0, 3), "none of them 0"),
        (nn.Linear(3, 1), torch.full((4, 3), torch.nan), "non-finite"),
        (nn.Flatten(), torch.ones(4, 3), "no parameter"),
        (nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)), torch.ones(4, 3), r"'0' .* call network.eval\(\)"),
    ],
)
def test_bad_arguments_are_named(network, x, message):
    with pytest.raises(ValueError, match=message):
        jacobian(network, x)


class Body(nn.Module):
    """A network of one output around a module of any input and output."""

    def __init__(self, body, take=lambda output: output):
        super().__init__()
        self.body, self.take, self.head = body, take, nn.LazyLinear(1)

    def forward(self, x):
        return self.head(self.take(self.body(x)).flatten(1))


IMAGES, ROWS, SEQUENCES = points(5, 3, 6, 6).float(), points(5, 3).float(), points(5, 4, 3).float()
ATTENTION = nn.TransformerEncoderLayer(3, 1, 8, batch_first=True)
RECURRENT = [kind(3, 3, num_layers=2, dropout=0.5, batch_first=True) for kind in (nn.RNN, nn.LSTM, nn.GRU)]


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch has no batching rule of some kernels
@pytest.mark.parametrize(
    ("body", "x", "name"),
    [
        (nn.BatchNorm1d(3), ROWS, "body"),
        (nn.BatchNorm2d(3), IMAGES, "body"),
        (nn.InstanceNorm2d(3, track_running_stats=True), IMAGES, "body"),
        (nn.Dropout(0.1), ROWS, "body"),
        (nn.Sequential(nn.Identity(), nn.Dropout2d(0.1)), IMAGES, "body.1"),
        (nn.AlphaDropout(0.1), ROWS, "body"),
        (ATTENTION, SEQUENCES, "body.self_attn"),
        *((body, SEQUENCES, "body") for body in RECURRENT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_mixes_examples_or_draws_in_training_is_named_and_works_in_evaluation(body, x, name):
    network = Body(body, lambda output: output[0] if isinstance(output, tuple) else output).eval()
    network(x)
    if type(body) in (nn.BatchNorm1d, nn.BatchNorm2d):
        body.running_mean.add_(0.5)
    if not isinstance(body, nn.RNN | nn.GRU):  # torch has no vmap of them
        assert torch.allclose(jacobian(network, x), autograd_rows(network, x), rtol=1e-4, atol=1e-5)  # float32
    network.train()
    with pytest.raises(
        ValueError, match=rf"^module '{name}' of the network .* in training mode: call network.eval\(\)"
    ):
        jacobian(network, x)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (nn.BatchNorm2d(3, track_running_stats=False), "'body' .*BatchNorm2d.* give it running statistics"),
        (nn.RReLU(0.125, 0.375), r"'body' .*RReLU.* replace it by nn.LeakyReLU\(0.25\)"),
        (nn.FractionalMaxPool2d(2, output_size=3), "'body' .*FractionalMaxPool2d.* another pooling"),
    ],
)
def test_what_mixes_examples_or_draws_in_any_mode_is_named(body, message):
    network = Body(body).eval()
    network(IMAGES)
    with pytest.raises(ValueError, match=message):
        empirical_ntk(network, IMAGES)


def test_modules_that_keep_examples_apart_are_taken_in_training_mode():
    network = Body(nn.Sequential(nn.GroupNorm(3, 3), nn.InstanceNorm2d(3), nn.Dropout(0.0)))
    network(IMAGES)
    assert torch.allclose(jacobian(network, IMAGES), autograd_rows(network, IMAGES), rtol=1e-4, atol=1e-5)  # float32


def test_weights_that_are_not_finite_are_named():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    with torch.no_grad():
        network[0].weight[1, 2] = torch.nan
    network[0].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"^parameter '0.weight' of the network holds non-finite entries"):
        jacobian(network, torch.ones(4, 3))


def test_bad_batch_size_is_named():
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got 0"):
        jacobian(nn.Linear(3, 1), torch.ones(4, 3), batch_size=0)
