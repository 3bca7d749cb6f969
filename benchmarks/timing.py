"""What the benchmarks share: times, peak memory, and a word on ratios below the usual ones.

Times are those of the CPU, which other work disturbs least; where CUDA computes, those of the clock.

No benchmark fails by its times: they are others on another machine, or on a busy one.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Result = TypeVar("Result")


def timed(run: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of one run, and its result."""
    start = _now()
    result = run()
    return _now() - start, result


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Least time of a few runs, after one to warm up."""
    run()
    return min(timed(run)[0] for _ in range(repeats))


def product_rate(size: int = 1024) -> float:
    """Operations a second of a large single-precision product on one thread: what no scheme can exceed."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    matrix = torch.ones(size, size)
    fastest = seconds(lambda: matrix @ matrix, repeats=5)
    torch.set_num_threads(threads)
    return 2 * size**3 / fastest


def memory_rate(size: int = 2**27) -> float:
    """Bytes a second that one thread reads and writes in a large copy."""
    import numpy as np

    source, target = np.ones(size // 8), np.empty(size // 8)
    return 2 * size / seconds(lambda: np.copyto(target, source), repeats=5)


def peak_memory() -> int:
    """The most bytes that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def tell_shortfalls(ratios: Mapping[str, float], usual: Mapping[str, float]) -> None:
    """Name the ratios that are below the usual ones."""
    for name, least in usual.items():
        if ratios[name] < least:
            print(f"below the usual ratio of {least:g}: {name}, {ratios[name]:.1f}")


def _now() -> float:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()
