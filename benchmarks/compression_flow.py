"""Hinge gradient flow of a small net: the staged scheme of `repro.training.flow` against plain autograd Euler steps.

The plain approach is what one writes first: the loss, `torch.autograd.grad`, an explicit step, and a step length that
keeps the change of every output below 0.1 (arXiv 2007.11471's limit). Both start from the same nets and data, and stop
at the same margin. Plain Euler gets the precision in which it is faster of the two; the scheme runs in float32.
At 512 points plain Euler is stopped after a given CPU time; its total is then extrapolated from the share of flow time
it has covered, and printed as such: a guess (late steps are of about equal length), not a measurement.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from timing import tell_shortfalls, timed

from repro.geometry.compression import amplification
from repro.models.dense import ShallowNetwork
from repro.papers.compression.stripe import Problem, Stripe, error_rate
from repro.training.flow import hinge_flow

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from oracles import euler_flow

DIMENSION, OUTPUT_SCALE = 5, 1e-6
USUAL = {"128 points": 30.0}


class Measurement(NamedTuple):
    """Seconds, test error, Λ at t* and accepted steps."""

    cpu: float
    wall: float
    error: float
    amplification: float
    steps: int


def problem(seed: int, train_size: int, width: int, dtype: str = "float32") -> Problem:
    return Stripe(DIMENSION, train_size, seed, width=width, test_size=20_000, dtype=dtype, device="cpu").draw()


def measure(run: Callable[[Problem], tuple[ShallowNetwork, ShallowNetwork, int]], task: Problem) -> Measurement:
    start = time.perf_counter()
    cpu, (at_t_star, final, steps) = timed(lambda: run(task))
    wall = time.perf_counter() - start
    error = error_rate(final(task.test.inputs) - task.network(task.test.inputs), task.test.labels)
    return Measurement(cpu, wall, error, amplification(at_t_star.weight), steps)


def staged(task: Problem) -> tuple[ShallowNetwork, ShallowNetwork, int]:
    result = hinge_flow(task.network, *task.train, OUTPUT_SCALE)
    return result.at_t_star, result.final, result.explicit_steps + result.implicit_steps


def plain(task: Problem) -> tuple[ShallowNetwork, ShallowNetwork, int]:
    result = euler_flow(task.network, *task.train, OUTPUT_SCALE)
    return result.at_t_star, result.final, result.steps


def faster_precision(width: int) -> str:
    """The precision in which plain Euler takes less CPU time, on 300 steps of one net."""

    def cpu(dtype: str) -> float:
        task = problem(0, 128, width, dtype)
        return timed(lambda: euler_flow(task.network, *task.train, OUTPUT_SCALE, step_limit=300, partial=True))[0]

    cpu("float64")  # warm up
    return min(("float32", "float64"), key=cpu)


def show(size: int, net: int, scheme: str, row: Measurement) -> None:
    print(
        f"{size:4d} {net:4d} {scheme:>7} {row.cpu:8.2f} {row.wall:8.2f} {row.steps:7d} {row.error:8.4f} "
        f"{row.amplification:11.3f}",
        flush=True,
    )


def small(nets: int, width: int, dtype: str) -> None:
    """Nets at 128 points, by both."""
    rows: dict[str, list[Measurement]] = {"plain": [], "staged": []}
    for net in range(nets):
        # The scheme takes a tenth of a second, where a single timing is mostly noise: the best of three.
        for name, run, precision, repeats in (("plain", plain, dtype, 1), ("staged", staged, "float32", 3)):
            task = problem(net, 128, width, precision)
            rows[name].append(min(measure(run, task) for _ in range(repeats)))
            show(128, net, name, rows[name][-1])
    means = {name: Measurement(*np.mean(measured, axis=0)) for name, measured in rows.items()}
    ratio = means["plain"].cpu / means["staged"].cpu
    errors = [f"{mean.error:.4f} {name}" for name, mean in means.items()]
    print(f"p = 128: {ratio:.0f} times faster (CPU), mean error {', '.join(errors)}")
    tell_shortfalls({"128 points": ratio}, USUAL)


def large(width: int, budget: float, dtype: str) -> None:
    """One net at 512 points; plain Euler only as far as the CPU budget allows."""
    task = problem(0, 512, width)
    row = measure(staged, task)
    end = hinge_flow(task.network, *task.train, OUTPUT_SCALE).time_final
    show(512, 0, "staged", row)
    task = problem(0, 512, width, dtype)
    cpu, result = timed(lambda: euler_flow(task.network, *task.train, OUTPUT_SCALE, cpu_limit=budget, partial=True))
    reached = f"Lambda(t*) {amplification(result.at_t_star.weight):.3f}"
    if result.finished:
        print(f" 512    0   plain {cpu:8.2f}: {cpu / row.cpu:.0f} times faster, {reached}")
        return
    covered = result.time / end
    print(
        f" 512    0   plain {cpu:8.2f} CPU s and {result.steps} steps for {100 * covered:.1f} % of the flow time, "
        f"{reached}"
    )
    print(f"p = 512: about {cpu / covered / row.cpu:.0f} times faster, extrapolated from that share")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=4, help="nets at 128 points (default 4)")
    parser.add_argument("--width", type=int, default=200, help="hidden neurons (default 200)")
    parser.add_argument("--large-cpu", type=float, default=15.0, help="CPU s for plain Euler at 512 points; 0 skips it")
    options = parser.parse_args()
    torch.set_num_threads(1)

    dtype = faster_precision(options.width)
    staged(problem(99, 64, options.width))  # warm up
    print(f"d = {DIMENSION}, h = {options.width}, alpha = {OUTPUT_SCALE:g}; plain Euler in {dtype}, staged in float32")
    print(f"{'p':>4} {'net':>4} {'scheme':>7} {'CPU s':>8} {'wall s':>8} {'steps':>7} {'error':>8} {'Lambda(t*)':>11}")
    small(options.nets, options.width, dtype)
    if options.large_cpu > 0:
        large(options.width, options.large_cpu, dtype)


if __name__ == "__main__":
    main()
