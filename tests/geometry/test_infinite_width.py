"""The infinite-width limit: closed forms, published anchors, and finite nets that tend to it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from repro.geometry import pullback
from repro.geometry.infinite_width import derivative, metric, metric_at, moments, ricci_scalar, volume_element
from repro.geometry.nonlinearity import NONLINEARITIES, nonlinearity

NAMES = [*NONLINEARITIES, "monomial1", "monomial2", "monomial3"]


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def radial(*lengths, d=2):
    x = torch.zeros(len(lengths), d, dtype=torch.float64)
    x[:, 0] = torch.tensor(lengths)
    return x


@pytest.mark.parametrize("name", NAMES)
def test_moments_are_integrals(name):
    phi, found = nonlinearity(name), moments(name)
    for variance in (0.3, 60.0):
        for function, moment in ((phi.slope, found.slope), (phi.value, found.value)):

            def integrand(t, f=function, v=variance):
                return float(f(torch.tensor([math.sqrt(v) * t], dtype=torch.float64))) ** 2 * math.exp(-t * t / 2)

            expected = sum(
                quad(integrand, *ends, epsabs=1e-10, epsrel=1e-10, limit=200)[0] for ends in ((-12, 0), (0, 12))
            )
            value = float(moment(torch.tensor([variance], dtype=torch.float64)))
            assert value == pytest.approx(expected / math.sqrt(2 * math.pi), rel=1e-9)


@pytest.mark.parametrize(
    ("activation", "s", "tangential", "log_slope", "along", "volume", "scalar"),
    [
        ("erf", 0, 0.36755260, -1 / 3, 0.36755260, 0.36755260, 0),
        ("erf", 1, 0.28470502, -1 / 5, 0.17082301, 0.22053156, -0.93664196),
        ("erf", 4, 0.19194808, -1 / 11, 0.05234948, 0.10024162, -2.52593553),
        ("sigmoid", 0, 0.04483624, -0.23562869, 0.04483624, 0.04483624, 0),
        ("sigmoid", 1, 0.03702661, -0.15784956, 0.02533734, 0.03062933, -3.87470479),
        ("sigmoid", 4, 0.02658778, -0.08037430, 0.00949199, 0.01588619, -10.69583966),
    ],
)
def test_anchors(activation, s, tangential, log_slope, along, volume, scalar):
    """Values of an independent prototype, to all its digits."""
    x = radial(math.sqrt(s))
    g = metric(x, activation)[0]
    assert float(g[1, 1]) == pytest.approx(tangential, abs=1e-7)
    assert float(g[0, 0]) == pytest.approx(along, abs=1e-7)
    assert float(volume_element(x, activation)) == pytest.approx(volume, abs=1e-7)
    assert float(ricci_scalar(x, activation)) == pytest.approx(scalar, abs=1e-7)
    factor = derivative(moments(activation).slope)(torch.tensor([1.0 + s])) / moments(activation).slope(
        torch.tensor([1.0 + s])
    )
    assert float(factor) == pytest.approx(log_slope, abs=1e-6)  # float32


def test_anchors_of_the_quadratic_and_of_depth():
    x = radial(0.0, 1.0, 2.0)
    assert volume_element(x, "monomial2").tolist() == pytest.approx([1.3333, 3.7712, 10.7497], abs=5e-5)
    assert float(ricci_scalar(radial(1.0), "monomial2")) == pytest.approx(-0.046875, abs=1e-12)
    lengths = torch.linspace(0, 2, 20001).tolist()
    scalars = ricci_scalar(radial(*lengths), "monomial2")
    assert float(scalars.min()) == pytest.approx(-0.163531, abs=5e-7)
    assert lengths[int(scalars.argmin())] == pytest.approx(0.42236, abs=1e-4)
    for depth, along, across in ((2, 0.05339056, 0.09143821), (3, 0.01738670, 0.02982180)):
        g = metric(radial(1.0), "erf", depth=depth)[0]
        assert g.diagonal().tolist() == pytest.approx([along, across], abs=1e-7)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("sigma", "zeta"), [(1.0, 1.0), (0.49, 2.25), (3.0, 0.0)])
def test_curvature_of_one_layer_is_its_closed_form(d, sigma, zeta):
    """The formula in Ω = log T and its derivatives, worked out apart from the warped form; here for erf."""
    x = normal(30, d) if zeta else normal(30, d) + 3
    s = x.square().sum(1)
    variance = 1 + 2 * zeta + 2 * sigma * s
    factor, first, second = 2 * sigma / math.pi / variance.sqrt(), -sigma / variance, 2 * sigma**2 / variance**2
    bracket = d + 2 + 2 * s * ((d - 2) * first + 2 * second / first)
    expected = -(d - 1) / factor * first**2 * s / (1 + 2 * s * first) ** 2 * bracket
    assert torch.allclose(ricci_scalar(x, "erf", sigma, zeta), expected, rtol=1e-11, atol=1e-13)
    volume = (factor**d * (1 + 2 * s * first)).sqrt()
    assert torch.allclose(volume_element(x, "erf", sigma, zeta), volume, rtol=1e-13)


@pytest.mark.parametrize("activation", ["erf", "sigmoid", "monomial3"])
@pytest.mark.parametrize("depth", [1, 3])
def test_curvature_is_that_of_its_metric(activation, depth):
    """Of any dimension by Christoffel symbols; at the origin too, where a radius has no direction."""
    for d in (2, 3):
        x = torch.cat([torch.zeros(1, d).double(), 0.7 * normal(4, d)])
        expected = torch.stack(
            [by_christoffel(lambda p: metric_at(p, activation, 0.8, 0.5, depth), point) for point in x]
        )
        found = ricci_scalar(x, activation, 0.8, 0.5, depth)
        assert torch.allclose(found, expected, rtol=1e-8, atol=1e-8)


def by_christoffel(metric, point):
    """R = gᵇᵈ (∂ₐ Γᵃ_bd − ∂_d Γᵃ_ba + Γᵃ_ac Γᶜ_bd − Γᵃ_dc Γᶜ_ba)."""

    def symbols(p):
        change = torch.func.jacfwd(metric)(p)  # g_ab,c
        lowered = (change + change.transpose(1, 2) - change.permute(2, 1, 0)) / 2  # g_ab,c + g_ac,b - g_bc,a
        return torch.linalg.solve(metric(p), lowered.flatten(1)).reshape(lowered.shape)

    gamma, change = symbols(point), torch.func.jacfwd(symbols)(point)  # Γᵃ_bc, Γᵃ_bc,d
    ricci = torch.einsum("abda->bd", change) - torch.einsum("abad->bd", change)
    ricci = ricci + torch.einsum("aac,cbd->bd", gamma, gamma) - torch.einsum("adc,cba->bd", gamma, gamma)
    return (torch.linalg.inv(metric(point)) * ricci).sum()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["erf", "sigmoid", "monomial3"]), st.integers(1, 3))
def test_only_the_length_of_the_input_counts(seed, activation, depth):
    x = normal(5, 3, seed=seed)
    turn = torch.linalg.qr(normal(3, 3, seed=seed + 1)).Q
    for function in (volume_element, ricci_scalar):
        assert torch.allclose(function(x @ turn, activation, depth=depth), function(x, activation, depth=depth))
    rotated = turn.T @ metric(x, activation, depth=depth) @ turn
    assert torch.allclose(metric(x @ turn, activation, depth=depth), rotated, atol=1e-10)


def test_monomials_without_biases_are_flat_in_the_plane():
    x = normal(20, 2)
    for power in (1, 2, 3, 4):
        name, length = f"monomial{power}", x.norm(dim=1)
        assert torch.allclose(ricci_scalar(x, name, 1.7, 0.0), torch.zeros(20).double(), atol=1e-9)
        volume = power**2 / math.sqrt(2 * power - 1) * 1.7**power * length ** (2 * (power - 1))
        assert torch.allclose(volume_element(x, name, 1.7, 0.0), volume, rtol=1e-12)


def test_deep_linear_nets_are_flat():
    for depth in (1, 3):
        x = normal(9, 3)
        assert torch.allclose(
            metric(x, "monomial1", 0.7, 2.0, depth), 0.7**depth * torch.eye(3).double().expand(9, 3, 3)
        )
        assert torch.equal(ricci_scalar(x, "monomial1", 0.7, 2.0, depth).abs(), torch.zeros(9).double())


def test_at_the_origin_without_biases_only_closed_forms_have_a_curvature():
    zero = torch.zeros(1, 2)
    assert float(ricci_scalar(zero, "erf", 1.0, 0.0)) == pytest.approx(0, abs=1e-12)
    assert ricci_scalar(zero, "tanh", 1.0, 0.0).isnan().all()


def features(depth, width, activation, seed):
    """A random net of the hidden layers of the limit, σ² = 1.2, ζ² = 0.5."""
    rng = np.random.default_rng(seed)
    shapes = [(width, 2)] + [(width, width)] * (depth - 1)
    scales = [1.2**0.5] + [(1.2 / width) ** 0.5] * (depth - 1)
    layers = [
        (torch.from_numpy(scale * rng.standard_normal(shape)), torch.from_numpy(0.5**0.5 * rng.standard_normal(width)))
        for shape, scale in zip(shapes, scales, strict=True)
    ]

    def network(x):
        for weight, bias in layers:
            x = nonlinearity(activation).value(x @ weight.T + bias)
        return x

    return network


@pytest.mark.parametrize("activation", ["erf", "sigmoid", "monomial2", "gelu"])
def test_wide_nets_tend_to_the_limit(activation):
    x = radial(0.0, 0.5, 1.0)
    weight, bias = 1.2**0.5 * normal(400_000, 2), 0.5**0.5 * normal(400_000, seed=1)
    finite = pullback.shallow_metric(weight, bias, x, activation)
    assert torch.allclose(finite, metric(x, activation, 1.2, 0.5), rtol=0.02, atol=0.01 * float(finite.max()))
    volume = pullback.shallow_volume_element(weight, bias, x, activation)
    assert torch.allclose(volume, volume_element(x, activation, 1.2, 0.5), rtol=0.02)
    scalar = pullback.shallow_ricci_scalar(weight, bias, x, activation)
    assert torch.allclose(scalar, ricci_scalar(x, activation, 1.2, 0.5), rtol=0.05, atol=0.05)


def test_deep_nets_tend_to_the_limit():
    x = radial(0.3, 1.0)
    for activation in ("erf", "tanh"):
        found = [pullback.metric(features(2, 600, activation, seed), x) for seed in range(4)]
        expected = metric(x, activation, 1.2, 0.5, depth=2)
        assert torch.allclose(torch.stack(found).mean(0), expected, atol=0.08 * float(expected.max()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(3)}, r"x must have shape \(points, d\)"),
        ({"x": torch.full((2, 2), torch.nan)}, "x holds non-finite entries"),
        ({"activation": "sine"}, "expected an activation of"),
        ({"weight_variance": 0.0}, "weight_variance must be a finite number, positive, got 0.0"),
        ({"weight_variance": "1"}, "weight_variance must be a finite number"),
        ({"bias_variance": -1.0}, "bias_variance must be a finite number, not negative, got -1.0"),
        ({"bias_variance": math.nan}, "bias_variance must be a finite number"),
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(change, message):
    for function in (metric, volume_element, ricci_scalar):
        with pytest.raises(ValueError, match=message):
            function(**{"x": torch.ones(2, 2), "activation": "erf"} | change)
