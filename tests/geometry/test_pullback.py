"""Pullback geometry of any map and of one hidden layer: surfaces of known curvature, independent formulas, limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from repro.geometry import input_jacobian as jacobians
from repro.geometry.nonlinearity import nonlinearity
from repro.geometry.pullback import (
    input_jacobian,
    log_effective_volume,
    metric,
    ricci_scalar,
    shallow_log_volume,
    shallow_metric,
    shallow_ricci_scalar,
    shallow_volume_element,
    singular_values,
    volume_element,
)

# Relative, in float64. Closed forms and Jacobians sum the same terms in another order; curvature divides by the volume.
SAME, CURVATURE = 1e-12, 1e-8
SMOOTH = ["sigmoid", "erf", "tanh", "gelu", "silu", "monomial2", "monomial3"]


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def layer(weight, bias, activation):
    """The hidden layer as a map."""
    return lambda x: nonlinearity(activation).value(x @ weight.T + bias)


def trained_like(width, d=2, seed=0):
    """Weights of unequal lengths in unequal directions, as training leaves them."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((width, d)) * rng.exponential(2.0, (width, 1)) @ np.diag(np.linspace(1, 3, d))
    return torch.from_numpy(weight), torch.from_numpy(rng.standard_normal(width))


def brioschi(metric_at, x):
    """Ricci scalar of a metric in two dimensions, twice the Gaussian curvature by Brioschi's formula."""
    components = [lambda p, a=a, b=b: metric_at(p[None])[0, a, b] for a, b in ((0, 0), (0, 1), (1, 1))]
    e, f, g = (torch.func.vmap(c)(x) for c in components)
    (eu, ev), (fu, fv), (gu, gv) = (torch.func.vmap(torch.func.jacfwd(c))(x).unbind(1) for c in components)
    he, hf, hg = (torch.func.vmap(torch.func.hessian(c))(x) for c in components)
    corner = -he[:, 1, 1] / 2 + hf[:, 0, 1] - hg[:, 0, 0] / 2
    zero = torch.zeros_like(e)
    first = matrices([[corner, eu / 2, fu - ev / 2], [fv - gu / 2, e, f], [gv / 2, f, g]])
    second = matrices([[zero, ev / 2, gu / 2], [ev / 2, e, f], [gu / 2, f, g]])
    return 2 * (torch.linalg.det(first) - torch.linalg.det(second)) / (e * g - f * f) ** 2


def matrices(rows):
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


# ---------------------------------------------------------------- surfaces


def sphere(radius):
    def surface(x):
        theta, phi = x.T
        point = [theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()]
        return math.sqrt(3) * radius * torch.stack(point, 1)  # √3: the metric is divided by the width

    return surface


def pseudosphere(x):
    u, v = x.T
    return math.sqrt(3) * torch.stack([v.cos() / u.cosh(), v.sin() / u.cosh(), u - u.tanh()], 1)


def paraboloid(x):
    return math.sqrt(3) * torch.cat([x, x.square().sum(1, keepdim=True) / 2], 1)


def test_curvature_of_surfaces():
    x = 1 + 0.3 * normal(20, 2)
    for radius in (0.5, 1.0, 3.0):
        assert torch.allclose(ricci_scalar(sphere(radius), x), torch.full((20,), 2 / radius**2).double(), rtol=1e-10)
        assert torch.allclose(volume_element(sphere(radius), x), radius**2 * x[:, 0].sin().abs(), rtol=SAME)
    assert torch.allclose(ricci_scalar(pseudosphere, x), torch.full((20,), -2.0).double(), rtol=1e-9)
    r = x.square().sum(1)
    assert torch.allclose(ricci_scalar(paraboloid, x), 2 / (1 + r) ** 2, rtol=1e-10)
    assert torch.allclose(volume_element(paraboloid, x), (1 + r).sqrt(), rtol=SAME)


def test_curvature_of_a_sphere_of_more_dimensions():
    """Stereographic projection of the sphere of radius 1 in d + 1 dimensions has R = d (d − 1)."""

    def sphere_of(x):
        r = x.square().sum(1, keepdim=True)
        return math.sqrt(x.shape[1] + 1) * torch.cat([2 * x, r - 1], 1) / (1 + r)

    for d in (1, 3, 5):
        found = ricci_scalar(sphere_of, 0.5 * normal(7, d))
        assert torch.allclose(found, torch.full((7,), d * (d - 1.0)).double(), rtol=1e-9, atol=1e-9)


