"""Random nets against their limit of infinite width (arXiv 2301.11375, Section 3.2 and Fig. 1).

Weights of the first layer and all biases are N(0, 1), those of deeper layers N(0, 1/width). Draw i of a width has the
same weights for every activation function and in every cell of one hidden layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repro.device import resolve_device
from repro.geometry import infinite_width
from repro.geometry.nonlinearity import nonlinearity
from repro.geometry.pullback import metric, shallow_metric, shallow_ricci_scalar, shallow_volume_element

Row = dict[str, Any]

REACH = 1.5  # half the side of the square of points
ANGLES = 16  # points on the unit circle


def convergence_cell(
    *,
    activation: str,
    width: int,
    draws: int,
    side: int = 20,
    curvature_draws: int = 0,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Random nets with one hidden layer against the closed form.

    Rows, one per draw: draw, metric_error (Frobenius norm of the error over that of the limit, mean over a square grid
    on [−1.5, 1.5]²), angular_spread (standard deviation of the log volume over the unit circle), curvature_error
    (Euclidean norm over the grid of the error of the Ricci scalar, over that of the limit; NaN where not asked for).

    Args:
        activation: see `repro.geometry.nonlinearity.nonlinearity`.
        width: hidden units.
        draws: number of nets.
        side: points along a side of the grid.
        curvature_draws: of how many nets the curvature is measured, the first ones.
        seed: non-negative integer.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
    """
    _check(width, draws, seed)
    if side < 2 or not 0 <= curvature_draws <= draws:
        raise ValueError(
            f"expected a side of at least 2 and 0 to {draws} curvature_draws, got {side}, {curvature_draws}"
        )
    place = resolve_device(device)
    points, circle = (each.to(place) for each in (square(side), _circle()))
    limit = infinite_width.metric(points, activation)
    scalar = infinite_width.ricci_scalar(points, activation)
    rows = []
    for draw in range(draws):
        layer = random_layer(width, draw, seed, place)
        found = shallow_metric(*layer, points, activation)
        logs = torch.linalg.det(shallow_metric(*layer, circle, activation)).log() / 2
        row = {"draw": draw, "metric_error": _error(found, limit), "angular_spread": float(logs.std(correction=0))}
        error = float("nan")
        if draw < curvature_draws:
            error = float((shallow_ricci_scalar(*layer, points, activation) - scalar).norm() / scalar.norm())
        rows.append(row | {"curvature_error": error})
    return rows


def depth_cell(
    *, activation: str, depth: int, width: int, draws: int, side: int = 4, seed: int = 0, device: str = "auto"
) -> list[Row]:
    """Random deep nets against the recursion over layers.

    Rows, one per draw: draw, metric_error, as in `convergence_cell`, of the last hidden layer's metric.

    Args:
        activation: see `repro.geometry.nonlinearity.nonlinearity`.
        depth: hidden layers.
        width: units of each.
        draws, side, seed, device: see `convergence_cell`.

    Raises:
        ValueError: for a parameter out of range.
    """
    _check(width, draws, seed)
    if side < 2:
        raise ValueError(f"expected a side of at least 2, got {side}")
    place = resolve_device(device)
    points = square(side).to(place)
    limit = infinite_width.metric(points, activation, depth=depth)
    nets = (random_net(activation, depth, width, draw, seed, place) for draw in range(draws))
    return [{"draw": draw, "metric_error": _error(metric(net, points), limit)} for draw, net in enumerate(nets)]


def profile_cell(
    *, activation: str, width: int, draws: int, lengths: list[float], seed: int = 0, device: str = "auto"
) -> list[Row]:
    """Volume element and Ricci scalar of random nets with one hidden layer against |x|, as in Fig. 1.

    Rows, one per draw: draw, volume and ricci, lists over the lengths, along one direction.

    Args:
        activation, width, draws, seed, device: see `convergence_cell`.
        lengths: |x|.

    Raises:
        ValueError: for a parameter out of range.
    """
    _check(width, draws, seed)
    place = resolve_device(device)
    points = torch.tensor([[length, 0.0] for length in lengths], dtype=torch.float64, device=place)
    layers = (random_layer(width, draw, seed, place) for draw in range(draws))
    return [
        {
            "draw": draw,
            "volume": shallow_volume_element(*layer, points, activation).tolist(),
            "ricci": shallow_ricci_scalar(*layer, points, activation).tolist(),
        }
        for draw, layer in enumerate(layers)
    ]


def square(side: int) -> Tensor:
    """Points (side², 2) of a square grid on [−1.5, 1.5]²."""
    line = torch.from_numpy(np.linspace(-REACH, REACH, side))
    return torch.cartesian_prod(line, line)


def random_layer(width: int, draw: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Weights (width, 2) and biases (width,), all N(0, 1), float64."""
    numbers = np.random.default_rng(np.random.SeedSequence([seed, width, draw])).standard_normal((width, 3))
    layer = torch.from_numpy(numbers).to(device)
    return layer[:, :2].contiguous(), layer[:, 2].contiguous()


def random_net(
    activation: str, depth: int, width: int, draw: int, seed: int, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """A deep random net as a map to its last hidden layer; the first is that of `random_layer`."""
    layers = [random_layer(width, draw, seed, device)]
    for stream in np.random.SeedSequence([seed, width, draw, 1]).spawn(depth - 1):
        numbers = torch.from_numpy(np.random.default_rng(stream).standard_normal((width, width + 1))).to(device)
        layers.append((numbers[:, :-1] / width**0.5, numbers[:, -1]))
    return lambda x: _forward(nonlinearity(activation).value, layers, x)


def _forward(value: Callable[[Tensor], Tensor], layers: Sequence[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    for weight, bias in layers:
        x = value(x @ weight.T + bias)
    return x


def _circle() -> Tensor:
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    return torch.from_numpy(np.column_stack([np.cos(angle), np.sin(angle)]))


def _error(found: Tensor, limit: Tensor) -> float:
    """Relative error in the Frobenius norm, mean over points."""
    return float(((found - limit).flatten(1).norm(dim=1) / limit.flatten(1).norm(dim=1)).mean())


def _check(width: int, draws: int, seed: int) -> None:
    if width < 2 or draws < 1 or seed < 0:
        raise ValueError(f"expected a width of at least 2, a draw and a seed >= 0, got {width}, {draws} and {seed}")
