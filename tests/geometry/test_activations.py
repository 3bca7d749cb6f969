"""Outputs of layers: what they are, and that the network is left as it was."""

import pytest
import torch
from torch import nn

from repro.geometry.activations import activations

POINTS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


class InPlaceResidual(nn.Module):
    """Overwrites what its first activation gave."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.act = nn.Linear(3, 4), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x):
        hidden = self.act(self.first(x))
        hidden += self.act(self.second(hidden))
        return hidden


def state(network):
    return (
        [m.training for m in network.modules()],
        [len(m._forward_hooks) for m in network.modules()],
        [p.grad for p in network.parameters()],
        [b.clone() for b in network.buffers()],
    )


def test_gives_the_outputs_in_order_twice_the_same():
    network = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2), nn.ReLU(), nn.Linear(2, 1))
    first, again = activations(network, POINTS), activations(network, POINTS)
    hidden = torch.tanh(network[0](POINTS))
    assert torch.equal(first[0], hidden) and torch.equal(first[1], torch.relu(network[2](hidden)))
    assert len(again) == 2 and all(map(torch.equal, first, again)) and not first[0].requires_grad
    (named,) = activations(network, POINTS, ["2"])
    assert torch.equal(named, network[2](hidden))


def test_copies_are_kept_of_what_is_overwritten_and_of_every_call():
    network = InPlaceResidual()
    first, second = activations(network, POINTS)
    expected = torch.relu(network.first(POINTS))
    assert torch.equal(first, expected) and torch.equal(second, torch.relu(network.second(expected)))


def test_images_are_flattened():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU())
    assert activations(network, torch.zeros(4, 1, 5, 5))[0].shape == (4, 18)


def test_modes_hooks_gradients_and_statistics_are_left_as_they_were():
    network = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 1))
    network[1].eval()
    network(POINTS).sum().backward()
    before = state(network)
    one, two = activations(network, POINTS), activations(network, POINTS)
    assert torch.equal(one[0], two[0])  # no dropout
    after = state(network)
    assert before[:3] == after[:3] and all(map(torch.equal, before[3], after[3]))


def test_a_network_that_raises_is_left_as_it_was():
    network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(4, 1))
    before = state(network)
    with pytest.raises(RuntimeError):
        activations(network, POINTS)
    assert state(network)[:3] == before[:3]


@pytest.mark.parametrize(
    ("network", "layers", "message"),
    [
        (nn.Linear(3, 1), None, "no activation module; name its layers"),
        (nn.Sequential(nn.Linear(3, 1)), ["1"], "no layer called '1'; the network has: 0"),
        (nn.Sequential(nn.Linear(3, 1)), [], "no layer asked for"),
        (nn.Sequential(nn.RNN(3, 4)), ["0"], "RNN gives tuple, expected a tensor with 6 rows"),
        (nn.Sequential(nn.Flatten(0)), ["0"], r"Flatten gives \(18,\), expected a tensor with 6 rows"),
    ],
)
def test_what_cannot_be_given_is_one_clear_error(network, layers, message):
    with pytest.raises(ValueError, match=message):
        activations(network, POINTS, layers)
