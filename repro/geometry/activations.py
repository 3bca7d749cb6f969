"""What the layers of a network say of a set of points."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from repro.geometry.arrays import as_list, as_tensor, check_network, kinds, shown


def activations(network: nn.Module, points: Tensor, layers: Iterable[str] | None = None) -> list[Tensor]:
    """Outputs of layers of a network on the same points, in the order in which they are computed.

    The network is evaluated without gradients and as in evaluation mode; its modes, hooks and gradients are left as
    they were, also if it raises. The outputs are copies, which no later layer overwrites.

    Args:
        network: any module that takes the points.
        points: (points, ...) its input. A tensor is given to the network as it is; what else holds numbers, such as an
            array or a table, is taken to its device and, if it holds no integers, to its precision.
        layers: names as in `network.named_modules()`; None means every module of `torch.nn` that is an activation,
            such as `nn.ReLU`, attention apart. One that is called several times gives an output for each call.

    Returns:
        Tensors of shape (points, width): what has more dimensions is flattened.

    Raises:
        ValueError: for points that are empty, not finite, or of a type, precision or device that the network does not
            take; a scripted network, or one whose weights have no shape yet; a name that the network has not, a named
            layer that is not called, no layer at all, or an output that is not one tensor with a row for each point.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> [tuple(layer.shape) for layer in activations(network, torch.zeros(7, 3))]
        [(7, 5)]
    """
    check_network(network)
    chosen = _chosen(network, layers)
    given = _given(network, points)
    found: list[Tensor] = []
    called = set()

    def keep(module: nn.Module, inputs: object, output: object) -> None:
        called.add(module)
        if not isinstance(output, Tensor) or output.ndim == 0 or len(output) != len(given):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            kind = type(module).__name__
            raise ValueError(f"layers: {kind} gives {shape}, expected a tensor with {len(given)} rows: name another")
        found.append(output.detach().reshape(len(given), -1).clone())

    modes = {module: module.training for module in network.modules()}
    hooks = [module.register_forward_hook(keep) for module in chosen]
    try:
        network.eval()
        with torch.no_grad():
            network(given)
    except RuntimeError as error:
        (taken,), weights = kinds([given]), kinds(network.parameters())
        if not weights or taken in weights:
            raise
        raise ValueError(
            f"points are {taken}, which the network of {', '.join(weights)} does not take ({shown(str(error))}): "
            "convert them with points.to(...)"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    missed = [name for name, module in network.named_modules() if module in chosen and module not in called]
    if missed and (layers is not None or not called):
        raise ValueError(f"layers: the network does not call its module {missed[0]!r} on these points: name another")
    return found


def _given(network: nn.Module, points: object) -> Tensor:
    tensor = as_tensor(points, "points")
    if tensor.ndim == 0 or not tensor.numel():
        raise ValueError(f"points must have shape (points, ...), none of them 0, got {tuple(tensor.shape)}")
    weights = next((value for value in network.parameters() if value.is_floating_point()), None)
    if isinstance(points, Tensor) or weights is None:
        return tensor
    return tensor.to(weights.device, weights.dtype if tensor.is_floating_point() else tensor.dtype)


def _chosen(network: nn.Module, layers: Iterable[str] | None) -> list[nn.Module]:
    known = dict(network.named_modules())
    if layers is None:
        usual = [
            module
            for module in known.values()
            if type(module).__module__ == "torch.nn.modules.activation"
            and not isinstance(module, nn.MultiheadAttention)
        ]
        if not usual:
            raise ValueError(
                f"the network has no activation module; name its layers, of: {', '.join(filter(None, known))}"
            )
        return usual
    names = as_list(layers, "layers", "names")
    unknown = [name for name in names if not isinstance(name, str) or name not in known]
    if unknown or not names:
        wrong = f"no layer called {shown(unknown[0])}" if unknown else "no layer asked for"
        raise ValueError(f"layers: {wrong}; the network has: {', '.join(filter(None, known))}")
    return [known[name] for name in names]
