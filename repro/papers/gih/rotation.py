"""Two circles on planes of input space, learned by dense and residual nets (arXiv 2410.12025, Fig. 1): the cells.

A cell is one draw: an estimate of G, and planes, points, weights and batches of its own. The planes of a draw are those
of the residual net's G for every architecture but where an experiment says otherwise.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from repro.data.synthetic import circles
from repro.device import resolve_device
from repro.geometry.average import participation_ratio
from repro.papers.gih.study import (
    DENSE,
    RANDOM,
    RESIDUAL,
    TOP,
    Network,
    as_images,
    draw_directions,
    draw_plane,
    family,
    smaller_share,
    started,
    stream,
)
from repro.training.stacked import Recipe, accuracy, outputs, train_classifiers

Row = dict[str, Any]

ARC = math.radians(15)  # half the width of an arc about u₁ or u₂
PASSED = 0.95  # test accuracy at which a plane counts as learned

_directions = functools.lru_cache(maxsize=8)(draw_directions)  # most experiments share the draws of one network


class Task(NamedTuple):
    """Points of a training: two circles on a plane, with noise off it."""

    outer: float
    inner: float
    points: int
    test_points: int


class Trained(NamedTuple):
    """A trained net and what it was tested on."""

    network: nn.Module
    row: Row
    history: list[tuple[int, float]]  # step, test accuracy


def planes_cell(
    *,
    draw: int,
    kinds: list[str],
    kind: str = RESIDUAL,
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    strides: str = "2-2-2",
    networks: int = 600,
    seeds: int = 1,
    points: int = 4000,
    test_points: int = 2000,
    outer: float = 2.5,
    inner: float = 0.25,
    epochs: int = 10,
    dense_channels: str = "100-100",
    map_side: int = 0,
    watch: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Nets of one architecture on planes of several kinds.

    Rows, one per plane and net seed: plane, net, test, train (accuracies), arc_1, arc_2 (recall of the outer ring
    within 15 degrees of u₁ and u₂), share (smaller uᵀGu relative to its mean), and where asked for map (list over a
    square grid of the plane, logit of the inner ring less that of the outer, noise set to 0), steps and history (lists,
    test accuracy along training) and maps (of each such step).

    Args:
        draw: number of the draw.
        kinds: of planes, see `study.KINDS`.
        kind: "residual" or "dense".
        side, channels, blocks, strides: of the residual net whose G gives the planes; see `study.Network`.
        networks: of G.
        seeds: nets of each plane, with points of their own.
        points, test_points, outer, inner: see `Task`.
        epochs: of training.
        dense_channels: hidden widths of the dense net.
        map_side: points along a side of the map, 0 for none.
        watch: whether test accuracies and maps along training are kept.
        seed: non-negative integer.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if a training diverges.
    """
    place = resolve_device(device)
    residual = Network(side=side, channels=channels, blocks=blocks, strides=strides)
    directions = _directions(residual, networks, seed, draw, device=place)
    network = residual if kind == RESIDUAL else Network(kind=DENSE, side=side, channels=dense_channels)
    task = Task(outer, inner, points, test_points)
    planes = {name: draw_plane(directions, name, stream(seed, draw, 2, number)) for number, name in enumerate(kinds)}
    jobs = [
        Job(network, planes[name], task, (seed, draw, number, net))
        for number, name in enumerate(kinds)
        for net in range(seeds)
    ]
    trained = train(jobs, Recipe(epochs), place, watch=map_side if watch else None)
    rows = []
    for index, found in enumerate(trained):
        name = kinds[index // seeds]
        row = {"plane": name, "net": index % seeds, "share": smaller_share(directions, planes[name])} | found.row
        if map_side:
            row["map"] = decision_map(found.network, network, planes[name], map_side, outer, place)
        rows.append(row)
    return rows


def threshold_cell(
    *,
    draw: int,
    kinds: list[str],
    sizes: list[int],
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    strides: str = "2-2-2",
    networks: int = 600,
    test_points: int = 2000,
    outer: float = 3.0,
    inner: float = 0.25,
    epochs: int = 8,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Bisection over the number of training points at which a residual net passes 95 % on each plane.

    Rows, one per plane and size tried: plane, points, test, train, and threshold, the smallest size that passed with
    all smaller ones tried failing, or twice the largest where it did not pass (the same in all rows of a plane).

    Args:
        draw, kinds, side, channels, blocks, strides, networks, test_points, outer, inner, seed, device: see
            `planes_cell`.
        sizes: increasing numbers of training points, five or more for a verdict.
        epochs: passes over the points, but at least 150 steps.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if a training diverges.
    """
    if sorted(set(sizes)) != sizes or not sizes:
        raise ValueError(f"expected sizes that increase, got {sizes}")
    place = resolve_device(device)
    network = Network(side=side, channels=channels, blocks=blocks, strides=strides)
    directions = _directions(network, networks, seed, draw, device=place)
    rows: list[Row] = []
    for number, name in enumerate(kinds):
        plane = draw_plane(directions, name, stream(seed, draw, 2, number))
        tried: list[Row] = []
        low, high = 0, len(sizes)  # the threshold is among sizes[low:], and sizes[high] passes if there is one
        while low < high:
            middle = (low + high) // 2
            task = Task(outer, inner, sizes[middle], test_points)
            job = Job(network, plane, task, (seed, draw, number, 0))
            (found,) = train([job], Recipe(epochs, least_steps=150), place)
            tried.append({"plane": name, "points": sizes[middle]} | found.row)
            low, high = (low, middle) if found.row["test"] >= PASSED else (middle + 1, high)
        threshold = sizes[low] if low < len(sizes) else 2 * sizes[-1]
        rows += [row | {"threshold": threshold, "censored": low == len(sizes)} for row in tried]
    return rows


def angle_cell(
    *,
    draw: int,
    angles: list[float],
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    strides: str = "2-2-2",
    kind: str = RESIDUAL,
    dense_channels: str = "100-100",
    networks: int = 600,
    points: int = 2000,
    test_points: int = 1000,
    outer: float = 3.0,
    inner: float = 0.25,
    epochs: int = 8,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """A top plane turned into a random one orthogonal to it: each direction cos(angle) top + sin(angle) random.

    Rows, one per angle (degrees): angle, test, train, arc_1, arc_2, share.

    Arguments and errors are those of `planes_cell`.
    """
    place = resolve_device(device)
    residual = Network(side=side, channels=channels, blocks=blocks, strides=strides)
    directions = _directions(residual, networks, seed, draw, device=place)
    network = residual if kind == RESIDUAL else Network(kind=DENSE, side=side, channels=dense_channels)
    start = draw_plane(directions, TOP, stream(seed, draw, 2, 0))
    planes = [turned(start, draw_plane(directions, RANDOM, stream(seed, draw, 2, 1)), angle) for angle in angles]
    task = Task(outer, inner, points, test_points)
    jobs = [Job(network, plane, task, (seed, draw, number, 0)) for number, plane in enumerate(planes)]
    return [
        {"angle": angle, "share": smaller_share(directions, plane)} | found.row
        for angle, plane, found in zip(angles, planes, train(jobs, Recipe(epochs), place), strict=True)
    ]


def architecture_cell(
    *,
    draw: int,
    kinds: list[str],
    head: str,
    strides: str,
    normalised: bool,
    skips: bool = True,
    nonlinearity: str = "gelu",
    weight_decay: float = 0.0,
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    networks: int = 600,
    points: int = 2000,
    test_points: int = 1000,
    outer: float = 3.0,
    inner: float = 0.25,
    epochs: int = 8,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """A residual net of another architecture on planes of its own G.

    Without normalisation torch's start does not train at this rate in these epochs; such nets start from weights of
    convolutions √6 times as large, which is He's variance, and leave G's form as it is for homogeneous networks.

    Rows, one per plane: plane, test, train, arc_1, arc_2, share, best (highest test accuracy after any epoch), and
    participation, the unbiased participation ratio of G.

    Args:
        draw, kinds, side, channels, blocks, networks, points, test_points, outer, inner, epochs, seed, device: see
            `planes_cell`.
        head: "average" over the image, or "flat".
        strides: of the stages.
        normalised, skips, nonlinearity: see `study.Network`.
        weight_decay: of training.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if a training diverges.
    """
    place = resolve_device(device)
    network = Network(RESIDUAL, side, 1, channels, blocks, strides, nonlinearity, normalised, skips, head)
    directions = _directions(network, networks, seed, draw, device=place)
    task = Task(outer, inner, points, test_points)
    recipe = Recipe(epochs, weight_decay=weight_decay)
    planes = [draw_plane(directions, name, stream(seed, draw, 2, number)) for number, name in enumerate(kinds)]
    jobs = [Job(network, plane, task, (seed, draw, number, 0)) for number, plane in enumerate(planes)]
    participation = participation_ratio(*directions.halves)
    rows = []
    for name, plane, found in zip(kinds, planes, train(jobs, recipe, place, watch=0), strict=True):
        row = {"plane": name, "share": smaller_share(directions, plane), "participation": participation}
        rows.append(row | found.row | {"best": max(value for _, value in found.history)})
    return rows


def radius_cell(
    *,
    draw: int,
    kinds: list[str],
    radii: list[float],
    kind: str = RESIDUAL,
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    strides: str = "2-2-2",
    dense_channels: str = "100-100",
    networks: int = 600,
    points: int = 2000,
    test_points: int = 1000,
    inner: float = 0.25,
    epochs: int = 8,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """The outer radius, in units of the noise, from hopeless to easy.

    Rows, one per plane and radius: plane, radius, test, train, arc_1, arc_2.

    Arguments and errors are those of `planes_cell`, `radii` being outer ones.
    """
    place = resolve_device(device)
    residual = Network(side=side, channels=channels, blocks=blocks, strides=strides)
    directions = _directions(residual, networks, seed, draw, device=place)
    network = residual if kind == RESIDUAL else Network(kind=DENSE, side=side, channels=dense_channels)
    named = [(name, radius) for name in kinds for radius in radii]
    jobs = []
    for name, radius in named:
        number = kinds.index(name)
        plane = draw_plane(directions, name, stream(seed, draw, 2, number))
        jobs.append(Job(network, plane, Task(radius, inner, points, test_points), (seed, draw, number, 0)))
    found = train(jobs, Recipe(epochs), place)
    return [{"plane": name, "radius": radius} | each.row for (name, radius), each in zip(named, found, strict=True)]


class Job(NamedTuple):
    """A net to be trained on a plane, and the numbers that its randomness comes from."""

    network: Network
    plane: np.ndarray
    task: Task
    numbers: tuple[int, int, int, int]  # seed, draw, plane, net


def train(jobs: Sequence[Job], recipe: Recipe, place: torch.device, watch: int | None = None) -> list[Trained]:
    """Train and test a net for each job; on CUDA, and where they are dense, all at once.

    Args:
        jobs: of one architecture and size.
        recipe: of training.
        place: device.
        watch: points along a side of the maps that are kept along training; 0 keeps accuracies only, None nothing.
    """
    dense = jobs[0].network.kind == DENSE
    drawn = [_points(job, place) for job in jobs]
    build = family(jobs[0].network, 2)
    starts = [started(build(stream(*job.numbers, 3)), job.network).to(place) for job in jobs]
    if not dense and place.type == "cpu":
        for start in starts:  # a quarter faster
            nn.utils.convert_conv2d_weight_memory_format(start, torch.channels_last)
    histories: list[list[tuple[int, float]]] = [[] for _ in jobs]
    maps: list[list[list[float]]] = [[] for _ in jobs]
    together = dense or place.type == "cuda"
    begun: list[int] = []

    def look(step: int, networks: list[nn.Module]) -> None:
        if step == 0 and not together:
            begun.append(len(begun))
        chosen = range(len(jobs)) if together else [begun[-1]]
        for index, network in zip(chosen, networks, strict=True):
            test, labels, _ = drawn[index].test
            histories[index].append((step, accuracy(network, test, labels)))
            if watch:
                job = jobs[index]
                maps[index].append(decision_map(network, job.network, job.plane, watch, job.task.outer, place))

    order = [stream(*job.numbers, 4) for job in jobs]
    trained = train_classifiers(
        starts,
        [each.train[0] for each in drawn],
        [each.train[1] for each in drawn],
        order,
        recipe,
        together=together,
        watch=look if watch is not None else None,
    )
    return [
        Trained(network, _tested(network, each) | _watched(history, seen), history)
        for network, each, history, seen in zip(trained, drawn, histories, maps, strict=True)
    ]


class Points(NamedTuple):
    """Inputs, classes and angles of training and test points."""

    train: tuple[Tensor, Tensor, np.ndarray]
    test: tuple[Tensor, Tensor, np.ndarray]


@torch.no_grad()
def decision_map(
    network: nn.Module, form: Network, plane: np.ndarray, side: int, outer: float, place: torch.device
) -> list[float]:
    """Logit of the inner ring less that of the outer on a square grid of the plane, ±1.3 outer, row by row in u₂."""
    line = np.linspace(-1.3 * outer, 1.3 * outer, side)
    second, first = np.meshgrid(line, line, indexing="ij")
    grid = np.column_stack([first.ravel(), second.ravel()]) @ plane.T
    logits = outputs(network, as_images(grid, form, place)).double().cpu()
    difference: list[float] = (logits[:, 1] - logits[:, 0]).tolist()
    return difference


def turned(start: np.ndarray, other: np.ndarray, angle: float) -> np.ndarray:
    """The plane (d, 2) between `start` and the part of `other` orthogonal to it, by an angle in degrees.

    Example:
        >>> turned(np.eye(4)[:, :2], np.eye(4)[:, 2:], 90.0).round(12).tolist()
        [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    rest = other - start @ (start.T @ other)
    orthogonal, triangle = np.linalg.qr(rest)
    orthogonal = orthogonal * np.sign(np.diag(triangle))
    radians = math.radians(angle)
    return np.asarray(math.cos(radians) * start + math.sin(radians) * orthogonal)


def _points(job: Job, place: torch.device) -> Points:
    task = job.task
    parts = []
    for purpose, count in ((5, task.points), (6, task.test_points)):
        generator = stream(*job.numbers, purpose)
        x, classes, angle = circles(count, job.plane, task.outer, task.inner, generator)
        parts.append((as_images(x, job.network, place), torch.from_numpy(classes).to(place), angle))
    return Points(*parts)


def _tested(network: nn.Module, points: Points) -> Row:
    inputs, classes, angle = points.test
    right = (outputs(network, inputs).argmax(1) == classes).cpu().numpy()
    outer = classes.cpu().numpy() == 0
    along = [outer & (np.abs(part(angle)) > math.cos(ARC)) for part in (np.cos, np.sin)]
    return {
        "test": float(right.mean()),
        "train": accuracy(network, *points.train[:2]),
        "arc_1": float(right[along[0]].mean()),
        "arc_2": float(right[along[1]].mean()),
    }


def _watched(history: list[tuple[int, float]], maps: list[list[float]]) -> Row:
    if not maps:
        return {}
    return {"steps": [step for step, _ in history], "history": [value for _, value in history], "maps": maps}
