"""Learning curves and decision functions of the invariant tasks (arXiv 2007.11471): a trained net, a fixed kernel.

Each function takes the parameters of one grid cell as plain scalars and returns rows of plain scalars. All randomness
comes from `seed`, the dimension and the training-set size, with a stream of its own for training data, test data and
initial weights; so both regimes see the same data, and a cell repeated on one machine gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from repro.data.synthetic import Sample, cylinder, stripe
from repro.geometry.compression import amplification
from repro.geometry.ntk import relu_ntk
from repro.models.dense import ShallowNetwork, initialise
from repro.training.device import resolve_device, resolve_dtype
from repro.training.flow import MARGIN_TOLERANCE, WEIGHT_TOLERANCE, hinge_flow
from repro.training.kernel import hard_margin_svm

Regime = Literal["feature", "lazy"]
Row = dict[str, Any]  # column name -> bool, int, float, str or None

CHUNK = 128  # points whose kernel with 8 192 others is held at once: 8 MB a matrix, and the kernel needs six


def learning_curve_cell(
    *,
    regime: Regime,
    dimension: int,
    train_size: int,
    seed: int,
    informative: int = 1,
    width: int = 300,
    output_scale: float = 1e-6,
    test_size: int = 20_000,
    dtype: str = "float32",
    tolerance: float = 1.0,
    device: str = "auto",
) -> list[Row]:
    """One point of a learning curve: test error of the net or of the kernel machine, with the net's compression.

    "feature" trains a net with `hinge_flow`; "lazy" is the hard-margin support vector machine with the analytic
    infinite-width NTK (always float64) on the same data. The row holds the parameters and

        test_error           share of fresh points with y F <= 0
        amplification_A/B    Λ of the first layer at t*, see `geometry.compression`; None in the lazy regime
        amplification_final  Λ_A at the end; None in the lazy regime
        time_t_star, time    s = t/h at t* and at the end; None in the lazy regime
        converged            every training margin was reached
        steps                accepted steps of the flow; 0 in the lazy regime

    Args:
        regime: "feature" or "lazy".
        dimension: input dimension d, at least 2.
        train_size: number of training points p, at least 2.
        seed: non-negative integer.
        informative: directions the label depends on: 1 is the stripe, 2 or more a cylinder.
        width: hidden neurons h; unused by "lazy", like the output scale.
        output_scale: α of F = α (f − f₀); above 1e4 it needs float64.
        test_size: number of test points.
        dtype: "float32" or "float64", of the net.
        tolerance: of the flow's step control, relative to its default; smaller is finer. Unused by "lazy".
        device: of the net and the kernel, "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range, or, in the lazy regime, a training set of one class only.
        RuntimeError: if the flow does not come to t*, or the kernel machine cannot separate the classes.
    """
    parameters = dict(locals())
    _require(test_size >= 1, f"test_size must be at least 1, got {test_size}")
    learner = _train(
        regime, dimension, train_size, seed, informative, width, output_scale, dtype, tolerance, resolve_device(device)
    )
    test = draw_sample(test_size, dimension, informative, _generators(seed, dimension, train_size).test)
    decision = _in_chunks(learner.decision, test.inputs)
    test_error = float((decision * test.labels <= 0).to(torch.float64).mean())
    return [{**parameters, "test_error": test_error, **learner.diagnostics}]


def decision_slice_cell(
    *,
    regime: Regime,
    dimension: int,
    train_size: int,
    seed: int,
    width: int = 300,
    output_scale: float = 1e-6,
    points: int = 61,
    extent: float = 3.0,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Decision function of one trained learner on the plane of the informative and the first other coordinate.

    Both regimes are in units of the margin, without further scaling: F = α (f − f₀) of the net and the decision
    function of the support vector machine have y F >= 1 on their training points (0.98 for the net).

    Args:
        points: grid points per axis, at least 2; the rows are points² in number, x2 varying fastest.
        extent: both coordinates run from −extent to extent, the others are 0.

    Other arguments and errors are those of `learning_curve_cell`; the rows hold the parameters, x1, x2 and decision.
    """
    parameters = dict(locals())
    _require(points >= 2, f"points must be at least 2, got {points}")
    _require(0 < extent < np.inf, f"extent must be positive, got {extent}")
    learner = _train(regime, dimension, train_size, seed, 1, width, output_scale, dtype, 1.0, resolve_device(device))
    axis = torch.from_numpy(np.linspace(-extent, extent, points))
    plane = torch.cartesian_prod(axis, axis)  # (points², 2)
    inputs = torch.nn.functional.pad(plane, (0, dimension - 2))
    decision = _in_chunks(learner.decision, inputs)
    return [
        {**parameters, "x1": x1, "x2": x2, "decision": value}
        for (x1, x2), value in zip(plane.tolist(), decision.tolist(), strict=True)
    ]


class Problem(NamedTuple):
    """A net before training and its data, all in one precision on one device."""

    network: ShallowNetwork
    train: Sample
    test: Sample


