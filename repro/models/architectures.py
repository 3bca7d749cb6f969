"""Classifiers of images in their plain form: dense, LeNet, vision transformer; and how torch draws their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "linear": nn.Identity}


def activation_module(name: str) -> nn.Module:
    """A module of that activation function.

    Raises:
        ValueError: for a name other than "gelu", "relu" and "linear".
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"nonlinearity must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]()


@torch.no_grad()
def draw_uniform(network: nn.Module, generator: np.random.Generator) -> None:
    """Draw weights and biases of linear and convolutional layers from U(−1, 1)/√fan-in, in place, as torch does.

    They are drawn in float64 with numpy and then rounded, so that precisions and devices start from the same net.
    """
    for _, part, scale in _uniform_parts(network):
        part.copy_(torch.from_numpy(generator.uniform(-scale, scale, part.shape)))


class UniformFamily:
    """Networks of one architecture with weights as `draw_uniform` draws them: one by one, or all at once.

    A module of its own for each of many small networks costs more than their gradients; `stacked` makes one.

    Args:
        build: makes a network of the architecture, its weights from `draw_uniform`.

    Example:
        >>> family = UniformFamily(lambda generator: DenseNetwork([4, 3, 2], generator))
        >>> single = family(np.random.default_rng(7))
        >>> network, state = family.stacked([np.random.default_rng(7)])
        >>> bool((state["1.weight"][0] == single[1].weight).all())
        True
    """

    def __init__(self, build: Callable[[np.random.Generator], nn.Module]) -> None:
        self.build = build
        self.network = self(np.random.default_rng(0))

    def __call__(self, generator: np.random.Generator) -> nn.Module:
        """A network in evaluation mode."""
        return self.build(generator).eval()

    def stacked(self, generators: Sequence[np.random.Generator]) -> tuple[nn.Module, dict[str, Tensor]]:
        """A network for its form, and the parameters and buffers of all networks, (networks, ...) by name."""
        own = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
        state = {name: value.detach().expand(len(generators), *value.shape) for name, value in own.items()}
        drawn = [(name, part, scale) for name, part, scale in _uniform_parts(self.network)]
        values: list[list[np.ndarray]] = [[] for _ in drawn]
        for generator in generators:
            for column, (_, part, scale) in zip(values, drawn, strict=True):
                column.append(generator.uniform(-scale, scale, part.shape))
        for column, (name, part, _) in zip(values, drawn, strict=True):
            state[name] = torch.from_numpy(np.stack(column)).to(part.dtype)
        return self.network, state


