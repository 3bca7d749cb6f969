"""Geometry of the hidden layer of a net with one, in closed form: a sum over its units at each point.

The feature map is Φⱼ(x) = φ(zⱼ), zⱼ = wⱼ·x + bⱼ, for j = 1..n. Metric: arXiv 2301.11375, Section 3.1. The Ricci scalar
is ours: the paper's is not that of its metric (`notebooks/magnification_curvature.ipynb`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from repro.geometry.arrays import as_tensor
from repro.geometry.factor import degenerate, orthonormal_frame, triangular_factor
from repro.geometry.nonlinearity import Nonlinearity, nonlinearity

BLOCK_BYTES = 2**19  # of what is held for each unit and point at a time: more would leave the caches
FEW = 8  # inputs up to which products of weights are formed once for all points


def shallow_metric(weight: Tensor, bias: Tensor, x: Tensor, activation: str = "sigmoid") -> Tensor:
    """Pullback metric of the hidden layer, g = (1/n) Σⱼ φ'(zⱼ)² wⱼ wⱼᵀ.

    Args:
        weight: (n, d) weights w.
        bias: (n,) biases b, of the precision and device of the weights, like x.
        x: (points, d) inputs.
        activation: φ, see `repro.geometry.nonlinearity.nonlinearity`.

    Returns:
        (points, d, d).

    Raises:
        ValueError: for shapes that do not fit, mixed precisions, non-finite entries, or an unknown activation.

    Example:
        >>> shallow_metric(torch.eye(2), torch.zeros(2), torch.zeros(1, 2), "tanh")  # two features
        tensor([[[0.5000, 0.0000],
                 [0.0000, 0.5000]]])
    """
    w, b, points, phi = _checked(weight, bias, x, activation)
    width, inputs = w.shape
    if inputs <= FEW:
        products = (w[:, :, None] * w[:, None]).flatten(1) / width  # (n, d d)
        parts = [phi.slope(z).square() @ products for z, _ in _blocks(w, b, points, 4)]
        return torch.cat(parts).reshape(-1, inputs, inputs)
    metrics = []
    for z, _ in _blocks(w, b, points, inputs):
        rows = phi.slope(z)[:, :, None] * w  # (points, n, d)
        metrics.append(rows.mT @ rows / width)
    return torch.cat(metrics)


def shallow_volume_element(weight: Tensor, bias: Tensor, x: Tensor, activation: str = "sigmoid") -> Tensor:
    """Volume element √det g of the hidden layer: (points,). 0 where there are fewer units than inputs.

    Arguments and errors are those of `shallow_metric`. It is the product of what each column of the Jacobian adds to
    those before, so nothing cancels as in g₁₁g₂₂ − g₁₂².

    Example:
        >>> shallow_volume_element(2 * torch.eye(2), torch.zeros(2), torch.zeros(1, 2), "tanh")
        tensor([2.0000])
    """
    w, b, points, phi = _checked(weight, bias, x, activation)
    if w.shape[0] < w.shape[1]:
        return points.new_zeros(len(points))
    factors = (_factor(w, phi.slope(z)) for z, _ in _blocks(w, b, points, w.shape[1]))
    return torch.cat([factor.diagonal(dim1=1, dim2=2).prod(1) for factor in factors])


def shallow_log_volume(weight: Tensor, bias: Tensor, x: Tensor, activation: str = "sigmoid") -> Tensor:
    """Decimal logarithm of the volume of the hidden layer, of all its min(n, d) directions: (points,).

    Arguments and errors are those of `shallow_metric`. With as many units as inputs or fewer it is

        Σⱼ log₁₀ |φ'(zⱼ)| + ½ log₁₀ det(W Wᵀ/n),

    of which only the first sum depends on x: O(n d) a point. Where log φ' is concave, as that of the sigmoid and of
    erf, so is this along every straight line, whatever the weights. With more units than inputs it is log₁₀ √det g.

    Example:
        >>> shallow_log_volume(2e3 * torch.eye(2), torch.zeros(2), torch.zeros(1, 2), "tanh")  # √det g = 2e6
        tensor([6.3010])
    """
    w, b, points, phi = _checked(weight, bias, x, activation)
    if len(w) > w.shape[1]:
        factors = (_factor(w, phi.slope(z)) for z, _ in _blocks(w, b, points, w.shape[1]))
        return torch.cat([factor.diagonal(dim1=1, dim2=2).log10().sum(1) for factor in factors])
    constant = triangular_factor((w / len(w) ** 0.5)[:, None]).diagonal(dim1=1, dim2=2).log10().sum()
    return torch.cat([phi.slope(z).abs().log10().sum(1) for z, _ in _blocks(w, b, points, 4)]) + constant


def shallow_ricci_scalar(weight: Tensor, bias: Tensor, x: Tensor, activation: str = "sigmoid") -> Tensor:
    """Ricci scalar of the hidden layer: (points,), NaN where the metric is degenerate.

    The derivatives of this metric, T = ∂g = (2/n) Σⱼ φ'(zⱼ) φ''(zⱼ) wⱼ ⊗ wⱼ ⊗ wⱼ, are symmetric in all three indices,
    so that second derivatives drop out of the curvature, and

        R = (|T|² − |tr T|²) / 4

    with norm and trace taken in g. In two dimensions R is twice the Gaussian curvature; a round sphere has R > 0.

    Arguments and errors are those of `shallow_metric`.

    Example:
        >>> weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> shallow_ricci_scalar(weight, torch.ones(3), torch.zeros(1, 2), "monomial2")
        tensor([-0.5000])
    """
    w, b, points, phi = _checked(weight, bias, x, activation)
    width, inputs = w.shape
    if width < inputs:
        return points.new_full((len(points),), torch.nan)
    every: list[tuple[int, ...]] = list(itertools.combinations_with_replacement(range(inputs), 3))
    cubes = torch.stack([w[:, i] * w[:, j] * w[:, k] for i, j, k in every], 1) * (2 / width)
    where = [every.index(tuple(sorted(place))) for place in itertools.product(range(inputs), repeat=3)]
    changes, factors = [], []
    for z, _ in _blocks(w, b, points, inputs + 2):
        slope = phi.slope(z)
        factors.append(_factor(w, slope))
        changes.append((slope * phi.bend(z)) @ cubes)
    change = torch.cat(changes)[:, where].reshape(-1, inputs, inputs, inputs)
    return _from_change(change, torch.cat(factors))


def _from_change(change: Tensor, factor: Tensor) -> Tensor:
    """(|T|² − |tr T|²) / 4 of T (points, d, d, d) in the metric RᵀR of a triangular factor R."""
    frame = orthonormal_frame(factor)
    for _ in range(3):  # an index at a time to the last place, and in the frame; T is symmetric
        change = torch.einsum("pabc,pai->pbci", change, frame)
    trace = torch.einsum("piik->pk", change)
    scalar = (change.square().sum((1, 2, 3)) - trace.square().sum(1)) / 4
    return torch.where(degenerate(factor), torch.nan, scalar)


def _factor(w: Tensor, slope: Tensor) -> Tensor:
    """Triangular factor of J/√n at each point: (points, d, d)."""
    scaled = slope / w.shape[0] ** 0.5
    return triangular_factor(scaled * w.T[:, None])  # (d, points, n)


def _blocks(w: Tensor, b: Tensor, points: Tensor, copies: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pre-activations (points, n) of consecutive points, and these points; few, where each needs many copies."""
    size = max(1, BLOCK_BYTES // (len(w) * copies * w.element_size()))
    return ((part @ w.T + b, part) for part in torch.split(points, size))


def _checked(weight: object, bias: object, x: object, activation: str) -> tuple[Tensor, Tensor, Tensor, Nonlinearity]:
    phi = nonlinearity(activation)
    w, b, points = as_tensor(weight, "weight"), as_tensor(bias, "bias"), as_tensor(x, "x")
    if w.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"weight must be float32 or float64, got {w.dtype}")
    if w.ndim != 2 or not w.numel():
        raise ValueError(f"weight must have shape (n, d), both at least 1, got {tuple(w.shape)}")
    if b.shape != w.shape[:1]:
        raise ValueError(f"bias must have shape ({len(w)},) as weight {tuple(w.shape)}, got {tuple(b.shape)}")
    if points.ndim != 2 or points.shape[1] != w.shape[1] or not len(points):
        raise ValueError(
            f"x must have shape (points, {w.shape[1]}) as weight {tuple(w.shape)}, got {tuple(points.shape)}"
        )
    for name, tensor in (("bias", b), ("x", points)):
        if tensor.dtype != w.dtype or tensor.device != w.device:
            raise ValueError(f"{name} is {tensor.dtype} on {tensor.device}, weight is {w.dtype} on {w.device}")
    return w, b, points, phi
