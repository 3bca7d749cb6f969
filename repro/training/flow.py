"""Gradient flow of the hinge loss for a one-hidden-layer ReLU network, from the first step to the last margin.

The flow (arXiv 2007.11471; loss and scaling of the released code) is, for F = α (f − f₀) and natural time s = t/h,

    loss L = (1/p) Σᵢ max(0, 1 − yᵢ F(xᵢ)) / α,        d parameters / dt = −∂L.

Per neuron, with u = (x/√d, 1), v = (w, b), force gᵢ = 1 while yᵢFᵢ < 1 and 0 beyond, and drive
q = (√2/p) Σᵢ gᵢ yᵢ 1[v·uᵢ > 0] uᵢ, it reads  dv/ds = β q,  dβ/ds = v·q.  Three facts make it fast:

* for a fixed drive that equation is linear; its exact solution is a hyperbolic rotation, which conserves |v|² − β²;
* drives, margins and their derivatives are all one product of the mask matrix with d + 1 columns;
* once points reach the margin the flow is stiff (forces switch on and off to hold them there), so steps are implicit in
  the forces. They solve a convex piecewise quadratic problem, in which only the few points *at* the margin need a
  linear solve.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from repro.models.dense import GAIN, ShallowNetwork

HUBER_WIDTH = 0.02  # the force falls from 1 to 0 between margins 0.98 and 1: the trained kernel is nearly of low rank
SATISFIED_SHARE = 0.1  # t* is the first time at which more than this share of the points has yF >= 1
CROSSING = 0.01  # how far beyond 1 the margin that decides on t* may be when t* is declared
FORCE_TOLERANCE = 0.01  # of the implicit solve; worth 0.01 * HUBER_WIDTH = 2e-4 in the margins
SOLVE_LIMIT = 40  # Newton iterations before the step is shortened; 2 to 10 are usual
LINE_SEARCH_GRID = 16  # shares of a Newton step at which its slope is taken
WORKING_MARGIN = 3.0  # points with yF beyond it are left out ...
WORKING_TRAVEL = 0.1  # ... until the parameters have moved by this share of their norm; then all are rechecked
EXPLICIT_FACTOR = 4.0  # longer steps before t*: 1 % in the amplification there against steps ten times shorter
WEIGHT_TOLERANCE, MARGIN_TOLERANCE = 0.05, 0.1  # defaults of `hinge_flow`
FIRST_STEP = 0.01  # in s; the step control corrects it within a few steps


class FlowState(NamedTuple):
    """What `observe` receives at time 0 and after every accepted step."""

    stage: str  # "explicit" up to t*, "implicit" after it
    time: float  # s = t/h
    network: ShallowNetwork
    margins: Tensor  # yF, (p,)


@dataclass(frozen=True)
class FlowResult:
    """Outcome of `hinge_flow`; times are s = t/h, steps are accepted ones unless said otherwise."""

    at_t_star: ShallowNetwork
    final: ShallowNetwork
    time_t_star: float
    time_final: float
    explicit_steps: int  # up to t*
    implicit_steps: int  # after t*
    rejected_steps: int
    converged: bool  # every margin is above 1 - HUBER_WIDTH; False at t*, at rest, or at the step limit before that


def hinge_flow(
    network: ShallowNetwork,
    inputs: Tensor,
    labels: Tensor,
    output_scale: float,
    *,
    weight_tolerance: float = WEIGHT_TOLERANCE,
    margin_tolerance: float = MARGIN_TOLERANCE,
    step_limit: int = 20_000,
    stop_at_t_star: bool = False,
    observe: Callable[[FlowState], None] | None = None,
) -> FlowResult:
    """Train a network by gradient flow of the hinge loss until every point has its margin.

    Up to t*, the first time at which more than 10 % of the points have yF >= 1, steps are explicit (midpoint rule on
    exact rotations); from there on they are implicit in the forces, until min yF > 0.98 (arXiv 2007.11471 stops at 1;
    the hinge is rounded between 0.98 and 1 here) or the flow is at rest: a point on which no neuron is active any more
    exerts no force, so it can stay below its margin for ever (rare, in narrow nets).

    At the default tolerances what is read up to t* is accurate to a few percent, and the mean test error of a dozen
    nets to some 10 %. The end of a *single* net is not: late in training neurons switch, and its Λ may be off by a
    factor of 2. It converges: at a quarter of both tolerances usually to some 5 %, at a 64th to 0.1 % of what an
    explicit Euler scheme ends at (tests/training/test_flow.py), unless a net is very near a switch.

    Precision and device are those of the network's tensors. Rounding sets the range of the scale: F = α (f − f₀)
    multiplies the rounding of f by α, and f itself grows to 1/α.

    Args:
        network: the net at time 0, which also defines f₀; it is not changed.
        inputs: (p, d) training points.
        labels: (p,) of +1 and −1.
        output_scale: α, from 1e-30 to 1e4 in float32 and to 1e12 in float64. Small is the feature-learning regime,
            large the lazy one.
        weight_tolerance: largest move of all parameters in an implicit step, relative to their norm (four times that
            before t*, where the rule is of second order and growth at a constant rate is exact).
        margin_tolerance: largest error of the margins an implicit step predicted, counted below the margin 1; before t*
            the largest change of a margin in a step.
        step_limit: accepted and rejected steps after which to stop where the flow stands, not converged. Some hundred
            are usual; low dimensions with thousands of points can take more than ten thousand.
        stop_at_t_star: return at t*, where the compression is read.
        observe: called with a `FlowState` at time 0 and after every accepted step.

    Raises:
        ValueError: for shapes that do not fit, mixed precisions or devices, labels other than ±1, non-finite input, a
            scale out of range, or a tolerance or limit that is not positive.
        RuntimeError: if the step limit, or a rest, comes before t*.
    """
    _check(network, inputs, labels, output_scale)
    for name, value in (
        ("weight_tolerance", weight_tolerance),
        ("margin_tolerance", margin_tolerance),
        ("step_limit", step_limit),
    ):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
    control = _StepControl(weight_tolerance, margin_tolerance, step_limit)
    neurons = _Neurons(torch.cat([network.weight, network.bias[:, None]], 1), network.readout)
    points = _Points.of(neurons, inputs, labels, output_scale)

    def notify(stage: str, neurons: _Neurons) -> None:
        if observe is not None:
            observe(FlowState(stage, control.time, neurons.network(), points.margins(neurons)[0]))

    with torch.no_grad():
        notify("explicit", neurons)
        neurons = _run_explicit(points, neurons, control, notify)
        at_t_star, time_t_star, explicit_steps = neurons.network(), control.time, control.accepted
        if not stop_at_t_star:
            neurons = _run_implicit(points, neurons, control, notify)
    return FlowResult(
        at_t_star=at_t_star,
        final=neurons.network(),
        time_t_star=time_t_star,
        time_final=control.time,
        explicit_steps=explicit_steps,
        implicit_steps=control.accepted - explicit_steps,
        rejected_steps=control.rejected,
        converged=float(points.margins(neurons)[0].min()) > 1 - HUBER_WIDTH,
    )


class _Neurons(NamedTuple):
    hidden: Tensor  # v = (w, b), (h, d + 1)
    readout: Tensor  # β, (h,)

    def network(self) -> ShallowNetwork:
        return ShallowNetwork(self.hidden[:, :-1].clone(), self.hidden[:, -1].clone(), self.readout.clone())

    def rotated(self, impulse: Tensor) -> _Neurons:
        """Exact flow under a fixed drive, impulse = ∫q ds of shape (h, d + 1): conserves |v|² − β²."""
        angle = torch.linalg.vector_norm(impulse, dim=1).clamp_min(1e-15)  # sinh(x)/x is 1 there
        along = (self.hidden * impulse).sum(1)
        sinhc = torch.sinh(angle) / angle
        coshc = (torch.sinh(angle / 2) / angle) ** 2 * 2  # (cosh(x) − 1)/x² without cancellation
        hidden = self.hidden + impulse * (self.readout * sinhc + along * coshc)[:, None]
        return _Neurons(hidden, self.readout * torch.cosh(angle) + along * sinhc)

    def moved(self, other: _Neurons) -> float:
        """Distance to other, relative to the norm of all parameters."""
        norm = torch.linalg.vector_norm
        change = torch.hypot(norm(other.hidden - self.hidden), norm(other.readout - self.readout))
        return float(change / torch.hypot(norm(self.hidden), norm(self.readout)))


@dataclass(frozen=True)
class _Points:
    """Training points, or the working set among them."""

    features: Tensor  # u = (x/√d, 1), (m, d + 1)
    signed: Tensor  # y u, (m, d + 1)
    offset: Tensor  # α y f₀, (m,)
    margin_scale: float  # α √2/h
    drive_scale: float  # √2/p

    @staticmethod
    def of(neurons: _Neurons, inputs: Tensor, labels: Tensor, output_scale: float) -> _Points:
        features = torch.cat([inputs / math.sqrt(inputs.shape[1]), torch.ones_like(inputs[:, :1])], 1)
        scales = output_scale * GAIN / len(neurons.readout), GAIN / len(labels)
        raw = _Points(features, features * labels[:, None], torch.zeros_like(labels), *scales)
        return _Points(features, raw.signed, raw.margins(neurons)[0], *scales)

    def subset(self, rows: Tensor) -> _Points:
        return _Points(self.features[rows], self.signed[rows], self.offset[rows], self.margin_scale, self.drive_scale)

    def margins(self, neurons: _Neurons) -> tuple[Tensor, Tensor]:
        """yF (m,) and the masks 1[z > 0] (m, h)."""
        preactivation = self.features @ neurons.hidden.T
        masks = (preactivation > 0).to(preactivation.dtype)
        slopes = masks @ (neurons.hidden * neurons.readout[:, None])  # (m, d + 1); f is linear within a mask
        return (self.signed * slopes).sum(1) * self.margin_scale - self.offset, masks

    def drive(self, masks: Tensor, forces: Tensor) -> Tensor:
        """q, (h, d + 1)."""
        return masks.T @ (self.signed * (forces * self.drive_scale)[:, None])


@dataclass
class _StepControl:
    weight_tolerance: float
    margin_tolerance: float
    limit: int
    time: float = 0.0
    duration: float = FIRST_STEP
    accepted: int = 0
    rejected: int = 0

    def accept(self, growth: float) -> None:
        self.time += self.duration
        self.accepted += 1
        self.duration *= growth

    def reject(self, shrinkage: float) -> None:
        self.rejected += 1
        self.duration *= max(0.2, shrinkage)

    @property
    def exhausted(self) -> bool:
        return self.accepted + self.rejected >= self.limit


def _run_explicit(
    points: _Points, neurons: _Neurons, control: _StepControl, notify: Callable[[str, _Neurons], None]
) -> _Neurons:
    """Integrate up to t* by the midpoint rule; the last step is shortened until the deciding margin is 1 to 1 %."""
    rank = math.floor(SATISFIED_SHARE * len(points.signed)) + 1  # this many points make "more than" the share

    def deciding(margins: Tensor) -> float:
        return float(torch.topk(margins, rank).values[-1])

    margins, masks = points.margins(neurons)
    while True:
        if control.exhausted:
            raise RuntimeError(
                f"t* was not reached in {control.limit} steps ({control.rejected} of them rejected): at s = "
                f"{control.time:.4g} the deciding margin is {deciding(margins):.3g}"
            )
        drive = points.drive(masks, _hinge(margins))
        if not bool(drive.any()):
            raise RuntimeError("the flow is at rest before t*: no neuron feels a force from the unsatisfied points")
        middle_margins, middle_masks = points.margins(neurons.rotated(drive * (control.duration / 2)))
        new = neurons.rotated(points.drive(middle_masks, _hinge(middle_margins)) * control.duration)
        new_margins, new_masks = points.margins(new)
        change = float((new_margins - margins).abs().max()) / control.margin_tolerance
        moved = neurons.moved(new) / (EXPLICIT_FACTOR * control.weight_tolerance)
        excess = max(change, moved)
        before, middle, after = deciding(margins), deciding(middle_margins), deciding(new_margins)
        if not excess <= 1.5:  # also refuses NaN; up to 1.5 it is cheaper to accept and shorten the next step
            control.reject(0.9 / excess)
        elif middle >= 1:
            control.reject(0.5)
        elif after > 1 + CROSSING:  # too far beyond t*: aim at the middle of the allowed band
            control.reject((1 + CROSSING / 2 - before) / (after - before))
        else:
            neurons, margins, masks = new, new_margins, new_masks
            control.accept(min(2.0, 0.9 / max(excess, 1e-3)))
            notify("explicit", neurons)
            if after >= 1:
                return neurons


class _WorkingState(NamedTuple):
    neurons: _Neurons
    margins: Tensor  # (m,)
    masks: Tensor  # (m, h)
    forces: Tensor  # (m,)


def _run_implicit(
    points: _Points, neurons: _Neurons, control: _StepControl, notify: Callable[[str, _Neurons], None]
) -> _Neurons:
    """Integrate to the last margin on working sets of points and neurons, all points being rechecked in between."""
    margins, masks = points.margins(neurons)
    forces = _hinge(margins)
    while not (_finished(margins, masks) or control.exhausted):
        rows = (margins < WORKING_MARGIN).nonzero()[:, 0]
        alive = masks.any(0).nonzero()[:, 0]  # the others have no drive: they are frozen for good
        working = points.subset(rows)
        state = _WorkingState(
            _Neurons(neurons.hidden[alive], neurons.readout[alive]),
            margins[rows],
            masks[rows][:, alive],
            forces[rows],
        )
        travel = 0.0
        while travel < WORKING_TRAVEL and not (_finished(state.margins, state.masks) or control.exhausted):
            new = _implicit_step(working, state, control)
            travel += state.neurons.moved(new.neurons)
            state = new
            neurons = _Neurons(
                neurons.hidden.index_copy(0, alive, state.neurons.hidden),
                neurons.readout.index_copy(0, alive, state.neurons.readout),
            )
            notify("implicit", neurons)
        margins, masks = points.margins(neurons)
        forces = torch.zeros_like(margins).index_copy(0, rows, state.forces)
    return neurons


def _implicit_step(points: _Points, state: _WorkingState, control: _StepControl) -> _WorkingState:
    """One accepted step: forces that leave the *predicted* margins consistent, then the exact rotation under them.

    When the step limit comes first, the state is returned as it is.
    """
    kernel = _TangentKernel(points, state)
    forces, growth = state.forces, 1.5
    while not control.exhausted:
        error = math.inf
        solution = kernel.solve(state.margins, forces, control.duration)
        if solution is not None:
            forces, predicted = solution
            new = state.neurons.rotated(points.drive(state.masks, forces) * control.duration)
            margins, masks = points.margins(new)
            # beyond the margin no force acts, so an error there does not count
            mismatch = float((margins.clamp(max=1) - predicted.clamp(max=1)).abs().max()) / control.margin_tolerance
            error = max(mismatch, (state.neurons.moved(new) / control.weight_tolerance) ** 2)
        if error <= 1:
            control.accept(min(growth, 0.9 / math.sqrt(error + 1e-6)))
            return _WorkingState(new, margins, masks, forces)
        control.reject(0.9 / math.sqrt(error))  # the error is of second order in the step
        growth = 1.0  # what was just too long would be so again
    return state


class _TangentKernel:
    """Linear response of the margins to the forces: margins' = margins + duration · K forces, K the signed NTK."""

    def __init__(self, points: _Points, state: _WorkingState) -> None:
        self.hidden, self.readout = state.neurons
        self.masks = state.masks
        self.signed = points.signed
        self.scale = points.margin_scale * points.drive_scale
        self.scaled_hidden = self.hidden * self.scale
        self.scaled_square = (self.readout * self.readout * self.scale)[:, None]

    def response(self, masks: Tensor, signed: Tensor, drive: Tensor) -> Tensor:
        """Rate of the margins of the given points under a drive, (rows,)."""
        tangent = self.scaled_square * drive + self.scaled_hidden * (self.hidden * drive).sum(1, keepdim=True)
        return (signed * (masks @ tangent)).sum(1)

    def block(self, masks: Tensor, signed: Tensor) -> Tensor:
        """K between the given points, float64: long steps multiply its rounding. In place: no more than two (f, f)."""
        masks, signed = masks.double(), signed.double()
        activation = (signed @ self.hidden.double().T).mul_(masks)
        masks = masks * self.readout.double()
        kernel = (masks @ masks.T).mul_(signed @ signed.T)
        return kernel.add_(activation @ activation.T).mul_(self.scale)

    def solve(self, margins: Tensor, forces: Tensor, duration: float) -> tuple[Tensor, Tensor] | None:
        """Forces a in [0, 1] and margins r with r = margins + duration K a and a = force(r), or None.

        These are the optimality conditions of min |Δ|²/2 + Σ huber(r), Δ the parameter change: semi-smooth Newton with
        exact line search, which is block principal pivoting of the dual with a safeguard that cannot cycle. It starts
        from the active set of the given forces.
        """
        reached: Tensor | None = None
        target = forces
        for _ in range(SOLVE_LIMIT):
            acting = (target > 0).nonzero()[:, 0]  # few, so that the products below are of few rows
            masks, signed = self.masks[acting], self.signed[acting]
            acting_forces = (target[acting] >= 1).to(target.dtype)
            drive = masks.T @ (signed * acting_forces[:, None])
            at_margin = (acting_forces < 1).nonzero()[:, 0]
            if len(at_margin):
                free, masks, signed = acting[at_margin], masks[at_margin], signed[at_margin]
                matrix = self.block(masks, signed).mul_(duration)
                matrix.diagonal().add_(HUBER_WIDTH)
                missing = 1 - margins[free] - duration * self.response(masks, signed, drive)
                factor, _ = torch.linalg.cholesky_ex(matrix)
                solution = torch.cholesky_solve(missing.double()[:, None], factor).to(target.dtype)
                acting_forces[at_margin] = solution[:, 0]
                drive = drive + masks.T @ (signed * solution)
            candidate = torch.zeros_like(target).index_copy(0, acting, acting_forces)
            candidate_margins = margins + duration * self.response(self.masks, self.signed, drive)
            residual = float((_huber(candidate_margins) - candidate).abs().max())
            if residual < FORCE_TOLERANCE:
                return candidate, candidate_margins
            if not math.isfinite(residual):
                return None
            if reached is None:
                forces, reached = candidate, candidate_margins
            else:
                force_step, margin_step = candidate - forces, candidate_margins - reached
                share = _line_search(forces, reached, force_step, margin_step)
                forces, reached = forces + share * force_step, reached + share * margin_step
            target = _huber(reached)
        return None


