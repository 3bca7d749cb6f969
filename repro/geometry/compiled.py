"""Functions compiled by numba, kept on the disk where the disk can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable], Any]:
    """numba's `njit` with its cache: beside the source, else in the user's cache folder, else none."""

    def compile_later(function: Callable) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # no folder can be written: compiled anew in each process
            return njit(**options)(function)

    return compile_later
