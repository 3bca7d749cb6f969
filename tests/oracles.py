"""Slow, obvious implementations to compare with: a net in plain autograd, trained by explicit Euler steps."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch
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
    cpu_limit: float = math.inf,
    partial: bool = False,
) -> EulerResult:
    """Explicit Euler on the loss (1/p) Σ max(0, 1 − yF)/α, gradients by autograd, max |ΔF| limited in every step.

    At a limit (steps, or CPU seconds) it returns where it stands if `partial`, and raises otherwise.
    """
    parameters = [tensor.clone().requires_grad_() for tensor in (network.weight, network.bias, network.readout)]
    initial = network(inputs)
    at_t_star = None
    duration, steps, passed = 1e-2, 0, 0.0
    deadline = time.process_time() + cpu_limit
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
        if steps >= step_limit or time.process_time() > deadline:
            if partial:
                break
            raise RuntimeError(f"no convergence in {steps} Euler steps")
    final = ShallowNetwork(*(tensor.detach() for tensor in parameters))
    return EulerResult(at_t_star or final, final, steps, passed, bool(margins.min() >= stop_margin))
