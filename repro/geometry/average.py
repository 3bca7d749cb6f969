"""Average geometry of random networks, E[∇f ∇fᵀ] over their parameters, and how gradient flow begins to change it.

Source: Movahedi, Orvieto, Moosavi-Dezfooli, arXiv 2410.12025: the average geometry Gₜ(x) and its evolution Δₜ(x). What
the body of that paper says was not read; definitions are those of its abstract, reviews and released code.

An average over M networks is noisy, and squares of noise do not average out: an isotropic G from few networks looks
anisotropic. So estimates come as *halves*, averages over independent halves of the networks; a product of the two
halves has the right mean, and the participation ratio and cosines below use nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, stack_module_state, vmap

from repro.geometry.arrays import as_tensor
from repro.geometry.roots import square_root

MakeNetwork = Callable[[np.random.Generator], nn.Module]
Parameters = dict[str, Tensor]

BLOCK = 64  # networks held at once
SHARES = (0.90, 0.99)


@dataclass(frozen=True)
class Stack:
    """Many networks of one architecture."""

    network: nn.Module  # for its form
    state: Parameters  # parameters and buffers, (networks, ...) by name

    def __len__(self) -> int:
        """Number of networks."""
        return len(next(iter(self.state.values())))

    def on(self, device: torch.device) -> Parameters:
        """The state on a device."""
        return {name: value.to(device) for name, value in self.state.items()}


def average_geometry(
    make_network: MakeNetwork, inputs: Tensor, networks: int, seed: int, *, block: int = BLOCK
) -> Tensor:
    """Average geometry G = E[∇f ∇fᵀ], (D, D): the mean of `geometry_halves`.

    Args:
        make_network: draws a network from a generator; it maps inputs (points, ...) to logits (points, logits), each
            of which counts as one f.
        inputs: (points, ...) inputs of D entries each, float32 or float64; every network is measured at all of them.
        networks: number of networks, an even one.
        seed: non-negative integer; network i is drawn from its own stream of it.
        block: networks held at once.

    Returns:
        G, float64, symmetric and positive semi-definite.

    Raises:
        ValueError: for an odd number of networks or none, inputs that are empty, not finite or of another precision, or
            networks of another kind than the first.

    Example:
        >>> linear = lambda generator: _with_weight(torch.from_numpy(generator.standard_normal((1, 3))))
        >>> found = average_geometry(linear, torch.zeros(1, 3, dtype=torch.float64), 2000, seed=0)
        >>> bool((found - torch.eye(3)).abs().max() < 0.1)
        True
    """
    return geometry_halves(make_network, inputs, networks, seed, block=block).mean(0)


def geometry_halves(
    make_network: MakeNetwork, inputs: Tensor, networks: int, seed: int, *, parts: int = 2, block: int = BLOCK
) -> Tensor:
    """Averages over independent parts of the networks, (parts, D, D), float64: network i belongs to part i mod parts.

    Arguments and errors are those of `average_geometry`; the networks come in multiples of `parts`.
    """
    points = _checked(inputs, "inputs")
    _check_count(networks, parts)
    size = math.prod(points.shape[1:])
    total = torch.zeros(parts, size, size, dtype=torch.float64, device=points.device)
    samples = 0
    for first in range(0, networks, parts * block):
        for part in range(parts):
            chosen = range(first + part, min(first + parts * block, networks), parts)
            gradients = input_gradients(draw_networks(make_network, chosen, seed), points).flatten(0, 2).double()
            total[part] += gradients.T @ gradients
            samples += len(gradients)
    return total * (parts / samples)


def draw_networks(make_network: MakeNetwork, numbers: Sequence[int], seed: int) -> Stack:
    """The networks of these numbers, each from its own stream of the seed.

    Where `make_network` has a method `stacked` (as `repro.models.architectures.UniformFamily`), it draws them at once.
    """
    generators = [np.random.default_rng(np.random.SeedSequence([seed, number])) for number in numbers]
    if hasattr(make_network, "stacked"):
        return Stack(*make_network.stacked(generators))
    return stack([make_network(generator) for generator in generators])


def stack(networks: Sequence[nn.Module]) -> Stack:
    """Networks of one architecture as one, in the mode of the first.

    Raises:
        ValueError: for networks of another kind than the first.
    """
    forms = {(type(each), *((name, value.shape) for name, value in each.state_dict().items())) for each in networks}
    if len(forms) != 1:
        raise ValueError(f"expected networks of one kind, got {len(forms)}")
    parameters, buffers = stack_module_state(list(networks))
    return Stack(networks[0], {name: value.detach() for name, value in (parameters | buffers).items()})


def input_gradients(networks: Stack, inputs: Tensor) -> Tensor:
    """Gradients of every logit of every network, (networks, logits, points, D), all networks at once.

    Args:
        networks: in the mode in which they are to be measured.
        inputs: (points, ...), the same for all.
    """
    state = networks.on(inputs.device)
    copies = inputs.detach().expand(len(networks), *inputs.shape).clone().requires_grad_()

    def logits(parameters: Parameters, x: Tensor) -> Tensor:
        outputs: Tensor = functional_call(networks.network, parameters, (x,))
        return outputs

    with torch.enable_grad():
        outputs = vmap(logits)(state, copies)
        if outputs.ndim != 3:
            raise ValueError(f"networks must give (points, logits), got {tuple(outputs.shape[1:])}")
        rows = [
            torch.autograd.grad(outputs[..., logit].sum(), copies, retain_graph=logit + 1 < outputs.shape[2])[0]
            for logit in range(outputs.shape[2])
        ]
    return torch.stack(rows, dim=1).flatten(3)


def average_geometry_evolution(
    make_network: MakeNetwork,
    inputs: Tensor,
    data: Tensor,
    networks: int,
    seed: int,
    *,
    targets: Tensor | None = None,
    block: int = BLOCK,
) -> Tensor:
    """Average geometry evolution Δ = E[(∂²f/∂x∂θ · θ̇) ∇fᵀ] + transpose, (D, D): the mean of `evolution_halves`.

    θ̇ is that of gradient flow on half the mean squared error of one logit on the data. It does not depend on the
    labels on average, where the sign of the read-out is random; `targets` shows it.

    Args:
        make_network, networks, seed, block: see `average_geometry`; the mean runs over logits, each trained alone.
        inputs: (points, ...) where the geometry is measured.
        data: (samples, ...) training inputs.
        targets: (samples,) labels, 0 if not given.

    Returns:
        Δ = dG/dt at the start, averaged over networks, logits and inputs; float64, symmetric.

    Raises:
        ValueError: as `average_geometry`, and for data or targets of another shape.
    """
    found = evolution_halves(make_network, inputs, data, networks, seed, targets=targets, block=block)
    return found.mean(0)


def evolution_halves(
    make_network: MakeNetwork,
    inputs: Tensor,
    data: Tensor,
    networks: int,
    seed: int,
    *,
    targets: Tensor | None = None,
    parts: int = 2,
    block: int = BLOCK,
) -> Tensor:
    """Evolutions over independent parts of the networks, (parts, D, D), float64; see `average_geometry_evolution`."""
    points, samples = _checked(inputs, "inputs"), _checked(data, "data")
    _check_count(networks, parts)
    wanted = samples.new_zeros(len(samples)) if targets is None else as_tensor(targets, "targets").to(samples)
    if wanted.shape != samples.shape[:1] or samples.shape[1:] != points.shape[1:]:
        raise ValueError(
            f"expected data like the inputs {tuple(points.shape[1:])} and a target each, got data "
            f"{tuple(samples.shape)} and targets {tuple(wanted.shape)}"
        )
    size = math.prod(points.shape[1:])
    total = torch.zeros(parts, size, size, dtype=torch.float64, device=points.device)
    count = 0
    for first in range(0, networks, parts * block):
        for part in range(parts):
            chosen = range(first + part, min(first + parts * block, networks), parts)
            drawn = draw_networks(make_network, chosen, seed)
            gradients, changes = gradient_changes(drawn, points, samples, wanted)
            flat, moved = (each.flatten(0, 2).double() for each in (gradients, changes))
            product = moved.T @ flat
            total[part] += product + product.T
            count += len(flat)
    return total * (parts / count)


def gradient_changes(networks: Stack, inputs: Tensor, data: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Input gradients and their rates of change under gradient flow, (networks, logits, points, D) each.

    Arguments as in `average_geometry_evolution`, the networks being given.
    """
    state = networks.on(inputs.device)
    with torch.no_grad():
        one = {name: value[0] for name, value in state.items()}
        logits = functional_call(networks.network, one, (inputs[:1],)).shape[1]

    def of_network(parameters: Parameters) -> tuple[Tensor, Tensor]:
        found = [
            _gradient_change(networks.network, parameters, logit, inputs, data, targets) for logit in range(logits)
        ]
        gradients, changes = zip(*found, strict=True)
        return torch.stack(gradients), torch.stack(changes)

    gradients, changes = vmap(of_network)(state)
    return gradients.flatten(3), changes.flatten(3)