def test_flat_maps():
    x = normal(9, 2)
    cylinder = lambda x: torch.stack([x[:, 0].cos(), x[:, 0].sin(), x[:, 1]], 1)  # noqa: E731
    linear = nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 4), nn.Linear(4, 6)).double()
    for flat in (cylinder, linear, lambda x: torch.stack([x[:, 0].exp(), x[:, 0] * x[:, 1]], 1)):
        assert torch.allclose(ricci_scalar(flat, x), torch.zeros(9).double(), atol=1e-10)


# ---------------------------------------------------------------- one hidden layer


@pytest.mark.parametrize("activation", [*SMOOTH, "relu"])
@pytest.mark.parametrize(("width", "d"), [(3, 2), (40, 1), (40, 2), (30, 3), (25, 5), (20, 10)])
def test_closed_forms_of_metric_and_volume_are_those_of_jacobians(activation, width, d):
    (weight, bias), x = trained_like(width, d), normal(11, d, seed=1)
    weight = weight / 10 if activation == "sigmoid" else weight  # else single volumes are lost in rounding
    phi = layer(weight, bias, activation)
    by_hand = torch.stack([torch.autograd.functional.jacobian(lambda p: phi(p[None])[0], point) for point in x])
    assert torch.allclose(input_jacobian(phi, x), by_hand, rtol=SAME, atol=1e-14)  # a slope can pass through 0
    g = by_hand.mT @ by_hand / width
    scale = float(g.abs().max())
    for found in (metric(phi, x), shallow_metric(weight, bias, x, activation)):
        assert torch.allclose(found, g, rtol=SAME, atol=SAME * scale)
    values = torch.linalg.svdvals(by_hand / math.sqrt(width))
    kept = values[:, -1] > 1e-6 * values[:, 0]  # of the others no method knows the volume
    assert kept.sum() >= 5 or activation == "relu"
    volume = values.prod(1)[kept]
    for found in (volume_element(phi, x), shallow_volume_element(weight, bias, x, activation)):
        assert torch.allclose(found[kept], volume, rtol=1e-9)  # of a condition number up to 1e6
    assert torch.allclose(singular_values(phi, x), values, rtol=1e-9, atol=SAME * float(values.max()))
    assert torch.allclose(log_effective_volume(phi, x)[kept], volume.log10(), rtol=0, atol=1e-9)


def test_volume_of_a_random_net_agrees_to_twelve_digits():
    weight, bias, x = normal(250, 2), normal(250, seed=1), normal(100, 2, seed=2)
    closed = shallow_volume_element(weight, bias, x)
    phi = layer(weight, bias, "sigmoid")
    singular = torch.linalg.svdvals(torch.func.vmap(torch.func.jacfwd(lambda p: phi(p[None])[0]))(x) / 250**0.5)
    for other in (volume_element(phi, x), singular.prod(1), 10 ** log_effective_volume(phi, x)):
        assert torch.allclose(closed, other, rtol=SAME)


@pytest.mark.parametrize("activation", ["sigmoid", "erf", "tanh"])
@pytest.mark.parametrize(("width", "d"), [(5, 9), (9, 9), (9, 5), (1, 3)])
def test_log_volume_is_that_of_all_singular_values(activation, width, d):
    weight, bias, x = normal(width, d) / 3, normal(width, seed=1), normal(20, d, seed=2)
    expected = log_effective_volume(layer(weight, bias, activation), x)
    assert torch.allclose(shallow_log_volume(weight, bias, x, activation), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", ["sigmoid", "erf"])
@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0])
def test_log_volume_of_no_more_units_than_inputs_is_concave_on_lines(activation, scale):
    weight, bias, ends = scale * normal(8, 12), normal(8, seed=1), normal(2, 12, seed=2)
    line = ends[0] + torch.linspace(-3, 3, 61, dtype=torch.float64)[:, None] * ends[1]
    logs = shallow_log_volume(weight, bias, line, activation)
    second = logs[2:] - 2 * logs[1:-1] + logs[:-2]
    assert bool((second <= 1e-11 * logs.abs().max()).all()) and bool((second < -1e-6).any())


