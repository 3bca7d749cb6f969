"""Jacobians of a network's output with respect to its parameters, one row per input."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

BATCH = 64  # inputs at a time: a convolution keeps several copies of each


def jacobian(network: nn.Module, x: Tensor, batch_size: int = BATCH) -> Tensor:
    """Derivatives of the output of a network with one output by all its parameters that require gradients.

    Args:
        network: module from (points, ...) to (points,) or (points, 1). Its output for an example must not depend on
            the others of the batch.
        x: (points, ...) inputs, of the precision and device of the parameters.
        batch_size: examples per pass; it sets the memory, not the result.

    Returns:
        (points, parameters), the parameters in the order of `network.parameters()`, detached.

    Raises:
        ValueError: for an input that is empty, not finite or of another precision, no trainable parameter, another
            number of outputs, batch normalisation in training mode, or a batch size below 1.

    Example:
        >>> jacobian(nn.Linear(3, 1), torch.ones(2, 3)).shape
        torch.Size([2, 4])
    """
    parameters = {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
    _check(network, parameters, x, batch_size)

    def output(values: Mapping[str, Tensor], example: Tensor) -> Tensor:
        result = torch.func.functional_call(network, dict(values), (example[None],))
        if result.shape not in ((1,), (1, 1)):
            raise ValueError(f"expected a network with one output, (1,) or (1, 1) per input, got {tuple(result.shape)}")
        scalar: Tensor = result.reshape(())
        return scalar

    gradient = torch.func.vmap(torch.func.grad(output), in_dims=(None, 0))
    rows = torch.empty(len(x), sum(value.numel() for value in parameters.values()), dtype=x.dtype, device=x.device)
    for start in range(0, len(x), batch_size):
        gradients = gradient(parameters, x[start : start + batch_size])
        flat = [gradients[name].flatten(1) for name in parameters]
        torch.cat(flat, 1, out=rows[start : start + batch_size])
    return rows


def _check(network: nn.Module, parameters: Mapping[str, Tensor], x: Tensor, batch_size: int) -> None:
    if not parameters:
        raise ValueError("the network has no parameter that requires a gradient")
    kinds = {(value.dtype, value.device) for value in parameters.values()}
    if kinds != {(x.dtype, x.device)}:
        raise ValueError(f"x is {x.dtype} on {x.device}, the parameters are {kinds}")
    if x.ndim < 2 or not math.prod(x.shape):
        raise ValueError(f"x must have shape (points, ...), none of them 0, got {tuple(x.shape)}")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x holds non-finite entries")
    if any(module.training and isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        raise ValueError("batch normalisation in training mode mixes the examples: call network.eval() first")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
