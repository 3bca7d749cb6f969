"""Geometry that a feature map gives to its inputs: metric, volume, curvature.

A feature map Φ from d inputs to n features, with Jacobian J, pulls the metric g = JᵀJ/n back to the inputs
(arXiv 2301.11375, Section 2; the division by the width makes wide nets comparable). Closed forms for one hidden layer
are in `repro.geometry.shallow`, whose functions can be imported from here too.

Every function takes a feature map, from (batch, ...) to (batch, n), whose row depends on its own point only: a module
in evaluation mode, or any function that torch can differentiate; and points (points, ...), float32 or float64, of d
entries each. `repro.geometry.input_jacobian.input_jacobian` tells what is refused. Memory stays bounded for any number
of points.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from repro.geometry.arrays import check_whole
from repro.geometry.factor import degenerate, orthonormal_frame, triangular_factor
from repro.geometry.input_jacobian import FeatureMap, checked_map, input_jacobian, jacobian_blocks, second_derivatives
from repro.geometry.shallow import shallow_log_volume, shallow_metric, shallow_ricci_scalar, shallow_volume_element

__all__ = [
    "input_jacobian",
    "log_effective_volume",
    "metric",
    "ricci_scalar",
    "shallow_log_volume",
    "shallow_metric",
    "shallow_ricci_scalar",
    "shallow_volume_element",
    "singular_values",
    "volume_element",
]


def metric(feature_map: FeatureMap, x: Tensor) -> Tensor:
    """Pullback metric g = JᵀJ/n at each point: (points, d, d).

    Example:
        >>> metric(lambda x: torch.cat([x, x**2], 1), torch.tensor([[0.0], [1.0]])).flatten()
        tensor([0.5000, 2.5000])
    """
    return torch.cat([block.mT @ block / block.shape[1] for block in jacobian_blocks(feature_map, x)])


def volume_element(feature_map: FeatureMap, x: Tensor) -> Tensor:
    """Volume element √det g at each point: (points,). 0 where there are fewer features than inputs.

    Example:
        >>> volume_element(lambda x: 2 * x, torch.ones(3, 2)).round(decimals=4)  # each factor 2/√2
        tensor([2., 2., 2.])
    """
    x, features = checked_map(feature_map, x)
    if features < x[0].numel():
        return x.new_zeros(len(x))
    return torch.cat([factor.diagonal(dim1=1, dim2=2).prod(1) for factor in _factors(feature_map, x)])


def log_effective_volume(feature_map: FeatureMap, x: Tensor, rank: int | None = None) -> Tensor:
    """Decimal logarithm of the product of the largest singular values sᵢ of J/√n at each point: (points,).

    Σ log₁₀ sᵢ over i <= rank (arXiv 2301.11375, Section 4.2). All of them make the logarithm of the volume element, or,
    with fewer features than inputs, that of the volume of the map's image.

    Args:
        feature_map: see above.
        x: see above.
        rank: how many, from 1 to min(n, d); None means all. For several ranks of the same points take the cumulative
            sums of the logarithms of `singular_values`.

    Example:
        >>> log_effective_volume(lambda x: x * torch.tensor([1000.0, 10.0]) * 2**0.5, torch.ones(1, 2), rank=1)
        tensor([3.])
    """
    x, features = checked_map(feature_map, x)
    if rank is None:
        lengths = [factor.diagonal(dim1=1, dim2=2) for factor in _factors(feature_map, x)]
        return torch.cat([length.log10().sum(1) for length in lengths])
    check_whole(rank, "rank", min(features, x[0].numel()), "min(n, d)")
    return singular_values(feature_map, x)[:, :rank].log10().sum(1)


def singular_values(feature_map: FeatureMap, x: Tensor) -> Tensor:
    """Singular values of J/√n at each point, largest first: (points, min(n, d)).

    Example:
        >>> singular_values(lambda x: x * torch.tensor([3.0, 4.0]) * 2**0.5, torch.ones(1, 2))
        tensor([[4., 3.]])
    """
    return torch.cat([torch.linalg.svdvals(factor) for factor in _factors(feature_map, x)])


def ricci_scalar(feature_map: FeatureMap, x: Tensor) -> Tensor:
    """Ricci scalar of the pullback metric at each point: (points,), NaN where the metric is degenerate.

    By the equation of Gauss, R = |tr Π|² − |Π|², with norms and trace in g, and Π the part of the second derivatives of
    Φ/√n that is normal to the image. A round sphere of radius r has R = +2/r² in two dimensions. It takes all second
    derivatives, so it is meant for few inputs.

    Example:
        >>> def paraboloid(x):
        ...     return 3**0.5 * torch.cat([x, x.square().sum(1, keepdim=True) / 2], 1)
        >>> ricci_scalar(paraboloid, torch.tensor([[0.0, 0.0], [1.0, 0.0]]))  # 2/(1 + r²)²
        tensor([2.0000, 0.5000])
    """
    x, features = checked_map(feature_map, x)
    if features < x[0].numel():
        return x.new_full((len(x),), torch.nan)
    return torch.cat([_by_gauss(*block) for block in second_derivatives(feature_map, x)])


def _factors(feature_map: FeatureMap, x: Tensor) -> Iterator[Tensor]:
    """Triangular factors of J/√n, or of its transpose where it is wide, by blocks: (points, k, k), k = min(n, d)."""
    for block in jacobian_blocks(feature_map, x):
        features, inputs = block.shape[1:]
        columns = block.permute(2, 0, 1) if inputs <= features else block.permute(1, 0, 2)
        yield triangular_factor(columns / features**0.5)


def _by_gauss(jacobian: Tensor, hessian: Tensor) -> Tensor:
    """Of first (points, n, d) and second derivatives (points, n, d, d)."""
    root = jacobian.shape[1] ** 0.5
    factor = triangular_factor(jacobian.permute(2, 0, 1) / root)
    frame = orthonormal_frame(factor)
    tangent = jacobian @ frame / root  # (points, n, d), orthonormal
    bend = (frame.mT[:, None] @ hessian @ frame[:, None]).flatten(2) / root  # (points, n, d d)
    bend = bend - tangent @ (tangent.mT @ bend)
    trace = bend[:, :, :: frame.shape[1] + 1].sum(2)
    scalar = trace.square().sum(1) - bend.square().sum((1, 2))
    return torch.where(degenerate(factor), torch.nan, scalar)
