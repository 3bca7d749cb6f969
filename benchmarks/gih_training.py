"""Nets of the rotation test on several planes, one after another and all at once; layouts and fusion of convolutions.

Steps of one net per second, on CUDA where there is a GPU, batches of 128 images of 16 × 16 pixels, for the dense net
256-100-100-2 and the residual net of three blocks, with

1. plain torch: a module, autograd, `clip_grad_norm_` and `torch.optim.SGD`, a net at a time;
2. `repro.training.stacked`, a net at a time;
3. the same, stacked: `torch.func.vmap` over all nets.

And for the residual net: training with images channels first and last; inference with convolution and batch
normalisation apart, and fused by `torch.nn.utils.fusion`.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from timing import products, seconds, tell_row, tell_shortfalls
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.fusion import fuse_conv_bn_eval

from repro.device import resolve_device
from repro.papers.gih.study import DENSE, Network, family
from repro.training.stacked import Recipe, train_classifiers

NETS, POINTS, BATCH = 8, 1024, 128
PLACE = resolve_device()
RECIPE = Recipe(1, batch_size=BATCH)
STEPS = NETS * RECIPE.steps(POINTS)
USUAL = {"dense": 1.2, "channels last": 1.0}


def problem(last: bool) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((NETS, POINTS, 1, 16, 16))).float().to(PLACE)
    y = (x.flatten(2).sum(2) > 0).long()
    return (torch.stack([each.contiguous(memory_format=torch.channels_last) for each in x]) if last else x), y


def orders() -> list[np.random.Generator]:
    return [np.random.default_rng(net) for net in range(NETS)]


def plain(networks: list[nn.Module], x: Tensor, y: Tensor) -> None:
    for start, inputs, classes, order in zip(networks, x, y, orders(), strict=True):
        network = copy.deepcopy(start).train()
        descent = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for rows in torch.split(torch.from_numpy(order.permutation(POINTS)), BATCH):
            descent.zero_grad()
            cross_entropy(network(inputs[rows]), classes[rows]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            descent.step()


def fused(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose convolutions hold their normalisation."""
    found = copy.deepcopy(network).eval()
    for module in list(found.modules()):
        if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[1], nn.BatchNorm2d):
            module[0], module[1] = fuse_conv_bn_eval(module[0], module[1]), nn.Identity()
    return found


def compare(name: str, form: Network) -> float:
    """How many times the steps of plain torch a stack takes in the same time."""
    x, y = problem(last=False)
    networks = [family(form, 2)(order).to(PLACE) for order in orders()]
    times = {
        "plain torch": seconds(lambda: plain(networks, x, y)),
        "one by one": seconds(lambda: train_classifiers(networks, x, y, orders(), RECIPE)),
        "stacked": seconds(lambda: train_classifiers(networks, x, y, orders(), RECIPE, together=True)),
    }
    for route, taken in times.items():
        ratio = times["plain torch"] / taken
        print(f"{name}: {route:12s} {STEPS / taken:7.0f} steps per second, {ratio:4.1f} times plain torch")
    operations = products(lambda: train_classifiers(networks[:1], x[:1], y[:1], orders()[:1], RECIPE)) * NETS
    best = min(times["one by one"], times["stacked"])
    tell_row(f"training of {NETS} {name} image nets", best, "plain torch", times["plain torch"], operations)
    return times["plain torch"] / times["stacked"]


def layouts() -> float:
    """How many times faster the residual net learns with channels last."""
    networks = [family(Network(), 2)(order).to(PLACE) for order in orders()]
    (first, y), (last, _) = problem(last=False), problem(last=True)
    before = seconds(lambda: train_classifiers(networks, list(first), y, orders(), RECIPE))
    for network in networks:
        nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    after = seconds(lambda: train_classifiers(networks, list(last), y, orders(), RECIPE))
    print(f"residual, training: channels last {before / after:.1f} times as fast as channels first")
    apart, together = networks[0].eval(), fused(networks[0])
    with torch.no_grad():
        assert float((apart(last[0]) - together(last[0])).abs().max()) < 1e-4
        slow, fast = seconds(lambda: apart(last[0])), seconds(lambda: together(last[0]))
    print(f"residual, inference: normalisation fused into convolutions {slow / fast:.1f} times as fast as apart")
    return before / after


def main() -> None:
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # or fused and apart agree to its ten bits only
    ratios = {"dense": compare("dense", Network(kind=DENSE, channels="100-100"))}
    ratios["residual"] = compare("residual", Network())
    tell_shortfalls(ratios | {"channels last": layouts()}, USUAL)


if __name__ == "__main__":
    main()
