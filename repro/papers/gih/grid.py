"""Grids of the notebooks of this paper and what their cells cost, apart from the cells, which neither can change."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

Config = dict[str, Any]

WIDE_STRIDES = {1: "1-1-1", 2: "1-2-1", 4: "2-2-1", 8: "2-2-2"}  # of three stages, by their product
DEEP_STRIDES = {1: "1-1-1-1", 2: "1-1-2-1", 4: "1-2-2-1", 8: "1-2-2-2"}  # of four
HEADS = ("average", "flat")


def spectrum_grid(*, draws: int, networks: int, pictures: int, strides: str, **shared: Any) -> dict[str, list[Config]]:
    """Configurations of `spectrum_cell` by name: the four architectures, and the residual one with ReLU at unit inputs.

    Args:
        draws: of G.
        networks: of each.
        pictures: eigenvectors kept of the first draw.
        strides: of the residual net.
        shared: side, residual (channels), blocks, dense, transformer, seed, device.
    """
    base = {name: shared[name] for name in ("side", "seed", "device")} | {"strides": strides}
    residual = {"kind": "residual", "channels": shared["residual"], "blocks": shared["blocks"]}
    nets = {
        "dense": {"kind": "dense", "channels": shared["dense"]},
        "residual": residual,
        "LeNet": {"kind": "lenet"},
        "transformer": {"kind": "transformer", "channels": shared["transformer"]},
        "residual, ReLU, unit inputs": residual | {"nonlinearity": "relu", "input_scale": 1.0},
    }
    return {
        name: [
            base | net | {"draw": draw, "networks": networks, "pictures": 0 if draw else pictures}
            for draw in range(draws)
        ]
        for name, net in nets.items()
    }


def architecture_grid(*, draws: int, totals: Sequence[int], **shared: Any) -> dict[str, list[Config]]:
    """Configurations of `architecture_cell` by name: head × total stride × normalisation, and three single changes.

    Args:
        draws: of G.
        totals: two total strides, of 1, 2, 4, 8.
        shared: arguments of every cell.
    """
    cells = {}
    for head, stride, normalised in product(HEADS, totals, (True, False)):
        name = f"{head} head, stride {stride}, {'normalised' if normalised else 'not normalised'}"
        form = {"head": head, "strides": _stage_strides(shared, stride), "normalised": normalised}
        cells[name] = [shared | form | {"draw": draw} for draw in range(draws)]
    return cells


def variant_grid(*, draws: int, weight_decay: float, **shared: Any) -> dict[str, list[Config]]:
    """Configurations of `architecture_cell` by name: the plain net, and one change at a time.

    Args:
        draws: of G.
        weight_decay: of one of them.
        shared: arguments of every cell.
    """
    plain = {"head": "average", "strides": _stage_strides(shared, 8), "normalised": True}
    changes: dict[str, Config] = {
        "plain": {},
        "without skips": {"skips": False},
        "ReLU": {"nonlinearity": "relu"},
        f"weight decay {weight_decay:g}": {"weight_decay": weight_decay},
    }
    return {
        name: [shared | plain | change | {"draw": draw} for draw in range(draws)] for name, change in changes.items()
    }


def training_cost(config: Mapping[str, Any]) -> float:
    """Rough CPU seconds of a cell of the rotation test, so that a sweep starts with the dearest."""
    points = sum(config["sizes"]) / 2 if "sizes" in config else config["points"]
    nets = len(config.get("kinds", ())) * len(config.get("radii", (1,))) or len(config.get("angles", ()))
    dear = 2.0 if config.get("strides", "2-2-2") != "2-2-2" else 1.0
    dense = 0.3 if config.get("kind") == "dense" else 1.0
    return float(points * config["epochs"] * nets * dear * dense * 1e-4)


def _stage_strides(shared: Mapping[str, Any], total: int) -> str:
    """Strides of the stages of a net that make this total."""
    return (DEEP_STRIDES if shared.get("channels", "").count("-") == 3 else WIDE_STRIDES)[total]


def invariance_settings(
    *, epochs: int, learning_rate: float, adam_epochs: int, adam_rate: float
) -> dict[str, tuple[tuple[str, ...], Config]]:
    """Of each setting of the invariance test: kinds of data, and arguments of `invariance_cell`."""
    sgd: Config = {"optimiser": "sgd", "learning_rate": learning_rate, "epochs": epochs}
    adam: Config = {"optimiser": "adam", "learning_rate": adam_rate, "epochs": adam_epochs}
    both = ("aligned", "flipped")
    return {
        "residual, SGD": ((*both, "matched"), {"kind": "residual"} | sgd),
        "residual, Adam": (both, {"kind": "residual"} | adam),
        "dense": (both, {"kind": "dense"} | adam),
        "dense, residual G": (both, {"kind": "dense", "foreign": True} | adam),
    }
