"""How strongly a first layer has turned towards the informative directions of its input."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from repro.geometry.arrays import as_tensor, check_whole


def amplification(weight: Tensor, informative: int = 1, definition: Literal["A", "B", "C"] = "A") -> float:
    """Ratio Λ of informative to uninformative first-layer weights (arXiv 2007.11471; three versions are in its code).

    With ⟨·⟩ₙ an average over neurons, w∥ the first `informative` components and w⊥ the others:

        A:  sqrt(⟨w∥²⟩ / ⟨w⊥²⟩), averages over neurons and components; 1 for an isotropic layer
        B:  sqrt(⟨|w∥|²⟩ₙ / ⟨|w⊥|²⟩ₙ), sums over components; for one informative direction A / sqrt(d − 1)
        C:  mean over informative i of rms_n(w_i), divided by the mean over all components j of rms_n(w_j)

    The paper's A is written in the authors' notes, B is what they stretch kernels with, C what they plot at t*.

    Args:
        weight: (h, d) first-layer weights, informative components first; torch (a NumPy array is accepted too).
        informative: number of informative components, from 1 to d − 1.
        definition: which of the three.

    Returns:
        Λ as a float, computed in float64; infinity when every uninformative weight is zero.

    Raises:
        ValueError: for a weight that is not a finite, non-empty, non-zero matrix, or another option out of range.
    """
    weight = as_tensor(weight, "weight", torch.float64)
    if weight.ndim != 2 or weight.shape[0] < 1 or weight.shape[1] < 2:
        raise ValueError(f"weight must have shape (h, d) with h >= 1 and d >= 2, got {tuple(weight.shape)}")
    check_whole(informative, "informative", weight.shape[1] - 1, "d - 1")
    square = (weight**2).mean(0)  # (d,), ⟨w_j²⟩ₙ
    parallel, perpendicular = square[:informative], square[informative:]
    if definition == "A":
        ratio = math.sqrt(parallel.mean() / perpendicular.mean())
    elif definition == "B":
        ratio = math.sqrt(parallel.sum() / perpendicular.sum())
    elif definition == "C":
        root = torch.tensor([math.sqrt(value) for value in square], dtype=torch.float64)  # as in ntk.py, not by torch
        ratio = float(root[:informative].mean() / root.mean())
    else:
        raise ValueError(f"definition must be 'A', 'B' or 'C', got {definition!r}")
    if math.isnan(ratio):
        raise ValueError("weight is zero everywhere: the amplification is undefined")
    return ratio
