"""Average geometry and its evolution against one network after another, Jacobians, finite steps and exact formulas."""

import numpy as np
import pytest
import torch
from torch import nn

from repro.geometry import average
from repro.models.architectures import UniformFamily
from repro.papers.gih.study import Network, family

F64 = torch.float64
DENSE = Network("dense", 6, 1, "7-5", nonlinearity="gelu")
RESIDUAL = Network("residual", 6, 1, "8-8", "1-1", "2-1", "gelu", normalised=False)
NETWORKS = [DENSE, RESIDUAL, RESIDUAL._replace(normalised=True)]
NAMES = ["dense", "residual", "normalised"]


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def single(make, number, seed):
    return make(np.random.default_rng(np.random.SeedSequence([seed, number])))


def gradient(network, x, logit=0):
    """∇f at each point, (points, D)."""
    points = x.clone().requires_grad_()
    return torch.autograd.grad(network(points)[:, logit].sum(), points)[0].flatten(1)


class Gaussian:
    """Linear networks of one hidden layer without biases, weights of variance v and read-out of variance u."""

    def __init__(self, inputs, hidden, v, u):
        self.inputs, self.hidden, self.v, self.u = inputs, hidden, v, u

    def __call__(self, generator):
        layers = [nn.Linear(self.inputs, self.hidden, False, dtype=F64), nn.Linear(self.hidden, 1, False, dtype=F64)]
        for part, variance in zip(layers, (self.v, self.u), strict=True):
            part.weight.data = torch.from_numpy(generator.standard_normal(part.weight.shape)) * variance**0.5
        return nn.Sequential(*layers)


def one_weight(inputs, logits=1):
    """G = I: the gradient is a standard normal vector."""

    def make(generator):
        layer = nn.Linear(inputs, logits, bias=False, dtype=F64)
        layer.weight.data = torch.from_numpy(generator.standard_normal((logits, inputs)))
        return layer

    return make


