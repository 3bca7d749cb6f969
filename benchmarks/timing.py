"""What the benchmarks share: times, the physical limit, peak memory, and a word on ratios below the usual ones.

Times are those of the CPU, which other work disturbs least; where CUDA computes, those of the clock.

No benchmark fails by its times: they are others on another machine, or on a busy one.
"""

from __future__ import annotations

import functools
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


@functools.cache
def product_rate(size: int = 1024) -> float:
    """Operations a second of a large single-precision product on one thread, by NumPy: what no scheme can exceed."""
    import numpy as np

    matrix = np.ones((size, size), np.float32)
    return 2 * size**3 / seconds(lambda: matrix @ matrix, repeats=5)


@functools.cache
def memory_rate(size: int = 2**27) -> float:
    """Bytes a second that one thread reads and writes in a copy beyond every cache."""
    import numpy as np

    source, target = np.ones(size // 8), np.empty(size // 8)
    return 2 * size / seconds(lambda: np.copyto(target, source), repeats=5)


def products(run: Callable[[], object]) -> int:
    """Operations of all products and convolutions that torch makes in a run."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def tell_row(path: str, ours: float, rival: str, its: float, operations: float, traffic: float = 0.0) -> None:
    """A row of the table of all hot paths (`make bench | grep '^|'`).

    Args:
        path: what is timed.
        ours: seconds.
        rival: the strongest way known to do the same otherwise.
        its: seconds of the rival.
        operations: of the products that ours cannot do without.
        traffic: bytes that it has to read and write, where they fit no cache. At the measured rates of products and of
            memory the longer of the two is the physical limit.
    """
    limit = max(operations / product_rate(), traffic / memory_rate())
    milliseconds = float(f"{ours * 1e3:.3g}")  # three digits
    print(f"| {path} | {milliseconds:g} ms | {rival} | {its / ours:.1f} | {ours / limit:.0f} |", flush=True)


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
