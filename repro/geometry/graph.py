"""Nearest-neighbour graphs of a network's layers: Forman curvature, hop distances and Ricci coefficients.

"Deep Learning as Ricci Flow" (arXiv 2404.14265) compares, layer by layer, the curvature of the graph of a layer's
activations with the change of the hop distances into the next layer. Two conventions of the graph are kept apart:

- "directed", that of the paper's released scripts: an arc i → j when d(i, j) is at most the k-th smallest distance
  from i to another point, so exact ties are all kept; the degree is in + out; the curvature 4 − deg i − deg j of an arc
  is summed over all arcs; hops ignore the direction.
- "union", that of the text: i and j are joined when either arc is there, and each edge counts once.

Hop distances are the same in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array, sparray, spmatrix
from torch import Tensor

try:
    from repro.geometry import graph_compiled as loops
except ImportError:  # no numba: the same integers, more slowly
    from repro.geometry import graph_plain as loops  # type: ignore[no-redef]

CONVENTIONS = ("directed", "union")
LARGEST_CORRELATION = 0.999999  # |rho| is clipped there before arctanh, which is infinite at 1
ROWS = 128  # points whose distances are held at a time: 2 MB for 2 000 points, so they stay in the cache

Graph = sparray | spmatrix | np.ndarray


class GraphStatistics(NamedTuple):
    """What the coefficients need of one graph, in both conventions."""

    k: int
    arcs: int  # of the directed graph: nk, and more with ties
    edges: int  # of the union graph
    directed_curvature: int  # summed over arcs
    union_curvature: int  # summed over edges
    hop_sum: float  # over ordered pairs, a whole number; inf when disconnected


class RicciCoefficient(NamedTuple):
    """Ricci coefficient of one network, with what it is made of; L layers."""

    rho: float  # NaN when a graph is disconnected or a side is constant
    z: float  # standardised as printed in the paper
    eta: np.ndarray  # (L − 1,) change of the hop sum from each layer to the next
    curvature: np.ndarray  # (L,) total curvature, int64
    hop_sums: np.ndarray  # (L,) float64 whole numbers, inf when disconnected
    connected: bool


def neighbour_graph(points: Tensor | np.ndarray, k: int, convention: str = "directed") -> csr_array:
    """Graph of the k nearest neighbours in Euclidean distance, without self-loops.

    Distances are compared exactly as computed in float64, and duplicated or mirrored points tie exactly.

    Args:
        points: (n, w) activations of one layer.
        k: neighbours of each point, 1 <= k < n.
        convention: "directed" or "union" (symmetric), see the module.

    Returns:
        (n, n) adjacency of ones (int64).

    Raises:
        ValueError: for another shape, non-finite values, or another k or convention.
    """
    _check_convention(convention)
    adjacent = _levels(points, [k]) == 0
    return csr_array(adjacent | adjacent.T if convention == "union" else adjacent, dtype=np.int64)


def total_curvature(graph: Graph, convention: str = "directed") -> int:
    """Sum of the Forman curvature 4 − deg i − deg j over the arcs (directed) or the undirected edges (union).

    A vertex of degree deg (in + out for the directed graph) meets deg ends of arcs or edges, each of which subtracts
    deg, so the sum is 4·(arcs or edges) − Σ deg². Without ties, where every out-degree is k, the directed sum is
    4nk − 4nk² − n Var(in-degree).

    Args:
        graph: (n, n) adjacency of that convention, sparse or dense; what is not zero is an arc.
        convention: "directed" or "union".

    Raises:
        ValueError: for a graph that is not square or has self-loops, a union graph that is not symmetric, or another
            convention.
    """
    _check_convention(convention)
    adjacency = _checked_graph(graph)
    out_degree, in_degree = np.diff(adjacency.indptr), np.bincount(adjacency.indices, minlength=adjacency.shape[0])
    if convention == "directed":
        return _curvature(adjacency.nnz, out_degree + in_degree)
    if not _symmetric(adjacency):
        raise ValueError("the adjacency of a union graph must be symmetric")
    return _curvature(adjacency.nnz // 2, out_degree)


def hop_sum(graph: Graph) -> int | float:
    """Sum of the hop distances over all ordered pairs of vertices, arcs taken without direction.

    Args:
        graph: (n, n) adjacency, sparse or dense; n² bytes of memory are used.

    Returns:
        The sum, or inf when the graph is disconnected.

    Raises:
        ValueError: for a graph that is not square or has self-loops.
    """
    adjacent = _checked_graph(graph).toarray()
    return _hop_sum(adjacent | adjacent.T)


def graph_statistics(points: Tensor | np.ndarray, neighbours: Sequence[int]) -> list[GraphStatistics]:
    """Curvature in both conventions and hop sum of the graphs of one layer, for many k from one neighbour search.

    The same numbers as `neighbour_graph`, `total_curvature` and `hop_sum` for each k.

    Args:
        points: (n, w) activations of one layer.
        neighbours: the values of k, in any order; at most 255 of them.

    Raises:
        ValueError: for another shape, non-finite values, no k, or a k outside 1..n − 1.
    """
    ascending = sorted(set(neighbours))
    level = _levels(points, ascending)
    union = np.minimum(level, level.T)
    directed_degrees, union_degrees = (loops.degrees(graphs, len(ascending)) for graphs in (level, union))
    found = {}
    for t, k in enumerate(ascending):
        directed_degree, union_degree = directed_degrees[t], union_degrees[t] // 2  # every edge is two arcs
        arcs, edges = int(directed_degree.sum()) // 2, int(union_degree.sum()) // 2
        found[k] = GraphStatistics(
            k=k,
            arcs=arcs,
            edges=edges,
            directed_curvature=_curvature(arcs, directed_degree),
            union_curvature=_curvature(edges, union_degree),
            hop_sum=float(_hop_sum(union <= t)),
        )
    return [found[k] for k in neighbours]


def ricci_coefficient(layers: Sequence[Tensor | np.ndarray], k: int, convention: str = "directed") -> RicciCoefficient:
    """Ricci coefficient: correlation over layers of curvature and the change of hop distance into the next layer.

    With g_l the hop sum and Ric_l the total curvature of layer l, eta_l = g_{l+1} − g_l and rho is Pearson's
    correlation of (eta_l, Ric_l) over l = 1..L − 1 (arXiv 2404.14265). Ricci flow shrinks
    distances where curvature is positive and stretches them where it is negative: rho < 0.

    Args:
        layers: activations (n, w_l) of the L >= 2 hidden layers on the same n points, without input and output.
        k: number of neighbours.
        convention: "directed" (the paper's) or "union".

    Raises:
        ValueError: for fewer than two layers, layers of differing numbers of points, or what `neighbour_graph` refuses.

    Example:
        >>> activations = np.random.default_rng(0).standard_normal((5, 100, 3))
        >>> ricci_coefficient(list(activations), k=5).connected
        True
    """
    _check_convention(convention)
    _check_layers(layers)
    graphs = [graph_statistics(points, [k])[0] for points in layers]
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
    g, curvature = np.asarray(hop_sums, dtype=np.float64), np.asarray(curvature, dtype=np.float64)
    if g.shape != curvature.shape or g.ndim == 0 or g.shape[-1] < 2:
        raise ValueError(f"expected two arrays (..., L) with L >= 2, got {g.shape} and {curvature.shape}")
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
    clipped = np.clip(rho, -LARGEST_CORRELATION, LARGEST_CORRELATION)
    return np.asarray(np.arctanh(clipped) / math.sqrt(layers - 4))


def _curvature(count: int, degree: np.ndarray) -> int:
    return 4 * count - int((degree.astype(np.int64) ** 2).sum())


def _hop_sum(adjacent: np.ndarray) -> int | float:
    sums = loops.hop_sums(adjacent)
    return math.inf if (sums < 0).any() else int(sums.sum())


def _levels(points: Tensor | np.ndarray, ascending: Sequence[int]) -> np.ndarray:
    """Level (n, n) of each pair: the place, among the k in ascending order, of the first whose graph has the arc.

    The arc i → j is in the graph of the t-th smallest k, counted from 0, when the level is at most t. The level is the
    number of k when no graph has it, as on the diagonal.
    """
    coordinates = _checked_points(points, ascending)
    places = np.array(ascending) - 1
    n = coordinates.shape[1]
    level = np.empty((n, n), dtype=np.uint8)
    for start in range(0, n, ROWS):
        rows = np.arange(start, min(start + ROWS, n))
        distances = loops.squared_distances(coordinates, start, start + len(rows))
        distances[np.arange(len(rows)), rows] = np.inf
        thresholds = np.sort(np.partition(distances, places[-1], axis=1)[:, : places[-1] + 1], axis=1)[:, places]
        level[rows] = loops.levels(distances, thresholds)
    return level


def _pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation over the last axis, NaN where a side is constant."""
    varies = (np.ptp(first, axis=-1) > 0) & (np.ptp(second, axis=-1) > 0)
    a, b = (side - side.mean(axis=-1, keepdims=True) for side in (first, second))
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.where(varies, np.clip((a * b).sum(axis=-1) / np.where(varies, scale, 1.0), -1.0, 1.0), np.nan)


def _checked_points(points: Tensor | np.ndarray, neighbours: Sequence[int]) -> np.ndarray:
    """Coordinates (w, n) in float64 without the constant ones (dead units), scaled so that squares cannot overflow."""
    values = torch.as_tensor(points).detach().to("cpu", torch.float64).numpy()
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 1:
        raise ValueError(f"points must have shape (n, w) with n >= 2 and w >= 1, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("points hold non-finite values")
    if not 1 <= len(neighbours) <= 255:
        raise ValueError(f"expected 1 to 255 values of k, got {len(neighbours)}")
    for k in neighbours:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k < len(values):
            raise ValueError(f"k must be a whole number from 1 to n - 1 = {len(values) - 1}, got {k!r}")
    varying = values[:, values.max(axis=0) > values.min(axis=0)].T
    exponent = np.frexp(np.abs(varying).max(initial=0.0))[1]
    return np.ascontiguousarray(np.ldexp(varying, -exponent))  # a power of two: no comparison changes


def _checked_graph(graph: Graph) -> csr_array:
    adjacency = csr_array(graph, copy=True)  # type: ignore[arg-type]
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise ValueError(f"graph must be a square adjacency matrix, got shape {adjacency.shape}")
    adjacency.sum_duplicates()
    adjacency.eliminate_zeros()
    if adjacency.diagonal().any():
        raise ValueError("graph must not have self-loops")
    return adjacency.astype(bool)


def _symmetric(adjacency: csr_array) -> bool:
    transposed = adjacency.T.tocsr()
    pairs = ((adjacency.indptr, transposed.indptr), (adjacency.indices, transposed.indices))
    return all(np.array_equal(rows, columns) for rows, columns in pairs)


def _check_layers(layers: Sequence[Tensor | np.ndarray]) -> None:
    if len(layers) < 2:
        raise ValueError(f"expected at least 2 layers, got {len(layers)}")
    counts = sorted({len(points) for points in layers})
    if len(counts) > 1:
        raise ValueError(f"layers must hold the same points, got {counts} of them")


def _check_convention(convention: str) -> None:
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}")
