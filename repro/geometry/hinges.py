"""Where the neurons of a layer of ReLUs have their hinges, and how much of the net each neuron is."""

import math

import torch
from torch import Tensor


def hinge_points(weight: Tensor, bias: Tensor) -> Tensor:
    """The point nearest to the origin of each neuron's hinge w·x/√d + b = 0, zₙ = −√d bₙ wₙ/|wₙ|², (h, d) float64.

    Takes the weights (h, d) and biases (h,) of arXiv 2007.11471.
    """
    weight, bias = weight.to(torch.float64), bias.to(torch.float64)
    return -math.sqrt(weight.shape[1]) * (bias / (weight**2).sum(1))[:, None] * weight


def neuron_shares(weight: Tensor, bias: Tensor, readout: Tensor) -> Tensor:
    """How much of a net each neuron is: |βₙ| |(wₙ, bₙ)| over its sum, (h,) float64.

    That product is what rescaling a neuron's two layers against each other leaves unchanged. Takes weights (h, d),
    biases (h,) and readout (h,).
    """
    hidden = torch.cat([weight, bias[:, None]], 1).to(torch.float64)
    size: Tensor = hidden.norm(dim=1) * readout.to(torch.float64).abs()
    return size / size.sum()
