"""Learning curves and decision functions of the invariant tasks (arXiv 2007.11471): a trained net, a fixed kernel.

Each function takes the parameters of one grid cell as plain scalars and returns rows of plain scalars; the sweep adds
the parameters to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from repro.geometry.compression import amplification
from repro.geometry.ntk import relu_ntk
from repro.papers.compression.stripe import Stripe, error_rate
from repro.training.flow import MARGIN_TOLERANCE, WEIGHT_TOLERANCE, hinge_flow
from repro.training.svm import hard_margin_svm

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
    infinite-width NTK (always float64) on the same data. The row holds

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
    task = Stripe(dimension, train_size, seed, informative, width, output_scale, test_size, dtype, device)
    learner = _train(regime, task, tolerance)
    test = task.test()
    decision = _in_chunks(learner.decision, test.inputs)
    return [{"test_error": error_rate(decision, test.labels), **learner.diagnostics}]


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

    Other arguments and errors are those of `learning_curve_cell`; the rows hold x1, x2 and decision.
    """
    if points < 2 or not 0 < extent < np.inf:
        raise ValueError(f"expected at least 2 points and a positive extent, got {points} and {extent}")
    task = Stripe(dimension, train_size, seed, width=width, output_scale=output_scale, dtype=dtype, device=device)
    learner = _train(regime, task)
    axis = torch.from_numpy(np.linspace(-extent, extent, points))
    plane = torch.cartesian_prod(axis, axis)  # (points², 2)
    inputs = torch.nn.functional.pad(plane, (0, dimension - 2))
    decision = _in_chunks(learner.decision, inputs)
    return [
        {"x1": x1, "x2": x2, "decision": value}
        for (x1, x2), value in zip(plane.tolist(), decision.tolist(), strict=True)
    ]


class _Learner(NamedTuple):
    decision: Callable[[Tensor], Tensor]  # (points, d) float64 -> (points,) float64, both on the CPU
    diagnostics: Row


def _train(regime: str, task: Stripe, tolerance: float = 1.0) -> _Learner:
    if regime == "feature":
        return _train_network(task, tolerance)
    if regime == "lazy":
        return _train_kernel(task)
    raise ValueError(f"regime must be 'feature' or 'lazy', got {regime!r}")


def _train_network(task: Stripe, tolerance: float) -> _Learner:
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    initial, train, scale = task.network(), task.placed(task.train()), task.output_scale
    flow = hinge_flow(
        initial,
        *train,
        scale,
        weight_tolerance=WEIGHT_TOLERANCE * tolerance,
        margin_tolerance=MARGIN_TOLERANCE * tolerance,
    )

    def decision(inputs: Tensor) -> Tensor:
        points = inputs.to(initial.weight)
        return (scale * (flow.final(points) - initial(points))).cpu().to(torch.float64)

    diagnostics: Row = {
        "amplification_A": amplification(flow.at_t_star.weight, task.informative, "A"),
        "amplification_B": amplification(flow.at_t_star.weight, task.informative, "B"),
        "amplification_final": amplification(flow.final.weight, task.informative, "A"),
        "time_t_star": flow.time_t_star,
        "time": flow.time_final,
        "converged": flow.converged,
        "steps": flow.explicit_steps + flow.implicit_steps,
    }
    return _Learner(decision, diagnostics)


def _train_kernel(task: Stripe) -> _Learner:
    train = task.train()
    inputs = train.inputs.to(task.place)
    gram = np.empty((len(inputs), len(inputs)))
    for start in range(0, len(inputs), CHUNK):
        gram[start : start + CHUNK] = relu_ntk(inputs[start : start + CHUNK], inputs).cpu()
    machine = hard_margin_svm(gram, train.labels)
    support = inputs[torch.from_numpy(machine.support).to(task.place)]

    def decision(points: Tensor) -> Tensor:
        return torch.from_numpy(machine.decision(relu_ntk(points.to(task.place), support)))

    nothing = dict.fromkeys(("amplification_A", "amplification_B", "amplification_final", "time_t_star", "time"))
    return _Learner(decision, {**nothing, "converged": True, "steps": 0})


def _in_chunks(decision: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    return torch.cat([decision(chunk) for chunk in torch.split(inputs, CHUNK)])
