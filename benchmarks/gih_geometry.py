"""The average geometry of many random networks at once.

For the dense net 256-100-100 (16 logits) and the residual net of three blocks (8 logits), inputs of 16 × 16 pixels:
networks per second, on CUDA where there is a GPU, with

1. a plain loop: a module for every network and a backward pass for every logit;
2. `torch.func`, the strongest library: modules stacked by `stack_module_state`, vmap of jacrev;
3. `repro.geometry.average`: parameters drawn stacked, one backward pass for each logit of all networks; beside it the
   time that its products take at the peak rate.

Each draws its networks too: small modules cost more to make than to differentiate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from timing import products, seconds, tell_row, tell_shortfalls
from torch import Tensor, nn
from torch.func import functional_call, jacrev, stack_module_state, vmap

from repro.device import resolve_device
from repro.geometry.average import frobenius_cosine, geometry_halves
from repro.papers.gih.study import DENSE, DENSE_LOGITS, RESIDUAL_LOGITS, Network, family

NETS = 256
PLACE = resolve_device()
USUAL = {"dense, plain": 3.0, "dense, library": 2.0, "residual, plain": 5.0, "residual, library": 3.0}


def generators() -> list[np.random.Generator]:
    return [np.random.default_rng(np.random.SeedSequence([0, number])) for number in range(NETS)]


def plain(build: Callable[[np.random.Generator], nn.Module], x: Tensor) -> Tensor:
    total = torch.zeros(256, 256, dtype=torch.float64, device=PLACE)
    for generator in generators():
        inputs = x.clone().requires_grad_()
        logits = build(generator).to(PLACE)(inputs)[0]
        for logit in logits:
            gradient = torch.autograd.grad(logit, inputs, retain_graph=True)[0].flatten().double()
            total += torch.outer(gradient, gradient)
    return total / (NETS * len(logits))


def library(build: Callable[[np.random.Generator], nn.Module], x: Tensor) -> Tensor:
    networks = [build(generator).to(PLACE) for generator in generators()]
    parameters, buffers = stack_module_state(networks)

    def logits(own: dict[str, Tensor], state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        found: Tensor = functional_call(networks[0], (own, state), (inputs,))[0]
        return found

    with torch.no_grad():
        rows = vmap(jacrev(logits, argnums=2), in_dims=(0, 0, None))(parameters, buffers, x)
    flat = rows.flatten(0, 1).flatten(1).double()
    return flat.T @ flat / len(flat)


def compare(name: str, network: Network, logits: int) -> dict[str, float]:
    build = family(network, logits)
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 1, 16, 16)) * 1e-3).float().to(PLACE)
    found = geometry_halves(build, x, NETS, seed=0).mean(0)
    for other in (plain(build, x), library(build, x)):
        assert frobenius_cosine(found, other) > 1 - 1e-9
    times = {
        "plain": seconds(lambda: plain(build, x)),
        "library": seconds(lambda: library(build, x)),
        "ours": seconds(lambda: geometry_halves(build, x, NETS, seed=0)),
    }
    ratios = {f"{name}, {route}": taken / times["ours"] for route, taken in times.items()}
    for (route, taken), ratio in zip(times.items(), ratios.values(), strict=True):
        print(f"{name}: {route:8s} {NETS / taken:7.0f} networks per second; ours takes 1/{ratio:.1f} of its time")
    operations = products(lambda: geometry_halves(build, x, NETS, seed=0))
    tell_row(f"average geometry of {NETS} {name} nets", times["ours"], "torch.func", times["library"], operations)
    return ratios


def main() -> None:
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # or routes agree to its ten bits only
    dense = compare("dense", Network(kind=DENSE, channels="100-100"), DENSE_LOGITS)
    tell_shortfalls(dense | compare("residual", Network(), RESIDUAL_LOGITS), USUAL)


if __name__ == "__main__":
    main()
