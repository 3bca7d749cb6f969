"""Activation functions by name, with their first and second derivatives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]

ROOT_HALF = math.sqrt(0.5)
DENSITY = 1 / math.sqrt(2 * math.pi)  # of the standard normal distribution at 0
MONOMIAL = re.compile(r"monomial([1-9]\d*)")


class Nonlinearity(NamedTuple):
    """A function of one variable, applied entry by entry."""

    value: Function
    slope: Function  # first derivative
    bend: Function  # second derivative


def nonlinearity(name: str) -> Nonlinearity:
    """The activation function of a name.

    "sigmoid", "tanh", "relu", "gelu" (exact), "silu"; "erf" is erf(x/√2); "monomial1", "monomial2", ... are
    xᑫ/√((2q−1)!!), of mean square 1 under the standard normal distribution (arXiv 2301.11375, Section 3.2).

    Raises:
        ValueError: for another name.

    Example:
        >>> nonlinearity("monomial2").slope(torch.tensor([3.0]) / 2)  # 2x/√3
        tensor([1.7321])
    """
    if name in NONLINEARITIES:
        return NONLINEARITIES[name]
    power = MONOMIAL.fullmatch(name) if isinstance(name, str) else None
    if power is None:
        raise ValueError(
            f"expected an activation of {[*NONLINEARITIES, 'monomial1', 'monomial2', '...']}, got {name!r}"
        )
    return _monomial(int(power[1]))


def monomial_power(name: str) -> int | None:
    """The power q of "monomialq"; None for another name."""
    power = MONOMIAL.fullmatch(name)
    return int(power[1]) if power else None


def double_factorial(power: int) -> float:
    """(2q−1)!!, the mean of x²ᑫ under the standard normal distribution."""
    return float(math.prod(range(1, 2 * power, 2)))


def _monomial(power: int) -> Nonlinearity:
    scale = 1 / math.sqrt(double_factorial(power))
    second = max(0, power - 2)  # of a straight line the factor is 0
    return Nonlinearity(
        lambda x: scale * x**power,
        lambda x: scale * power * x ** (power - 1),
        lambda x: scale * power * (power - 1) * x**second,
    )


def _normal(x: Tensor) -> Tensor:
    return DENSITY * torch.exp(-(x**2) / 2)


def _cumulative(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-ROOT_HALF * x)


def _sigmoid_slope(x: Tensor) -> Tensor:
    tail = torch.exp(-x.abs())
    return tail / (1 + tail) ** 2  # sigmoid(x) (1 − sigmoid(x)) would be 0 where sigmoid(x) rounds to 1


def _sigmoid_bend(x: Tensor) -> Tensor:
    return -_sigmoid_slope(x) * torch.tanh(x / 2)


def _tanh_slope(x: Tensor) -> Tensor:
    return 4 * _sigmoid_slope(2 * x)


NONLINEARITIES = {
    "sigmoid": Nonlinearity(torch.sigmoid, _sigmoid_slope, _sigmoid_bend),
    "erf": Nonlinearity(lambda x: torch.erf(ROOT_HALF * x), lambda x: 2 * _normal(x), lambda x: -2 * x * _normal(x)),
    "tanh": Nonlinearity(torch.tanh, _tanh_slope, lambda x: -2 * torch.tanh(x) * _tanh_slope(x)),
    "relu": Nonlinearity(torch.relu, lambda x: (x > 0).to(x.dtype), torch.zeros_like),
    "gelu": Nonlinearity(
        lambda x: x * _cumulative(x), lambda x: _cumulative(x) + x * _normal(x), lambda x: (2 - x**2) * _normal(x)
    ),
    "silu": Nonlinearity(
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.sigmoid(x) + x * _sigmoid_slope(x),
        lambda x: 2 * _sigmoid_slope(x) + x * _sigmoid_bend(x),
    ),
}
