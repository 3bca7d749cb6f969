"""How the average geometry begins to change, and what it resembles during training (arXiv 2410.12025).

The theorem, as public summaries give it: Δ, the rate of change of G at the start of gradient flow, is proportional to
G S G in wide nets, S the second moment of the data. The first conjecture: during training G stays close to G S G.

An average over few networks is noisy, so every scalar product here is one of independent parts of the networks, each
with probes of its own; `evolution_analysis` forms cosines from their sums over draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from repro.data import images
from repro.device import resolve_device
from repro.geometry.average import evolution_halves, geometry_halves
from repro.models.architectures import UniformFamily
from repro.papers.gih.study import DENSE, DENSE_LOGITS, RESIDUAL, RESIDUAL_LOGITS, Network, family, numbers
from repro.training.stacked import Recipe, accuracy, train_classifiers

Row = dict[str, Any]
Measure = Callable[[Tensor, int, int], Tensor]  # (probes, networks, seed) to a matrix (D, D)

DECAY = 0.9  # of the eigenvalues of the theorem's S
TOP = 16  # eigenvectors of G whose space should hold the evolution
CHUNK = 32  # networks that share probes
SHARED_PROBES = 8  # of networks that are not trained
PARTS = 4  # of the networks of G
GSG, S, G, G2, IDENTITY = "GSG", "S", "G", "G²", "I"
CANDIDATES = (GSG, S, G, G2, IDENTITY)
G0 = "G₀"
BASELINES = (GSG, S, G0)  # of training
REAL, COIN = "real", "random"  # labels
LABELS = (REAL, COIN)
SHOES_AND_BAGS = (5, 7, 8, 9)  # of Fashion-MNIST; the others are clothing
CLIP = 5.0  # largest norm of a gradient, as in the released code for these figures
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Streams(NamedTuple):
    """Random numbers of one draw, by purpose."""

    seed: int
    draw: int

    def generator(self, *purpose: int) -> np.random.Generator:
        """A stream of its own for each purpose."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, self.draw, *purpose]))

    def number(self, *purpose: int) -> int:
        """A seed of its own for each purpose."""
        return int(np.random.SeedSequence([self.seed, self.draw, *purpose]).generate_state(1)[0])


DATA, TARGETS, GEOMETRY, EVOLUTION, SCALE, TRAINED, PROBES = range(7)


