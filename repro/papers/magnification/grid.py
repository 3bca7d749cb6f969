"""The grids of these notebooks and what their cells cost, apart from the cells, which neither can change."""

from collections.abc import Mapping, Sequence
from typing import Any

from repro.papers.magnification.boundary_analysis import look_steps
from repro.papers.magnification.planar import FEW

Config = dict[str, Any]

LOOKS = 9  # along training, where no film is made
WEIGHT_DECAY = 1e-4  # on XOR, with SGD 0.02 on all four points, as released
XOR_RATE = 0.02
DIGITS: Config = {"dataset": "digits", "width": 200, "learning_rate": 0.01}  # dense nets on the small digits
NARROW: Config = DIGITS | {"width": 40, "lines": 10, "planes": 0, "between": 1, "same": 1}  # fewer units than pixels
CONTROLS = ("few points", "hole at the boundary", "hole elsewhere")


def sinusoid_grid(*, widths: Sequence[int], steps: int, frames: int, map_side: int, **shared: Any) -> list[Config]:
    """Configurations of `boundary_cell` for the sinusoid; the second smallest width is looked at `frames` times.

    Args:
        widths: hidden units.
        steps: of training.
        frames: looks at the nets of the film.
        map_side: points along a side of the maps.
        shared: nets, points, side, near, far, batch_size, optimiser, learning_rate, seed, device.
    """
    film = sorted(widths)[min(1, len(widths) - 1)]
    return [
        {"task": "sinusoid", "width": width, "looks": look_steps(steps, frames if width == film else LOOKS)}
        | {"map_side": map_side}
        | shared
        for width in widths
    ]


def boundary_grid(
    *,
    widths: Sequence[int],
    xor_widths: Sequence[int],
    steps: int,
    xor_steps: int,
    frames: int,
    map_side: int,
    control_width: int,
    output_scale: float,
    lazy_rate: float,
    **shared: Any,
) -> list[Config]:
    """Configurations of `boundary_cell` for the sinusoid, XOR and the controls.

    Args:
        widths, steps, frames, map_side, shared: see `sinusoid_grid`; the widest net also learns by squared error, and
            as a lazy net.
        xor_widths, xor_steps: the same for XOR.
        control_width: hidden units of the nets with random labels, and of those whose points leave out a strip.
        output_scale, lazy_rate: of the lazy nets.
    """
    trained = sinusoid_grid(widths=widths, steps=steps, frames=frames, map_side=map_side, **shared)
    ends: Config = shared | {"task": "sinusoid", "width": max(widths), "looks": [0, steps]}
    squared = ends | {"loss": "squared error"}
    lazy = ends | {"output_scale": output_scale, "learning_rate": lazy_rate}
    controls = [ends | {"task": task, "width": control_width} for task in CONTROLS]
    few = controls[0] | {"batch_size": min(FEW, shared["batch_size"])}
    alone: Config = {name: shared[name] for name in ("nets", "side", "near", "far", "seed", "device") if name in shared}
    released: Config = {"optimiser": "sgd", "learning_rate": XOR_RATE, "weight_decay": WEIGHT_DECAY, "batch_size": 4}
    xor = [
        {"task": "xor", "width": width, "looks": [0, xor_steps], "map_side": map_side} | released | alone
        for width in xor_widths
    ]
    return [*trained, *xor, squared, lazy, few, *controls[1:]]


def boundary_cost(config: Mapping[str, Any]) -> float:
    """Rough CPU seconds of a cell, so that a sweep starts with the dearest and tells the time left."""
    steps = config.get("step_limit") or config["looks"][-1]
    looks = len(config.get("looks", ())) or steps / 20
    batch = config["batch_size"] * config["width"] * config["nets"]
    grid = 6400 * config["width"] * config["nets"]
    return float(steps * (6e-4 + 9e-9 * batch) + looks * 1e-8 * grid)


def dense_blocks(settings: Sequence[Config], nets: int, block: int = 4, **shared: Any) -> list[Config]:
    """Configurations of `dense_cell` for nets of each setting, four a cell: what one process trains at once.

    Args:
        settings: what else is told of each kind of net.
        nets: of each setting.
        block: nets of a cell.
        shared: seed, dtype, device.
    """
    return [
        setting | {"first_net": first, "nets": min(block, nets - first)} | shared
        for setting in settings
        for first in range(0, nets, block)
    ]


def residual_shape(channels: str, blocks: str, strides: str, dtype: str) -> dict[str, Any]:
    """Axes of a grid that tell the shape of a residual net, from whole numbers joined by hyphens.

    Args:
        channels: of each stage.
        blocks: of each stage.
        strides: of the first convolution, and of each stage.
        dtype: of the nets.

    Raises:
        ValueError: for other words, or channels in float32 that are no multiples of 8: there torch 2.13's convolutions
            of images with the channels last write beyond their memory on the CPU.

    Example:
        >>> residual_shape("16-32", "1-1", "2-1-2", "float32")
        {'channels': [[16, 32]], 'blocks': [[1, 1]], 'strides': [[1, 2]], 'stem_stride': 2}
    """
    stem, *rest = numbers(strides)
    if dtype == "float32" and any(count % 8 for count in numbers(channels)):
        raise ValueError(
            f"expected channels in multiples of 8 in float32, got {channels!r}: change them, or take float64"
        )
    return {"channels": [numbers(channels)], "blocks": [numbers(blocks)], "strides": [rest], "stem_stride": stem}


def segment_counts(words: str) -> dict[str, int]:
    """Segments between classes, within one, and from misread images, from three whole numbers joined by hyphens.

    Raises:
        ValueError: for other than three.

    Example:
        >>> segment_counts("40-12-24")
        {'between': 40, 'same': 12, 'misread': 24}
    """
    found = numbers(words)
    if len(found) != 3:
        raise ValueError(f"expected three numbers, between classes, within one, misread, got {words!r}")
    return dict(zip(("between", "same", "misread"), found, strict=True))


def numbers(words: str) -> list[int]:
    """Whole numbers joined by hyphens, as "16-32-64".

    Raises:
        ValueError: for anything else.

    Example:
        >>> numbers("16-32-64")
        [16, 32, 64]
    """
    parts = words.split("-")
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"expected whole numbers joined by hyphens, such as 16-32-64, got {words!r}")
    return [int(part) for part in parts]
