"""Derivatives of feature maps by their inputs, first and second, for many points at once.

Points are differentiated together, all directions of a pass at once, in blocks that bound the memory: how much a point
needs on its way through the map is measured, not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from repro.geometry.arrays import as_tensor, check_network, kinds, shown
from repro.geometry.jacobian import check_separate

FeatureMap = Callable[[Tensor], Tensor]

PASS_BYTES = 2**25  # of intermediate values in one pass; with more, they leave the caches and a pass slows down
BLOCK_BYTES = 2**26  # of derivatives held at a time


def input_jacobian(feature_map: FeatureMap, x: Tensor) -> Tensor:
    """Jacobians ∂Φ/∂x of a feature map at each point; its measures need no more than a block of them at a time.

    Forward mode, a direction per input, where the map has at least as many features as inputs; reverse mode, one per
    feature, where it has fewer.

    Args:
        feature_map: (batch, ...) → (batch, n), a module or any function that torch can differentiate, whose row depends
            on its own point only.
        x: (points, ...) inputs, float32 or float64; d is the number of entries of one.

    Returns:
        (points, n, d), detached.

    Raises:
        ValueError: for inputs that are empty, not finite or of another precision; a map that is no function, gives
            another shape, mixes the points of a batch or draws at random; derivatives that are not finite.

    Example:
        >>> input_jacobian(lambda x: x**2, torch.tensor([[1.0, 3.0]]))
        tensor([[[2., 0.],
                 [0., 6.]]])
    """
    return torch.cat(list(jacobian_blocks(feature_map, x)))


def jacobian_blocks(feature_map: FeatureMap, x: Tensor) -> Iterator[Tensor]:
    """Jacobians (points, n, d) of consecutive blocks of the points, each of BLOCK_BYTES at most or of one point.

    Arguments and errors are those of `input_jacobian`.
    """
    x, features = checked_map(feature_map, x)
    inputs = math.prod(x.shape[1:])
    directions, derivative = (inputs, _forward) if inputs <= features else (features, _reverse)
    pairs = max(1, PASS_BYTES // _bytes_of_a_point(feature_map, x, features))
    size = max(1, BLOCK_BYTES // (features * inputs * x.element_size()))
    for block in torch.split(x, size):
        parts = [derivative(feature_map, part, pairs) for part in torch.split(block, max(1, pairs // directions))]
        yield _finite(torch.cat(parts))


def second_derivatives(feature_map: FeatureMap, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Jacobians (points, n, d) and Hessians (points, n, d, d) of consecutive blocks of points (points, d).

    Arguments and errors are those of `input_jacobian`.
    """
    x, features = checked_map(feature_map, x)
    inputs = math.prod(x.shape[1:])
    rows, columns = torch.triu_indices(inputs, inputs, device=x.device)
    basis = torch.eye(inputs, dtype=x.dtype, device=x.device).reshape(inputs, *x.shape[1:])
    pairs = max(1, PASS_BYTES // (4 * _bytes_of_a_point(feature_map, x, features)))  # values, two slopes and a bend
    for block in torch.split(x, max(1, BLOCK_BYTES // (features * inputs**2 * x.element_size()))):
        first, second = [], []
        for part in torch.split(block, max(1, pairs // len(rows))):
            slopes, bends = _bends(feature_map, part, basis[rows], basis[columns], pairs)  # (pairs, points, n) each
            first.append(slopes[rows == columns].permute(1, 2, 0))
            hessian = part.new_empty(*bends.shape[1:], inputs, inputs)
            hessian[..., rows, columns] = hessian[..., columns, rows] = bends.permute(1, 2, 0)
            second.append(hessian)
        yield _finite(torch.cat(first)), _finite(torch.cat(second))


def checked_map(feature_map: FeatureMap, x: object) -> tuple[Tensor, int]:
    """The points as a tensor, and the number of features; raises the errors of `input_jacobian`."""
    if not callable(feature_map):
        raise ValueError(f"feature_map must be a module or function, got {shown(feature_map)}")
    points = as_tensor(x, "x")
    if points.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x must be float32 or float64, got {points.dtype}")
    if points.ndim < 2 or not math.prod(points.shape):
        raise ValueError(f"x must have shape (points, ...), none of them 0, got {tuple(points.shape)}")
    if isinstance(feature_map, nn.Module):
        check_network(feature_map)
        check_separate(feature_map)
        (given,), weights = kinds([points]), kinds(feature_map.parameters())
        if weights not in ([], [given]):
            raise ValueError(f"x is {given}, the parameters are {', '.join(weights)}: convert one with to(...)")
    with torch.no_grad():
        output = feature_map(points[:1])
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1 or not output.shape[1]:
        found = tuple(output.shape) if isinstance(output, Tensor) else shown(output)
        raise ValueError(f"feature_map must give (batch, n) features, got {found} for one point")
    return points, output.shape[1]


def _forward(feature_map: FeatureMap, x: Tensor, pairs: int) -> Tensor:
    basis = torch.eye(x[0].numel(), dtype=x.dtype, device=x.device).reshape(-1, 1, *x.shape[1:])

    def along(direction: Tensor) -> Tensor:
        slope: Tensor = torch.func.jvp(feature_map, (x,), (direction.expand_as(x),))[1]
        return slope

    with torch.no_grad():  # of the parameters nothing is kept
        return torch.func.vmap(along, chunk_size=max(1, pairs // len(x)))(basis).permute(1, 2, 0)


def _reverse(feature_map: FeatureMap, x: Tensor, pairs: int) -> Tensor:
    with torch.no_grad():
        output, pull, *_ = torch.func.vjp(feature_map, x)
        basis = torch.eye(output.shape[1], dtype=x.dtype, device=x.device)[:, None].expand(-1, *output.shape)
        rows: Tensor = torch.func.vmap(lambda each: pull(each)[0], chunk_size=max(1, pairs // len(x)))(basis)
    return rows.flatten(2).transpose(0, 1)


def _bends(feature_map: FeatureMap, x: Tensor, first: Tensor, second: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
    """First derivatives along `first`, and second ones along both, for each pair of directions (pairs, ...)."""

    def along(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        def slope(points: Tensor) -> Tensor:
            found: Tensor = torch.func.jvp(feature_map, (points,), (one.expand_as(points),))[1]
            return found

        first, second, *_ = torch.func.jvp(slope, (x,), (other.expand_as(x),))
        return first, second

    with torch.no_grad():
        found: tuple[Tensor, Tensor] = torch.func.vmap(along, chunk_size=max(1, pairs // len(x)))(first, second)
    return found


def _bytes_of_a_point(feature_map: FeatureMap, x: Tensor, features: int) -> int:
    """What autograd keeps of one point: of two less of one, since the weights are kept with either."""
    one, two = (_kept_bytes(feature_map, x[:1].expand(count, *x.shape[1:]).clone()) for count in (1, 2))
    return max(two - one, (x[0].numel() + features) * x.element_size())


def _kept_bytes(feature_map: FeatureMap, x: Tensor) -> int:
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        feature_map(x.requires_grad_())
    return kept


def _finite(derivatives: Tensor) -> Tensor:
    if not bool(torch.isfinite(derivatives).all()):
        raise ValueError("the feature map has derivatives that are not finite at some points x")
    return derivatives
