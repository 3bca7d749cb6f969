"""Choice of the device that tensors live on."""

from __future__ import annotations

import torch


def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" is CUDA where available and the CPU elsewhere.

    Raises:
        ValueError: if torch does not know the name, or CUDA is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}, expected 'auto', 'cpu', 'cuda' or 'cuda:0'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was asked for, but no CUDA device is available")
    return device


def resolve_dtype(dtype: str) -> torch.dtype:
    """The precision called "float32" or "float64".

    Raises:
        ValueError: for any other name.
    """
    known = {"float32": torch.float32, "float64": torch.float64}
    if dtype not in known:
        raise ValueError(f"dtype must be one of {sorted(known)}, got {dtype!r}")
    return known[dtype]