@pytest.mark.parametrize("network", NETWORKS, ids=NAMES)
def test_geometry_is_that_of_a_loop_over_networks(network):
    make, x = family(network, 2, F64), normal(3, 1, 6, 6)
    rows = [gradient(single(make, number, 5), x, logit) for number in range(6) for logit in range(2)]
    expected = torch.cat(rows).T @ torch.cat(rows) / (6 * 2 * 3)
    for block in (1, 2, 64):
        found = average.average_geometry(make, x, 6, 5, block=block)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12 * float(expected.trace()))
    halves = average.geometry_halves(make, x, 6, 5)
    odd = torch.cat([row for number, row in enumerate(rows) if number // 2 % 2])
    torch.testing.assert_close(halves[1], odd.T @ odd / (3 * 2 * 3), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("network", NETWORKS, ids=NAMES)
def test_networks_drawn_at_once_are_those_drawn_one_by_one(network, dtype):
    make = family(network, 2, dtype)
    stacked = average.draw_networks(make, [4, 7], 3)
    singly = average.draw_networks(make.build, [4, 7], 3)
    assert isinstance(make, UniformFamily) and len(stacked) == 2
    assert set(stacked.state) == set(singly.state)
    for name, value in singly.state.items():
        assert torch.equal(stacked.state[name], value), name


def test_evolution_of_one_linear_network_is_minus_k_s_b_b():
    make, x = family(DENSE._replace(nonlinearity="linear"), 1, F64), normal(1, 1, 6, 6)
    data = normal(9, 1, 6, 6, seed=1)
    data -= data.mean(0)  # else the gradient of the offset joins
    network = single(make, 0, 2)

    def slope(parameters):
        def logit(point):
            return torch.func.functional_call(network, parameters, (point,)).sum()

        return torch.func.grad(logit)(torch.zeros(1, 1, 6, 6, dtype=F64)).flatten()

    values = {name: value.detach() for name, value in network.named_parameters()}
    jacobian = torch.cat([part.flatten(1) for part in torch.func.jacrev(slope)(values).values()], dim=1)
    b, flat = slope(values), data.flatten(1)
    product = jacobian @ jacobian.T @ (flat.T @ flat / 9) @ torch.outer(b, b)
    offset = network(torch.zeros(1, 1, 6, 6, dtype=F64)).detach().expand(9, 1)[:, 0]  # f is b·x + offset
    found = average.evolution_halves(make, x, data, 1, 2, targets=offset, parts=1)[0]
    torch.testing.assert_close(found, -(product + product.T), rtol=1e-10, atol=1e-10 * float(product.norm()))


@pytest.mark.parametrize("network", NETWORKS, ids=NAMES)
def test_evolution_is_what_a_finite_step_changes(network):
    make, x, data, targets = family(network, 2, F64), normal(2, 1, 6, 6), normal(5, 1, 6, 6, seed=1), normal(5, seed=2)
    expected, step = torch.zeros(36, 36, dtype=F64), 1e-5
    for number in range(2):
        for logit in range(2):
            slopes = []
            for sign in (1, -1):
                moved = single(make, number, 8)
                loss = ((moved(data)[:, logit] - targets) ** 2).mean() / 2
                parameters = list(moved.parameters())
                flow = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for parameter, downhill in zip(parameters, flow, strict=True):
                        parameter -= sign * step * downhill
                slopes.append(gradient(moved, x, logit))
            expected += (slopes[0].T @ slopes[0] - slopes[1].T @ slopes[1]) / (2 * step) / 8
    found = average.average_geometry_evolution(make, x, data, 2, 8, targets=targets)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7 * float(expected.abs().max()))


def test_evolution_of_linear_networks_is_the_exact_mean():
    size, n, v, u, networks = 3, 8, 0.3, 0.5, 4000
    data = normal(6, size) @ torch.diag(torch.tensor([2.0, 1.0, 0.2], dtype=F64))
    s = data.T @ data / 6
    exact = u**2 * v * n * (n + 2) * s + u * v**2 * n * ((n + 1) * s + s.trace() * torch.eye(size))
    make, x = Gaussian(size, n, v, u), torch.zeros(1, size, dtype=F64)
    parts = average.evolution_halves(make, x, data, networks, 0, parts=10)
    error = parts.std(0) / 10**0.5
    assert ((parts.mean(0) + 2 * exact).abs() < 4 * error).all() and (error < 0.1 * exact.norm()).all()
    wide = -2 * (1 / u + 1 / v) * (u * v * n) ** 2 * s  # -2 Σ 1/v_l G S G
    assert average.frobenius_cosine(wide, -exact) > 0.95


def test_products_of_halves_have_no_bias():
    """G = I in five dimensions, from four gradients: |G|² = 5, yet one estimate has 5 (1 + 6/4) on average."""
    halves = torch.stack(
        [average.geometry_halves(one_weight(5), torch.zeros(1, 5, dtype=F64), 8, s) for s in range(300)]
    )
    products, squares = (halves[:, 0] * halves[:, 1]).sum((1, 2)), (halves[:, 0] ** 2).sum((1, 2))
    assert products.mean() == pytest.approx(5, abs=4 * float(products.std()) / 300**0.5)
    assert squares.mean() == pytest.approx(12.5, abs=4 * float(squares.std()) / 300**0.5)


def test_ratios_cosines_shares_and_frequencies():
    flat = torch.diag(torch.tensor([2.0, 2.0, 0.0]))
    assert average.participation_ratio(flat) == pytest.approx(2)
    assert average.participation_ratio(flat, torch.eye(3)) == pytest.approx(3)
    assert average.frobenius_cosine(flat, torch.eye(3)) == pytest.approx(4 / 24**0.5)
    assert average.frobenius_cosine(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.eye(2)) == 0
    assert average.share_counts(np.array([1.0, 90.0, 8.0, 1.0])) == [1, 3]
    assert average.share_counts(np.ones(10), [0.35]) == [4]
    wave = np.cos(np.pi * np.arange(4))[:, None] * np.ones(4)
    once = np.cos(np.pi / 2 * np.arange(4))[:, None] * np.ones(4)
    both = np.stack([wave.ravel(), once.ravel(), (wave + once).ravel()], axis=1)
    assert average.fourier_energy(both, 4, 2) == pytest.approx([1, 0, 2 / 3])
    assert average.fourier_energy(np.eye(16), 4, 2) == pytest.approx(np.full(16, 1 / 4))


X = torch.zeros(1, 4, dtype=F64)


def other_kinds(generator):
    return nn.Linear(4, 1, dtype=F64) if generator.random() < 0.5 else nn.Linear(4, 2, dtype=F64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: average.average_geometry(one_weight(4), X, 3, 0), "2 equal parts, one or more in each, got 3"),
        (lambda: average.average_geometry(one_weight(4), X, 0, 0), "got 0"),
        (lambda: average.average_geometry(one_weight(4), X[:0], 2, 0), "none of them 0"),
        (lambda: average.average_geometry(one_weight(4), X / 0, 2, 0), "inputs"),
        (lambda: average.average_geometry(one_weight(4), X.int(), 2, 0), "float32 or float64, got torch.int32"),
        (
            lambda: average.average_geometry(
                lambda _: nn.Sequential(nn.Linear(4, 1, dtype=F64), nn.Flatten(0)), X, 2, 0
            ),
            "must give",
        ),
        (lambda: average.average_geometry_evolution(one_weight(4), X, X[:, :2], 2, 0), r"data like the inputs \(4,\)"),
        (lambda: average.average_geometry_evolution(one_weight(4), X, X, 2, 0, targets=torch.ones(2)), "targets"),
        (lambda: average.average_geometry_evolution(one_weight(4), X, X / 0, 2, 0), "data"),
        (lambda: average.participation_ratio(torch.ones(2, 3)), "square matrices"),
        (lambda: average.frobenius_cosine(torch.eye(2), torch.eye(3)), "of one shape"),
        (lambda: average.frobenius_cosine(torch.eye(2), torch.eye(2) / 0), "second"),
        (lambda: average.share_counts(np.zeros(3)), "positive sum"),
        (lambda: average.fourier_energy(np.ones((15, 1)), 4, 2), "images of 4 x 4"),
        (lambda: average.fourier_energy(np.ones(16), 4, 2), "images of 4 x 4"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_networks_of_several_kinds_are_refused():
    with pytest.raises(ValueError, match="of one kind, got 2"):
        average.average_geometry(other_kinds, X, 16, 0)
