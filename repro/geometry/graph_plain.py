"""Inner loops of the neighbour graphs in NumPy and SciPy: the same numbers as `graph_compiled`, more slowly."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path


def squared_distances(coordinates: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Squared distances (stop − start, n) from the points start..stop to all points, from coordinates (w, n).

    Squared differences are added one coordinate after the other. Subtraction is symmetric up to its sign, so d(i, j)
    and d(j, i) are equal to the last bit, as are the distances of duplicated points: ties are real ties.
    """
    distances = np.zeros((stop - start, coordinates.shape[1]))
    for coordinate in coordinates:
        distances += (coordinate - coordinate[start:stop, None]) ** 2
    return distances


def levels(distances: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Number of the thresholds (r, t) of a row that each distance (r, n) of that row exceeds, as bytes; t <= 255."""
    level = np.zeros(distances.shape, dtype=np.uint8)
    for threshold in thresholds.T:
        level += distances > threshold[:, None]
    return level


def degrees(level: np.ndarray, count: int) -> np.ndarray:
    """In-degree + out-degree (count, n) of the graphs t = 0..count − 1 that hold the arcs of level (n, n) at most t."""
    graphs = (level <= t for t in range(count))
    return np.stack([arcs.sum(axis=0) + arcs.sum(axis=1) for arcs in graphs]).astype(np.int64)


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


def common_neighbours(adjacent: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number (m,) of the vertices adjacent (n, n) both to first[e] and to second[e], for m pairs."""
    neighbours = csr_array(adjacent, dtype=np.int64)
    return np.asarray(neighbours[first].multiply(neighbours[second]).sum(axis=1))
