"""What the layers of a network say of a set of points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def activations(network: nn.Module, points: Tensor, layers: Sequence[str] | None = None) -> list[Tensor]:
    """Outputs of layers of a network on the same points, in the order in which they are computed.

    The network is evaluated without gradients and as in evaluation mode; its modes, hooks and gradients are left as
    they were, also if it raises. The outputs are copies, which no later layer overwrites.

    Args:
        network: any module that takes the points.
        points: (points, ...) its input.
        layers: names as in `network.named_modules()`; None means every module of `torch.nn` that is an activation,
            such as `nn.ReLU`. One that is called several times gives an output for each call.

    Returns:
        Tensors of shape (points, width): what has more dimensions is flattened.

    Raises:
        ValueError: for a name that the network has not, no layer at all, or an output that is not one tensor with a row
            for each point.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> [tuple(layer.shape) for layer in activations(network, torch.zeros(7, 3))]
        [(7, 5)]
    """
    chosen = _chosen(network, layers)
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim == 0 or len(output) != len(points):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"{type(module).__name__} gives {shape}, expected a tensor with {len(points)} rows")
        found.append(output.detach().reshape(len(points), -1).clone())

    modes = {module: module.training for module in network.modules()}
    hooks = [module.register_forward_hook(keep) for module in chosen]
    try:
        network.eval()
        with torch.no_grad():
            network(points)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return found


def _chosen(network: nn.Module, layers: Sequence[str] | None) -> list[nn.Module]:
    known = dict(network.named_modules())
    if layers is None:
        kinds = [module for module in known.values() if type(module).__module__ == "torch.nn.modules.activation"]
        if not kinds:
            raise ValueError(
                f"the network has no activation module; name its layers, of: {', '.join(filter(None, known))}"
            )
        return kinds
    unknown = [name for name in layers if name not in known]
    if unknown or not layers:
        wrong = f"no layer called {unknown[0]!r}" if unknown else "no layer asked for"
        raise ValueError(f"{wrong}; the network has: {', '.join(filter(None, known))}")
    return [known[name] for name in layers]
