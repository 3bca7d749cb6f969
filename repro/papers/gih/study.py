"""What the experiments of arXiv 2410.12025 share: networks, draws of their average geometry, directions and planes.

A draw is an independent estimate of G from networks of its own, with planes and data of its own; nothing is shared
between draws. Eigenvectors are numbered from 0, the largest eigenvalue first; single ones of a nearly degenerate group
are arbitrary, so planes take theirs at random from a band of indices.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from repro.geometry.average import geometry_halves
from repro.models.architectures import DenseNetwork, LeNet, UniformFamily, VisionTransformer
from repro.models.residual import ResidualNetwork

RESIDUAL, DENSE, LENET, TRANSFORMER = "residual", "dense", "lenet", "transformer"
RESIDUAL_LOGITS, DENSE_LOGITS = 8, 16  # gradients that a network of G gives
INPUT_SCALE = 1e-3  # of the normal inputs at which G is taken, as released
TOP, UPPER, LOWER, MIXED, MIDDLE, RANDOM, BOTTOM = "top", "upper", "lower", "mixed", "middle", "random", "bottom"
KINDS = (TOP, UPPER, LOWER, MIXED, MIDDLE, RANDOM, BOTTOM)
BANDS = {TOP: (0.004, 0.036), UPPER: (0.06, 0.1), LOWER: (0.16, 0.25), MIDDLE: (0.35, 0.45), BOTTOM: (0.96, 0.996)}


class Network(NamedTuple):
    """An architecture; the plain one is a residual net of three blocks, normalised, averaged over the image."""

    kind: str = RESIDUAL
    side: int = 16  # pixels of an image
    image_channels: int = 1
    channels: str = "8-16-32"  # of the stages, or hidden widths of a dense net
    blocks: str = "1-1-1"
    strides: str = "2-2-2"
    nonlinearity: str = "gelu"
    normalised: bool = True
    skips: bool = True
    head: str = "average"  # or flat
    padding: str = "zeros"

    @property
    def inputs(self) -> int:
        """Entries of an image."""
        return self.image_channels * self.side**2

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of one image."""
        return self.image_channels, self.side, self.side


def numbers(listed: str) -> tuple[int, ...]:
    """The numbers of a list such as "8-16-32".

    Raises:
        ValueError: for anything else.
    """
    parts = listed.split("-")
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"expected positive numbers as in '8-16-32', got {listed!r}")
    return tuple(map(int, parts))


def family(network: Network, outputs: int, dtype: torch.dtype = torch.float32) -> UniformFamily:
    """Networks of an architecture with weights as torch draws them.

    Raises:
        ValueError: for an unknown kind or a value out of range.
    """

    def build(generator: np.random.Generator) -> nn.Module:
        if network.kind == DENSE:
            widths = [network.inputs, *numbers(network.channels), outputs]
            return DenseNetwork(widths, generator, network.nonlinearity, dtype)
        if network.kind == LENET:
            return LeNet(network.image_channels, network.side, outputs, generator, network.nonlinearity, dtype)
        if network.kind == TRANSFORMER:
            width, layers, heads, patch = numbers(network.channels)
            options = {"layers": layers, "heads": heads, "width": width, "patch": patch, "hidden": 4 * width}
            return VisionTransformer(network.image_channels, network.side, outputs, generator, dtype=dtype, **options)
        if network.kind != RESIDUAL or network.head not in ("average", "flat"):
            raise ValueError(f"unknown kind {network.kind!r} or head {network.head!r}")
        channels = numbers(network.channels)
        if any(count % 8 for count in channels):  # in blocks of 8 torch's float32 convolutions are right
            raise ValueError(f"channels must be multiples of 8, got {network.channels}")
        return ResidualNetwork(
            network.image_channels,
            outputs,
            generator,
            channels=channels,
            blocks=numbers(network.blocks),
            stem_stride=1,
            strides=numbers(network.strides),
            nonlinearity=network.nonlinearity,  # type: ignore[arg-type]
            normalised=network.normalised,
            skips=network.skips,
            padding=network.padding,  # type: ignore[arg-type]
            flat_side=network.side if network.head == "flat" else None,
            start="torch",
            dtype=dtype,
        )

    return UniformFamily(build)


