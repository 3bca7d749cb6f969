import math

import numpy as np
import pytest
import torch

from repro.geometry.nonlinearity import NONLINEARITIES, nonlinearity

NAMES = [*NONLINEARITIES, "monomial1", "monomial2", "monomial3", "monomial5"]
X = torch.linspace(-6.03, 6, 201, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_those_of_autograd(name):
    phi = nonlinearity(name)
    x = X.clone().requires_grad_()
    for function, its_derivative in ((phi.value, phi.slope), (phi.slope, phi.bend)):
        output = function(x).sum()
        found = torch.autograd.grad(output, x)[0] if output.requires_grad else torch.zeros_like(x)  # a constant
        assert torch.allclose(its_derivative(X), found, rtol=1e-9, atol=1e-14)  # autograd's own 1 - s cancels


def test_values_are_those_of_torch():
    expected = {
        "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu, "gelu": torch.nn.functional.gelu,
        "silu": torch.nn.functional.silu, "erf": lambda x: torch.erf(x / math.sqrt(2)),
        "monomial1": lambda x: x, "monomial2": lambda x: x**2 / math.sqrt(3),
    }  # fmt: skip
    for name, function in expected.items():
        assert torch.allclose(nonlinearity(name).value(X), function(X), rtol=1e-12, atol=1e-15)


def test_slopes_of_saturated_units_do_not_round_to_nothing():
    x = torch.tensor([-50.0, 50.0], dtype=torch.float64)
    assert torch.allclose(nonlinearity("sigmoid").slope(x), torch.exp(-x.abs()), rtol=1e-12)
    assert torch.allclose(nonlinearity("tanh").slope(x), 4 * torch.exp(-2 * x.abs()), rtol=1e-12)


@pytest.mark.parametrize("power", range(1, 7))
def test_monomials_have_mean_square_one(power):
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    values = nonlinearity(f"monomial{power}").value(torch.from_numpy(nodes)).numpy()
    assert weights @ values**2 / weights.sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    "name", ["", "Sigmoid", "monomial", "monomial0", "monomial-1", "monomial2.5", None, torch.relu]
)
def test_others_are_named_with_what_is_known(name):
    with pytest.raises(ValueError, match=r"expected an activation of \['sigmoid', .*'monomial1', .*got "):
        nonlinearity(name)
