"""Jacobians of a network's output with respect to its parameters, one row per input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from repro.geometry.arrays import as_tensor, check_network, check_whole, kinds

BATCH = 64  # inputs at a time: a convolution keeps several copies of each


def jacobian(network: nn.Module, x: Tensor, batch_size: int = BATCH) -> Tensor:
    """Derivatives of the output of a network with one output by all its parameters that require gradients.

    Args:
        network: module from (points, ...) to (points,) or (points, 1). Its output for an example must not depend on
            the others of the batch, nor on chance; what its modules of `torch.nn` do to that effect is refused.
        x: (points, ...) inputs, of the precision and device of the parameters.
        batch_size: examples per pass; it sets the memory, not the result.

    Returns:
        (points, parameters), the parameters in the order of `network.parameters()`, detached.

    Raises:
        ValueError: for an input that is empty, not finite or of another precision, parameters that are not finite, no
            trainable parameter, another number of outputs, a batch size below 1, or a module that mixes the examples or
            draws at random: in training mode batch normalisation and dropout; in any mode batch normalisation without
            running statistics, randomised ReLU and fractional pooling.

    Example:
        >>> jacobian(nn.Linear(3, 1), torch.ones(2, 3)).shape
        torch.Size([2, 4])
    """
    x = checked_inputs(network, x, "x")
    check_whole(batch_size, "batch_size")
    names = [name for name, value in network.named_parameters() if value.requires_grad]
    return parameter_rows(network, x, batch_size, names)


def parameter_rows(network: nn.Module, x: Tensor, batch_size: int, names: Sequence[str]) -> Tensor:
    """The part of `jacobian` that belongs to some of the parameters, for arguments that were checked."""
    detached = {name: value.detach() for name, value in network.named_parameters() if value.requires_grad}
    parameters = {name: detached.pop(name) for name in names}

    def output(values: Mapping[str, Tensor], example: Tensor) -> Tensor:
        result = torch.func.functional_call(network, {**detached, **values}, (example[None],))
        if result.shape not in ((1,), (1, 1)):
            raise ValueError(f"expected a network with one output, (1,) or (1, 1) per input, got {tuple(result.shape)}")
        scalar: Tensor = result.reshape(())
        return scalar

    if not parameters:
        return x.new_empty(len(x), 0)
    gradient = torch.func.vmap(torch.func.grad(output), in_dims=(None, 0))
    rows = torch.empty(len(x), sum(value.numel() for value in parameters.values()), dtype=x.dtype, device=x.device)
    for start in range(0, len(x), batch_size):
        gradients = gradient(parameters, x[start : start + batch_size])
        flat = [gradients[name].flatten(1) for name in parameters]
        torch.cat(flat, 1, out=rows[start : start + batch_size])
    return rows


def checked_inputs(network: nn.Module, inputs: object, name: str) -> Tensor:
    """Inputs (points, ...) as `jacobian` takes them; raises its errors, of the network and of the argument `name`."""
    check_network(network)
    weights = kinds(value for value in network.parameters() if value.requires_grad)
    if not weights:
        raise ValueError("the network has no parameter that requires a gradient")
    x = as_tensor(inputs, name)
    (given,) = kinds([x])
    if weights != [given]:
        raise ValueError(f"{name} is {given}, the parameters are {', '.join(weights)}: convert one with to(...)")
    if x.ndim < 2 or not math.prod(x.shape):
        raise ValueError(f"{name} must have shape (points, ...), none of them 0, got {tuple(x.shape)}")
    for name, value in network.named_parameters():  # frozen ones too
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"parameter {name!r} of the network holds non-finite entries: its training diverged")
    check_separate(network)
    return x


def check_separate(network: nn.Module) -> None:
    """Raise ValueError for a module by which the output for an example depends on the others, or on chance."""
    for name, module in network.named_modules():
        fault = _fault(module)
        if fault:
            raise ValueError(f"module {name!r} of the network ({type(module).__name__}) {fault}")


def _fault(module: nn.Module) -> str | None:
    """Why the output for an example would depend on the rest of the batch or on chance, and what to do about it."""
    statistics = isinstance(module, nn.modules.batchnorm._NormBase)
    batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    if batch_norm and module.running_mean is None:
        return "normalises by the batch in any mode: give it running statistics (track_running_stats=True)"
    if module.training and statistics and (batch_norm or module.running_mean is not None):
        return "takes statistics of the batch in training mode: call network.eval() first"
    if module.training and _draws(module):
        return "draws at random in training mode: call network.eval() first"
    if isinstance(module, nn.RReLU):  # torch has no vmap of it in evaluation mode either
        return f"draws its slopes at random: replace it by nn.LeakyReLU({(module.lower + module.upper) / 2:.6g})"
    if isinstance(module, nn.FractionalMaxPool2d | nn.FractionalMaxPool3d) and module._random_samples is None:
        return "draws its regions at random in any mode: replace it by another pooling"
    return None


def _draws(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    inner = isinstance(module, nn.RNNBase | nn.MultiheadAttention)  # their dropout is no module of its own
    return inner and float(module.dropout) > 0  # type: ignore[arg-type]
