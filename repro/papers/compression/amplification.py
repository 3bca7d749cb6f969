"""The compression itself (arXiv 2007.11471): how far it goes by t*, how it comes about, and what becomes of it.

Cells as in `papers.compression.exponents`, with the same nets and data for the same parameters.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from repro.geometry.compression import amplification
from repro.geometry.hinges import hinge_points, neuron_shares
from repro.models.dense import ShallowNetwork
from repro.papers.compression.stripe import Problem, Stripe
from repro.training.flow import HUBER_WIDTH, MARGIN_TOLERANCE, WEIGHT_TOLERANCE, FlowState, hinge_flow
from repro.training.one_neuron import one_neuron_flow

Row = dict[str, Any]
DEFINITIONS: tuple[Literal["A", "B", "C"], ...] = ("A", "B", "C")
SPACING = 1.05  # after t*, states are kept whenever the time has grown by this factor
ON_THE_WAY = 0.9  # share of satisfied points at which the neuron map has its third picture


def amplification_cell(
    *,
    dimension: int,
    train_size: int,
    seed: int,
    width: int = 300,
    output_scale: float = 1e-6,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Λ at t*, in its three definitions, of one net trained on the stripe up to there: one row for each.

    Arguments and errors are those of `exponents.learning_curve_cell`; the rows hold definition, amplification and
    time_t_star (s = t/h).
    """
    task = Stripe(dimension, train_size, seed, width=width, output_scale=output_scale, dtype=dtype, device=device)
    problem = task.draw()
    flow = hinge_flow(problem.network, *problem.train, output_scale, stop_at_t_star=True)
    return [
        {
            "definition": definition,
            "amplification": amplification(flow.at_t_star.weight, definition=definition),
            "time_t_star": flow.time_t_star,
        }
        for definition in DEFINITIONS
    ]


