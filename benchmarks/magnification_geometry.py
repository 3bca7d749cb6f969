"""Pullback geometry: closed forms and blocks of Jacobians against the plain way, and the memory of a scan of images.

1. Volume of 1 600 points, 250 sigmoid units: closed form against autograd, 40 points at a time over a retained graph, a
   point at a time, and all at once by torch's vmap of jacfwd.
2. Ricci scalar of the same points: closed form against Brioschi's formula on derivatives of the metric, point by point
   and for all points at once, and against our route for any map.
3. Jacobians of a residual convolutional net (28 x 28 inputs, 64 features), against a backward pass for every point and
   feature.
4. Peak memory of a scan of singular values, 784 inputs and 2 000 features, in a fresh process.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import torch
from timing import peak_memory, products, seconds, tell_row, tell_shortfalls, timed
from torch import Tensor, nn

from repro.geometry.pullback import (
    input_jacobian,
    ricci_scalar,
    shallow_ricci_scalar,
    shallow_volume_element,
    singular_values,
)

WIDTH, SIDE = 250, 40
TRAFFIC = 2 * SIDE**2 * WIDTH * 8  # bytes of the derivatives of all units at all points, written and read
USUAL = {"volume, batches": 100.0, "volume, single points": 1000.0, "curvature, single points": 1000.0}
Map = Callable[[Tensor], Tensor]


def shallow() -> tuple[Map, Tensor, Tensor, Tensor]:
    """A random net as a map, its weights and biases, and the points."""
    draw = torch.Generator().manual_seed(0)
    weight, bias = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((WIDTH, 2), (WIDTH,)))
    line = torch.linspace(-1.5, 1.5, SIDE, dtype=torch.float64)
    return lambda x: torch.sigmoid(x @ weight.T + bias), weight, bias, torch.cartesian_prod(line, line)


def plain_volume(phi: Map, points: Tensor, batch: int) -> Tensor:
    """A backward pass for every feature over a retained graph."""
    found = []
    for part in points.split(batch):
        x = part.clone().requires_grad_()
        output = phi(x)
        rows = [torch.autograd.grad(output[:, i].sum(), x, retain_graph=True)[0] for i in range(output.shape[1])]
        jacobian = torch.stack(rows, 1)
        found.append(torch.linalg.det(jacobian.mT @ jacobian / WIDTH).sqrt())
    return torch.cat(found)


def library_volume(phi: Map, points: Tensor) -> Tensor:
    jacobian = torch.func.vmap(torch.func.jacfwd(lambda x: phi(x[None])[0]))(points)
    return torch.linalg.det(jacobian.mT @ jacobian / WIDTH).sqrt()


def brioschi(phi: Map, point: Tensor) -> Tensor:
    """Twice the Gaussian curvature at one point, from derivatives of the metric."""

    def metric(x: Tensor) -> Tensor:
        jacobian = torch.func.jacfwd(lambda y: phi(y[None])[0])(x)
        return jacobian.T @ jacobian / WIDTH

    g, first = metric(point), torch.func.jacfwd(metric)(point)
    second = torch.func.jacfwd(torch.func.jacfwd(metric))(point)
    (e, f), h = g[0], g[1, 1]
    (eu, ev), (fu, fv), (hu, hv) = first[0, 0], first[0, 1], first[1, 1]
    corner = -second[0, 0, 1, 1] / 2 + second[0, 1, 0, 1] - second[1, 1, 0, 0] / 2
    one = torch.stack([corner, eu / 2, fu - ev / 2, fv - hu / 2, e, f, hv / 2, f, h]).reshape(3, 3)
    other = torch.stack([0 * e, ev / 2, hu / 2, ev / 2, e, f, hu / 2, f, h]).reshape(3, 3)
    return 2 * (torch.linalg.det(one) - torch.linalg.det(other)) / (e * h - f * f) ** 2


def volumes() -> dict[str, float]:
    phi, weight, bias, points = shallow()
    closed = seconds(lambda: shallow_volume_element(weight, bias, points), repeats=9)
    few = points[:: SIDE * 2]  # of single points, for the whole grid takes minutes
    slow = {
        "volume, batches": seconds(lambda: plain_volume(phi, points, 40), repeats=1),
        "volume, single points": seconds(lambda: plain_volume(phi, few, 1), repeats=1) * len(points) / len(few),
        "volume, vmap of jacfwd": seconds(lambda: library_volume(phi, points)),
    }
    assert torch.allclose(plain_volume(phi, few, 40), shallow_volume_element(weight, bias, few), rtol=1e-9)
    operations = products(lambda: shallow_volume_element(weight, bias, points))
    tell_row("volume of 1 600 points", closed, "torch.func", slow["volume, vmap of jacfwd"], operations, TRAFFIC)
    return tell("volume", closed, slow)


def curvatures() -> dict[str, float]:
    phi, weight, bias, points = shallow()
    closed = seconds(lambda: shallow_ricci_scalar(weight, bias, points), repeats=9)
    few = points[:: SIDE * 2]
    single = [brioschi(phi, point) for point in few]
    assert torch.allclose(torch.stack(single), shallow_ricci_scalar(weight, bias, few), rtol=1e-6)
    alone = seconds(lambda: [brioschi(phi, point) for point in few], repeats=1) * len(points) / len(few)
    slow = {
        "curvature, single points": alone,
        "curvature, vmap of jacfwd": seconds(lambda: torch.func.vmap(lambda x: brioschi(phi, x))(points), repeats=1),
        "curvature, our route for any map": seconds(lambda: ricci_scalar(phi, points)),
    }
    operations = products(lambda: shallow_ricci_scalar(weight, bias, points))
    library = slow["curvature, vmap of jacfwd"]
    tell_row("curvature of 1 600 points", closed, "torch.func", library, operations, TRAFFIC)
    return tell("curvature", closed, slow)


def tell(name: str, closed: float, slow: dict[str, float]) -> dict[str, float]:
    print(f"{name} of {SIDE**2} points, {WIDTH} units: closed form {closed * 1e3:.1f} CPU ms")
    ratios = {route: cpu / closed for route, cpu in slow.items()}
    for route, ratio in ratios.items():
        print(f"  against {route}: {slow[route] * 1e3:.0f} CPU ms, {ratio:.1f} times faster")
    return ratios


class Block(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.GELU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features of images."""
        return nn.functional.gelu(self.body(x) + self.short(x))