def test_volume_does_not_cancel():
    """g₁₁g₂₂ − g₁₂² of nearly parallel columns is rounding; their Gram-Schmidt lengths are not."""
    weight = torch.tensor([[1.0, 1.0], [1.0, 1.0 + 2.0**-30]], dtype=torch.float64)
    found = shallow_volume_element(weight, torch.zeros(2).double(), torch.zeros(1, 2).double(), "monomial1")
    assert float(found) == pytest.approx(2.0**-30 / 2, rel=1e-6)


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("width", [3, 10, 100])
def test_curvature_is_that_of_brioschi(activation, width):
    for seed in range(4):
        weight, bias = trained_like(width, seed=seed)
        weight = weight / 3 if width == 3 else weight
        x = normal(20, 2, seed=seed + 10)
        phi = layer(weight, bias, activation)
        expected = brioschi(lambda p, w=weight, b=bias: _metric(w, b, p, activation), x)
        values = singular_values(phi, x)
        steady = values[:, 1] > 0.01 * values[:, 0]  # Brioschi's formula divides by the fourth power of the volume
        assert steady.sum() >= 8
        general, closed = ricci_scalar(phi, x), shallow_ricci_scalar(weight, bias, x, activation)
        assert torch.allclose(general[steady], expected[steady], rtol=CURVATURE, atol=CURVATURE)
        # Of three units the closed form is a small difference of large squares; it is meant for more.
        assert torch.allclose(closed[steady], general[steady], rtol=1e-7 if width == 3 else CURVATURE, atol=CURVATURE)


def _metric(weight, bias, x, activation):
    slope = nonlinearity(activation).slope(x @ weight.T + bias)
    return torch.einsum("pj,ja,jb->pab", slope**2, weight, weight) / len(weight)


@pytest.mark.parametrize("d", [1, 3, 4, 6])
def test_both_curvatures_agree_in_any_dimension(d):
    weight, bias, x = normal(60, d) / d**0.5, normal(60, seed=1), normal(8, d, seed=2)
    for activation in SMOOTH:
        closed = shallow_ricci_scalar(weight, bias, x, activation)
        general = ricci_scalar(layer(weight, bias, activation), x)
        assert torch.allclose(closed, general, rtol=CURVATURE, atol=CURVATURE)


def test_flat_layers():
    x, zero = normal(9, 2), torch.zeros(9).double()
    two = (normal(2, 2, seed=5), normal(2, seed=6))
    assert torch.allclose(shallow_ricci_scalar(*two, x, "tanh"), zero, atol=1e-9)  # the plane has two dimensions
    assert torch.equal(shallow_ricci_scalar(normal(20, 2), normal(20), x, "relu"), zero)
    assert torch.equal(shallow_ricci_scalar(normal(20, 2), normal(20), x, "monomial1"), zero)


def test_three_units_at_120_degrees_have_the_published_curvature():
    """arXiv 2301.11375, B.70: the one form of this example there that is right."""
    angle = torch.arange(3).double() * 2 * math.pi / 3
    weight = torch.stack([angle.cos(), angle.sin()], 1)
    x = normal(30, 2)
    for b in (0.0, 0.3, -1.0):
        r, (x1, x2) = x.square().sum(1), x.T
        peaks = [(x1 + b) ** 2, (x1 + math.sqrt(3) * x2 - 2 * b) ** 2 / 4, (x1 - math.sqrt(3) * x2 - 2 * b) ** 2 / 4]
        published = (
            (-9 * math.pi / 4) * (r - 4 * b**2) * torch.exp(1.5 * (r + 2 * b**2)) / sum(map(torch.exp, peaks)) ** 2
        )
        found = shallow_ricci_scalar(weight, torch.full((3,), b, dtype=torch.float64), x, "erf")
        assert torch.allclose(found, published, rtol=1e-10, atol=1e-10)


# ---------------------------------------------------------------- deep and convolutional nets


