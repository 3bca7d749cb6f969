"""Large nets of the stripe: time to the last margin, and memory as a function of the training points p.

Every net trains in a process of its own, so that its peak memory is its own. At the start of the implicit stage all p
points and h neurons are in the working set; the largest matrices are of shape (p, h) in float32: pre-activations and
masks of all points, and the working set's copies. The linear solve adds the points *at* the margin, f of them, with
(f, h) and (f, f) matrices in float64. Stated bound: BASE + 6 p h · 4 bytes + (3 f h + 3 f²) · 8 bytes, f = p / 2.
Exits 1 when a net takes more, or does not reach every margin. At p = 4096 a net usually takes less than 30 CPU seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
from typing import NamedTuple

import torch
from timing import peak_memory, timed

from repro.geometry.compression import amplification
from repro.papers.compression.stripe import Stripe
from repro.training.flow import hinge_flow

DIMENSION, WIDTH, OUTPUT_SCALE = 5, 300, 1e-6
BASE = 32 * 2**20  # bytes: the allocator's own


class Measurement(NamedTuple):
    """One trained net."""

    cpu: float  # s
    memory: int  # bytes above what the process held before training
    steps: int
    converged: bool
    amplification: float  # Λ_A at t*


def measure(train_size: int) -> Measurement:
    torch.set_num_threads(1)
    hinge_flow(*_arguments(32))  # warm up: libraries and thread pools count as held before
    arguments = _arguments(train_size)
    before = peak_memory()
    cpu, flow = timed(lambda: hinge_flow(*arguments))
    steps = flow.explicit_steps + flow.implicit_steps
    return Measurement(cpu, peak_memory() - before, steps, flow.converged, amplification(flow.at_t_star.weight))


def bound(train_size: int) -> float:
    """The stated bound in bytes, without the base."""
    at_margin = train_size / 2
    return 6 * train_size * WIDTH * 4 + (3 * at_margin * WIDTH + 3 * at_margin**2) * 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192], help="training points")
    options = parser.parse_args()
    print(f"d = {DIMENSION}, h = {WIDTH}, alpha = {OUTPUT_SCALE:g}, float32, one thread, from start to last margin")
    print(f"{'p':>5} {'CPU s':>7} {'steps':>6} {'Lambda(t*)':>10} {'MiB':>6} {'stated':>7} {'MiB per p':>9}")
    failures = []
    for size in options.sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(measure, (size,))
        print(
            f"{size:5d} {row.cpu:7.2f} {row.steps:6d} {row.amplification:10.1f} {row.memory / 2**20:6.0f} "
            f"{bound(size) / 2**20:7.0f} {row.memory / 2**20 / size:9.4f}",
            flush=True,
        )
        if not row.converged or row.memory > bound(size) + BASE:
            failures.append(f"p = {size}: {'above the stated memory' if row.converged else 'not every margin reached'}")
    print("\n".join(failures))
    return bool(failures)


def _arguments(train_size: int) -> tuple:
    problem = Stripe(DIMENSION, train_size, 0, width=WIDTH, device="cpu").draw()
    return problem.network, *problem.train, OUTPUT_SCALE


if __name__ == "__main__":
    raise SystemExit(main())