def images() -> None:
    torch.manual_seed(0)
    stem = [nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.GELU()]
    blocks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    network = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    x = torch.rand(17, 1, 28, 28)  # a segment between two images

    def plain() -> Tensor:
        rows = []
        for image in x:
            image = image[None].clone().requires_grad_()
            output = network(image)[0]
            rows.append(torch.stack([torch.autograd.grad(each, image, retain_graph=True)[0] for each in output]))
        return torch.stack(rows).flatten(2)

    assert torch.allclose(plain(), input_jacobian(network, x), atol=1e-5)
    slow, fast = seconds(plain, repeats=1), seconds(lambda: input_jacobian(network, x))
    print(f"Jacobians of a residual net, 784 inputs, 64 features: {fast / 17 * 1e3:.1f} CPU ms a point, ", end="")
    print(f"{slow / fast:.1f} times faster than a backward pass for every point and feature")


def scan() -> None:
    """What the fresh process runs: all singular values of 40 points of a wide net."""
    network = nn.Sequential(nn.Linear(784, 2000), nn.Sigmoid())
    cpu, values = timed(lambda: singular_values(network, torch.rand(40, 784)))
    assert values.shape == (40, 784)
    print(f"{peak_memory() / 2**30:.3f} {cpu:.1f}")


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:] == ["--memory"]:
        scan()
        return
    ratios = volumes() | curvatures()
    images()
    child = subprocess.run([sys.executable, __file__, "--memory"], capture_output=True, text=True, check=True)
    gib, cpu = map(float, child.stdout.split())
    print(f"singular values of 40 points, 784 inputs, 2 000 features: peak {gib:.2f} GiB, {cpu:.1f} CPU s")
    tell_shortfalls(ratios, USUAL)


if __name__ == "__main__":
    main()