def convolutional():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3, stride=2), nn.BatchNorm2d(3), nn.GELU(), nn.Conv2d(3, 4, 2)]
    return nn.Sequential(*layers, nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()


def test_jacobians_of_images_and_their_volumes():
    network, x = convolutional(), normal(5, 1, 6, 6)
    expected = torch.stack(
        [torch.autograd.functional.jacobian(lambda p: network(p[None])[0], image).flatten(1) for image in x]
    )
    assert torch.allclose(input_jacobian(network, x), expected, rtol=SAME, atol=1e-15)
    values = torch.linalg.svdvals(expected / 2)
    assert torch.allclose(singular_values(network, x), values, rtol=1e-10)
    assert torch.allclose(log_effective_volume(network, x), values.log10().sum(1), atol=1e-11)
    assert torch.allclose(log_effective_volume(network, x, rank=2), values[:, :2].log10().sum(1), atol=1e-11)
    assert torch.equal(volume_element(network, x), torch.zeros(5).double())  # 4 features of 36 inputs
    assert ricci_scalar(network, x).isnan().all()
    assert all(value.grad is None for value in network.parameters())


def test_curvature_of_a_deep_net_is_that_of_brioschi():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh()).double()
    x = normal(15, 2)

    def metric_at(p):
        jacobian = torch.func.jacfwd(lambda q: network(q[None])[0])(p[0])
        return (jacobian.T @ jacobian / 6)[None]

    assert torch.allclose(ricci_scalar(network, x), brioschi(metric_at, x), rtol=CURVATURE)


@pytest.mark.parametrize("function", [metric, volume_element, singular_values, ricci_scalar, log_effective_volume])
def test_blocks_change_nothing(function, monkeypatch):
    weight, bias, x = normal(20, 3), normal(20, seed=1), normal(9, 3, seed=2)
    phi = layer(weight, bias, "tanh")
    whole = function(phi, x)
    monkeypatch.setattr(jacobians, "BLOCK_BYTES", 3 * 20 * 3 * 8)
    monkeypatch.setattr(jacobians, "PASS_BYTES", 2000)
    assert torch.allclose(function(phi, x), whole, rtol=SAME, atol=1e-14)


@pytest.mark.parametrize("function", [shallow_metric, shallow_volume_element, shallow_log_volume, shallow_ricci_scalar])
def test_blocks_of_closed_forms_change_nothing(function, monkeypatch):
    for d in (2, 9):
        weight, bias, x = normal(30, d), normal(30, seed=1), normal(7, d, seed=2) / d
        whole = function(weight, bias, x)
        monkeypatch.setattr("repro.geometry.shallow.BLOCK_BYTES", 30 * 8 * 20)
        assert torch.allclose(function(weight, bias, x), whole, rtol=1e-10, atol=SAME)


def test_precision_is_that_of_the_points():
    weight, bias, x = normal(30, 2).float(), normal(30, seed=1).float(), normal(7, 2, seed=2).float()
    phi = layer(weight, bias, "sigmoid")
    for function, closed in ((metric, shallow_metric), (volume_element, shallow_volume_element)):
        found, other = function(phi, x), closed(weight, bias, x)
        assert found.dtype == other.dtype == torch.float32
        assert torch.allclose(found, other, rtol=1e-4)
    assert ricci_scalar(phi, x).dtype == shallow_ricci_scalar(weight, bias, x).dtype == torch.float32


def test_degenerate_metrics_have_no_volume_and_no_curvature():
    weight = torch.tensor([[1.0, 2.0], [-2.0, -4.0], [0.5, 1.0]], dtype=torch.float64)  # one direction
    bias, x = normal(3), normal(4, 2)
    phi = layer(weight, bias, "tanh")
    assert shallow_ricci_scalar(weight, bias, x, "tanh").isnan().all() and ricci_scalar(phi, x).isnan().all()
    assert float(shallow_volume_element(weight, bias, x, "tanh").abs().max()) < 1e-15
    one = (weight[:1], bias[:1])
    assert torch.equal(shallow_volume_element(*one, x), torch.zeros(4).double())
    assert shallow_ricci_scalar(*one, x).isnan().all()
    constant = lambda x: torch.ones(len(x), 3).double()  # noqa: E731
    assert torch.equal(metric(constant, x), torch.zeros(4, 2, 2).double())
    assert torch.equal(volume_element(constant, x), torch.zeros(4).double())
    assert (log_effective_volume(constant, x) == -math.inf).all()


# ---------------------------------------------------------------- what the geometry must not depend on


def far_from_degenerate(g):
    """Where rounding leaves the curvature, a small difference of what the inverse metric makes large, its digits."""
    values = torch.linalg.eigvalsh(g)
    return values[:, 0] > 1e-2 * values[:, -1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(15, 40), st.integers(2, 4), st.sampled_from(SMOOTH))
