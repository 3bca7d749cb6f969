"""One arithmetic on every x86-64 processor: which kernels the numerical libraries take, and a proof of which they took.

OpenBLAS, MKL, oneDNN, ATen and NumPy choose their kernels by the processor they find. The choices differ in the last
digits, and the training of a small net amplifies these to other results. So every run is told the same choices, and
one thread, through its environment: `environment` before a library is loaded. A process that nobody could tell, such
as the worker of a cluster, proves what it does by its `fingerprint`.
"""

import functools
import hashlib
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

ONE_THREAD = {  # the number of threads changes the order of sums
    name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
}
KERNELS = {
    "OPENBLAS_CORETYPE": "Haswell",  # the matrix products of NumPy and SciPy
    "MKL_CBWR": "COMPATIBLE",  # those of torch; MKL's AVX2 branch is another one on processors that are not Intel's
    "ATEN_CPU_CAPABILITY": "avx2",  # elementwise functions of torch
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions of torch
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # elementwise functions of NumPy
}
# What would undo these or stop a library beside them.
CLEARED = (
    "NPY_ENABLE_CPU_FEATURES",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "GLIBC_TUNABLES",
)
UNPINNED = "unpinned"  # what records and pages call any other arithmetic


@functools.cache
def can_be_pinned() -> bool:
    """Whether this processor has the kernels asked for: x86-64 with AVX2 and fused multiply-add, under Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return platform.machine() == "x86_64" and {"avx2", "fma"} <= set(flags)


def settings() -> dict[str, str]:
    """The variables that a run is given on this machine: always one thread, and the kernels where they exist."""
    return ONE_THREAD | KERNELS if can_be_pinned() else dict(ONE_THREAD)


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base` with the pinned arithmetic, whatever it said of it; for a process that has loaded no library yet.

    >>> environment({"OMP_NUM_THREADS": "4", "HOME": "/home/ada"})["OMP_NUM_THREADS"]
    '1'
    """
    return {name: value for name, value in base.items() if name not in CLEARED} | settings()


def overridden(base: Mapping[str, str]) -> list[str]:
    """The settings in `base` that `environment` replaces or removes, as NAME=VALUE."""
    chosen = settings()
    changed = [name for name in chosen if base.get(name, chosen[name]) != chosen[name]]
    return [f"{name}={base[name]}" for name in [*changed, *(name for name in CLEARED if name in base)]]


def announcement(base: Mapping[str, str]) -> str:
    """What a run says of its arithmetic at the start; nothing where it is pinned and replaces nothing of the user's."""
    if not can_be_pinned():
        return (
            f"the arithmetic of this processor ({platform.machine()}) is not pinned: "
            "results agree with the committed ones by interval and verdict, not byte for byte"
        )
    replaced = overridden(base)
    return f"the arithmetic is pinned; not used: {', '.join(replaced)}" if replaced else ""


def is_pinned() -> bool:
    """Whether this process was started with the pinned arithmetic."""
    return can_be_pinned() and environment(os.environ) == dict(os.environ)


def fingerprint(libraries: Iterable[str] | None = None) -> dict[str, str]:
    """What the arithmetic of this process is, by library: version, kernels, and a hash of what they compute.

    Equal fingerprints compute equal numbers. Without `libraries`, those that are loaded.
    """
    names = [name for name in _PROBES if name in sys.modules] if libraries is None else libraries
    return {name: _fingerprint(name) for name in names}


def difference(expected: Mapping[str, str], found: Mapping[str, str], what: str = "arithmetic of ") -> str:
    """How a fingerprint differs from the expected one, in words; nothing where they agree.

    >>> difference({"numpy": "2.4.6 Haswell"}, {"numpy": "2.4.6 SkylakeX"})
    'arithmetic of numpy is 2.4.6 SkylakeX, expected 2.4.6 Haswell'
    """
    return "; ".join(
        f"{what}{name} is {found.get(name, 'not told')}, expected {expected[name]}"
        for name in expected
        if found.get(name) != expected[name]
    )


@functools.cache
def _fingerprint(name: str) -> str:
    kernels, results = _PROBES[name]()
    release = version(name).partition("+")[0]  # torch+cpu and a CUDA build compute the same on the CPU
    return " ".join([release, *kernels, hashlib.sha256(b"".join(results)).hexdigest()[:12]])


def _numpy() -> tuple[list[str], list[bytes]]:
    """NumPy's OpenBLAS and instruction sets; functions whose last digits depend on these."""
    import numpy as np

    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    x = _numbers(2000).reshape(40, 50) / 60
    functions = (np.exp, np.log1p, np.arctanh, np.tanh, np.sin)
    results = [function(values) for values in (abs(x), abs(x).astype(np.float32)) for function in functions]
    products = [x @ x.T, x @ x[0], x.astype(np.float32) @ x[0].astype(np.float32)]
    return [*_openblas(), *found], [a.tobytes() for a in results + products]


def _scipy() -> tuple[list[str], list[bytes]]:
    """SciPy's own OpenBLAS, through a linear solve and eigenvalues."""
    import numpy as np
    from scipy import linalg

    x = _numbers(3600).reshape(60, 60)
    square = x @ x.T + 1000 * np.eye(60)
    solved = linalg.cho_solve(linalg.cho_factor(square), x)
    return _openblas(), [solved.tobytes(), linalg.eigvalsh(square).tobytes()]


def _torch() -> tuple[list[str], list[bytes]]:
    """ATen's instruction set, MKL through matrix products, oneDNN through a convolution, and functions of ATen's."""
    import torch

    double = torch.from_numpy(_numbers(2400).reshape(40, 60) / 30)
    single = double.float()
    images = single.reshape(1, 4, 20, 30)
    results = [double @ double.T, single @ single.T, torch.conv2d(images, images[0, :, None, :3, :3], groups=4)]
    functions = (torch.exp, torch.sinh, torch.cosh, torch.sigmoid, torch.tanh, torch.erf)
    results += [function(values) for values in (double, single) for function in functions]
    asked = [f"{name}={os.environ[name]}" for name in ("MKL_CBWR", "ONEDNN_MAX_CPU_ISA") if name in os.environ]
    return [torch.backends.cpu.get_cpu_capability(), *asked], [result.numpy().tobytes() for result in results]


_PROBES: dict[str, Callable[[], tuple[list[str], list[bytes]]]] = {"numpy": _numpy, "scipy": _scipy, "torch": _torch}


def _numbers(count: int) -> Any:
    """Values from -50 to 50 in an order without pattern, the same everywhere without a generator."""
    import numpy as np

    return (np.arange(count) * 37 % 101 - 50.0).astype(np.float64)


def _openblas() -> list[str]:
    """Names of the kernels that the OpenBLAS libraries of this process have chosen."""
    return sorted({info["architecture"] for info in threadpool_info() if info["internal_api"] == "openblas"})
