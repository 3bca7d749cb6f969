"""Jacobians of a network's output with respect to its parameters, one row per input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH = 128  # inputs at a time; an unfolded 5×5 convolution of a 28×28 image holds 25 times its input


def jacobian(network: nn.Module, x: Tensor, batch_size: int = BATCH) -> Tensor:
    """Derivatives of the output of a network with one output by all its parameters that require gradients.

    Where all of these belong to linear and two-dimensional convolution layers, each called once, one backward pass per
    batch gives the gradient at every layer's output, and its product with the layer's input the row of each example.
    Any other network goes through `torch.func.vmap`, which is slower for convolutions.

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
    """
    parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    _check(network, parameters, x, batch_size)
    layers = _layers(network, parameters)
    rows = torch.empty(len(x), sum(value.numel() for value in parameters.values()), dtype=x.dtype, device=x.device)
    for start in range(0, len(x), batch_size):
        inputs = x[start : start + batch_size]
        gradients = _by_layer(network, layers, inputs) if layers else None
        if gradients is None:
            gradients = _by_vmap(network, parameters, inputs)
        flat = [gradients[name].reshape(len(inputs), -1) for name in parameters]
        torch.cat(flat, 1, out=rows[start : start + batch_size])
    return rows


def _layers(network: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, nn.Linear | nn.Conv2d]:
    """The linear and convolution layers that hold all the parameters, by name; none if others hold some of them."""
    layers = {
        name: module
        for name, module in network.named_modules()
        if type(module) is nn.Linear or (type(module) is nn.Conv2d and module.padding_mode == "zeros")
    }
    held = {f"{name}.{kind}" if name else kind for name in layers for kind in ("weight", "bias")}
    return {name: layer for name, layer in layers.items() if _trained(layer)} if parameters.keys() <= held else {}


def _by_layer(network: nn.Module, layers: dict[str, nn.Linear | nn.Conv2d], inputs: Tensor) -> dict[str, Tensor] | None:
    """Gradient of every example by parameter name; None if a layer was called more or less than once."""
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}
    with _recorded(layers, calls), torch.enable_grad():
        output = _outputs(network(inputs), len(inputs))
    if any(len(made) != 1 for made in calls.values()):
        return None
    ends = torch.autograd.grad(output.sum(), [calls[name][0][1] for name in layers])
    gradients = {}
    with torch.no_grad():
        for (name, layer), end in zip(layers.items(), ends, strict=True):
            start = calls[name][0][0]
            if start.ndim != (2 if isinstance(layer, nn.Linear) else 4):  # a linear layer over a sequence
                return None
            prefix = f"{name}." if name else ""
            gradients[f"{prefix}weight"] = _weight_gradient(layer, start, end)
            gradients[f"{prefix}bias"] = end.flatten(2).sum(2) if end.ndim > 2 else end
    return gradients


@contextmanager
def _recorded(layers: dict, calls: dict[str, list[tuple[Tensor, Tensor]]]) -> Iterator[None]:
    """Keep what enters and leaves each layer while the network runs."""

    def keep(name: str) -> object:
        return lambda layer, arguments, output: calls[name].append((arguments[0].detach(), output))

    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _weight_gradient(layer: nn.Linear | nn.Conv2d, start: Tensor, end: Tensor) -> Tensor:
    """Gradient by the weight for every example, from the input (b, ...) and the gradient at the output (b, ...)."""
    if isinstance(layer, nn.Linear):
        return end[:, :, None] * start[:, None, :]  # (b, out, in)
    if isinstance(layer.padding, str):
        raise ValueError(f"padding={layer.padding!r} is not supported: give it as a number")
    patches = functional.unfold(start, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    batch, groups, places = len(start), layer.groups, patches.shape[-1]
    patches = patches.reshape(batch * groups, -1, places)  # (b g, in/g k², places)
    return torch.bmm(end.reshape(batch * groups, -1, places), patches.transpose(1, 2)).reshape(batch, -1)


def _by_vmap(network: nn.Module, parameters: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    held = {name: value.detach() for name, value in parameters.items()}

    def output(values: dict[str, Tensor], example: Tensor) -> Tensor:
        return _outputs(torch.func.functional_call(network, values, (example[None],)), 1)[0]

    gradients: dict[str, Tensor] = torch.func.vmap(torch.func.grad(output), in_dims=(None, 0))(held, inputs)
    return gradients


def _outputs(output: Tensor, points: int) -> Tensor:
    if output.shape not in ((points,), (points, 1)):
        raise ValueError(f"expected a network with one output, ({points},) or ({points}, 1), got {tuple(output.shape)}")
    return output.reshape(points)


def _trained(layer: nn.Module) -> bool:
    return any(value.requires_grad for value in layer.parameters(recurse=False))


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
