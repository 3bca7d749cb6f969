"""Obvious implementations to compare with: a net trained by explicit Euler steps, in plain autograd and compiled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

from repro.models.dense import ShallowNetwork


def output(weight: Tensor, bias: Tensor, readout: Tensor, inputs: Tensor) -> Tensor:
    """The network's formula as it is written in the paper's code."""
    hidden = torch.relu(inputs @ weight.T / math.sqrt(inputs.shape[1]) + bias)
    return math.sqrt(2.0) * hidden @ readout / len(readout)


class EulerResult(NamedTuple):
    at_t_star: ShallowNetwork
    final: ShallowNetwork
    steps: int
    time: float  # s = t/h
    finished: bool


def euler_flow(
    network: ShallowNetwork,
    inputs: Tensor,
    labels: Tensor,
    output_scale: float,
    largest_change: float = 0.1,
    stop_margin: float = 0.98,
    step_limit: int = 200_000,
    partial: bool = False,
) -> EulerResult:
    """Explicit Euler on the loss (1/p) Σ max(0, 1 − yF)/α, gradients by autograd, max |ΔF| limited in every step.

    At the limit of steps it returns where it stands if `partial`, and raises otherwise.
    """
    parameters = [tensor.clone().requires_grad_() for tensor in (network.weight, network.bias, network.readout)]
    initial = network(inputs)
    at_t_star = None
    duration, steps, passed = 1e-2, 0, 0.0
    margins = labels * output_scale * (output(*parameters, inputs) - initial)
    while margins.min() < stop_margin:
        gradients = torch.autograd.grad(torch.relu(1 - margins).mean() / output_scale, parameters)
        while True:
            trial = [
                (value - duration * len(network.readout) * gradient).detach().requires_grad_()
                for value, gradient in zip(parameters, gradients, strict=True)
            ]
            new_margins = labels * output_scale * (output(*trial, inputs) - initial)
            change = float((new_margins - margins).detach().abs().max())
            if change <= largest_change:
                break
            duration *= 0.7
        parameters, margins = trial, new_margins
        passed += duration
        # F is tiny for most of the way to t*, so its change does not limit the steps there: 0.05 is 5 % of growth
        duration = min(duration * (1.1 if change < 0.8 * largest_change else 1.0), 0.05 if at_t_star is None else 1e9)
        steps += 1
        if at_t_star is None and (margins >= 1).double().mean() > 0.1:
            at_t_star = ShallowNetwork(*(tensor.detach() for tensor in parameters))
        if steps >= step_limit:
            if partial:
                break
            raise RuntimeError(f"no convergence in {steps} Euler steps")
    final = ShallowNetwork(*(tensor.detach() for tensor in parameters))
    return EulerResult(at_t_star or final, final, steps, passed, bool(margins.min() >= stop_margin))


def compiled_euler_flow(
    network: ShallowNetwork,
    inputs: Tensor,
    labels: Tensor,
    output_scale: float,
    largest_change: float = 0.1,
    huber_width: float = 0.0,
    step_limit: int = 10_000_000,
) -> EulerResult:
    """The steps of `euler_flow` in one compiled loop, float64, gradients by hand, to min yF >= 0.98.

    With a Huber width the hinge is rounded just below the margin 1, as in `repro.training.flow`; steps are stable while
    the largest change is well below it. The plain hinge, at 0, is what one trains first.
    """
    dimension = inputs.shape[1]
    features = np.concatenate([inputs.double().numpy() / math.sqrt(dimension), np.ones((len(inputs), 1))], 1)
    hidden = np.concatenate([network.weight.numpy(), network.bias.numpy()[:, None]], 1).astype(np.float64)
    scale = math.sqrt(2.0) / len(network.readout)
    start = hidden, network.readout.double().numpy().copy(), features, labels.double().numpy()
    at_t_star, final, steps, passed, finished = _euler_steps(
        *start, output_scale * scale, math.sqrt(2.0) / len(labels), largest_change, huber_width, step_limit
    )

    def trained(hidden: np.ndarray, readout: np.ndarray) -> ShallowNetwork:
        return ShallowNetwork(*map(torch.from_numpy, (hidden[:, :-1].copy(), hidden[:, -1].copy(), readout)))

    return EulerResult(trained(*at_t_star), trained(*final), steps, passed, finished)


@njit(cache=True)
def _margins(hidden, readout, features, signed_scale, preactivation, margins):
    for i in range(len(features)):
        total = 0.0
        for n in range(len(readout)):
            z = 0.0
            for k in range(features.shape[1]):
                z += features[i, k] * hidden[n, k]
            preactivation[i, n] = z
            if z > 0:
                total += z * readout[n]
        margins[i] = total * signed_scale[i]


@njit(cache=True)
def _drive(preactivation, margins, features, labels, drive_scale, huber_width, drive):
    drive[:] = 0.0
    for i in range(len(features)):
        force = 1.0 if margins[i] < 1 else 0.0
        if huber_width > 0:
            force = min(1.0, max(0.0, (1 - margins[i]) / huber_width))
        if force > 0:
            for n in range(len(drive)):
                if preactivation[i, n] > 0:
                    for k in range(features.shape[1]):
                        drive[n, k] += force * labels[i] * drive_scale * features[i, k]


@njit(cache=True)
def _euler_steps(hidden, readout, features, labels, margin_scale, drive_scale, largest_change, huber_width, step_limit):
    signed_scale = labels * margin_scale
    preactivation, drive = np.empty((len(features), len(readout))), np.empty_like(hidden)
    offset, new, margins = np.empty(len(features)), np.empty(len(features)), np.zeros(len(features))
    _margins(hidden, readout, features, signed_scale, preactivation, offset)
    at_t_star, reached = (hidden, readout), False
    duration, steps, passed = 1e-2, 0, 0.0
    while margins.min() < 0.98 and steps < step_limit:
        _drive(preactivation, margins, features, labels, drive_scale, huber_width, drive)
        while True:
            new_hidden = hidden + duration * readout.reshape(-1, 1) * drive
            new_readout = readout + duration * (hidden * drive).sum(1)
            _margins(new_hidden, new_readout, features, signed_scale, preactivation, new)
            new -= offset
            change = np.abs(new - margins).max()
            if change <= largest_change:
                break
            duration *= 0.7
        hidden, readout = new_hidden, new_readout
        margins, new = new, margins
        passed += duration
        steps += 1
        if change < 0.8 * largest_change:
            duration *= 1.1
        if not reached:  # F is tiny for most of the way to t*, so its change does not limit the steps there
            duration = min(duration, 0.5 * largest_change)
            if (margins >= 1).mean() > 0.1:
                at_t_star, reached = (hidden, readout), True
    return at_t_star, (hidden, readout), steps, passed, margins.min() >= 0.98