def test_rotated_inputs_have_the_same_volume_and_curvature(seed, width, d, activation):
    weight, bias, x = normal(width, d, seed=seed), normal(width, seed=seed + 1), normal(4, d, seed=seed + 2)
    turn = torch.linalg.qr(normal(d, d, seed=seed + 3)).Q
    turned = weight @ turn.T, bias, x @ turn.T, activation
    here = weight, bias, x, activation
    steady = far_from_degenerate(shallow_metric(*here))
    for function in (shallow_volume_element, shallow_ricci_scalar):
        assert torch.allclose(function(*turned)[steady], function(*here)[steady], rtol=1e-6, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(SMOOTH))
def test_curvature_is_a_scalar_and_volume_a_density(seed, activation):
    weight, bias, x = normal(30, 2, seed=seed), normal(30, seed=seed + 1), normal(5, 2, seed=seed + 2)
    phi = layer(weight, bias, activation)

    def bent(x):  # a change of coordinates
        return torch.stack([x[:, 0] + 0.3 * x[:, 1].sin(), x[:, 1] + 0.2 * x[:, 0].square()], 1)

    def composed(x):
        return phi(bent(x))

    determinant = (1 - 0.3 * x[:, 1].cos() * 0.4 * x[:, 0]).abs()
    steady = far_from_degenerate(metric(composed, x)) & far_from_degenerate(metric(phi, bent(x)))
    assert torch.allclose(ricci_scalar(composed, x)[steady], ricci_scalar(phi, bent(x))[steady], rtol=1e-6, atol=1e-6)
    assert torch.allclose(volume_element(composed, x), determinant * volume_element(phi, bent(x)), rtol=1e-10)


# ---------------------------------------------------------------- what is refused

X = torch.ones(3, 2)


@pytest.mark.parametrize(
    ("feature_map", "x", "message"),
    [
        (None, X, "feature_map must be a module or function, got None"),
        (lambda x: x.sum(1), X, r"feature_map must give \(batch, n\) features, got \(1,\) for one point"),
        (lambda x: (x, x), X, r"feature_map must give \(batch, n\) features, got \(tensor"),
        (lambda x: x, torch.ones(3), r"x must have shape \(points, ...\), none of them 0, got \(3,\)"),
        (lambda x: x, torch.ones(0, 2), r"x must have shape"),
        (lambda x: x, torch.ones(3, 2, dtype=torch.int64), "x must be float32 or float64, got torch.int64"),
        (lambda x: x, torch.full((3, 2), torch.nan), "x holds non-finite entries"),
        (lambda x: (x - 1).sqrt(), X, "derivatives that are not finite"),
        (nn.Linear(2, 3).double(), X, "x is torch.float32 on cpu, the parameters are torch.float64"),
        (nn.Sequential(nn.BatchNorm1d(2)), X, r"'0' .* call network.eval\(\)"),
        (nn.Sequential(nn.Dropout()), X, r"'0' .* draws at random"),
    ],
)
def test_bad_maps_and_points_are_named(feature_map, x, message):
    for function in (input_jacobian, metric, volume_element, singular_values, log_effective_volume, ricci_scalar):
        with pytest.raises(ValueError, match=message):
            function(feature_map, x)


@pytest.mark.parametrize("rank", [0, 3, 1.0, True, "1"])
def test_bad_rank_is_named(rank):
    with pytest.raises(ValueError, match=r"rank must be a whole number from 1 to min\(n, d\) = 2, got"):
        log_effective_volume(lambda x: torch.cat([x, x], 1), X, rank)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.ones(4)}, r"weight must have shape \(n, d\), both at least 1, got \(4,\)"),
        ({"weight": torch.ones(4, 2, dtype=torch.int64)}, "weight must be float32 or float64"),
        ({"bias": torch.ones(3)}, r"bias must have shape \(4,\)"),
        ({"x": torch.ones(5, 3)}, r"x must have shape \(points, 2\)"),
        ({"x": torch.ones(5, 2).double()}, "x is torch.float64 on cpu, weight is torch.float32 on cpu"),
        ({"bias": torch.full((4,), torch.inf)}, "bias holds non-finite entries"),
        ({"activation": "sine"}, "expected an activation of"),
    ],
)
def test_bad_layers_are_named(change, message):
    good = {"weight": torch.ones(4, 2), "bias": torch.ones(4), "x": torch.ones(5, 2), "activation": "erf"}
    for function in (shallow_metric, shallow_volume_element, shallow_ricci_scalar):
        with pytest.raises(ValueError, match=message):
            function(**good | change)
