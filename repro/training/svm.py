"""Kernel machines on Gram matrices."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC
from torch import Tensor

from repro.geometry.arrays import as_array

PENALTY = 1e12  # C for a kernel of unit mean diagonal: no coefficient comes near it when the classes are separable
ITERATION_LIMIT = 2_000_000  # tens of iterations per point are usual; without a limit inseparable classes never end
CACHE_MEGABYTES = 64  # columns are copied from the given Gram matrix, so a larger cache would only take memory


@dataclass(frozen=True)
class SupportVectorMachine:
    """Decision function g(x) = Σₛ aₛ K(xₛ, x) + b over the support points s; the class is its sign."""

    support: np.ndarray  # (s,) indices of the support points in the training set, increasing
    coefficients: np.ndarray  # (s,) a = dual variable times label
    offset: float  # b

    def decision(self, cross_gram: Tensor | np.ndarray) -> np.ndarray:
        """Values of g, shape (points,), from the kernel (points, s) between new points and the *support* points.

        Raises:
            ValueError: if the number of columns is not the number of support points, or for non-finite entries.
        """
        cross = as_array(cross_gram, "cross_gram")
        if cross.ndim != 2 or cross.shape[1] != len(self.support):
            raise ValueError(f"cross_gram must have shape (points, {len(self.support)}), got {cross.shape}")
        return np.asarray(cross @ self.coefficients + self.offset)


def hard_margin_svm(
    gram: Tensor | np.ndarray, labels: Tensor | np.ndarray, tolerance: float = 1e-3
) -> SupportVectorMachine:
    """Separate two classes with the largest margin in the feature space of a kernel, offset included.

    Minimises |ω|²/2 subject to yᵢ (ω·φ(xᵢ) + b) >= 1, through the dual solved by scikit-learn's SVC. The penalty that
    stands in for infinity is 1e12 divided by the mean diagonal, so that the scale of the kernel does not matter. A
    float64 Gram matrix in row order is not copied.

    Args:
        gram: (p, p) symmetric kernel of the training points; float64 is used whatever comes.
        labels: (p,) of +1 and −1, both present.
        tolerance: largest violation of the optimality conditions, in units of the margin (1).

    Raises:
        ValueError: for a Gram matrix that is not square, symmetric, finite and of positive mean diagonal, labels other
            than ±1 or of one class only, or a tolerance that is not positive.
        RuntimeError: if the classes cannot be separated with this kernel.

    Example:
        >>> machine = hard_margin_svm(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([1.0, -1.0]))
        >>> machine.decision(np.array([[2.0, -2.0]])).round(3)
        array([2.])
    """
    kernel, y = _checked(gram, labels, tolerance)
    machine = _fit(kernel, y, PENALTY, tolerance)
    support = machine.support
    smallest = float((y[support] * machine.decision(kernel[np.ix_(support, support)])).min())
    if not smallest > 0:
        raise RuntimeError(
            f"the classes are not separable with this kernel: smallest margin {smallest:.3g}, expected 1"
        )
    return machine


def soft_margin_svm(
    gram: Tensor | np.ndarray, labels: Tensor | np.ndarray, penalty: float, tolerance: float = 1e-3
) -> SupportVectorMachine:
    """Separate two classes that may overlap: |ω|²/2 + C Σᵢ max(0, 1 − yᵢ (ω·φ(xᵢ) + b)) is minimised.

    For kernels of low rank or in single precision, where no hard margin exists. The solver stops after 2 million
    iterations at the latest, which a large penalty can reach on overlapping classes.

    Args:
        penalty: C for a kernel of unit mean diagonal; it is divided by the mean diagonal.

    Other arguments and errors are those of `hard_margin_svm`, and ValueError for a penalty that is not positive.
    """
    if not penalty > 0:
        raise ValueError(f"penalty must be positive, got {penalty}")
    return _fit(*_checked(gram, labels, tolerance), penalty, tolerance)


def _fit(kernel: np.ndarray, labels: np.ndarray, penalty: float, tolerance: float) -> SupportVectorMachine:
    machine = SVC(
        kernel="precomputed",
        C=penalty / float(kernel.diagonal().mean()),
        tol=tolerance,
        cache_size=CACHE_MEGABYTES,
        max_iter=ITERATION_LIMIT,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hard margin that was not reached is an error above
        machine.fit(kernel, labels)
    order = np.argsort(machine.support_)  # scikit-learn groups them by class
    support, coefficients = machine.support_[order].astype(np.int64), machine.dual_coef_[0][order]
    return SupportVectorMachine(support, coefficients, float(machine.intercept_[0]))


def _checked(gram: Tensor | np.ndarray, labels: Tensor | np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    kernel, y = np.ascontiguousarray(as_array(gram, "gram")), as_array(labels, "labels")
    _check(kernel, y, tolerance)
    return kernel, y


def _check(kernel: np.ndarray, labels: np.ndarray, tolerance: float) -> None:
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or labels.shape != kernel.shape[:1]:
        raise ValueError(f"expected gram (p, p) and labels (p,), got {kernel.shape} and {labels.shape}")
    if not np.array_equal(np.unique(labels), [-1.0, 1.0]):
        raise ValueError(f"labels must be +1 and -1, both present, got {np.unique(labels)[:5]}")
    if not kernel.diagonal().mean() > 0:
        raise ValueError(f"gram must have a positive mean diagonal, got {kernel.diagonal().mean()}")
    blocks = (slice(start, start + 256) for start in range(0, len(kernel), 256))  # no second matrix of full size
    asymmetry = max(float(np.abs(kernel[rows] - kernel[:, rows].T).max()) for rows in blocks)
    if asymmetry > 1e-4 * max(kernel.max(), -kernel.min()):  # a float32 Gram matrix rounds its two halves differently
        raise ValueError(f"gram must be symmetric, its halves differ by {asymmetry:.3g}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
