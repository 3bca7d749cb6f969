"""Spectra of the average geometry of random nets (arXiv 2410.12025), and what a stride makes of them: the cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from repro.device import resolve_device
from repro.geometry.average import fourier_energy, geometry_halves, participation_ratio, share_counts
from repro.papers.gih.study import Network, draw_directions, family, numbers

Row = dict[str, Any]

RANK_LIMIT = 1e-8  # of the largest eigenvalue, below which one counts as 0


def spectrum_cell(
    *,
    draw: int,
    kind: str,
    side: int = 16,
    channels: str = "8-16-32",
    blocks: str = "1-1-1",
    strides: str = "2-2-2",
    nonlinearity: str = "gelu",
    padding: str = "zeros",
    head: str = "average",
    normalised: bool = True,
    input_scale: float = 1e-3,
    networks: int = 600,
    pictures: int = 0,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """One draw of G of one architecture.

    One row: participation (unbiased, over the number of inputs), biased (from all networks at once, likewise), k90,
    k99, top_16 (share of the trace in the first 16), values (list of all eigenvalues over their mean), fourier (list,
    share of the energy of each of the first 64 eigenvectors at multiples of side over stride), chance (the share of a
    random vector), and pictures (list of pixels of the first eigenvectors, first channel).

    Args:
        draw: number of the draw.
        kind, side, channels, blocks, strides, nonlinearity, padding, head, normalised: see `study.Network`; of a net of
            another kind, strides tell the frequencies that it is asked about.
        input_scale: standard deviation of the inputs at which G is taken.
        networks: how many, an even number.
        pictures: eigenvectors to keep.
        seed: non-negative integer.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
    """
    network = Network(kind, side, 1, channels, blocks, strides, nonlinearity, normalised, padding=padding, head=head)
    found = draw_directions(network, networks, seed, draw, device=resolve_device(device), input_scale=input_scale)
    first, second = found.halves
    size = len(found.eigenvalues)
    k90, k99 = share_counts(found.eigenvalues)
    stride = total_stride(strides)
    period = max(1, side // stride)
    row = {
        "participation": participation_ratio(first, second) / size,
        "biased": participation_ratio(found.halves.mean(0)) / size,
        "k90": k90,
        "k99": k99,
        "top_16": float(found.eigenvalues[:16].sum() / found.eigenvalues.sum()),
        "values": (found.eigenvalues / found.eigenvalues.mean()).tolist(),
        "fourier": fourier_energy(found.vectors[:, :64], side, period).tolist(),
        "chance": float(stride**2 / side**2),
        "pictures": [found.vectors[: side**2, index].tolist() for index in range(pictures)],
    }
    return [row]


def stride_cell(
    *,
    draw: int,
    strides: str,
    side: int = 16,
    channels: int = 8,
    networks: int = 400,
    nonlinearity: str = "linear",
    padding: str = "circular",
    head: str = "average",
    normalised: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """G in float64 of residual nets of some total stride, and its numerical rank.

    One row: stride, rank (eigenvalues above 1e-8 of the largest), participation (unbiased), k99, off (largest
    eigenvalue after the first stride², over the largest).

    Args:
        draw, networks, seed, device: see `spectrum_cell`.
        strides: of the stages.
        side, nonlinearity, padding, head, normalised: see `study.Network`.
        channels: of every stage.

    Raises:
        ValueError: for a parameter out of range.
    """
    stages = strides.count("-") + 1
    network = Network(
        side=side,
        channels="-".join([str(channels)] * stages),
        blocks="-".join(["1"] * stages),
        strides=strides,
        nonlinearity=nonlinearity,
        normalised=normalised,
        padding=padding,
        head=head,
    )
    generator = np.random.default_rng(np.random.SeedSequence([seed, draw, 1]))
    own = int(np.random.SeedSequence([seed, draw, 0]).generate_state(1)[0])
    x = torch.from_numpy(generator.standard_normal((1, *network.image_shape))).to(resolve_device(device))
    halves = geometry_halves(family(network, 1, torch.float64), x, networks, own).cpu()
    values = np.linalg.eigvalsh(halves.mean(0).numpy())[::-1]
    stride = total_stride(strides)
    return [
        {
            "stride": stride,
            "rank": int((values > RANK_LIMIT * values[0]).sum()),
            "participation": participation_ratio(*halves),
            "k99": share_counts(values)[1],
            "off": float(max(values[stride**2], 0.0) / values[0]) if stride**2 < len(values) else 0.0,
        }
    ]


def total_stride(strides: str) -> int:
    """Product of the strides.

    Example:
        >>> total_stride("2-2-2")
        8
    """
    return math.prod(numbers(strides))
