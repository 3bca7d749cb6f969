"""Tangent kernels: closed forms and batched Jacobians against the plain way, and the memory of the image kernel.

1. Kernels of a shallow net in closed form, of a dense net and of the convolutional net, against the products of
   Jacobians by `torch.autograd`, an example at a time, and by torch.func, vmap of grad, the strongest library for it.
   The physical limit is the time of the multiplications that symmetry leaves, at the rate of a large product of
   matrices; the passes through the network come on top.
2. Lazy learning: analytic NTK and support vector machine against training a net in the lazy regime (α = 1e6).
3. Jacobian of the convolutional net, in batches against an example at a time.
4. Time and peak memory of the kernels of the dense net on 2 000 points and of the convolutional net on 2 000 images, in
   fresh processes; the limit is 4 GiB.

Exits 1 when the memory misses its limit.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from timing import peak_memory, seconds, tell_row, tell_shortfalls, timed
from torch import nn

from repro.data.images import load, standardised
from repro.data.synthetic import stripe
from repro.geometry.jacobian import jacobian
from repro.geometry.ntk import empirical_ntk, relu_ntk, shallow_ntk
from repro.models.conv import MobileNetwork
from repro.models.dense import initialise
from repro.papers.compression.stripe import error_rate
from repro.training.flow import hinge_flow
from repro.training.svm import hard_margin_svm

DIMENSION, WIDTH = 5, 300
POINTS, LIMIT_GIB = 2_000, 4.0
USUAL = {"closed form": 3.0, "dense kernel": 25.0, "lazy learning": 5.0, "convolutional Jacobian": 2.0}


def closed_form() -> float:
    x = stripe(256, DIMENSION, np.random.default_rng(0)).inputs
    net = initialise(WIDTH, DIMENSION, np.random.default_rng(1))
    parameters = (net.weight, net.bias, net.readout)
    for tensor in parameters:
        tensor.requires_grad_()

    def ours() -> torch.Tensor:
        with torch.no_grad():
            return shallow_ntk(*parameters, x)

    def output(values: Sequence[torch.Tensor], example: torch.Tensor) -> torch.Tensor:
        return replace(net, weight=values[0], bias=values[1], readout=values[2])(example[None]).squeeze()

    return kernel("shallow", net, output, parameters, x, ours, 2 * WIDTH + DIMENSION + 1)


def dense(points: int) -> tuple[nn.Module, torch.Tensor]:
    """A net of a million parameters."""
    torch.manual_seed(0)
    layers = [nn.Linear(100, 950), nn.ReLU(), nn.Linear(950, 950), nn.ReLU(), nn.Linear(950, 1)]
    return nn.Sequential(*layers), torch.randn(points, 100)


def convolutional(points: int) -> tuple[nn.Module, torch.Tensor]:
    """The paper's net, h = 10."""
    return MobileNetwork(10, np.random.default_rng(0)), images(points)


NETWORKS = {"dense": dense, "convolutional": convolutional}


def any_network(name: str) -> float:
    network, x = NETWORKS[name](256)
    names, parameters = zip(*network.named_parameters(), strict=True)

    def output(values: Sequence[torch.Tensor], example: torch.Tensor) -> torch.Tensor:
        named = dict(zip(names, values, strict=True))
        return torch.func.functional_call(network, named, (example[None],)).squeeze()

    least = sum(value.numel() for value in parameters)
    if name == "dense":  # by factors: inputs with a 1 for the bias, and derivatives
        least = sum(sum(layer.weight.shape) + 1 for layer in network if isinstance(layer, nn.Linear))
    return kernel(name, network, output, parameters, x, lambda: empirical_ntk(network, x), least)