@torch.no_grad()
def started(network: nn.Module, form: Network) -> nn.Module:
    """The network with weights of convolutions √6 times as large, He's variance, where nothing normalises them.

    PyTorch's start makes such nets too small an output to train at these rates.
    """
    if form.kind == RESIDUAL and not form.normalised:
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight *= math.sqrt(6)
    return network


class Directions(NamedTuple):
    """Eigenvectors of one draw of G."""

    halves: Tensor  # (2, D, D), of G, float64
    eigenvalues: np.ndarray  # (D,), falling
    vectors: np.ndarray  # (D, D), columns


def draw_directions(
    network: Network,
    networks: int,
    seed: int,
    draw: int,
    *,
    device: torch.device | str = "cpu",
    input_scale: float = INPUT_SCALE,
    inputs: int = 1,
) -> Directions:
    """G of an architecture from networks of that draw's own, at normal inputs.

    Args:
        network: the architecture.
        networks: how many, an even number.
        seed, draw: of the random numbers.
        device: where they are computed.
        input_scale: standard deviation of the inputs.
        inputs: how many inputs every network is measured at.
    """
    own = int(np.random.SeedSequence([seed, draw, 0]).generate_state(1)[0])
    generator = np.random.default_rng(np.random.SeedSequence([seed, draw, 1]))
    x = torch.from_numpy(generator.standard_normal((inputs, *network.image_shape)) * input_scale).float().to(device)
    logits = DENSE_LOGITS if network.kind == DENSE else RESIDUAL_LOGITS
    halves = geometry_halves(family(network, logits), x, networks, own).cpu()
    values, vectors = np.linalg.eigh(halves.mean(0).numpy())
    return Directions(halves, values[::-1].copy(), vectors[:, ::-1].copy())


def draw_plane(directions: Directions, kind: str, generator: np.random.Generator) -> np.ndarray:
    """Two orthonormal directions (D, 2): eigenvectors from the band of that kind, or random ones.

    A mixed plane has u₁ from the top and u₂ from the middle.

    Raises:
        ValueError: for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    size = len(directions.eigenvalues)
    if kind == RANDOM:
        return np.linalg.qr(generator.standard_normal((size, 2)))[0]
    if kind == MIXED:
        picked = [int(generator.choice(band(size, one))) for one in (TOP, MIDDLE)]
    else:
        picked = generator.choice(band(size, kind), 2, replace=False).tolist()
    return directions.vectors[:, picked]


def band(size: int, kind: str) -> np.ndarray:
    """Indices of the eigenvectors of that kind, of `size` in all.

    Example:
        >>> band(256, "top").tolist()
        [1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    low, high = BANDS[kind]
    return np.arange(round(low * size), min(round(high * size) + 1, size))


def smaller_share(directions: Directions, plane: np.ndarray) -> float:
    """The smaller uᵀGu over the unit vectors of a plane, relative to its mean over all directions."""
    geometry = directions.halves.mean(0).numpy()
    inside = np.linalg.eigvalsh(plane.T @ geometry @ plane)[0]
    return float(inside * len(geometry) / np.trace(geometry))


def as_images(x: np.ndarray, network: Network, place: torch.device) -> Tensor:
    """Points (points, D) as images in single precision; channels last on the CPU, where residual nets learn faster."""
    images = torch.from_numpy(x).float().reshape(-1, *network.image_shape).to(place)
    return images.contiguous(memory_format=torch.channels_last) if place.type == "cpu" else images


def stream(*numbers: int) -> np.random.Generator:
    """The random numbers that belong to a seed, a draw and a purpose."""
    return np.random.default_rng(np.random.SeedSequence(numbers))
