"""Nearest-neighbour graphs of points: Forman and Ollivier curvature, hop distances.

Two conventions of the graph of k nearest neighbours are kept apart:

- "directed", that of the released scripts of arXiv 2404.14265: an arc i → j when d(i, j) is at most the k-th smallest
  distance from i to another point, so exact ties are all kept; the degree is in + out; the curvature
  4 − deg i − deg j of an arc is summed over all arcs; hops ignore the direction.
- "union", that of its text: i and j are joined when either arc is there, and each edge counts once.

Hop distances are the same in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil
from scipy.sparse import csr_array, issparse, sparray, spmatrix
from scipy.sparse.csgraph import shortest_path
from scipy.spatial import cKDTree
from torch import Tensor

from repro.geometry.arrays import NUMERIC, as_array, as_list, check_whole

try:
    from repro.geometry import graph_compiled as loops
    from repro.geometry import graph_large as large
except ImportError:  # no numba: the same integers, more slowly
    from repro.geometry import graph_plain as large  # type: ignore[no-redef]
    from repro.geometry import graph_plain as loops  # type: ignore[no-redef]

FEW = 20_000  # points; graphs of more are lists of arcs, at 50 000 in a third of the time and a tenth of the memory
ARCS_OF_BITS = 32  # lists of more than n²/32 arcs take more memory than bits
CONVENTIONS = ("directed", "union")
CURVATURES = ("forman", "augmented", "ollivier")

Graph = sparray | spmatrix | np.ndarray


class GraphStatistics(NamedTuple):
    """What the coefficients need of one graph, in both conventions."""

    k: int
    arcs: int  # of the directed graph: nk, and more with ties
    edges: int  # of the union graph
    directed_curvature: int  # summed over arcs
    union_curvature: int  # summed over edges
    hop_sum: float  # over ordered pairs, a whole number; inf when disconnected


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
    check_convention(convention)
    coordinates = np.ascontiguousarray(_checked_points(points, [k]))
    order = _near_together(coordinates)
    listed = _listed_levels(coordinates[:, order], [k])
    if listed is None:
        adjacent = np.concatenate([level == 0 for _, level in loops.blocks_of_levels(coordinates, np.array([k - 1]))])
        return csr_array(adjacent | adjacent.T if convention == "union" else adjacent, dtype=np.int64)
    place = np.argsort(order)
    arcs = _checked_graph(listed[place][:, place])
    return (_edges(arcs) if convention == "union" else arcs).astype(np.int64)


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
    check_convention(convention)
    adjacency = _checked_graph(graph)
    out_degree, in_degree = np.diff(adjacency.indptr), np.bincount(adjacency.indices, minlength=adjacency.shape[0])
    if convention == "directed":
        return _curvature(adjacency.nnz, out_degree + in_degree)
    _check_symmetric(adjacency)
    return _curvature(adjacency.nnz // 2, out_degree)


def hop_sum(graph: Graph) -> int | float:
    """Sum of the hop distances over all ordered pairs of vertices, arcs taken without direction.

    Args:
        graph: (n, n) adjacency, sparse or dense; n² bytes of memory are used up to 20 000 vertices.

    Returns:
        The sum, or inf when the graph is disconnected.

    Raises:
        ValueError: for a graph that is not square or has self-loops.
    """
    adjacency = _checked_graph(graph)
    n = adjacency.shape[0]
    if _fits_bits(n, adjacency.nnz // max(1, n)):
        return _total(loops.hop_sums(_undirected(adjacency)))
    edges = _edges(adjacency)
    return _total(large.hop_sums_of_lists(edges.indptr, edges.indices))


def hops_to_neighbours(graph: Graph, next_graph: Graph) -> np.ndarray:
    """Sum over the neighbours y of each vertex x in one graph of the hop distance from x to y in another.

    Args:
        graph: (n, n) adjacency, sparse or dense, arcs taken without direction as in `next_graph`.
        next_graph: (n, n) adjacency on the same vertices; n² bytes of memory are used.

    Returns:
        (n,) sums, NaN where a neighbour cannot be reached.

    Raises:
        ValueError: for a graph that is not square or has self-loops, or differing numbers of vertices.
    """
    wanted, adjacent = _undirected(_checked_graph(graph)), _undirected(_checked_graph(next_graph, "next_graph"))
    if wanted.shape != adjacent.shape:
        raise ValueError(f"expected graphs on the same vertices, got {len(wanted)} and {len(adjacent)}")
    sums = loops.hop_sums(adjacent, wanted)
    return np.where(sums < 0, np.nan, sums)


def edge_curvature(graph: Graph, curvature: str = "forman") -> csr_array:
    """Curvature of each edge of an undirected graph.

    - "forman": 4 − deg x − deg y;
    - "augmented": that plus 3 for each triangle that holds the edge, i.e. each common neighbour of x and y;
    - "ollivier": 1 − W₁(μ_x, μ_y), with μ_x uniform on the neighbours of x (x is not among them) and hops as the
      distance. One exact optimal transport per edge: for some hundred vertices.

    Args:
        graph: (n, n) symmetric adjacency, sparse or dense; what is not zero is an edge.
        curvature: "forman", "augmented" or "ollivier".

    Returns:
        (n, n) float64 with the pattern of the graph; a curvature of 0 is stored as such.

    Raises:
        ValueError: for a graph that is not square and symmetric or has self-loops, or another curvature.
    """
    if curvature not in CURVATURES:
        raise ValueError(f"curvature must be one of {', '.join(CURVATURES)}, got {curvature!r}")
    adjacency = _checked_graph(graph)
    _check_symmetric(adjacency)
    degree = np.diff(adjacency.indptr)
    first, second = np.repeat(np.arange(len(degree)), degree), adjacency.indices
    values = 4.0 - degree[first] - degree[second]
    if curvature == "augmented":
        values += 3 * loops.common_neighbours(adjacency.toarray(), first, second)
    elif curvature == "ollivier":
        values = _ollivier(adjacency, first, second)
    return csr_array((values, second, adjacency.indptr), shape=adjacency.shape)


def graph_statistics(points: Tensor | np.ndarray, neighbours: Iterable[int]) -> list[GraphStatistics]:
    """Curvature in both conventions and hop sum of the graphs of one layer, for many k from one neighbour search.

    The same numbers as `neighbour_graph`, `total_curvature` and `hop_sum` for each k.

    Args:
        points: (n, w) activations of one layer.
        neighbours: the values of k, in any order; at most 255 of them.

    Raises:
        ValueError: for another shape, non-finite values, no k, or a k outside 1..n − 1.
    """
    wanted = as_list(neighbours, "neighbours", "values of k")
    coordinates = _checked_points(points, wanted)
    ascending = sorted(set(wanted))
    ordered = np.ascontiguousarray(coordinates[:, _near_together(coordinates)])
    listed = _listed_levels(ordered, ascending)
    measured = _measured_bits(ordered, ascending) if listed is None else _measured_lists(listed, len(ascending))
    found = {}
    for k, (directed_degree, union_degree, hops) in zip(ascending, measured, strict=True):
        arcs, edges = int(directed_degree.sum()) // 2, int(union_degree.sum()) // 2
        found[k] = GraphStatistics(
            k=k,
            arcs=arcs,
            edges=edges,
            directed_curvature=_curvature(arcs, directed_degree),
            union_curvature=_curvature(edges, union_degree),
            hop_sum=float(_total(hops)),
        )
    return [found[k] for k in wanted]


def graph_memory(points: int, k: int) -> int:
    """Bytes that `graph_statistics` holds at most for one k without ties, beside some copies of the points."""
    if _fits_bits(points, k):
        return _bits(points)
    return points * (20 * k + 2048) + 2**24  # arcs, their reverse, edges; a search and candidates


def check_memory(points: int, needed: int) -> None:
    """Raise ValueError where less than the bytes needed are free."""
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"graphs of {points:,} points need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free: pass points=, "
            "or fewer workers"
        )


Degrees = tuple[np.ndarray, np.ndarray, np.ndarray]  # in + out, without directions, and sums of hops: (n,) each


def _measured_bits(ordered: np.ndarray, ascending: Sequence[int]) -> Iterator[Degrees]:
    graphs: list[list[np.ndarray]] = [[] for _ in ascending]
    for _, level in loops.blocks_of_levels(ordered, np.array(ascending) - 1):
        for t, rows in enumerate(graphs):
            rows.append(loops.packed(level <= t))
    for rows in graphs:
        yield loops.arc_statistics(np.concatenate(rows))


def _measured_lists(listed: csr_array, levels: int) -> Iterator[Degrees]:
    for level in range(1, levels + 1):
        arcs = csr_array((listed.data <= level, listed.indices, listed.indptr), shape=listed.shape, copy=True)
        arcs.eliminate_zeros()
        edges = _edges(arcs)
        degree = np.diff(arcs.indptr) + np.bincount(arcs.indices, minlength=arcs.shape[0])
        del arcs  # while the search lasts
        yield degree, np.diff(edges.indptr), large.hop_sums_of_lists(edges.indptr, edges.indices)


def _listed_levels(ordered: np.ndarray, ascending: Sequence[int]) -> csr_array | None:
    """Place among the values of k, from 1, of the first whose graph holds each arc; None where bits are better."""
    n = ordered.shape[1]
    if _fits_bits(n, ascending[-1]):
        return None
    counts, neighbours, levels, held = [], [], [], 0
    for number, partners, level in large.blocks_of_neighbours(ordered, np.array(ascending) - 1):
        counts.append(number)
        neighbours.append(partners)
        levels.append(level + np.uint8(1))
        held += len(partners)
        if ARCS_OF_BITS * held > n**2:  # by ties
            check_memory(n, _bits(n))
            return None
    ends = np.concatenate([[0], *counts]).cumsum().astype(np.int32 if held < 2**31 else np.int64)  # half the memory
    return csr_array((np.concatenate(levels), np.concatenate(neighbours), ends), shape=(n, n))


def _fits_bits(points: int, k: int) -> bool:
    return points <= FEW or ARCS_OF_BITS * k > points


def _bits(points: int) -> int:
    return 6 * points * ((points + 63) // 64) * 8 + 2**24  # arcs, edges and a search in bits; a block of distances


def _near_together(coordinates: np.ndarray) -> np.ndarray:
    """An order of the points in which near ones follow one another: it changes the time of the search only."""
    return cKDTree(coordinates.T, leafsize=32).indices if len(coordinates) else np.arange(coordinates.shape[1])


def _curvature(count: int, degree: np.ndarray) -> int:
    return 4 * count - int((degree.astype(np.int64) ** 2).sum())


def _ollivier(adjacency: csr_array, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    import ot  # half a second, and only wanted here

    hops = shortest_path(adjacency.astype(np.float64), unweighted=True)
    neighbours = np.split(adjacency.indices, adjacency.indptr[1:-1])
    measures = [np.full(len(members), 1 / max(1, len(members))) for members in neighbours]
    values = np.empty(len(first))
    mirrored = np.lexsort((first, second))  # place of the arc (y, x) for each arc (x, y)
    for arc in np.flatnonzero(first < second):
        x, y = first[arc], second[arc]
        costs = hops[np.ix_(neighbours[x], neighbours[y])]
        cost = ot.emd2(measures[x], measures[y], costs, check_marginals=False)  # they are right, and the check dear
        values[[arc, mirrored[arc]]] = 1 - cost
    return np.round(values, 12)  # equal curvatures are equal numbers


def _total(sums: np.ndarray) -> int | float:
    return math.inf if (sums < 0).any() else int(sums.sum())


def _checked_points(points: Tensor | np.ndarray, neighbours: Sequence[int]) -> np.ndarray:
    """Coordinates (w, n) in float64 without the constant ones (dead units), scaled so that squares cannot overflow."""
    values = checked_layer(points, "points")
    for k in neighbours:
        check_whole(k, "k", len(values) - 1, "n - 1")
    if not 1 <= len(set(neighbours)) <= 255:
        raise ValueError(f"neighbours must hold 1 to 255 values of k, got {len(set(neighbours))}")
    varying = values[:, values.max(axis=0) > values.min(axis=0)].T
    exponent = np.frexp(np.abs(varying).max(initial=0.0))[1]
    return np.asarray(np.ldexp(varying, -exponent))  # a power of two: no comparison changes


def checked_layer(points: object, name: str) -> np.ndarray:
    """Coordinates (n, w) of points in float64; ValueError naming the argument for anything else, or non-finite."""
    values = as_array(points, name)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 1:
        raise ValueError(f"{name} must have shape (n, w) with n >= 2 and w >= 1, got {values.shape}")
    return values


def _checked_graph(graph: object, name: str = "graph") -> csr_array:
    given: Any = graph if issparse(graph) else as_array(graph, name)
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise ValueError(f"{name} must be a square adjacency matrix, got shape {given.shape}")
    adjacency = csr_array(given, copy=True)
    if adjacency.dtype.kind not in NUMERIC:
        raise ValueError(f"{name} must hold real numbers, got {adjacency.dtype}: convert it with astype(bool)")
    as_array(adjacency.data, name)  # finite
    adjacency.sum_duplicates()
    adjacency.eliminate_zeros()
    if adjacency.diagonal().any():
        raise ValueError(f"{name} must not have self-loops: set its diagonal to 0")
    return adjacency.astype(bool)


def _check_symmetric(adjacency: csr_array) -> None:
    transposed = adjacency.T.tocsr()
    pairs = ((adjacency.indptr, transposed.indptr), (adjacency.indices, transposed.indices))
    if not all(np.array_equal(rows, columns) for rows, columns in pairs):
        raise ValueError("the adjacency of an undirected graph must be symmetric")


def _edges(arcs: csr_array) -> csr_array:
    edges: csr_array = (arcs + arcs.T).tocsr()
    return edges


def _undirected(adjacency: csr_array) -> np.ndarray:
    arcs: np.ndarray = adjacency.toarray()
    return np.asarray(arcs | arcs.T)


def check_convention(convention: str) -> None:
    """Raise ValueError for a convention that is not one of the two."""
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}")
