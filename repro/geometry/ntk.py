"""Neural tangent kernels: of any network, and of one-hidden-layer ReLU networks in closed form.

The latter are f(x) = (1/h) Σₙ βₙ c relu(wₙ·x/√d + bₙ). What a kernel knows of a label is measured in
`repro.geometry.kernel_pca`, whose functions can be imported from here too.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from repro.geometry.arrays import as_tensor, check_whole
from repro.geometry.jacobian import BATCH, checked_inputs, parameter_rows
from repro.geometry.kernel_pca import eigenvector_information, label_alignment, label_projection
from repro.geometry.layer_factors import Factors, factored_layers, layer_factors
from repro.geometry.roots import square_root_

__all__ = [
    "eigenvector_information",
    "empirical_ntk",
    "label_alignment",
    "label_projection",
    "relu_ntk",
    "shallow_ntk",
]

Array = TypeVar("Array", Tensor, np.ndarray)


LEFT_BYTES, RIGHT_BYTES = 2**31, 2**29  # of the Jacobian rows held on either side of a product
TILE = 512  # points, or positions of them, on either side of a product at a time: some MB
PATIENCE = 2  # seconds of silence before a progress bar


def empirical_ntk(network: nn.Module, x: Tensor, y: Tensor | None = None, batch_size: int = BATCH) -> Tensor:
    """Neural tangent kernel Θ(x, y) = Σ ∂f(x) ∂f(y) over all trainable parameters of a network with one output.

    It is a product of Jacobians, made in blocks of rows so that memory stays within some 3 GiB, and the kernel, for any
    number of points. Wide layers of few positions enter by the factors of their part, which are short, and all other
    parameters by rows; without y, p points whose rows take R bytes then take some p (1 + p R / 2³²) gradients, and a
    bar shows them where they take long. Keep `jacobian` of the points instead where several kernels share them.

    Args:
        network: module from (points, ...) to (points,) or (points, 1).
        x: (p, ...) inputs of the precision and device of the parameters.
        y: (q, ...) inputs; None means x.
        batch_size: examples per backward pass; it sets the memory, not the result.

    Returns:
        (p, q) kernel, detached; symmetric without y.

    Raises:
        ValueError: see `repro.geometry.jacobian.jacobian`.
    """
    x = checked_inputs(network, x, "x")
    y = y if y is None else checked_inputs(network, y, "y")
    check_whole(batch_size, "batch_size")
    jacobian = _FactoredJacobian(network, x, batch_size)
    rows, columns = max(1, LEFT_BYTES // jacobian.row), max(1, RIGHT_BYTES // jacobian.row)
    second = x if y is None else y
    kernel = torch.empty(len(x), len(second), dtype=x.dtype, device=x.device)
    blocks = [(top, min(top + rows, len(x))) for top in range(0, len(x), rows)]
    firsts = [stop if y is None else 0 for _, stop in blocks]  # what lies before is known by symmetry
    gradients = len(x) + sum(len(second) - first for first in firsts)
    with tqdm(total=gradients, desc=f"kernel, {jacobian.told}", unit=" gradients", delay=PATIENCE) as bar:
        for (top, stop), first in zip(blocks, firsts, strict=True):
            left = jacobian(x[top:stop])
            bar.update(stop - top)
            if y is None:
                _multiply(left, left, kernel[top:stop, top:stop], symmetric=True)
            for start in range(first, len(second), columns):
                right = jacobian(second[start : start + columns])
                product = kernel[top:stop, start : start + columns]
                _multiply(left, right, product)
                bar.update(product.shape[1])
                if y is None:
                    kernel[start : start + columns, top:stop] = product.T
                del right
            del left  # or two of them are held while the next is made
    return kernel


class _Derivatives(NamedTuple):
    rows: Tensor  # (points, some parameters)
    factors: list[Factors]  # of the other parameters, layer by layer


class _FactoredJacobian:
    """Derivatives of a network with one output, with the parts of wide layers as factors."""

    def __init__(self, network: nn.Module, x: Tensor, batch_size: int) -> None:
        self.network, self.batch_size = network, batch_size
        self.layers = factored_layers(network, x)
        values = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self.names = [name for name in values if name.rpartition(".")[0] not in self.layers]
        one = layer_factors(network, self.layers, x[:1], 1)
        rest = sum(values[name].numel() for name in self.names)
        self.row = (rest + sum(part.numel() for factors in one for part in factors)) * x.element_size()  # bytes a point
        self.told = f"{sum(value.numel() for value in values.values()):,} parameters"

    def __call__(self, x: Tensor) -> _Derivatives:
        """Of some points."""
        rows = parameter_rows(self.network, x, self.batch_size, self.names)
        return _Derivatives(rows, layer_factors(self.network, self.layers, x, self.batch_size))


def _multiply(left: _Derivatives, right: _Derivatives, product: Tensor, symmetric: bool = False) -> None:
    """Write the inner products of derivatives; of the same ones, where it is symmetric, each pair once."""
    positions = max((factors.inputs.shape[1] for factors in left.factors), default=1)
    side = max(1, TILE // positions)
    for top in range(0, product.shape[0], side):
        for start in range(top if symmetric else 0, product.shape[1], side):
            rows, columns = slice(top, top + side), slice(start, start + side)
            tile = left.rows[rows] @ right.rows[columns].T
            for first, second in zip(left.factors, right.factors, strict=True):
                tile += first.taken(rows).product(second.taken(columns))
            product[rows, columns] = tile
            if symmetric:  # to the last bit
                product[columns, rows] = tile.T if top < start else tile.tril() + tile.tril(-1).T


def relu_ntk(x: Array, y: Array | None = None) -> Array:
    """Infinite-width neural tangent kernel of that network, multiplied by its width h.

    With all parameters N(0, 1), gain c = √2, u = (x/√d, 1), v = (y/√d, 1) and θ the angle between u and v,

        lim h Θ(x, y) = [ |u||v| (sin θ + (π − θ) cos θ) + (u·v) (π − θ) ] / π,

    the arc-cosine kernels of degree 1 (readout) and 0 (weights and biases). On the diagonal it is 2|u|².

    Args:
        x: (p, d) points, float32 or float64, torch or NumPy.
        y: (q, d) points of the same kind; None means x.

    Returns:
        (p, q) kernel of the type, precision and device of x.

    Raises:
        ValueError: for other shapes, another type, or non-finite entries.
    """
    first = _points(x, "x")
    second = first if y is None else _points(y, "y")
    _match(first, second)
    u, v = _augmented(first), _augmented(second)
    norms = torch.outer(u.norm(dim=1), v.norm(dim=1))  # (p, q)
    product = u @ v.T
    cosine = (product / norms).clamp_(-1, 1)
    if y is None:
        cosine.fill_diagonal_(1.0)  # rounding would leave an angle of about the square root of the precision
    sine = square_root_(1 - cosine**2)
    remainder = math.pi - torch.atan2(sine, cosine)  # π − θ
    # in place: the matrices may hold 20 000 by 8 192 numbers
    kernel = norms.mul_(sine).add_(product.mul_(remainder), alpha=2).div_(math.pi)
    return _like(kernel, x)


def shallow_ntk(
    weight: Array,
    bias: Array,
    readout: Array,
    x: Array,
    y: Array | None = None,
    gain: float = math.sqrt(2.0),
) -> Array:
    """Neural tangent kernel Θ(x, y) = Σ ∂f(x) ∂f(y) over all three parameter tensors, in closed form.

    With u = (x/√d, 1), pre-activations z, masks m = 1[z > 0] (arXiv 2007.11471, network of the released code),

        Θ(x, y) = (c²/h²) Σₙ [ relu(zₙ(x)) relu(zₙ(y)) + βₙ² mₙ(x) mₙ(y) (x·y/d + 1) ].

    Args:
        weight: (h, d) first layer w; torch or NumPy like the rest.
        bias: (h,) biases b.
        readout: (h,) readout β.
        x: (p, d) points.
        y: (q, d) points; None means x.
        gain: c.

    Returns:
        (p, q) kernel of the type, precision and device of x; it is not multiplied by h.

    Raises:
        ValueError: for shapes that do not fit, mixed precisions, non-finite entries, or a gain that is not finite.
    """
    first = _points(x, "x")
    second = first if y is None else _points(y, "y")
    _match(first, second)
    w, b, beta = as_tensor(weight, "weight"), as_tensor(bias, "bias"), as_tensor(readout, "readout")
    width, dimension = w.shape if w.ndim == 2 else (-1, -1)
    if b.shape != (width,) or beta.shape != (width,) or dimension != first.shape[1] or width == 0:
        raise ValueError(
            f"expected weight (h, {first.shape[1]}), bias (h,), readout (h,) with h >= 1, got "
            f"{tuple(w.shape)}, {tuple(b.shape)}, {tuple(beta.shape)}"
        )
    for name, tensor in (("weight", w), ("bias", b), ("readout", beta)):
        if tensor.dtype != first.dtype or tensor.device != first.device:
            raise ValueError(f"{name} is {tensor.dtype} on {tensor.device}, x is {first.dtype} on {first.device}")
    if not math.isfinite(gain):
        raise ValueError(f"gain must be finite, got {gain}")
    u, v = _augmented(first), _augmented(second)
    hidden = torch.cat([w, b[:, None]], 1)
    z_first, z_second = u @ hidden.T, v @ hidden.T  # (p, h), (q, h)
    readout_part = torch.relu(z_first) @ torch.relu(z_second).T
    hidden_part = ((z_first > 0) * beta) @ ((z_second > 0) * beta).T
    return _like(hidden_part.mul_(u @ v.T).add_(readout_part).mul_((gain / width) ** 2), x)


def _points(values: Array, name: str) -> Tensor:
    points = as_tensor(values, name)
    if points.ndim != 2 or points.shape[0] == 0 or points.shape[1] == 0:
        raise ValueError(f"{name} must have shape (points, d), both at least 1, got {tuple(points.shape)}")
    if points.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} must be float32 or float64, got {points.dtype}")
    return points


def _match(first: Tensor, second: Tensor) -> None:
    same = first.dtype == second.dtype and first.device == second.device
    if first.shape[1] != second.shape[1] or not same:
        raise ValueError(
            f"x and y must agree in dimension, precision and device, got (p, {first.shape[1]}) {first.dtype} on "
            f"{first.device} and (q, {second.shape[1]}) {second.dtype} on {second.device}"
        )


def _augmented(points: Tensor) -> Tensor:
    """u = (x/√d, 1), so that a pre-activation is one inner product with (w, b)."""
    return torch.cat([points / math.sqrt(points.shape[1]), torch.ones_like(points[:, :1])], 1)


def _like(kernel: Tensor, original: Array) -> Array:
    return kernel if isinstance(original, Tensor) else kernel.numpy()
