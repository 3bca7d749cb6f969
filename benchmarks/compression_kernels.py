"""Tangent kernels: closed forms and batched Jacobians against the plain way, and the memory of the image kernel.

1. NTK of the shallow net, closed form against the product of Jacobians by `torch.autograd`, an example at a time.
2. Lazy learning: analytic NTK and support vector machine against training a net in the lazy regime (α = 1e6).
3. Jacobian of the convolutional net, in batches against an example at a time.
4. Peak memory of the kernel of that net on 2 000 images, in a fresh process; the limit is 4 GiB.

Exits 1 when the memory misses its limit.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from timing import peak_memory, seconds, tell_shortfalls, timed

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
IMAGES, LIMIT_GIB = 2_000, 4.0
USUAL = {"closed form": 5.0, "lazy learning": 5.0, "convolutional Jacobian": 2.0}


def closed_form() -> float:
    x = stripe(256, DIMENSION, np.random.default_rng(0)).inputs
    net = initialise(WIDTH, DIMENSION, np.random.default_rng(1))
    parameters = (net.weight, net.bias, net.readout)

    for tensor in parameters:
        tensor.requires_grad_()

    def plain() -> torch.Tensor:
        matrix = one_by_one(net, parameters, x)
        return matrix @ matrix.T

    def closed() -> torch.Tensor:
        with torch.no_grad():
            return shallow_ntk(*parameters, x)

    assert torch.allclose(plain(), closed(), rtol=1e-10)
    ratio = seconds(plain) / seconds(closed)
    print(f"NTK of 256 points, h = {WIDTH}: closed form {ratio:.0f} times faster than autograd Jacobians")
    return ratio


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


def kernel_memory() -> None:
    """What the fresh process runs: the kernel of the paper's net, h = 10."""
    cpu, gram = timed(lambda: empirical_ntk(MobileNetwork(10, np.random.default_rng(0)), images(IMAGES)))
    assert gram.shape == (IMAGES, IMAGES) and bool(torch.isfinite(gram).all())
    print(f"{peak_memory() / 2**30:.3f} {cpu:.1f}")


def main() -> int:
    torch.set_num_threads(1)
    if sys.argv[1:] == ["--memory"]:
        kernel_memory()
        return 0
    ratios = {
        "closed form": closed_form(),
        "lazy learning": lazy_learning(),
        "convolutional Jacobian": convolutional_jacobian(),
    }
    child = subprocess.run([sys.executable, __file__, "--memory"], capture_output=True, text=True, check=True)
    gib, cpu = map(float, child.stdout.split())
    print(f"NTK of {IMAGES} images, h = 10, 23 251 parameters: peak {gib:.2f} GiB, {cpu:.0f} CPU s")
    tell_shortfalls(ratios, USUAL)
    if gib > LIMIT_GIB:
        print(f"above the memory limit of {LIMIT_GIB} GiB")
    return int(gib > LIMIT_GIB)


if __name__ == "__main__":
    raise SystemExit(main())
