"""Inner loops of the neighbour graphs in NumPy and SciPy: the same numbers as `graph_compiled`, more slowly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

ROWS = 128  # points whose distances are held at a time


def blocks_of_levels(coordinates: np.ndarray, places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Levels (rows, n), as bytes, of some points after others, with the number of the first.

    The level of a pair i, j is the number of thresholds of i that the distance from i to j exceeds, and all of them for
    i = j. A threshold of i is the distance at one of the places among the sorted distances from i to other points.

    Squared differences are added one coordinate after the other. Subtraction is symmetric up to its sign, so d(i, j)
    and d(j, i) are equal to the last bit, as are the distances of duplicated points: ties are real ties.

    Args:
        coordinates: (w, n), float64.
        places: from 0, increasing, at most 255.
    """
    n = coordinates.shape[1]
    for start in range(0, n, ROWS):
        rows = np.arange(start, min(start + ROWS, n))
        distances = np.zeros((len(rows), n))
        for coordinate in coordinates:
            distances += (coordinate - coordinate[rows, None]) ** 2
        distances[np.arange(len(rows)), rows] = np.inf
        thresholds = np.partition(distances, places, axis=1)[:, places]
        yield start, sum((distances > each[:, None]).astype(np.uint8) for each in thresholds.T)


def blocks_of_neighbours(
    coordinates: np.ndarray, places: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The same of pairs of a level below the highest, some points after others.

    Args:
        coordinates: (w, n), float64.
        places: from 0, increasing, at most 255.

    Yields:
        numbers (rows,) of such pairs of each point, its partners (pairs,) in increasing order, point after point, and
        their levels (pairs,).
    """
    for _, level in blocks_of_levels(coordinates, places):
        rows, partners = np.nonzero(level < len(places))
        yield np.bincount(rows, minlength=len(level)), partners.astype(np.int32), level[rows, partners]


def packed(arcs: np.ndarray) -> np.ndarray:
    """Rows (r, n) of a boolean matrix as `arc_statistics` takes them."""
    return arcs


def arc_statistics(arcs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Out-degree + in-degree, degree without directions, and sum of the hops to all vertices, (n,) each.

    Hops ignore the direction; a sum is −1 where a vertex cannot be reached.

    Args:
        arcs: packed rows of the (n, n) matrix of a directed graph.
    """
    edges = arcs | arcs.T
    return arcs.sum(axis=0) + arcs.sum(axis=1), edges.sum(axis=1), hop_sums(edges)


def hop_sums(adjacent: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
    """Sum of the hop distances from each vertex to its wanted vertices.

    Args:
        adjacent: (n, n) bool, symmetric.
        wanted: (n, n) bool; row x marks the vertices y whose distance from x counts. None means all of them.

    Returns:
        (n,) int64; −1 where a wanted vertex cannot be reached.
    """
    hops = shortest_path(csr_array(adjacent, dtype=np.float64), unweighted=True)
    sums = (hops if wanted is None else np.where(wanted, hops, 0.0)).sum(axis=1)
    return np.where(np.isfinite(sums), sums, -1.0).astype(np.int64)


def hop_sums_of_lists(indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Sum (n,) of the hop distances from each vertex to all others; −1 where one cannot be reached.

    Args:
        indptr: (n + 1,) where the neighbours of each vertex begin and end, as in a sparse matrix, symmetric.
        indices: the neighbours.
    """
    n = len(indptr) - 1
    graph = csr_array((np.ones(len(indices)), indices, indptr), shape=(n, n))
    blocks = (np.arange(start, min(start + ROWS, n)) for start in range(0, n, ROWS))
    sums = [shortest_path(graph, unweighted=True, indices=sources).sum(axis=1) for sources in blocks]
    return np.asarray(np.nan_to_num(np.concatenate(sums), posinf=-1), dtype=np.int64)


def common_neighbours(adjacent: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number (m,) of the vertices adjacent (n, n) both to first[e] and to second[e], for m pairs."""
    neighbours = csr_array(adjacent, dtype=np.int64)
    return np.asarray(neighbours[first].multiply(neighbours[second]).sum(axis=1))