class DenseNetwork(nn.Sequential):
    """Fully connected layers with biases, from images (points, ...) to logits (points, outputs).

    Args:
        widths: entries of an image, hidden widths, outputs.
        generator: source of the weights, see `draw_uniform`.
        nonlinearity: "gelu", "relu" or "linear".
        dtype: of the parameters.

    Example:
        >>> DenseNetwork([4, 3, 2], np.random.default_rng(0))(torch.zeros(5, 1, 2, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        widths: Sequence[int],
        generator: np.random.Generator,
        nonlinearity: str = "gelu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(widths):
            layers += [_empty(nn.Linear, inputs, outputs), activation_module(nonlinearity)]
        super().__init__(*layers[:-1])
        self.to(dtype)
        draw_uniform(self, generator)


class LeNet(nn.Sequential):
    """5×5 convolutions of 6 and 16 channels without padding, each averaged over 2×2, then layers of 120 and 84.

    Args:
        channels: of the images.
        side: of the images, in pixels; 16 or more.
        outputs: logits.
        generator, nonlinearity, dtype: see `DenseNetwork`.

    Raises:
        ValueError: for smaller images.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        outputs: int,
        generator: np.random.Generator,
        nonlinearity: str = "gelu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if side < 16:
            raise ValueError(f"LeNet needs images of 16 pixels or more, got {side}")
        left = ((side - 4) // 2 - 4) // 2
        parts = [
            [_empty(nn.Conv2d, channels, 6, 5), activation_module(nonlinearity), nn.AvgPool2d(2)],
            [_empty(nn.Conv2d, 6, 16, 5), activation_module(nonlinearity), nn.AvgPool2d(2), nn.Flatten()],
            [_empty(nn.Linear, 16 * left**2, 120), activation_module(nonlinearity)],
            [_empty(nn.Linear, 120, 84), activation_module(nonlinearity), _empty(nn.Linear, 84, outputs)],
        ]
        super().__init__(*(layer for part in parts for layer in part))
        self.to(dtype)
        draw_uniform(self, generator)


class VisionTransformer(nn.Module):
    """Patches, a class token, learned positions, layers that normalise first; the logits read the class token.

    Args:
        channels, side, outputs, generator, dtype: see `LeNet`; the activation function is GELU.
        patch: pixels along a side of a patch, a divisor of `side`.
        layers, heads, width, hidden: of the transformer; the paper has 9, 12, 192 and 768.

    Raises:
        ValueError: for a side that is no multiple of the patch, or a width that is no multiple of the heads.
    """

    def __init__(
        self,
        channels: int,
        side: int,
        outputs: int,
        generator: np.random.Generator,
        *,
        patch: int = 8,
        layers: int = 9,
        heads: int = 12,
        width: int = 192,
        hidden: int = 768,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if side % patch or width % heads:
            raise ValueError(
                f"expected a side in whole patches and a width in whole heads, got {side}, {patch}, {width}, {heads}"
            )
        self.patches = _empty(nn.Conv2d, channels, width, patch, patch)
        self.blocks = nn.ModuleList([AttentionBlock(width, heads, hidden) for _ in range(layers)])
        self.norm, self.readout = nn.LayerNorm(width), _empty(nn.Linear, width, outputs)
        self.to(dtype)
        draw_uniform(self, generator)
        tokens = (side // patch) ** 2
        self.token = nn.Parameter(torch.from_numpy(generator.standard_normal((1, 1, width)) * 0.02))
        self.positions = nn.Parameter(torch.from_numpy(generator.standard_normal((1, tokens + 1, width)) * 0.02))
        self.to(dtype)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (points, outputs) at images (points, channels, side, side)."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        values = torch.cat([self.token.expand(len(patches), -1, -1), patches], dim=1) + self.positions
        for block in self.blocks:
            values = block(values)
        logits: Tensor = self.readout(self.norm(values[:, 0]))
        return logits


class AttentionBlock(nn.Module):
    """x + attention(norm x), then x + dense(norm x)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = _empty(nn.Linear, width, 3 * width), _empty(nn.Linear, width, width)
        self.dense = nn.Sequential(_empty(nn.Linear, width, hidden), nn.GELU(), _empty(nn.Linear, hidden, width))

    def forward(self, values: Tensor) -> Tensor:
        """The block, (points, tokens, width) to the same."""
        parts = self.mixed(self.first(values)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts  # (points, heads, tokens, width of a head)
        # torch's fused attention has no gradient on CUDA where heads are narrow and networks stacked
        attended = (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(-1) @ value
        values = values + self.out(attended.transpose(1, 2).flatten(2))
        result: Tensor = values + self.dense(self.second(values))
        return result


def _uniform_parts(network: nn.Module) -> Iterator[tuple[str, Tensor, float]]:
    """Name, parameter and 1/√fan-in of what `draw_uniform` draws, in its order."""
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            scale = 1 / math.sqrt(math.prod(module.weight.shape[1:]))
            yield from ((f"{path}.{name}", part, scale) for name, part in module.named_parameters(recurse=False))


def _empty(layer: type[nn.Module], *sizes: int) -> nn.Module:
    """A layer whose parameters are still to be drawn: torch's own draw is skipped."""
    empty: nn.Module = nn.utils.skip_init(layer, *sizes)  # type: ignore[no-untyped-call]
    return empty
