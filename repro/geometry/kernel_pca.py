"""What the eigenvectors of a kernel know of a label: projections, alignment and mutual information."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from repro.geometry.arrays import as_array, as_tensor, check_whole

Array = TypeVar("Array", Tensor, np.ndarray)

TIE = 2  # in units of p·eps·max |λ| / |λ|: what an eigensolver's rounding puts between equal entries of an eigenvector


class Projection(NamedTuple):
    """Eigenvectors of a Gram matrix with the label's share on each, largest eigenvalue first."""

    eigenvalues: Tensor  # (p,)
    eigenvectors: Tensor  # (p, p), one per column, of unit length
    share: Tensor  # (p,), (φ_r · y)² / |y|², summing to 1


def label_projection(gram: Array, labels: Array) -> Projection:
    """Eigendecomposition of a Gram matrix and the share of |y|² on each eigenvector (arXiv 2007.11471, kernel PCA).

    Args:
        gram: (p, p) symmetric kernel, torch or NumPy; float64 is used whatever comes.
        labels: (p,) numbers, not all zero.

    Raises:
        ValueError: for shapes that do not fit, non-finite entries, a matrix that is not symmetric, or labels all zero.
    """
    kernel, y = _checked(gram, labels)
    values, vectors = torch.linalg.eigh(kernel)
    share = (y @ vectors) ** 2 / (y @ y)
    return Projection(values.flip(0), vectors.flip(1), share.flip(0))


def label_alignment(gram: Array, labels: Array) -> float:
    """Alignment of a kernel with its labels, A = y·K y / (|K|_F |y|²).

    It lies between 0 and 1 for a positive kernel, and is 1 for K = y yᵀ. For ±1 labels |y|² = p. It is the
    kernel-target alignment of Cristianini et al. (2001). Arguments and errors are those of `label_projection`, and
    ValueError for a kernel that is zero.

    Example:
        >>> y = np.array([1.0, -1.0])
        >>> label_alignment(np.outer(y, y), y)
        1.0
    """
    kernel, y = _checked(gram, labels)
    norm = torch.linalg.matrix_norm(kernel)
    if not norm > 0:
        raise ValueError("gram is zero everywhere: the alignment is undefined")
    return float(y @ kernel @ y / (norm * (y @ y)))


def eigenvector_information(gram: Array, labels: Array, count: int = 10, neighbours: int = 5) -> np.ndarray:
    """Mutual information I(φ_r; y) between the leading eigenvectors of a kernel and a two-class label, in bits.

    An entry of φ_r belongs to one example. With r₊ and r₋ its distances to the k-th nearest entry of each class, the
    entry itself counted, the chance of the first class is P = 1/(1 + r₊/r₋), and I = 1 − mean binary entropy of P
    (estimator of the code released with arXiv 2007.11471, for equally likely classes). It has a floor above 0: compare
    with permuted labels.

    Rounding is not information. Entries that agree to 2·p·eps·max |λ| / |λ_r|, eps that of float64, are tied: the
    rounding of an eigensolver, which grows as the eigenvalue falls. So an eigenvector whose eigenvalue is zero to
    rounding, an arbitrary direction that says nothing of the kernel, carries 0 bits. Any other repeated eigenvalue
    leaves a direction as arbitrary, which is not looked for.

    Args:
        gram: (p, p) symmetric kernel, torch or NumPy.
        labels: (p,) of +1 and −1, at least `neighbours` of each.
        count: eigenvectors, from the largest eigenvalue down; at most p.
        neighbours: k. Ties on both sides count as no information.

    Returns:
        (count,) bits, float64.

    Raises:
        ValueError: as `label_projection`, and for other labels, too few of a class, or a count out of range.

    Example:
        >>> eigenvector_information(np.ones((20, 20)), np.repeat([1.0, -1.0], 10), count=2)
        array([0., 0.])
    """
    return component_information(label_projection(gram, labels), labels, count, neighbours)


def component_information(projection: Projection, labels: Array, count: int = 10, neighbours: int = 5) -> np.ndarray:
    """The same, from eigenvectors that are there: see `eigenvector_information`, also for arguments and errors."""
    y = as_array(labels, "labels")
    check_whole(count, "count", len(y), "p")
    values = np.abs(projection.eigenvalues.cpu().numpy())
    vectors = projection.eigenvectors[:, :count].cpu().numpy()
    rounding = TIE * len(y) * np.finfo(np.float64).eps * values.max()
    ties = np.divide(rounding, values[:count], out=np.full(count, np.inf), where=values[:count] > 0)
    pairs = zip(vectors.T, ties, strict=True)
    return np.array([coordinate_information(vector, y, neighbours, float(tie)) for vector, tie in pairs])


def coordinate_information(coordinate: np.ndarray, labels: np.ndarray, neighbours: int = 5, tie: float = 0.0) -> float:
    """Mutual information of one real number per example with its ±1 label, in bits: see `eigenvector_information`.

    Args:
        coordinate: (p,) numbers.
        labels: (p,) of +1 and −1, at least `neighbours` of each.
        neighbours: k.
        tie: largest distance, in units of the coordinate, that counts as 0.

    Raises:
        ValueError: for shapes that do not fit, other labels or too few of a class.
    """
    coordinate, labels = as_array(coordinate, "coordinate"), as_array(labels, "labels")
    if coordinate.ndim != 1 or labels.shape != coordinate.shape:
        raise ValueError(f"expected coordinate (p,) and labels (p,), got {coordinate.shape} and {labels.shape}")
    if not np.array_equal(np.unique(labels), [-1.0, 1.0]):
        raise ValueError(f"labels must be +1 and -1, both present, got {np.unique(labels)[:5]}")
    check_whole(neighbours, "neighbours", int(min((labels > 0).sum(), (labels < 0).sum())), "the smaller class")
    points = coordinate[:, None]
    trees = (cKDTree(points[labels == sign]) for sign in (1.0, -1.0))
    distances = (np.asarray(tree.query(points, k=[neighbours])[0])[:, 0] for tree in trees)
    plus, minus = (np.where(distance > tie, distance, 0.0) for distance in distances)
    total = plus + minus
    chance = np.divide(minus, total, out=np.full_like(total, 0.5), where=total > 0)
    both = np.stack([chance, 1 - chance])
    entropy = -(both * np.log2(both, out=np.zeros_like(both), where=both > 0)).sum(0)
    return float(1 - entropy.mean())


def _checked(gram: Array, labels: Array) -> tuple[Tensor, Tensor]:
    kernel = as_tensor(gram, "gram", torch.float64)
    y = as_tensor(labels, "labels", torch.float64).to(kernel.device)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or y.shape != kernel.shape[:1] or len(y) == 0:
        raise ValueError(f"expected gram (p, p) and labels (p,), got {tuple(kernel.shape)} and {tuple(y.shape)}")
    if float((kernel - kernel.T).abs().max()) > 1e-4 * float(kernel.abs().max()):  # float32 rounds the halves apart
        raise ValueError("gram must be symmetric")
    if not bool(y.any()):
        raise ValueError("labels are zero everywhere")
    return kernel, y