def kernel(
    name: str,
    network: Callable[[torch.Tensor], torch.Tensor],
    output: Callable[[Sequence[torch.Tensor], torch.Tensor], torch.Tensor],
    parameters: Sequence[torch.Tensor],
    x: torch.Tensor,
    ours: Callable[[], torch.Tensor],
    least: int,
) -> float:
    """Compare ways to a kernel whose entries need at least so many multiplications each: ratio to the strongest."""

    def product(rows: Sequence[torch.Tensor]) -> torch.Tensor:
        jacobian = torch.cat([part.flatten(1) for part in rows], 1)
        return jacobian @ jacobian.T

    def plain() -> torch.Tensor:
        return product([one_by_one(network, parameters, x)])

    def library() -> torch.Tensor:
        gradient = torch.func.vmap(torch.func.grad(output), in_dims=(None, 0), chunk_size=64)
        return product(gradient(tuple(value.detach() for value in parameters), x))

    found, expected = ours(), library()
    assert torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    fast, slow, strongest = seconds(ours), seconds(plain, repeats=1), seconds(library, repeats=1)
    square = torch.randn(2_000, 2_000, dtype=x.dtype)
    limit = seconds(lambda: square @ square) * (len(x) ** 2 / 2 * least) / len(square) ** 3
    print(
        f"NTK of {len(x)} points, {name}: ours {fast * 1e3:.1f} CPU ms; an example at a time {slow * 1e3:.0f}, "
        f"{slow / fast:.1f} times; torch.func {strongest * 1e3:.0f}, {strongest / fast:.1f} times; "
        f"physical limit {limit * 1e3:.1f}"
    )
    tell_row(f"NTK of {len(x)} points, {name}", fast, "torch.func", strongest, len(x) ** 2 * least)
    return strongest / fast


def one_by_one(
    network: Callable[[torch.Tensor], torch.Tensor], parameters: Sequence[torch.Tensor], x: torch.Tensor
) -> torch.Tensor:
    """Jacobian by one backward pass for each example."""
    rows = [torch.autograd.grad(network(example[None]).sum(), parameters) for example in x]
    return torch.stack([torch.cat([gradient.ravel() for gradient in row]) for row in rows])


def lazy_learning() -> float:
    train, test = (stripe(points, DIMENSION, np.random.default_rng(points)) for points in (256, 5_000))

    def machine() -> float:
        learned = hard_margin_svm(relu_ntk(train.inputs), train.labels)
        decision = learned.decision(relu_ntk(test.inputs, train.inputs[learned.support]))
        return error_rate(torch.from_numpy(decision), test.labels)

    def net() -> float:
        start = initialise(WIDTH, DIMENSION, np.random.default_rng(0))
        final = hinge_flow(start, train.inputs, train.labels, 1e6).final
        return error_rate(final(test.inputs) - start(test.inputs), test.labels)

    fast, slow = seconds(machine), seconds(net, repeats=1)
    print(
        f"lazy learning of 256 points: analytic NTK and SVM {fast:.3f} CPU s, error {machine():.3f}; "
        f"net of {WIDTH} neurons at alpha = 1e6 {slow:.2f} CPU s, error {net():.3f}: {slow / fast:.0f} times faster"
    )
    return slow / fast


def images(count: int) -> torch.Tensor:
    every = load("fashion-mnist-sample", "train").images
    return torch.from_numpy(standardised(every[:count], every.mean(0)))


def convolutional_jacobian() -> float:
    network, x = MobileNetwork(5, np.random.default_rng(0)), images(64)
    slow = seconds(lambda: one_by_one(network, list(network.parameters()), x))
    fast = seconds(lambda: jacobian(network, x))
    print(f"Jacobian of 64 images, h = 5: {slow / fast:.1f} times faster in a batch, {fast / 64 * 1e3:.2f} ms an image")
    return slow / fast


def kernel_memory(name: str) -> None:
    """What a fresh process runs."""
    network, x = NETWORKS[name](POINTS)
    cpu, gram = timed(lambda: empirical_ntk(network, x))
    assert gram.shape == (POINTS, POINTS) and bool(torch.isfinite(gram).all())
    print(f"{peak_memory() / 2**30:.3f} {cpu:.1f}")


def large_kernel(name: str) -> float:
    child = subprocess.run([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True, check=True)
    gib, cpu = map(float, child.stdout.split())
    parameters = sum(value.numel() for value in NETWORKS[name](1)[0].parameters())
    print(f"NTK of {POINTS} points, {name}, {parameters} parameters: peak {gib:.2f} GiB, {cpu:.1f} CPU s")
    return gib


def main() -> int:
    torch.set_num_threads(1)
    if sys.argv[1:]:
        kernel_memory(sys.argv[1])
        return 0
    gib = max(large_kernel(name) for name in NETWORKS)  # first, since a process inherits the peak of its parent
    ratios = {
        "closed form": closed_form(),
        **{f"{name} kernel": any_network(name) for name in NETWORKS},
        "lazy learning": lazy_learning(),
        "convolutional Jacobian": convolutional_jacobian(),
    }
    tell_shortfalls(ratios, USUAL)
    if gib > LIMIT_GIB:
        print(f"above the memory limit of {LIMIT_GIB} GiB")
    return int(gib > LIMIT_GIB)


if __name__ == "__main__":
    raise SystemExit(main())
