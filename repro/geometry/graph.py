"""Ricci coefficients of a network: curvature of its layers' neighbour graphs against the change of hop distances.

"Deep Learning as Ricci Flow" (arXiv 2404.14265) compares the layers of a network as wholes; a later paper
(arXiv 2509.22362) compares them point by point. The graphs themselves are those of `repro.geometry.neighbours`, whose
functions can be imported from here too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from torch import Tensor
from tqdm import tqdm

from repro.geometry.arrays import as_array, as_list, check_whole
from repro.geometry.neighbours import (
    GraphStatistics,
    check_convention,
    check_memory,
    checked_layer,
    edge_curvature,
    graph_memory,
    graph_statistics,
    hop_sum,
    hops_to_neighbours,
    neighbour_graph,
    total_curvature,
)

__all__ = [
    "GraphStatistics",
    "LocalRicci",
    "RicciCoefficient",
    "edge_curvature",
    "graph_statistics",
    "hop_sum",
    "layer_ricci_coefficients",
    "local_ricci",
    "local_ricci_by_curvature",
    "local_ricci_coefficients",
    "neighbour_graph",
    "ricci_coefficient",
    "ricci_correlation",
    "standardise",
    "total_curvature",
]

SUBSAMPLES = 8  # disjoint ones at most
PATIENCE = 2  # seconds of silence before a progress bar
LARGEST_CORRELATION = 0.999999  # |rho| is clipped there before arctanh, which is infinite at 1


class RicciCoefficient(NamedTuple):
    """Ricci coefficient of one network, with what it is made of; L layers."""

    rho: float  # NaN when a graph is disconnected or a side is constant
    z: float  # standardised as printed in the paper
    eta: np.ndarray  # (L − 1,) change of the hop sum from each layer to the next
    curvature: np.ndarray  # (L,) total curvature, int64
    hop_sums: np.ndarray  # (L,) float64 whole numbers, inf when disconnected
    connected: bool
    error: float = math.nan  # of a subsample: standard deviation of rho over disjoint ones


class LocalRicci(NamedTuple):
    """Ricci coefficients of n points and of the L − 1 steps from a layer to the next, with what they are made of."""

    points: np.ndarray  # (n,) correlation over layers
    layers: np.ndarray  # (L − 1,) correlation over points
    curvature: np.ndarray  # (L − 1, n) mean curvature of the edges at each point
    eta: np.ndarray  # (L − 1, n) mean change of the hop distance to the neighbours; NaN where one cannot be reached


def ricci_coefficient(
    layers: Iterable[Tensor | np.ndarray],
    k: int,
    convention: str = "directed",
    *,
    points: int | None = None,
    seed: int = 0,
    workers: int = 1,
) -> RicciCoefficient:
    """Ricci coefficient: correlation over layers of curvature and the change of hop distance into the next layer.

    With g_l the hop sum and Ric_l the total curvature of layer l, eta_l = g_{l+1} − g_l and rho is Pearson's
    correlation of (eta_l, Ric_l) over l = 1..L − 1 (arXiv 2404.14265). Ricci flow shrinks distances where curvature is
    positive and stretches them where it is negative, so a network that acts like it has rho < 0.

    Time grows with n² to n³ and memory with n² up to 20,000 points, beyond them with n k, unless points coincide or tie
    in great numbers; where it takes long, a bar tells the memory and the time left.

    Args:
        layers: activations (n, w_l) of the L >= 2 hidden layers on the same n points, without input and output.
        k: number of neighbours.
        convention: "directed" (the paper's) or "union".
        points: how many of the n points are taken, drawn without replacement, all by default. The graph of k
            neighbours of fewer points is a coarser one: k over `points` is what compares.
        seed: of the draw. Its error is the standard deviation over further draws that share no point with it, seven at
            most; NaN where there is none.
        workers: layers measured at a time, by as many threads.

    Raises:
        ValueError: for fewer than two layers, layers of differing numbers of points, what `neighbour_graph` refuses, a
            number of points or workers out of range, or more memory than is free.

    Example:
        >>> activations = np.random.default_rng(0).standard_normal((5, 100, 3))
        >>> ricci_coefficient(list(activations), k=5).connected
        True
    """
    check_convention(convention)
    given = _checked_layers(layers)
    check_whole(workers, "workers")
    n = len(given[0])
    if points is None:
        return _ricci_coefficient(given, k, convention, workers)
    check_whole(points, "points", n, "n")
    order = np.random.default_rng(seed).permutation(n)
    samples = [order[start : start + points] for start in range(0, n - points + 1, points)][:SUBSAMPLES]
    first, *others = (_ricci_coefficient([layer[rows] for layer in given], k, convention, workers) for rows in samples)
    rhos = [each.rho for each in (first, *others)]
    return first._replace(error=float(np.std(rhos, ddof=1)) if others else math.nan)


def _ricci_coefficient(layers: list[np.ndarray], k: int, convention: str, workers: int) -> RicciCoefficient:
    n, held = len(layers[0]), min(workers, len(layers))
    check_whole(k, "k", n - 1, "n - 1")
    needed = held * graph_memory(n, k)
    check_memory(n, needed)
    told = f"{len(layers)} graphs of {n:,} points, {needed / 2**30:.1f} GiB"
    with ThreadPoolExecutor(held) as pool:
        found = pool.map(lambda layer: graph_statistics(layer, [k])[0], layers)
        graphs = list(tqdm(found, desc=told, total=len(layers), unit="graph", delay=PATIENCE))
    totals = [graph.directed_curvature if convention == "directed" else graph.union_curvature for graph in graphs]
    curvature = np.array(totals, dtype=np.int64)
    hop_sums = np.array([graph.hop_sum for graph in graphs])
    with np.errstate(invalid="ignore"):
        eta = np.diff(hop_sums)  # NaN between two disconnected graphs
    rho = float(ricci_correlation(hop_sums, curvature))
    z = float(standardise(rho, len(graphs)))
    return RicciCoefficient(rho, z, eta, curvature, hop_sums, bool(np.isfinite(hop_sums).all()))


def ricci_correlation(hop_sums: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Pearson's correlation of hop_sums[l + 1] − hop_sums[l] and curvature[l] over l = 1..L − 1.

    Args:
        hop_sums: (..., L) hop sums, inf where a graph is disconnected.
        curvature: (..., L) total curvatures; the last layer's is not used.

    Returns:
        (...) coefficients; NaN where a graph is disconnected or a side is constant (always for L = 2).

    Raises:
        ValueError: for shapes that differ or fewer than two layers.
    """
    g, curvature = as_array(hop_sums, "hop_sums", finite=False), as_array(curvature, "curvature", finite=False)
    if g.shape != curvature.shape or g.ndim == 0 or g.shape[-1] < 2:
        raise ValueError(
            f"expected two arrays (..., L) with L >= 2, hop_sums and curvature, got {g.shape} and {curvature.shape}"
        )
    connected = np.asarray(np.isfinite(g).all(axis=-1, keepdims=True))
    eta = np.diff(np.where(connected, g, 0.0), axis=-1)
    return np.where(connected[..., 0], _pearson(eta, curvature[..., :-1]), np.nan)


def standardise(rho: float | np.ndarray, layers: int) -> np.ndarray:
    """Adjusted coefficient z = arctanh(rho) / √(L − 4) as printed in arXiv 2404.14265; NaN for L <= 4.

    Fisher's transformation of a correlation over L − 1 layers has variance 1 / (L − 4), so the usual standardisation
    would multiply by √(L − 4). |rho| is clipped at 0.999999.

    Args:
        rho: (...) coefficients.
        layers: number L of hidden layers.
    """
    if layers <= 4:
        return np.full(np.shape(rho), np.nan)
    clipped = np.clip(as_array(rho, "rho", finite=False), -LARGEST_CORRELATION, LARGEST_CORRELATION)
    return np.asarray(np.arctanh(clipped) / math.sqrt(layers - 4))


def local_ricci(layers: Iterable[Tensor | np.ndarray], k: int, curvature: str = "forman") -> LocalRicci:
    """Local and layer Ricci coefficients on the union graph (arXiv 2509.22362), both from one pass.

    For a point x with neighbours y in layer l, O_l(x) is the mean curvature of the edges (x, y) and eta_l(x) the mean
    of d_{l+1}(x, y) − d_l(x, y), hop distances, where d_l(x, y) = 1. The local coefficient of x is Pearson's
    correlation of (O_l(x), eta_l(x)) over l = 1..L − 1, the layer coefficient of l the one over x.

    Args:
        layers: points (n, w_l) of the L >= 2 layers; whether input and output are among them is the caller's choice.
        k: number of neighbours.
        curvature: "forman", "augmented" or "ollivier", see `edge_curvature`.

    Returns:
        The coefficients. A point with a neighbour out of reach in the next layer has no local coefficient (NaN) and is
        left out of that layer's; a constant side gives NaN.

    Raises:
        ValueError: for fewer than two layers, layers of differing numbers of points, or what `neighbour_graph` and
            `edge_curvature` refuse.
    """
    return local_ricci_by_curvature(layers, k, [curvature])[curvature]


def local_ricci_by_curvature(
    layers: Iterable[Tensor | np.ndarray], k: int, curvatures: Iterable[str]
) -> dict[str, LocalRicci]:
    """`local_ricci` for several curvatures of the same graphs, whose neighbours and hops are searched for once."""
    graphs = [neighbour_graph(points, k, "union") for points in _checked_layers(layers)]
    steps = list(pairwise(graphs))
    degrees = np.stack([np.diff(graph.indptr) for graph, _ in steps])  # (L − 1, n)
    eta = np.stack([hops_to_neighbours(graph, following) for graph, following in steps]) / degrees - 1
    found = {}
    for curvature in curvatures:
        o = np.stack([edge_curvature(graph, curvature).sum(axis=1) for graph, _ in steps]) / degrees
        of_layers = [_pearson(o[step, kept], eta[step, kept]) for step, kept in enumerate(np.isfinite(eta))]
        found[curvature] = LocalRicci(_pearson(o.T, eta.T), np.array(of_layers), o, eta)
    return found


def local_ricci_coefficients(layers: Iterable[Tensor | np.ndarray], k: int, curvature: str = "forman") -> np.ndarray:
    """Local Ricci coefficients (n,) of the points: see `local_ricci`."""
    return local_ricci(layers, k, curvature).points


def layer_ricci_coefficients(layers: Iterable[Tensor | np.ndarray], k: int, curvature: str = "forman") -> np.ndarray:
    """Layer Ricci coefficients (L − 1,) of the steps from each layer to the next: see `local_ricci`."""
    return local_ricci(layers, k, curvature).layers


def _pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation over the last axis, NaN where a side is empty, constant or holds a NaN."""
    if first.shape[-1] == 0:
        return np.full(first.shape[:-1], np.nan)
    varies = (np.ptp(first, axis=-1) > 0) & (np.ptp(second, axis=-1) > 0)
    a, b = (side - side.mean(axis=-1, keepdims=True) for side in (first, second))
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.where(varies, np.clip((a * b).sum(axis=-1) / np.where(varies, scale, 1.0), -1.0, 1.0), np.nan)


def _checked_layers(layers: Iterable[Tensor | np.ndarray]) -> list[np.ndarray]:
    given = as_list(layers, "layers", "arrays (n, w)")
    if len(given) < 2:
        raise ValueError(f"layers: expected at least 2 layers, got {len(given)}")
    checked = [checked_layer(points, f"layers[{place}]") for place, points in enumerate(given)]
    counts = sorted({len(points) for points in checked})
    if len(counts) > 1:
        raise ValueError(f"layers must hold the same points, got {counts} of them")
    return checked