def _gradient_change(
    network: nn.Module, parameters: Parameters, logit: int, inputs: Tensor, data: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Of one network: ∇ₓf and d∇ₓf/dt = ∇ₓ(∇θ f · θ̇), the second by a derivative in θ̇ inside one in x.

    Buffers, such as the statistics of batch normalisation, stay as they are.
    """
    weights = {name: parameters[name] for name, _ in network.named_parameters()}

    def output(values: Parameters, x: Tensor) -> Tensor:
        found: Tensor = functional_call(network, {**parameters, **values}, (x,))[:, logit]
        return found

    def loss(values: Parameters) -> Tensor:
        return ((output(values, data) - targets) ** 2).mean() / 2

    flow = {name: -slope for name, slope in torch.func.grad(loss)(weights).items()}

    def rate(x: Tensor) -> Tensor:
        slope: Tensor = jvp(lambda values: output(values, x), (weights,), (flow,))[1]
        return slope.sum()

    gradient = torch.func.grad(lambda x: output(weights, x).sum())(inputs)
    return gradient, torch.func.grad(rate)(inputs)


def participation_ratio(first: Tensor, second: Tensor | None = None) -> float:
    """Participation ratio (tr G)²/tr G² of a symmetric matrix, from 1 (one direction) to D (all alike).

    With two independent estimates, tr G₁ tr G₂ / tr(G₁G₂), whose numerator and denominator are free of the bias that
    sampling noise gives the square of one.

    Args:
        first: (D, D).
        second: (D, D), another estimate of the same matrix.

    Raises:
        ValueError: for matrices that are not square, not finite or of different shapes.

    Example:
        >>> participation_ratio(torch.eye(5))
        5.0
    """
    one, two = _pair(first, first if second is None else second)
    return float(one.trace() * two.trace() / (one * two).sum())


def frobenius_cosine(a: Tensor, b: Tensor) -> float:
    """Cosine tr(AᵀB)/(|A| |B|) of the angle between two matrices.

    Raises:
        ValueError: as `participation_ratio`.

    Example:
        >>> frobenius_cosine(torch.eye(2), -3 * torch.eye(2))
        -1.0
    """
    one, two = _pair(a, b)
    scale = square_root((one * one).sum() * (two * two).sum())
    return float((one * two).sum() / scale)


def share_counts(eigenvalues: np.ndarray, shares: Sequence[float] = SHARES) -> list[int]:
    """How many of the largest eigenvalues hold each share of their sum: k90 and k99 by default.

    Raises:
        ValueError: for eigenvalues whose sum is not positive.

    Example:
        >>> share_counts(np.array([8.0, 1.0, 1.0, 0.0]))
        [2, 3]
    """
    values = np.sort(np.asarray(eigenvalues, np.float64))[::-1].clip(min=0)
    if not values.sum() > 0:
        raise ValueError("expected eigenvalues with a positive sum")
    held = np.cumsum(values) / values.sum()
    return [int(np.searchsorted(held, share - 1e-12) + 1) for share in shares]


def fourier_energy(vectors: np.ndarray, side: int, period: int) -> np.ndarray:
    """Share of each vector's energy at frequencies of the image that are multiples of `period` in both directions.

    Args:
        vectors: (D, count), columns are images of side × side pixels, whole channels one after another.
        side: of the images.
        period: H/s for a network of total stride s, whose features repeat when the image moves by s pixels.

    Returns:
        (count,), from 0 to 1; a vector drawn at random has 1/period².

    Raises:
        ValueError: for vectors that are no such images.

    Example:
        >>> fourier_energy(np.ones((16, 1)), side=4, period=2)
        array([1.])
    """
    array = np.asarray(vectors, np.float64)
    if array.ndim != 2 or array.shape[0] % side**2:
        raise ValueError(f"expected columns of whole images of {side} x {side} pixels, got {array.shape}")
    images = array.T.reshape(array.shape[1], -1, side, side)
    energy = (np.abs(np.fft.fft2(images)) ** 2).sum(axis=1)
    return np.asarray(energy[:, ::period, ::period].sum(axis=(1, 2)) / energy.sum(axis=(1, 2)))


def _with_weight(weight: Tensor) -> nn.Linear:
    """A linear network of one weight matrix."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    layer.weight.data = weight
    return layer


def _checked(inputs: object, name: str) -> Tensor:
    points = as_tensor(inputs, name)
    if points.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} must be float32 or float64, got {points.dtype}")
    if points.ndim < 2 or not math.prod(points.shape):
        raise ValueError(f"{name} must have shape (points, ...), none of them 0, got {tuple(points.shape)}")
    return points


def _check_count(networks: int, parts: int) -> None:
    if networks < parts or networks % parts:
        raise ValueError(f"expected networks in {parts} equal parts, one or more in each, got {networks}")


def _pair(first: object, second: object) -> tuple[Tensor, Tensor]:
    one, two = as_tensor(first, "first").double(), as_tensor(second, "second").double()
    if one.ndim != 2 or one.shape[0] != one.shape[1] or one.shape != two.shape:
        raise ValueError(f"expected two square matrices of one shape, got {tuple(one.shape)} and {tuple(two.shape)}")
    return one, two
