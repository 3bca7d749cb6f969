"""Hinge gradient flow of a small net: the staged scheme of `repro.training.flow` against explicit Euler steps.

1. At 128 points, plain: the loss, `torch.autograd.grad`, an explicit step, and a step length that keeps the change of
   every output below 0.1 (arXiv 2007.11471's limit), in the precision in which it is faster.
2. The strongest rival known here: the same steps in one loop compiled by numba, gradients by hand, to the same margin
   and to its own end time, at 128 and at 512 points. No library integrates this flow: SciPy's stiff solvers do not
   come to the end of a net of 20 neurons in minutes, since forces and masks switch.
3. What late accuracy costs: Λ at the end of training, within a percent, from both. Up to t* and in mean test error the
   default steps are accurate; single nets are not at their end.

Beside them the physical limit: the products that the scheme's steps need at least (pre-activations, slopes and drive of
all points, three a step), at the rate of a large single-precision product measured in the same run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from timing import tell_row, tell_shortfalls, timed

from repro.geometry.compression import amplification
from repro.models.dense import ShallowNetwork
from repro.papers.compression.stripe import Problem, Stripe, error_rate
from repro.training.flow import HUBER_WIDTH, MARGIN_TOLERANCE, WEIGHT_TOLERANCE, hinge_flow

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from oracles import EulerResult, compiled_euler_flow, euler_flow

DIMENSION, OUTPUT_SCALE = 5, 1e-6
USUAL = {"plain, p = 128": 30.0, "compiled, p = 128": 3.0, "compiled, p = 512": 10.0}
ACCURATE_STEPS, ACCURATE_CHANGE = 1 / 16, 0.004  # share of the scheme's tolerances; largest change of an output


class Measurement(NamedTuple):
    """CPU seconds, test error, Λ at t* and at the end, and steps."""

    cpu: float
    error: float
    at_t_star: float
    final: float
    steps: int


def problem(seed: int, train_size: int, width: int, dtype: str = "float32") -> Problem:
    return Stripe(DIMENSION, train_size, seed, width=width, test_size=20_000, dtype=dtype, device="cpu").draw()


def measure(run: Callable[[Problem], tuple[ShallowNetwork, ShallowNetwork, int]], task: Problem) -> Measurement:
    cpu, (at_t_star, final, steps) = timed(lambda: run(task))
    initial, trained = (net(task.test.inputs.to(net.weight.dtype)) for net in (task.network, final))
    error = error_rate(trained - initial, task.test.labels)
    return Measurement(cpu, error, amplification(at_t_star.weight), amplification(final.weight), steps)


def staged(task: Problem, share: float = 1.0) -> tuple[ShallowNetwork, ShallowNetwork, int]:
    tolerances = {"weight_tolerance": share * WEIGHT_TOLERANCE, "margin_tolerance": share * MARGIN_TOLERANCE}
    result = hinge_flow(task.network, *task.train, OUTPUT_SCALE, **tolerances)
    return result.at_t_star, result.final, result.explicit_steps + result.implicit_steps + result.rejected_steps


def stepped(result: EulerResult) -> tuple[ShallowNetwork, ShallowNetwork, int]:
    return result.at_t_star, result.final, result.steps


def plain(task: Problem) -> tuple[ShallowNetwork, ShallowNetwork, int]:
    return stepped(euler_flow(task.network, *task.train, OUTPUT_SCALE))


def compiled(task: Problem, *options: float) -> tuple[ShallowNetwork, ShallowNetwork, int]:
    return stepped(compiled_euler_flow(task.network, *task.train, OUTPUT_SCALE, *options))


def faster_precision(width: int) -> str:
    """The precision in which plain Euler takes less CPU time, on 300 steps of one net."""

    def cpu(dtype: str) -> float:
        task = problem(0, 128, width, dtype)
        return timed(lambda: euler_flow(task.network, *task.train, OUTPUT_SCALE, step_limit=300, partial=True))[0]

    cpu("float64")  # warm up
    return min(("float32", "float64"), key=cpu)


def show(size: int, net: int, scheme: str, row: Measurement) -> None:
    print(
        f"{size:4d} {net:4d} {scheme:>19} {row.cpu:8.2f} {row.steps:8d} {row.error:8.4f} {row.at_t_star:10.3f} "
        f"{row.final:10.3f}",
        flush=True,
    )


def compare(size: int, nets: int, width: int, schemes: dict[str, tuple[Callable, str]]) -> dict[str, float]:
    """Every net by every scheme; ratios of the mean CPU time of the others to that of the first."""
    rows: dict[str, list[Measurement]] = {name: [] for name in schemes}
    for net in range(nets):
        for name, (run, dtype) in schemes.items():
            rows[name].append(measure(run, problem(net, size, width, dtype)))
            show(size, net, name, rows[name][-1])
    means = {name: Measurement(*np.mean(measured, axis=0)) for name, measured in rows.items()}
    first, *others = means
    ratios = {name: means[name].cpu / means[first].cpu for name in others}
    print(
        f"p = {size}: {first} takes {means[first].cpu:.2f} CPU s; "
        + ", ".join(f"{name} {ratio:.1f} times as much" for name, ratio in ratios.items())
        + "; mean error "
        + ", ".join(f"{mean.error:.4f} {name}" for name, mean in means.items())
    )
    operations = means[first].steps * 6 * size * width * (DIMENSION + 1)
    tell_row(
        f"hinge flow, p = {size}, {first}",
        means[first].cpu,
        f"compiled Euler{others[-1].removeprefix('compiled')}",
        means[others[-1]].cpu,
        operations,
    )
    return {f"{name}, p = {size}": ratio for name, ratio in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=4, help="nets at 128 points (default 4)")
    parser.add_argument("--width", type=int, default=200, help="hidden neurons (default 200)")
    parser.add_argument("--large-nets", type=int, default=1, help="nets at 512 points (default 1); 0 skips them")
    options = parser.parse_args()
    torch.set_num_threads(1)

    dtype = faster_precision(options.width)
    for warm_up in (staged, compiled):
        warm_up(problem(99, 64, options.width))
    print(
        f"d = {DIMENSION}, h = {options.width}, alpha = {OUTPUT_SCALE:g}; plain Euler in {dtype}, compiled in float64"
    )
    print(
        f"{'p':>4} {'net':>4} {'scheme':>19} {'CPU s':>8} {'steps':>8} {'error':>8} {'Lambda(t*)':>10} {'at end':>10}"
    )
    schemes = {"staged": (staged, "float32"), "plain": (plain, dtype), "compiled": (compiled, "float64")}
    ratios = compare(128, options.nets, options.width, schemes)
    del schemes["plain"]
    if options.large_nets > 0:
        ratios |= compare(512, options.large_nets, options.width, schemes)
    accurate = {
        "staged, accurate": (lambda task: staged(task, ACCURATE_STEPS), "float64"),
        "compiled, accurate": (lambda task: compiled(task, ACCURATE_CHANGE, HUBER_WIDTH), "float64"),
    }
    compare(128, options.nets, options.width, accurate)
    tell_shortfalls(ratios, {name: usual for name, usual in USUAL.items() if name in ratios})


if __name__ == "__main__":
    main()