def theorem_cell(
    *,
    kind: str,
    nonlinearity: str,
    width: int,
    networks: int,
    geometry_networks: int,
    draw: int,
    side: int = 8,
    samples: int = 64,
    probes: int = SHARED_PROBES,
    labelled: bool = False,
    precision: str = "float32",
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Evolution at the start against G S G and what else it might follow, on Gaussian data.

    Rows, one per candidate (G S G, S, G, G², I): candidate; projection ⟨Δ, C⟩; evolution_energy ⟨Δ₁, Δ₂⟩;
    candidate_energy ⟨C₁, C₂⟩; and, the same in every row: inside ⟨P Δ₁ P, P Δ₂ P⟩ with P on the 16 largest
    eigenvectors of G; label_change ⟨B, Δ⟩, B what random targets ±(rms output) add to Δ, by independent halves (NaN
    where not asked for).

    Args:
        kind: "dense", two hidden layers, or "residual", two blocks of stride 2 without normalisation.
        nonlinearity: "linear", "gelu" or "relu".
        width: hidden units of each layer, or channels of each stage.
        networks: whose evolution is averaged, an even number.
        geometry_networks: other ones, of G; a multiple of 4.
        draw: number of the draw: data, probes and networks of its own.
        side: of the images, in pixels; the data have its square as entries.
        samples: of the data, with covariance Q diag(0.9^k) Qᵀ, Q a random rotation.
        probes: normal inputs at which 32 networks at a time are measured.
        labelled: whether label_change is measured, which doubles the cost.
        precision: "float32" or "float64".
        seed: non-negative integer.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
    """
    _check(networks % 2, networks, geometry_networks % PARTS, geometry_networks, samples, probes, draw, seed)
    place, dtype, streams = resolve_device(device), _dtype(precision), Streams(seed, draw)
    network = theorem_network(kind, nonlinearity, width, side)
    data = gaussian_data(streams, samples, side).to(place, dtype)

    make = WithoutOffset(family(network, 1, dtype))

    def evolve(targets: Tensor | None, x: Tensor, count: int, own: int) -> Tensor:
        return evolution_halves(make, x, data, count, own, targets=targets, parts=1)[0]

    average = partial(_averaged, shape=network.image_shape, probes=probes, streams=streams, place=place, dtype=dtype)
    delta = average(partial(evolve, None), networks, 2, EVOLUTION)
    logits = DENSE_LOGITS if kind == DENSE else RESIDUAL_LOGITS
    geometry = average(_geometry(network, logits, dtype), geometry_networks, PARTS, GEOMETRY)
    change = math.nan
    if labelled:
        targets = random_targets(make, data, streams)
        added = average(partial(evolve, targets), networks, 2, EVOLUTION) - delta
        change = (_dot(added[0], delta[1]) + _dot(added[1], delta[0])) / 2
    return [row | {"label_change": change} for row in theorem_rows(delta, geometry, second_moment(data))]


def theorem_rows(delta: Tensor, geometry: Tensor, moment: Tensor) -> list[Row]:
    """Scalar products of the evolution's halves (2, D, D) with candidates from four parts of G (4, D, D) and S (D, D).

    See `theorem_cell`.
    """
    top = torch.linalg.eigh(geometry.mean(0)).eigenvectors[:, -TOP:]
    inside = [top.T @ half @ top for half in delta]
    common = {"evolution_energy": _dot(delta[0], delta[1]), "inside": _dot(inside[0], inside[1])}
    return [
        {"candidate": name, "projection": _dot(delta.mean(0), pair.mean(0)), "candidate_energy": _dot(pair[0], pair[1])}
        | common
        for name, pair in candidates(geometry, moment).items()
    ]


def candidates(geometry: Tensor, moment: Tensor) -> dict[str, Tensor]:
    """Two independent estimates (2, D, D) of each candidate, from four parts of G (4, D, D) and S (D, D)."""
    first, second, third, fourth = geometry
    return {
        GSG: torch.stack([_symmetric(first @ moment @ second), _symmetric(third @ moment @ fourth)]),
        S: torch.stack([moment, moment]),
        G: torch.stack([(first + second) / 2, (third + fourth) / 2]),
        G2: torch.stack([_symmetric(first @ second), _symmetric(third @ fourth)]),
        IDENTITY: torch.eye(len(moment), dtype=moment.dtype).expand(2, -1, -1),
    }


def theorem_network(kind: str, nonlinearity: str, width: int, side: int) -> Network:
    """The theorem's networks: two hidden layers, or two residual blocks of stride 2 that nothing normalises.

    Raises:
        ValueError: for another kind.
    """
    if kind not in (DENSE, RESIDUAL):
        raise ValueError(f"kind must be {DENSE} or {RESIDUAL}, got {kind!r}")
    return Network(kind, side, 1, f"{width}-{width}", "1-1", "2-2", nonlinearity, normalised=False)


def gaussian_data(streams: Streams, samples: int, side: int) -> Tensor:
    """Samples (samples, 1, side, side) with covariance Q diag(0.9^k) Qᵀ, Q a random rotation, float64."""
    generator, size = streams.generator(DATA), side**2
    rotation = np.linalg.qr(generator.standard_normal((size, size)))[0]
    values = generator.standard_normal((samples, size)) * DECAY ** (np.arange(size) / 2)
    return torch.from_numpy(values @ rotation.T).reshape(samples, 1, side, side)


class WithoutOffset:
    """Networks of a family whose read-out has no bias: an average evolution is the same, and far less noisy.

    The bias acts on Δ only through the residuals of the data, in which Δ is linear, and its own mean is 0. In nets that
    nothing normalises it is nearly all of the output, so that its random sign is nearly all of the noise.
    """

    def __init__(self, make: UniformFamily) -> None:
        self.make = make
        *_, (self.name, _) = make.network.named_parameters()

    def __call__(self, generator: np.random.Generator) -> nn.Module:
        """A network in evaluation mode."""
        network = self.make(generator)
        nn.init.zeros_(network.get_parameter(self.name))
        return network

    def stacked(self, generators: Sequence[np.random.Generator]) -> tuple[nn.Module, dict[str, Tensor]]:
        """All networks at once, see `UniformFamily`."""
        network, state = self.make.stacked(generators)
        return network, state | {self.name: torch.zeros_like(state[self.name])}


def random_targets(make: WithoutOffset, data: Tensor, streams: Streams) -> Tensor:
    """Random signs (samples,) times the rms output on the data, of networks of their own."""
    with torch.no_grad():
        found = [make(streams.generator(SCALE, number)).to(data.device)(data) for number in range(CHUNK)]
    scale = math.sqrt(float(torch.stack(found).double().square().mean()))
    signs = streams.generator(TARGETS).choice([-1.0, 1.0], len(data))
    return torch.from_numpy(scale * signs).to(data)


def second_moment(data: Tensor) -> Tensor:
    """S = mean x xᵀ, (D, D), float64, on the CPU; not centred, as released."""
    flat = data.flatten(1).double().cpu()
    return flat.T @ flat / len(flat)


def training_cell(
    *,
    labels: str,
    kind: str,
    channels: str,
    networks: int,
    geometry_networks: int,
    draw: int,
    points: int = 128,
    steps: int = 60,
    looks: int = 7,
    learning_rate: float = 1e-3,
    nonlinearity: str = "relu",
    probes: int = 128,
    dataset: str = "fashion-mnist-sample",
    pooling: bool = True,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Average geometry during training against G S G, S and the geometry at the start, all from other networks.

    Shoes and bags against clothing, or coin flips, learned by full-batch Adam with cross-entropy on two logits, by
    networks that nothing normalises. Gₜ is that of logit 0 at normal inputs, each network's own. Gₜ and the baselines
    are divided by their traces: Gₜ grows by orders of magnitude, and draws should count alike.

    Rows, one per look at the networks and baseline (G S G, S, G₀): step; baseline; projection ⟨Gₜ, C⟩; geometry_energy
    ⟨Gₜ, Gₜ⟩, products of different networks only; baseline_energy ⟨C₁, C₂⟩; accuracy on the training images; growth,
    the trace of Gₜ over that at the start.

    Args:
        labels: "real" or "random".
        kind: "dense" or "residual".
        channels: of the stages, as "8-16-32", each stage one block of stride 2; or hidden widths.
        networks: trained, 2 or more.
        geometry_networks: other ones, for G₀ and G S G; a multiple of 4.
        draw: number of the draw: images, labels and networks of its own.
        points: training images.
        steps: of training.
        looks: number of steps, evenly spaced from 0 to the last one, at which the networks are measured.
        learning_rate: of Adam.
        nonlinearity: "relu", "gelu" or "linear".
        probes: normal inputs at which each network is measured.
        dataset: see `repro.data.images.load`.
        pooling: whether images are averaged over squares of 2 × 2 pixels.
        seed, device: see `theorem_cell`.

    Raises:
        ValueError: for a parameter out of range.
        repro.data.images.DataError: if the images are not at hand.
    """
    _check(networks < 2, networks, geometry_networks % PARTS, geometry_networks, points, probes, draw, seed)
    if labels not in LABELS or kind not in (DENSE, RESIDUAL) or looks < 2 or steps % (looks - 1):
        raise ValueError(f"expected labels, kind, looks that divide the steps, got {labels}, {kind}, {looks}, {steps}")
    place, streams = resolve_device(device), Streams(seed, draw)
    x, y = (each.to(place) for each in draw_images(dataset, pooling, points, streams))
    y = torch.from_numpy(streams.generator(TARGETS).integers(0, 2, points)).to(place) if labels == COIN else y
    blocks, strides = ("-".join(each * len(numbers(channels))) for each in "12")
    network = Network(kind, x.shape[-1], x.shape[1], channels, blocks, strides, nonlinearity, normalised=False)
    recipe = Recipe(steps, learning_rate, points, clip=CLIP, optimiser="adam")
    seen = watch_training(network, x, y, networks, recipe, probes, looks, streams)
    logits = DENSE_LOGITS if kind == DENSE else RESIDUAL_LOGITS
    geometry = _averaged(
        _geometry(network, logits, x.dtype), geometry_networks, PARTS, GEOMETRY,
        shape=network.image_shape, probes=SHARED_PROBES, streams=streams, place=place, dtype=x.dtype,
    )  # fmt: skip
    return training_rows(seen, geometry, second_moment(x))


class Look(NamedTuple):
    """The networks at one step."""

    geometries: Tensor  # (networks, D, D), float64
    accuracy: float  # mean over networks


def watch_training(
    network: Network, x: Tensor, y: Tensor, networks: int, recipe: Recipe, probes: int, looks: int, streams: Streams
) -> dict[int, Look]:
    """Train networks on all points at every step and look at them at evenly spaced steps."""
    make = family(network, 2)
    drawn = (make(streams.generator(TRAINED, number)) for number in range(networks))
    nets = [net.to(x.device, memory_format=torch.channels_last) for net in drawn]  # type: ignore[call-overload]
    inputs = [_normal(streams.generator(PROBES, number), probes, network, x.device) for number in range(networks)]
    every = recipe.steps(len(x)) // (looks - 1)
    seen: dict[int, list[tuple[Tensor, float]]] = {step: [] for step in range(0, recipe.steps(len(x)) + 1, every)}

    def watch(step: int, current: list[nn.Module]) -> None:
        for net in current if step in seen else []:
            own = inputs[len(seen[step])]  # networks come in order, alone or together
            seen[step].append((single_geometry(net, own), accuracy(net, x, y)))

    generators = [streams.generator(TRAINED, number, 1) for number in range(networks)]
    together = x.device.type == "cuda"
    train_classifiers(
        nets, x.expand(networks, *x.shape), y.expand(networks, -1), generators, recipe, together=together, watch=watch
    )
    return {
        step: Look(torch.stack([geometry for geometry, _ in found]), float(np.mean([share for _, share in found])))
        for step, found in seen.items()
    }


def single_geometry(network: nn.Module, inputs: Tensor) -> Tensor:
    """Mean of ∇f ∇fᵀ of one network's first logit over inputs (points, ...): (D, D), float64, on the CPU."""
    points = inputs.clone().requires_grad_()
    with torch.enable_grad():
        (gradients,) = torch.autograd.grad(network(points)[:, 0].sum(), points)
    flat = gradients.flatten(1).double()
    return (flat.T @ flat / len(flat)).cpu()


def training_rows(seen: dict[int, Look], geometry: Tensor, moment: Tensor) -> list[Row]:
    """Scalar products of the geometries at every look with the baselines; see `training_cell`."""
    found = candidates(geometry, moment)
    pairs = {GSG: found[GSG], S: found[S], G0: found[G]}
    start = float(seen[0].geometries.mean(0).trace())
    rows = []
    for step, look in seen.items():
        mean = look.geometries.mean(0)
        trace, count = float(mean.trace()), len(look.geometries)
        own = float((look.geometries**2).sum()) / count**2  # of every network with itself
        energy = (_dot(mean, mean) - own) * count / (count - 1)
        common: Row = {"step": step, "geometry_energy": energy / trace**2}
        common |= {"accuracy": look.accuracy, "growth": trace / start}
        for name, pair in pairs.items():
            size = float(pair.mean(0).trace())
            products = {"projection": _dot(mean, pair.mean(0)) / trace / size}
            products |= {"baseline_energy": _dot(pair[0], pair[1]) / size**2}
            rows.append({"baseline": name} | common | products)
    return rows


def draw_images(dataset: str, pooling: bool, points: int, streams: Streams) -> tuple[Tensor, Tensor]:
    """Training images (points, channels, side, side) and classes: shoes and bags 1, clothing 0.

    Pixels have mean 0 and standard deviation 1 over all. Grey images of 28 × 28 get a border of 2 pixels.

    Raises:
        ValueError: for more points than images.
        repro.data.images.DataError: if the images are not at hand.
    """
    pool = images.load(dataset, "train")  # type: ignore[arg-type]
    if points > len(pool.classes):
        raise ValueError(f"expected at most {len(pool.classes)} points, got {points}")
    chosen = streams.generator(DATA).choice(len(pool.classes), points, replace=False)
    pixels = torch.from_numpy(pool.images[chosen].astype(np.float32) / 255)
    pixels = nn.functional.pad(pixels[:, None], (2, 2, 2, 2)) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    pixels = nn.functional.avg_pool2d(pixels, 2) if pooling else pixels
    classes = torch.from_numpy(np.isin(pool.classes[chosen], SHOES_AND_BAGS).astype(np.int64))
    spread, mean = torch.std_mean(pixels.double(), correction=0)
    return ((pixels - mean) / spread).float().contiguous(memory_format=torch.channels_last), classes


def _geometry(network: Network, logits: int, dtype: torch.dtype) -> Measure:
    def measure(x: Tensor, count: int, own: int) -> Tensor:
        return geometry_halves(family(network, logits, dtype), x, count, own, parts=1)[0]

    return measure


def _averaged(
    measure: Measure,
    networks: int,
    parts: int,
    purpose: int,
    *,
    shape: tuple[int, ...],
    probes: int,
    streams: Streams,
    place: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Means over parts of the networks, (parts, D, D), on the CPU; each 32 networks have normal probes of their own."""
    size, each = math.prod(shape), networks // parts
    total = torch.zeros(parts, size, size, dtype=torch.float64)
    for part in range(parts):
        for first in range(0, each, CHUNK):
            count = min(CHUNK, each - first)
            normal = streams.generator(purpose, part, first).standard_normal((probes, *shape))
            x = torch.from_numpy(normal).to(place, dtype)
            total[part] += count * measure(x, count, streams.number(purpose, part, first, 1)).cpu()
    return total / each


def _normal(generator: np.random.Generator, probes: int, network: Network, place: torch.device) -> Tensor:
    return torch.from_numpy(generator.standard_normal((probes, *network.image_shape))).float().to(place)


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum())


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2


def _dtype(precision: str) -> torch.dtype:
    if precision not in DTYPES:
        raise ValueError(f"precision must be one of {', '.join(DTYPES)}, got {precision!r}")
    return DTYPES[precision]


def _check(
    uneven: int, networks: int, left: int, geometry_networks: int, points: int, probes: int, draw: int, seed: int
) -> None:
    if uneven or networks < 2 or left or geometry_networks < PARTS or min(points, probes) < 1 or min(draw, seed) < 0:
        raise ValueError(
            "expected 2 or more networks (an even number at the start), a multiple of 4 geometry_networks, a point, a "
            f"probe, draw and seed >= 0, got {networks}, {geometry_networks}, {points}, {probes}, {draw}, {seed}"
        )
