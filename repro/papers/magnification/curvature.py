"""The Ricci scalar as arXiv 2301.11375 (version 2) prints it, beside that of its metric.

What is at hand of the printed formulas, and what is not:

- Eq. 4 = B.15, the triple sum over units: the formula of the paper and of its released code;
- B.16, the same for three units: the three terms that Eq. 4 leaves then, with its factor; not copied from the page;
- B.70, three units at 120°: the formula of the paper;
- Eq. 7 = C.28 and C.46, infinite width: their wording is not at hand. What is computed is the paper's *route* to
  them, the Ricci tensor of its appendix A.5 with the sign that is printed there, on the limiting metric;
- B.69 is not at hand: only that it is in terms of det g, and four times the true one, was noted when the paper was
  read. `by_determinant` is the right form of this kind.

The true scalar comes from the equation of Gauss or from closed forms that agree with it (`repro.geometry.pullback`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repro.device import resolve_device
from repro.geometry import infinite_width
from repro.geometry.nonlinearity import nonlinearity
from repro.geometry.pullback import ricci_scalar, shallow_ricci_scalar, shallow_volume_element
from repro.papers.magnification.symmetry import random_layer

Row = dict[str, Any]
Layer = tuple[Tensor, Tensor]

FORMULAS = ("Eq. 4", "B.16", "Eq. 7", "C.46", "B.70")
SURFACES = ("sphere", "paraboloid", "deep net")
BIASES = (0.0, 0.5, 1.0)  # of three units at 120°
WIDTH = 20  # of the random nets of Eq. 4


def printed_cell(*, formula: str, nets: int, points: int, seed: int = 0, device: str = "auto") -> list[Row]:
    """A printed formula and the true Ricci scalar, d = 2, at standard normal points.

    Rows, one per net and point: net, x1, x2, printed, true. The nets: of Eq. 4 random sigmoid nets of width 20; of B.16
    random erf nets of width 3; of B.70 three units at 120° with biases 0, 0.5, 1 in turn; of Eq. 7 and C.46 there are
    none, but the limit of infinite width, of erf and the quadratic, with biases of variance 1/(net + 1).

    Args:
        formula: one of `FORMULAS`; what stands behind a name is said above.
        nets: number of nets.
        points: of each.
        seed: non-negative integer.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
    """
    if formula not in FORMULAS or nets < 1 or points < 1 or seed < 0:
        raise ValueError(
            f"expected a formula of {FORMULAS}, a net, a point and a seed >= 0, got {formula!r}, {nets}, {points} and "
            f"{seed}"
        )
    place, rows = resolve_device(device), []
    for net in range(nets):
        numbers = np.random.default_rng(np.random.SeedSequence([seed, net])).standard_normal((points, 2))
        x = torch.from_numpy(numbers).to(place)
        printed, true = _both(formula, net, seed, x)
        columns = zip(x.tolist(), printed.tolist(), true.tolist(), strict=True)
        rows += [{"net": net, "x1": p[0], "x2": p[1], "printed": one, "true": other} for p, one, other in columns]
    return rows


def route_cell(*, surface: str, points: int, seed: int = 0, device: str = "auto") -> list[Row]:
    """The paper's route to the Ricci scalar, `printed_route`, for maps that are no single hidden layer.

    Rows, one per point: x1, x2, printed (by the route), true.

    Args:
        surface: "sphere" (polar angles), "paraboloid" (over the plane) or "deep net" (2-8-8, sigmoid, all weights and
            biases N(0, 1)).
        points: standard normal, of the sphere moved to (1.5, 0) and shrunk to a third, away from its poles.
        seed, device: see `printed_cell`.

    Raises:
        ValueError: for a parameter out of range.
    """
    if surface not in SURFACES or points < 1 or seed < 0:
        raise ValueError(
            f"expected a surface of {SURFACES}, a point and a seed >= 0, got {surface!r}, {points}, {seed}"
        )
    generator = np.random.default_rng(np.random.SeedSequence([seed]))
    x = torch.from_numpy(generator.standard_normal((points, 2)))
    x = (x / 3 + torch.tensor([1.5, 0.0]) if surface == "sphere" else x).to(resolve_device(device))
    feature_map = _surface(surface, generator)
    columns = zip(x.tolist(), printed_route(_pullback(feature_map), x).tolist(), ricci_scalar(feature_map, x).tolist(),
                  strict=True)  # fmt: skip
    return [{"x1": p[0], "x2": p[1], "printed": one, "true": other} for p, one, other in columns]


def both_sides_cell(
    *, activation: str, width: int, draws: int, lengths: list[float], seed: int = 0, device: str = "auto"
) -> list[Row]:
    """Ricci scalar of random nets against |x|, true and by Eq. 4, as in Fig. 1; the nets of `symmetry.profile_cell`.

    Rows, one per draw: draw, true and printed, lists over the lengths.

    Args:
        activation: see `repro.geometry.nonlinearity.nonlinearity`.
        width: hidden units.
        draws: number of nets.
        lengths: |x|.
        seed, device: see `printed_cell`.

    Raises:
        ValueError: for a parameter out of range.
    """
    if width < 2 or draws < 1 or seed < 0:
        raise ValueError(f"expected a width of at least 2, a draw and a seed >= 0, got {width}, {draws} and {seed}")
    place, rows = resolve_device(device), []
    x = torch.tensor([[length, 0.0] for length in lengths], dtype=torch.float64, device=place)
    for draw in range(draws):
        layer = random_layer(width, draw, seed, place)
        true = shallow_ricci_scalar(*layer, x, activation).tolist()
        rows.append({"draw": draw, "true": true, "printed": triple_sum(layer, x, activation).tolist()})
    return rows


def triple_sum(layer: Layer, x: Tensor, activation: str, factor: float = 3.0) -> Tensor:
    """Eq. 4 = B.15 as printed; with the factor 1 in place of 3 it is right. O(n³) a point.

        R = −(3 / (n³ (det g)²)) Σᵢⱼₖ mⱼₖ² mᵢⱼ mᵢₖ φ'ᵢ² φ'ⱼ φ'ₖ φ''ⱼ φ''ₖ,   mⱼₖ = wⱼ₁wₖ₂ − wⱼ₂wₖ₁

    Args:
        layer: weights (n, 2) and biases (n,).
        x: (points, 2).
        activation: φ.
        factor: 3 as printed.

    Returns:
        (points,).
    """
    weight, bias = layer
    phi, z = nonlinearity(activation), x @ weight.T + bias
    m = weight[:, :1] * weight[:, 1] - weight[:, 1:] * weight[:, 0]  # (n, n)
    slope, product = phi.slope(z).square(), phi.slope(z) * phi.bend(z)  # (points, n)
    arms = m * product[:, None, :]  # (points, i, j): mᵢⱼ φ'ⱼ φ''ⱼ
    total = torch.einsum("pi,pij,pij->p", slope, arms, arms @ m.square())
    return -factor * total / (len(weight) ** 3 * shallow_volume_element(weight, bias, x, activation) ** 4)


def three_terms(layer: Layer, x: Tensor, activation: str) -> Tensor:
    """B.16, Eq. 4 for three units, where i, j and k must differ; arguments as for `triple_sum`.

    R = −(2/9) Σᵢ mⱼₖ² mᵢⱼ mᵢₖ φ'ᵢ² φ'ⱼ φ'ₖ φ''ⱼ φ''ₖ / (det g)²,   (i, j, k) = (1, 2, 3), (2, 3, 1), (3, 1, 2)
    """
    weight, bias = layer
    phi, z = nonlinearity(activation), x @ weight.T + bias
    slope, product = phi.slope(z).square(), phi.slope(z) * phi.bend(z)
    total = torch.zeros_like(x[:, 0])
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        areas = _area(weight[j], weight[k]) ** 2 * _area(weight[i], weight[j]) * _area(weight[i], weight[k])
        total = total + areas * slope[:, i] * product[:, j] * product[:, k]
    return -(2 / 9) * total / shallow_volume_element(weight, bias, x, activation) ** 4


def three_units(bias: float, device: torch.device) -> Layer:
    """Unit vectors at 120° with one bias."""
    angle = 2 * math.pi / 3 * torch.arange(3, dtype=torch.float64, device=device)
    return torch.stack([angle.cos(), angle.sin()], 1), torch.full_like(angle, bias)


def closed_example(bias: float, x: Tensor) -> Tensor:
    """B.70, of `three_units` with erf: R = −(9π/4)(|x|² − 4b²) exp(3(|x|² + 2b²)/2) / [Σᵢ exp(…)]². It is right.

    The three exponents are (x₁ + b)², (x₁ + √3 x₂ − 2b)²/4 and (x₁ − √3 x₂ − 2b)²/4.
    """
    squared, (first, second) = x.square().sum(1), x.T
    exponents = [(first + bias) ** 2] + [(first + sign * math.sqrt(3) * second - 2 * bias) ** 2 / 4 for sign in (1, -1)]
    below = torch.stack(exponents).exp().sum(0)
    above = (squared - 4 * bias**2) * torch.exp(1.5 * (squared + 2 * bias**2))
    scalar: Tensor = -9 * math.pi / 4 * above / below**2
    return scalar


def by_determinant(bias: float, x: Tensor) -> Tensor:
    """The true Ricci scalar of `three_units` with erf in terms of det g, the form that B.69 has; ours.

        R = −(|x|² − 4b²) exp(−3(|x|² + 2b²)/2) / (4π³ (det g)²)

    B.69 was found to be four times it.
    """
    weight, biases = three_units(bias, x.device)
    squared, volume = x.square().sum(1), shallow_volume_element(weight, biases, x, "erf")
    above = (squared - 4 * bias**2) * torch.exp(-1.5 * (squared + 2 * bias**2))
    scalar: Tensor = -above / (4 * math.pi**3 * volume**4)
    return scalar


def printed_route(metric_at: Callable[[Tensor], Tensor], x: Tensor, sign: float = -1.0) -> Tensor:
    """Ricci scalar by Christoffel symbols, the products Γ·Γ with the sign of appendix A.5; with +1 it is right.

        R = gᵇᵈ [ ∂ₐ Γᵃ_bd − ∂_d Γᵃ_ba ∓ (Γᵃ_ac Γᶜ_bd − Γᵃ_dc Γᶜ_ba) ]

    Where ∂g is symmetric in all indices, as for one hidden layer, the first two terms are 1/2 of one expression and the
    others 1/4 of it with the opposite sign: 1/2 − 1/4 becomes 1/2 + 1/4, three times as much.

    Args:
        metric_at: from one point (d,) to the metric (d, d) there.
        x: (points, d).
        sign: of the products; −1 as printed.
    """

    def symbols(point: Tensor) -> Tensor:
        change = torch.func.jacfwd(metric_at)(point)  # ∂_c g_ab
        lowered = (change + change.transpose(1, 2) - change.permute(2, 1, 0)) / 2
        raised: Tensor = torch.linalg.inv(metric_at(point)) @ lowered.flatten(1)
        return raised.reshape(lowered.shape)

    def scalar(point: Tensor) -> Tensor:
        gamma, change = symbols(point), torch.func.jacfwd(symbols)(point)
        first = torch.einsum("abda->bd", change) - torch.einsum("abad->bd", change)
        second = torch.einsum("aac,cbd->bd", gamma, gamma) - torch.einsum("adc,cba->bd", gamma, gamma)
        total: Tensor = (torch.linalg.inv(metric_at(point)) * (first + sign * second)).sum()
        return total

    with torch.no_grad():
        found: Tensor = torch.func.vmap(scalar, chunk_size=256)(x)
    return found


def _both(formula: str, net: int, seed: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """A formula as printed and the true scalar, at points (n, 2)."""
    if formula in ("Eq. 7", "C.46"):
        activation, variance = ("erf" if formula == "Eq. 7" else "monomial2"), 1 / (net + 1)

        def limit(point: Tensor) -> Tensor:
            return infinite_width.metric_at(point, activation, bias_variance=variance)

        return printed_route(limit, x), infinite_width.ricci_scalar(x, activation, bias_variance=variance)
    if formula == "Eq. 4":
        layer = random_layer(WIDTH, net, seed, x.device)
        return triple_sum(layer, x, "sigmoid"), shallow_ricci_scalar(*layer, x, "sigmoid")
    if formula == "B.16":
        layer = random_layer(3, net, seed, x.device)
        return three_terms(layer, x, "erf"), _by_gauss(layer, x)
    bias = BIASES[net % len(BIASES)]
    return closed_example(bias, x), _by_gauss(three_units(bias, x.device), x)


def _by_gauss(layer: Layer, x: Tensor) -> Tensor:
    """Of an erf layer of three units; there the closed form is a small difference of large squares."""
    return ricci_scalar(lambda points: nonlinearity("erf").value(points @ layer[0].T + layer[1]), x)


def _area(one: Tensor, other: Tensor) -> Tensor:
    return one[0] * other[1] - one[1] * other[0]


def _pullback(feature_map: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Its metric at one point, for derivatives by torch."""

    def metric_at(point: Tensor) -> Tensor:
        jacobian: Tensor = torch.func.jacfwd(lambda p: feature_map(p[None])[0])(point)
        product: Tensor = jacobian.T @ jacobian / len(jacobian)
        return product

    return metric_at


def _surface(surface: str, generator: np.random.Generator) -> Callable[[Tensor], Tensor]:
    if surface == "sphere":
        return lambda x: torch.stack([x[:, 0].sin() * x[:, 1].cos(), x[:, 0].sin() * x[:, 1].sin(), x[:, 0].cos()], 1)
    if surface == "paraboloid":
        return lambda x: torch.cat([x, x.square().sum(1, keepdim=True) / 2], 1)
    layers = [torch.from_numpy(generator.standard_normal(shape)) for shape in ((8, 2), (8,), (8, 8), (8,))]

    def net(x: Tensor) -> Tensor:
        first, second, third, fourth = (each.to(x.device) for each in layers)
        return torch.sigmoid(torch.sigmoid(x @ first.T + second) @ third.T + fourth)

    return net
