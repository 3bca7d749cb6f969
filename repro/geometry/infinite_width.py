"""Geometry of random nets in the limit of infinite width, where it depends on the length of the input alone.

Weights N(0, σ²/width of the layer below, or σ² for the inputs), biases N(0, ζ²). In layer l a pre-activation has
variance q(s) at s = |x|², and the metric is g = T(s) I + D(s) x xᵀ with, from layer to layer,

    T ← A(q) t,   D ← A(q) d + 2 A'(q) q'²,   then   t ← σ² T,   d ← σ² D,   q ← σ² K(q) + ζ²,

where A(v) = E[φ'(z)²], K(v) = E[φ(z)²], z ~ N(0, v), and at the start t = σ², d = 0, q = σ² s + ζ². The first layer is
that of arXiv 2301.11375, Section 3.2; it prints three times the Ricci scalar of its metric. Deeper ones are ours.
All is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from repro.geometry.arrays import as_tensor, check_whole, shown
from repro.geometry.nonlinearity import monomial_power, nonlinearity
from repro.geometry.roots import square_root

Function = Callable[[Tensor], Tensor]

# The trapezoidal rule on a step of 1/32 is exact to rounding for what is analytic within a strip of half width 1/5
# about the real axis: for sigmoids of variance up to 240. Gauss and Hermite would need a thousand nodes for as much.
STEP, REACH = 1 / 32, 9.0


class Moments(NamedTuple):
    """Of an activation φ at a normal variable z of variance v, as functions of v."""

    slope: Function  # A(v) = E[φ'(z)²]
    value: Function  # K(v) = E[φ(z)²]


def metric(
    x: Tensor, activation: str, weight_variance: float = 1.0, bias_variance: float = 1.0, depth: int = 1
) -> Tensor:
    """Metric of hidden layer `depth` at each point, in the limit of infinite width.

    Args:
        x: (points, d) inputs.
        activation: φ, see `repro.geometry.nonlinearity.nonlinearity`.
        weight_variance: σ², positive.
        bias_variance: ζ², not negative.
        depth: hidden layers, at least 1.

    Returns:
        (points, d, d), float64.

    Raises:
        ValueError: for points of another shape or not finite, an unknown activation, or another variance or depth.

    Example:
        >>> metric(torch.tensor([[1.0, 0.0]]), "erf")
        tensor([[[0.1708, 0.0000],
                 [0.0000, 0.2847]]], dtype=torch.float64)
    """
    points, squared, layer = _checked(x, activation, weight_variance, bias_variance, depth)
    tangential, radial = layer(squared)
    eye = torch.eye(points.shape[1], dtype=torch.float64, device=points.device)
    return tangential[:, None, None] * eye + radial[:, None, None] * points[:, :, None] * points[:, None]


def metric_at(
    point: Tensor, activation: str, weight_variance: float = 1.0, bias_variance: float = 1.0, depth: int = 1
) -> Tensor:
    """Metric (d, d) at one float64 point (d,), which torch can differentiate; as `metric` otherwise, without checks."""
    tangential, radial = _layer(moments(activation), point.square().sum()[None], weight_variance, bias_variance, depth)
    return tangential * torch.eye(len(point), dtype=point.dtype, device=point.device) + radial * torch.outer(
        point, point
    )


def volume_element(
    x: Tensor, activation: str, weight_variance: float = 1.0, bias_variance: float = 1.0, depth: int = 1
) -> Tensor:
    """Volume element √det g = √(T^(d−1) (T + s D)) at each point: (points,), float64; arguments as for `metric`.

    Example:
        >>> volume_element(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), "monomial2")
        tensor([ 3.7712, 10.7497], dtype=torch.float64)
    """
    points, squared, layer = _checked(x, activation, weight_variance, bias_variance, depth)
    tangential, radial = layer(squared)
    return square_root(tangential ** (points.shape[1] - 1) * (tangential + squared * radial))


def ricci_scalar(
    x: Tensor, activation: str, weight_variance: float = 1.0, bias_variance: float = 1.0, depth: int = 1
) -> Tensor:
    """Ricci scalar at each point: (points,), float64; arguments as for `metric`.

    With ρ = T + s D, the metric along the radius, and u = (T + s T')/√(Tρ), ' = d/ds,

        R = −4 (d−1) u'/√(Tρ) + (d−1)(d−2) (1 − u²)/(s T),

    where s cancels in the last term. NaN where the metric is degenerate, and, for activations without a closed form of
    their moments, at the origin of a net without biases.

    Example:
        >>> ricci_scalar(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), "erf")
        tensor([-0.9366, -2.5259], dtype=torch.float64)
    """
    points, squared, layer = _checked(x, activation, weight_variance, bias_variance, depth)
    inputs = points.shape[1]

    def stretch(s: Tensor) -> Tensor:
        tangential, radial = layer(s)
        slope = derivative(lambda r: layer(r)[0])(s)
        return (tangential + s * slope) / square_root(tangential * (tangential + s * radial))

    tangential, radial = layer(squared)
    slope = derivative(lambda r: layer(r)[0])(squared)
    product = tangential * (tangential + squared * radial)
    warped = (tangential * radial - 2 * tangential * slope - squared * slope**2) / product  # (1 − u²)/s
    scalar = -4 * (inputs - 1) * derivative(stretch)(squared) / square_root(product)
    return scalar + (inputs - 1) * (inputs - 2) * warped / tangential


def moments(activation: str) -> Moments:
    """Mean squares of an activation and of its slope, in closed form where there is one.

    Raises:
        ValueError: for an unknown activation.

    Example:
        >>> moments("erf").slope(torch.tensor([1.5]))  # (2/π)/√(1 + 2v)
        tensor([0.3183])
    """
    phi, power = nonlinearity(activation), monomial_power(activation)
    if power is not None:
        factor = power**2 / (2 * power - 1)
        return Moments(lambda v: factor * v ** (power - 1), lambda v: v**power)
    if activation == "erf":
        return Moments(
            lambda v: (2 / math.pi) / square_root(1 + 2 * v),
            lambda v: (2 / math.pi) * torch.atan2(v, square_root(1 + 2 * v)),
        )
    if activation == "relu":
        return Moments(lambda v: torch.full_like(v, 0.5), lambda v: v / 2)
    return Moments(_mean_square(phi.slope), _mean_square(phi.value))


def derivative(function: Function) -> Function:
    """Derivative of a function that is applied entry by entry."""

    def slope(v: Tensor) -> Tensor:
        found: Tensor = torch.func.jvp(function, (v,), (torch.ones_like(v),))[1]
        return found

    return slope


def _mean_square(function: Function) -> Function:
    """E[f(z)²], z ~ N(0, v), as a function of v (points,)."""
    nodes = torch.arange(-REACH, REACH + STEP / 2, STEP, dtype=torch.float64)
    weights = STEP / math.sqrt(2 * math.pi) * torch.exp(-(nodes**2) / 2)

    def mean(v: Tensor) -> Tensor:
        return function(square_root(v)[:, None] * nodes.to(v.device)).square() @ weights.to(v.device)

    return mean


def _checked(
    x: object, activation: str, weight_variance: float, bias_variance: float, depth: int
) -> tuple[Tensor, Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Points, their squared lengths, and T and D as functions of these."""
    phi = moments(activation)
    for name, variance, positive in (
        ("weight_variance", weight_variance, True),
        ("bias_variance", bias_variance, False),
    ):
        number = isinstance(variance, int | float) and not isinstance(variance, bool) and math.isfinite(variance)
        if not number or variance < 0 or (positive and variance == 0):
            bound = "positive" if positive else "not negative"
            raise ValueError(f"{name} must be a finite number, {bound}, got {shown(variance)}")
    check_whole(depth, "depth")
    points = as_tensor(x, "x", torch.float64)
    if points.ndim != 2 or not points.numel():
        raise ValueError(f"x must have shape (points, d), both at least 1, got {tuple(points.shape)}")
    return points, points.square().sum(1), lambda s: _layer(phi, s, weight_variance, bias_variance, depth)


def _layer(phi: Moments, s: Tensor, weight_variance: float, bias_variance: float, depth: int) -> tuple[Tensor, Tensor]:
    """T and D of a hidden layer."""
    tangential, radial = torch.full_like(s, weight_variance), torch.zeros_like(s)
    variance, growth = weight_variance * s + bias_variance, torch.full_like(s, weight_variance)  # q and q'
    for layer in range(depth):
        if layer:
            tangential, radial = weight_variance * tangential, weight_variance * radial
            growth = weight_variance * derivative(phi.value)(variance) * growth
            variance = weight_variance * phi.value(variance) + bias_variance
        mean = phi.slope(variance)
        radial = mean * radial + 2 * derivative(phi.slope)(variance) * growth**2
        tangential = mean * tangential
    return tangential, radial
