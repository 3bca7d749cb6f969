"""Derivatives of a network's output by the weights of its layers, as the factors of which they are outer products.

With inputs a_t at positions t (of a linear layer, or the patches that a convolution sees) and derivatives d_t of the
network by what the layer puts out there, the derivative by the weight is Σ_t d_t a_tᵀ. The inner product of those of
two examples is Σ_ts (a_t · b_s) (d_t · e_s), for which they need not be written out; a bias is one more input, of 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from repro.geometry.jacobian import parameter_rows

EXAMPLES = 3  # on which factors are compared with the derivatives themselves
PASSES = 64  # multiplications counted for multiplying and adding two products; 16 were measured, and a check costs too

Layer = nn.Linear | nn.Conv2d
Layers = dict[str, Layer]  # by name


class Factors(NamedTuple):
    """Factors of the derivatives by the parameters of one layer, for some examples."""

    inputs: Tensor  # (points, positions, inputs)
    derivatives: Tensor  # (points, positions, outputs)

    def product(self, other: Factors) -> Tensor:
        """Inner products (points, points of the other) of the derivatives."""
        points, positions, _ = self.inputs.shape
        pairs = [first.flatten(0, 1) @ second.flatten(0, 1).T for first, second in zip(self, other, strict=True)]
        product = pairs[0].mul_(pairs[1])
        return product if positions == 1 else product.view(points, positions, -1, positions).sum((1, 3))

    def taken(self, rows: slice) -> Factors:
        """Those of some of the examples."""
        return Factors(self.inputs[rows], self.derivatives[rows])


def factored_layers(network: nn.Module, x: Tensor) -> Layers:
    """Layers whose derivatives are better kept as factors, by name.

    These are linear layers and convolutions, called once in a pass, of so few positions that products of factors take
    less work. A weight may be used in further ways, in another layer or in none, or examples may not lie along the
    first axis: the derivatives of a few examples must confirm the factors, or the layer is left out.

    Args:
        network: as `repro.geometry.jacobian.jacobian` takes it.
        x: (points, ...) some examples.
    """
    layers: Layers = {name: layer for name, layer in network.named_modules() if _is_plain(layer)}
    x = x[:EXAMPLES]
    found = _factors(network, layers, x) if layers else {}
    return {name: layers[name] for name, each in found.items() if _is_less(each) and _agrees(network, x, name, each)}


def layer_factors(network: nn.Module, layers: Layers, x: Tensor, batch_size: int) -> list[Factors]:
    """Factors of the layers for all the examples, from one backward pass for each batch."""
    if not layers:
        return []
    batches = [_factors(network, layers, x[start : start + batch_size]) for start in range(0, len(x), batch_size)]
    return [Factors(*map(torch.cat, zip(*(batch[name] for batch in batches), strict=True))) for name in layers]


def _is_plain(layer: nn.Module) -> TypeGuard[Layer]:
    if not any(value.requires_grad for value in layer.parameters(recurse=False)):
        return False
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) is nn.Linear


def _is_less(factors: Factors) -> bool:
    _, positions, inputs = factors.inputs.shape
    outputs = factors.derivatives.shape[2]
    return positions**2 * (inputs + outputs + PASSES) < inputs * outputs


def _agrees(network: nn.Module, x: Tensor, name: str, factors: Factors) -> bool:
    own = [key for key, value in network.named_parameters() if value.requires_grad and key.rpartition(".")[0] == name]
    rows = parameter_rows(network, x, len(x), own)
    expected, found = rows @ rows.T, factors.product(factors)
    scale = float(expected.abs().max())
    tolerance = math.sqrt(torch.finfo(x.dtype).eps)
    return scale > 0 and float((found - expected).abs().max()) <= tolerance * scale


def _factors(network: nn.Module, layers: Layers, x: Tensor) -> dict[str, Factors]:
    """Factors of those of the layers that are called once and keep the examples along the first axis."""
    calls: dict[Layer, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in layers.values()}

    def keep(layer: Layer, arguments: tuple, named: dict, output: Tensor) -> Tensor:
        calls[layer].append(((*arguments, *named.values())[0].detach(), output))
        return output.clone()  # which the network may change in place

    hooks = [layer.register_forward_hook(keep, with_kwargs=True) for layer in layers.values()]
    with torch.enable_grad():
        try:
            result = network(x)
        finally:
            for hook in hooks:
                hook.remove()
        once = {name: calls[layer][0] for name, layer in layers.items() if len(calls[layer]) == 1}
        once = {name: call for name, call in once.items() if call[1].requires_grad and len(call[1]) == len(x)}
        if not once or not isinstance(result, Tensor) or result.shape not in ((len(x),), (len(x), 1)):
            return {}
        wanted = [made for _, made in once.values()]
        derivatives = torch.autograd.grad(result.sum(), wanted, allow_unused=True, materialize_grads=True)
    return {
        name: Factors(_inputs(layers[name], given), _outputs(layers[name], derivative))
        for (name, (given, _)), derivative in zip(once.items(), derivatives, strict=True)
    }


def _inputs(layer: Layer, given: Tensor) -> Tensor:
    """Inputs (points, positions, inputs) of the parameters that require gradients, that of the bias last."""
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)  # such a layer is not plain
        given = unfold(given, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT
    inputs = given.reshape(len(given), -1, given.shape[-1])
    if not layer.weight.requires_grad:
        inputs = inputs[..., :0]
    return pad(inputs, (0, 1), value=1.0) if layer.bias is not None and layer.bias.requires_grad else inputs


def _outputs(layer: Layer, derivative: Tensor) -> Tensor:
    """Derivatives (points, positions, outputs)."""
    if isinstance(layer, nn.Conv2d):
        return derivative.flatten(2).mT
    return derivative.reshape(len(derivative), -1, derivative.shape[-1])
