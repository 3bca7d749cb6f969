"""Triangular factors of tall matrices, whose diagonals are volumes without cancellation."""

from __future__ import annotations

import torch
from torch import Tensor

from repro.geometry.roots import square_root_

FEW = 3  # columns up to which Gram-Schmidt on all matrices at once beats LAPACK on one after another


def triangular_factor(columns: Tensor) -> Tensor:
    """R of J = QR with a diagonal that is not negative, so that JᵀJ = RᵀR; rows of zeros where columns depend.

    Args:
        columns: (d, points, n), the columns of a matrix J (n, d) at each point, n >= d >= 1.

    Returns:
        (points, d, d), upper triangular.
    """
    if len(columns) <= FEW:
        return _gram_schmidt(columns)
    factor: Tensor = torch.linalg.qr(columns.permute(1, 2, 0), mode="r").R
    signs = factor.diagonal(dim1=1, dim2=2).sign()
    return factor * torch.where(signs == 0, 1, signs)[:, :, None]


def _gram_schmidt(columns: Tensor) -> Tensor:
    """The modified form: each column is taken off all that follow it."""
    left = list(columns)
    factor = columns.new_zeros(columns.shape[1], len(left), len(left))
    for i in range(len(left)):
        length = square_root_((left[i] ** 2).sum(1))
        factor[:, i, i] = length
        direction = left[i] / torch.where(length == 0, 1, length)[:, None]
        for j in range(i + 1, len(left)):
            factor[:, i, j] = (direction * left[j]).sum(1)
            left[j] = left[j] - factor[:, i, j, None] * direction
    return factor


def degenerate(factor: Tensor) -> Tensor:
    """Where the columns behind a triangular factor (points, d, d) depend on one another, to rounding: (points,)."""
    lengths = factor.diagonal(dim1=1, dim2=2)
    return lengths.amin(1) <= factor.shape[1] * torch.finfo(factor.dtype).eps * factor.abs().amax((1, 2))


def orthonormal_frame(factor: Tensor) -> Tensor:
    """Vectors orthonormal in the metric RᵀR, as the columns of R⁻¹: (points, d, d); NaN where it is degenerate."""
    usable = torch.where(degenerate(factor)[:, None, None], torch.nan, factor)
    frame: Tensor = torch.linalg.solve_triangular(usable, torch.eye(factor.shape[1]).to(factor), upper=True)
    return frame
