"""Square roots that are the same on every processor."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def square_root_(values: Tensor) -> Tensor:
    """Square roots, in place. On the CPU by NumPy, correctly rounded.

    torch leaves sqrt, acos, asin and atan to a vector library whose last digit depends on the processor's maker.
    """
    if values.device.type != "cpu":
        return values.sqrt_()
    array = values.numpy()
    np.sqrt(array, out=array)
    return values


def square_root(values: Tensor) -> Tensor:
    """Square roots x · (1/√x), which can be differentiated; torch computes the latter factor itself. Slope ∞ at 0.

    Example:
        >>> square_root(torch.tensor([0.0, 4.0]))
        tensor([0., 2.])
    """
    positive = torch.where(values == 0, 1, values)
    return torch.where(values == 0, values**0.5, positive * torch.rsqrt(positive))