def _line_search(forces: Tensor, margins: Tensor, force_step: Tensor, margin_step: Tensor) -> float:
    """Share of the step that minimises the convex objective of `_TangentKernel.solve`: where its slope turns positive.

    The slope is taken on a whole grid at once, then on a grid in the interval found (cheaper than bisection), and
    interpolated, which is exact unless a point changes its piece in between.
    """
    grid = torch.linspace(0, 1, LINE_SEARCH_GRID + 1, dtype=margins.dtype, device=margins.device)[:, None]
    low, high, share = 0.0, 1.0, 1.0
    for _ in range(2):
        shares = low + (high - low) * grid
        slopes = ((forces + shares * force_step - _huber(margins + shares * margin_step)) @ margin_step).tolist()
        end = next((index for index, slope in enumerate(slopes) if slope > 0 and index > 0), None)
        if end is None:
            return high
        before, after = min(slopes[end - 1], 0.0), slopes[end]
        width = (high - low) / LINE_SEARCH_GRID
        share = low + width * (end - after / (after - before))
        low, high = low + width * (end - 1), low + width * end
    return share


def _finished(margins: Tensor, masks: Tensor) -> bool:
    """Whether every point has its margin, or no active neuron through which it could still act."""
    return bool(((margins > 1 - HUBER_WIDTH) | ~masks.any(1)).all())