def draw_sample(points: int, dimension: int, informative: int, generator: np.random.Generator) -> Sample:
    """Points of the stripe (one informative direction) or of the cylinder (two or more)."""
    if informative == 1:
        return stripe(points, dimension, generator)
    return cylinder(points, dimension, informative, generator)


def draw_problem(
    dimension: int,
    train_size: int,
    seed: int,
    width: int,
    *,
    informative: int = 1,
    test_size: int = 1,
    dtype: str = "float32",
    device: str = "auto",
) -> Problem:
    """The initial net, the training and the test points that `learning_curve_cell` uses for these parameters.

    Raises:
        ValueError: for a parameter out of range.
    """
    _check(dimension, train_size, width, dtype)
    generators = _generators(seed, dimension, train_size)
    where, kind = resolve_device(device), resolve_dtype(dtype)
    train, test = (
        Sample(*(tensor.to(where, kind) for tensor in draw_sample(points, dimension, informative, generator)))
        for points, generator in ((train_size, generators.train), (test_size, generators.test))
    )
    return Problem(initialise(width, dimension, generators.weights, kind, where), train, test)


class _Generators(NamedTuple):
    train: np.random.Generator
    test: np.random.Generator
    weights: np.random.Generator


class _Learner(NamedTuple):
    decision: Callable[[Tensor], Tensor]  # (points, d) float64 -> (points,) float64, both on the CPU
    diagnostics: Row


def _generators(seed: int, dimension: int, train_size: int) -> _Generators:
    _require(seed >= 0, f"seed must not be negative, got {seed}")
    children = np.random.SeedSequence([seed, dimension, train_size]).spawn(3)
    return _Generators(*(np.random.default_rng(child) for child in children))


def _check(dimension: int, train_size: int, width: int, dtype: str) -> None:
    _require(dimension >= 2, f"dimension must be at least 2, got {dimension}")
    _require(train_size >= 2, f"train_size must be at least 2, got {train_size}")
    _require(width >= 1, f"width must be at least 1, got {width}")
    resolve_dtype(dtype)


def _train(
    regime: str,
    dimension: int,
    train_size: int,
    seed: int,
    informative: int,
    width: int,
    output_scale: float,
    dtype: str,
    tolerance: float,
    device: torch.device,
) -> _Learner:
    _require(regime in ("feature", "lazy"), f"regime must be 'feature' or 'lazy', got {regime!r}")
    _require(output_scale > 0, f"output_scale must be positive, got {output_scale}")
    _require(tolerance > 0, f"tolerance must be positive, got {tolerance}")
    _check(dimension, train_size, width, dtype)
    if regime == "lazy":
        train = draw_sample(train_size, dimension, informative, _generators(seed, dimension, train_size).train)
        return _train_kernel(train, device)
    problem = draw_problem(dimension, train_size, seed, width, informative=informative, dtype=dtype, device=str(device))
    return _train_network(problem, informative, output_scale, tolerance)


def _train_network(problem: Problem, informative: int, output_scale: float, tolerance: float) -> _Learner:
    initial = problem.network
    flow = hinge_flow(
        initial,
        *problem.train,
        output_scale,
        weight_tolerance=WEIGHT_TOLERANCE * tolerance,
        margin_tolerance=MARGIN_TOLERANCE * tolerance,
    )

    def decision(inputs: Tensor) -> Tensor:
        points = inputs.to(initial.weight)
        return (output_scale * (flow.final(points) - initial(points))).cpu().to(torch.float64)

    diagnostics: Row = {
        "amplification_A": amplification(flow.at_t_star.weight, informative, "A"),
        "amplification_B": amplification(flow.at_t_star.weight, informative, "B"),
        "amplification_final": amplification(flow.final.weight, informative, "A"),
        "time_t_star": flow.time_t_star,
        "time": flow.time_final,
        "converged": flow.converged,
        "steps": flow.explicit_steps + flow.implicit_steps,
    }
    return _Learner(decision, diagnostics)


def _train_kernel(train: Sample, device: torch.device) -> _Learner:
    inputs = train.inputs.to(device)
    gram = np.empty((len(inputs), len(inputs)))
    for start in range(0, len(inputs), CHUNK):
        gram[start : start + CHUNK] = relu_ntk(inputs[start : start + CHUNK], inputs).cpu()
    machine = hard_margin_svm(gram, train.labels)
    support = inputs[torch.from_numpy(machine.support).to(device)]

    def decision(points: Tensor) -> Tensor:
        return torch.from_numpy(machine.decision(relu_ntk(points.to(device), support)))

    nothing = dict.fromkeys(("amplification_A", "amplification_B", "amplification_final", "time_t_star", "time"))
    return _Learner(decision, {**nothing, "converged": True, "steps": 0})


def _in_chunks(decision: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    return torch.cat([decision(chunk) for chunk in torch.split(inputs, CHUNK)])


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
