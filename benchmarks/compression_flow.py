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

from repro.data.synthetic import Sample, stripe
from repro.geometry.compression import amplification
from repro.models.dense import ShallowNetwork, initialise
from repro.training.flow import hinge_flow

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from oracles import euler_flow

DIMENSION, OUTPUT_SCALE = 5, 1e-6


class Problem(NamedTuple):
    """One net with its data."""

    network: ShallowNetwork
    train: Sample
    test: Sample


class Measurement(NamedTuple):
    """Seconds, test error, Λ at t* and accepted steps."""

    cpu: float
    wall: float
    error: float
    amplification: float
    steps: int


def problem(seed: int, train_size: int, width: int, dtype: torch.dtype) -> Problem:
    train, test, weights = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3))
    samples = [
        Sample(*(tensor.to(dtype) for tensor in stripe(points, DIMENSION, generator)))
        for points, generator in ((train_size, train), (20_000, test))
    ]
    return Problem(initialise(width, DIMENSION, weights, dtype), *samples)


def measure(run: Callable[[Problem], tuple[ShallowNetwork, ShallowNetwork, int]], task: Problem) -> Measurement:
    cpu, wall = time.process_time(), time.perf_counter()
    at_t_star, final, steps = run(task)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    decision = final(task.test.inputs) - task.network(task.test.inputs)
    error = float((decision * task.test.labels <= 0).double().mean())
    return Measurement(cpu, wall, error, amplification(at_t_star.weight), steps)


def staged(task: Problem) -> tuple[ShallowNetwork, ShallowNetwork, int]:
    result = hinge_flow(task.network, *task.train, OUTPUT_SCALE)
    return result.at_t_star, result.final, result.explicit_steps + result.implicit_steps


def plain(task: Problem) -> tuple[ShallowNetwork, ShallowNetwork, int]:
    result = euler_flow(task.network, *task.train, OUTPUT_SCALE)
    return result.at_t_star, result.final, result.steps


def faster_precision(width: int) -> torch.dtype:
    """The precision in which plain Euler takes less CPU time, on 300 steps of one net."""

    def seconds(dtype: torch.dtype) -> float:
        task = problem(0, 128, width, dtype)
        start = time.process_time()
        euler_flow(task.network, *task.train, OUTPUT_SCALE, step_limit=300, partial=True)
        return time.process_time() - start

    seconds(torch.float64)  # warm up
    return min((torch.float32, torch.float64), key=seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=4, help="nets at 128 points (default 4)")
    parser.add_argument("--width", type=int, default=200, help="hidden neurons (default 200)")
    parser.add_argument("--large-cpu", type=float, default=15.0, help="CPU s for plain Euler at 512 points; 0 skips it")
    parser.add_argument("--required", type=float, default=40.0, help="exit 1 below this ratio at 128 points")
    options = parser.parse_args()
    torch.set_num_threads(1)

    dtype = faster_precision(options.width)
    staged(problem(99, 64, options.width, torch.float32))  # warm up
    print(f"d = {DIMENSION}, h = {options.width}, alpha = {OUTPUT_SCALE:g}; plain Euler in {dtype}, staged in float32")
    print(f"{'p':>4} {'net':>4} {'scheme':>7} {'CPU s':>8} {'wall s':>8} {'steps':>7} {'error':>8} {'Lambda(t*)':>11}")
    totals = {"plain": Measurement(0, 0, 0, 0, 0), "staged": Measurement(0, 0, 0, 0, 0)}
    for net in range(options.nets):
        for name, run, precision in (("plain", plain, dtype), ("staged", staged, torch.float32)):
            task = problem(net, 128, options.width, precision)
            # The scheme takes a tenth of a second, where a single timing is mostly noise: the best of three.
            row = min(measure(run, task) for _ in range(3 if name == "staged" else 1))
            totals[name] = Measurement(*(total + value for total, value in zip(totals[name], row, strict=True)))
            print(
                f"{128:4d} {net:4d} {name:>7} {row.cpu:8.2f} {row.wall:8.2f} {row.steps:7d} {row.error:8.4f} "
                f"{row.amplification:11.3f}",
                flush=True,
            )
    ratio = totals["plain"].cpu / totals["staged"].cpu
    errors = [totals[name].error / options.nets for name in totals]
    print(f"p = 128: {ratio:.0f} times faster (CPU), mean error {errors[0]:.4f} plain, {errors[1]:.4f} staged")
    if options.large_cpu > 0:
        large(options.width, options.large_cpu, dtype)
    if ratio < options.required:
        print(f"below the required ratio of {options.required:g}")
        return 1
    return 0


def large(width: int, budget: float, dtype: torch.dtype) -> None:
    """One net at 512 points; plain Euler only as far as the CPU budget allows."""
    task = problem(0, 512, width, torch.float32)
    row = measure(staged, task)
    end = hinge_flow(task.network, *task.train, OUTPUT_SCALE).time_final
    print(
        f"{512:4d} {0:4d} {'staged':>7} {row.cpu:8.2f} {row.wall:8.2f} {row.steps:7d} {row.error:8.4f} "
        f"{row.amplification:11.3f}",
        flush=True,
    )
    task = problem(0, 512, width, dtype)
    start = time.process_time()
    result = euler_flow(task.network, *task.train, OUTPUT_SCALE, cpu_limit=budget, partial=True)
    cpu = time.process_time() - start
    if result.finished:
        print(
            f" 512    0   plain {cpu:8.2f}: {cpu / row.cpu:.0f} times faster, Lambda(t*) "
            f"{amplification(result.at_t_star.weight):.3f}"
        )
        return
    covered = result.time / end
    print(
        f" 512    0   plain {cpu:8.2f} CPU s and {result.steps} steps for {100 * covered:.1f} % of the flow time, "
        f"Lambda(t*) {amplification(result.at_t_star.weight):.3f}"
    )
    print(f"p = 512: about {cpu / covered / row.cpu:.0f} times faster, extrapolated from that share")


if __name__ == "__main__":
    raise SystemExit(main())