def _hinge(margins: Tensor) -> Tensor:
    return (margins < 1).to(margins.dtype)


def _huber(margins: Tensor) -> Tensor:
    return ((1 - margins) / HUBER_WIDTH).clamp(0, 1)


def _check(network: ShallowNetwork, inputs: Tensor, labels: Tensor, output_scale: float) -> None:
    dtype, device, dimension = network.weight.dtype, network.weight.device, network.weight.shape[1]
    if inputs.ndim != 2 or inputs.shape[0] == 0 or inputs.shape[1] != dimension or labels.shape != inputs.shape[:1]:
        raise ValueError(
            f"expected inputs (p, {dimension}) with p >= 1 and labels (p,), got {tuple(inputs.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the network must be float32 or float64, got {dtype}")
    named = {"inputs": inputs, "labels": labels, "bias": network.bias, "readout": network.readout}
    for name, tensor in {"weight": network.weight, **named}.items():
        if tensor.dtype != dtype or tensor.device != device:
            raise ValueError(f"{name} is {tensor.dtype} on {tensor.device}, the weight is {dtype} on {device}")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds non-finite entries")
    if not bool((labels.abs() == 1).all()):
        raise ValueError(f"labels must be +1 or -1, got {labels[labels.abs() != 1][0].item()}")
    largest = 1e4 if dtype == torch.float32 else 1e12
    if not 1e-30 <= output_scale <= largest:
        raise ValueError(f"output_scale must lie in [1e-30, {largest:.0e}] for {dtype}, got {output_scale}")
