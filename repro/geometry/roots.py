"""Square roots that are the same on every processor."""

from __future__ import annotations

import numpy as np
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