def stages_cell(
    *,
    dimension: int,
    train_size: int,
    seed: int,
    width: int = 300,
    output_scale: float = 1e-6,
    test_size: int = 2_000,
    tolerance: float = 1.0,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """One net on the stripe through all its stages: a row at every step up to t*, then whenever s grew by 5 %.

    Arguments and errors are those of `learning_curve_cell`; what happens late in a single net needs a tolerance of
    1/4 or finer (see `repro.training.flow.hinge_flow`). The rows hold

        stage            "explicit" up to t*, whose last row is t* itself, "implicit" after it
        time             s = t/h
        loss             mean of max(0, 1 − y F): 1 at the start
        satisfied        share of training points that left the loss: y F > 0.98, where the rounded hinge ends
        amplification_A  Λ_A of the first layer
        test_error       share of fresh points with y F <= 0; all of them at the start, where F = 0
    """
    task = Stripe(dimension, train_size, seed, 1, width, output_scale, test_size, dtype, device)
    problem = task.draw()
    initial = problem.network(problem.test.inputs)

    def row(state: FlowState) -> Row:
        decision = (state.network(problem.test.inputs) - initial) * problem.test.labels
        return {
            "stage": state.stage,
            "time": state.time,
            "loss": _mean((1 - state.margins).clamp_min(0)),
            "satisfied": _satisfied(state),
            "amplification_A": amplification(state.network.weight),
            "test_error": _mean(decision <= 0),
        }

    return [row(state) for state in _trajectory(problem, output_scale, tolerance)]


def neuron_map_cell(
    *,
    dimension: int,
    train_size: int,
    seed: int,
    frames: int,
    width: int = 300,
    output_scale: float = 1e-6,
    tolerance: float = 1.0,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Where the neurons of one net are, from start to end: each one's hinge point on the plane (x₁, x₂).

    Args:
        frames: number of states, at least 4: the start, t*, the first with 90 % of the points satisfied and the end
            are always among them, the others spread evenly over the kept steps.

    Other arguments and errors are those of `learning_curve_cell`. A row per state and neuron holds frame, moment
    ("start", "t*", "90 % satisfied", "end" or ""), time (s = t/h), satisfied, neuron, z1, z2 and share, the neuron's
    part of the whole net (see `geometry.hinges.neuron_shares`).
    """
    if frames < 4:
        raise ValueError(f"frames must be at least 4, got {frames}")
    task = Stripe(dimension, train_size, seed, width=width, output_scale=output_scale, dtype=dtype, device=device)
    states = _trajectory(task.draw(), output_scale, tolerance)
    satisfied = [_satisfied(state) for state in states]
    t_star = sum(state.stage == "explicit" for state in states) - 1
    on_the_way = next((i for i, share in enumerate(satisfied[:-1]) if share >= ON_THE_WAY), len(states) - 2)
    moments = {len(states) - 1: "end", on_the_way: "90 % satisfied", t_star: "t*", 0: "start"}
    spread = np.linspace(0, len(states) - 1, frames - 2).round().astype(int).tolist()
    rows = []
    for frame, index in enumerate(sorted({*spread, *moments})):
        network = states[index].network
        points = hinge_points(network.weight, network.bias)
        shares = neuron_shares(network.weight, network.bias, network.readout)
        when = {"moment": moments.get(index, ""), "time": states[index].time, "satisfied": satisfied[index]}
        for neuron, (point, share) in enumerate(zip(points.tolist(), shares.tolist(), strict=True)):
            place = {"neuron": neuron, "z1": point[0], "z2": point[1], "share": share}
            rows.append({"frame": frame, **when, **place})
    return rows


def one_neuron_cell(
    *,
    dimension: int,
    train_size: int,
    seed: int,
    width: int = 300,
    output_scale: float = 1e-6,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Λ_A of a net up to its t* against the one-neuron equation from the same initial net.

    Arguments and errors are those of `learning_curve_cell`. A row per step and source holds source (see `_sources`),
    time and t_star (s = t/h), and amplification_A.
    """
    task = Stripe(dimension, train_size, seed, width=width, output_scale=output_scale, dtype=dtype, device=device)
    sources, times = _sources(task)
    return [
        {"t_star": times[-1], "source": source, "time": time, "amplification_A": amplification(network.weight)}
        for source, path in sources.items()
        for time, network in zip(times, path, strict=True)
    ]


def neuron_path_cell(
    *,
    dimension: int,
    train_size: int,
    seed: int,
    heaviest: int,
    width: int = 300,
    output_scale: float = 1e-6,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Paths of single neurons up to t*, in the net and by the one-neuron equation.

    Args:
        heaviest: number of neurons to follow, those with the largest share of the net at t*.

    Other arguments and errors are those of `learning_curve_cell`. A row per step, source (see `_sources`) and neuron
    holds neuron, source, time (s = t/h), z_parallel and z_perpendicular: how far its hinge point lies along the
    informative axis and off it.
    """
    task = Stripe(dimension, train_size, seed, width=width, output_scale=output_scale, dtype=dtype, device=device)
    sources, times = _sources(task)
    last = sources["net"][-1]
    followed = neuron_shares(last.weight, last.bias, last.readout).argsort(descending=True)[:heaviest].tolist()
    rows = []
    for source, path in sources.items():
        for time, network in zip(times, path, strict=True):
            places = hinge_points(network.weight, network.bias)
            for neuron in followed:
                along, off = float(places[neuron, 0]), float(places[neuron, 1:].norm())
                where = {"z_parallel": along, "z_perpendicular": off}
                rows.append({"neuron": neuron, "source": source, "time": time, **where})
    return rows


def _sources(task: Stripe) -> tuple[dict[str, list[ShallowNetwork]], list[float]]:
    """Nets at the steps of the flow up to t*, by source, and the times of the steps.

    The sources are "net", "equation, p" with the sampling noise of p points (its stream is its own, so this is not
    the net's noise) and "equation" without noise.
    """
    problem = task.draw()
    states = _trajectory(problem, task.output_scale, stop_at_t_star=True)
    times, noise = [state.time for state in states], task.generators().fresh
    sources = {
        "net": [state.network for state in states],
        "equation, p": one_neuron_flow(problem.network, times, train_size=task.train_size, generator=noise),
        "equation": one_neuron_flow(problem.network, times),
    }
    return sources, times


def _trajectory(
    problem: Problem, output_scale: float, tolerance: float = 1.0, stop_at_t_star: bool = False
) -> list[FlowState]:
    """States of the flow: every step up to t*, from there on thinned to equal factors of time, and the last one."""
    kept: list[FlowState] = []

    def keep(state: FlowState) -> None:
        # the latest state stays until the next one shows whether it was worth keeping
        if len(kept) > 1 and kept[-1].stage == "implicit" and kept[-1].time < SPACING * kept[-2].time:
            kept.pop()
        kept.append(state)

    hinge_flow(
        problem.network,
        *problem.train,
        output_scale,
        weight_tolerance=WEIGHT_TOLERANCE * tolerance,
        margin_tolerance=MARGIN_TOLERANCE * tolerance,
        stop_at_t_star=stop_at_t_star,
        observe=keep,
    )
    return kept


def _satisfied(state: FlowState) -> float:
    return _mean(state.margins > 1 - HUBER_WIDTH)


def _mean(values: Tensor) -> float:
    return float(values.to(torch.float64).mean())
