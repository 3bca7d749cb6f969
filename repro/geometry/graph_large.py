"""Inner loops of the neighbour graphs of many points, as lists of arcs: memory grows with n k instead of n².

What each function computes is written in `graph_plain`, and how they are compiled in `graph_compiled`. They are fast
for points in an order that keeps near ones together; any order gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from repro.geometry.compiled import compiled
from repro.geometry.graph_compiled import ONE, _ones, _squared_distance, doubts, single_precision

ROWS, COLUMNS, GROUP = 128, 2048, 64  # of a product, 1 MB, so that it stays in the cache; points passed over together
WORDS = 32  # sources searched from at a time, in words of 64: 1 to 128 were tried at 50 000 points


def blocks_of_neighbours(
    coordinates: np.ndarray, places: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """See `graph_plain.blocks_of_neighbours`.

    The products of `graph_compiled.blocks_of_levels`, without those that cannot matter: the nearest groups of
    consecutive points bound the largest threshold from above, and a group whose ball lies beyond it is passed over. Of
    the others all that may lie within the threshold are candidates, and the distances of those that still may once all
    are known are computed as `graph_plain` does.
    """
    width, n = coordinates.shape
    left, right, lengths = single_precision(coordinates)
    columns, exact = np.ascontiguousarray(right.T), np.ascontiguousarray(coordinates.T)
    balls = _Balls(coordinates)
    looked_at = 1 + math.ceil((max(places[-1] + 1, n // 32) + 1) / GROUP)  # groups: points enough, one group be small
    candidates, distances = np.empty((ROWS, n), np.int32), np.empty((ROWS, n), np.float32)
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        lower = balls.lower_bounds(rows)
        nearest = _members(np.argsort(lower.min(axis=0), kind="stable")[:looked_at], n)
        near = left[rows] @ columns[nearest].T
        near[nearest == np.arange(n)[rows, None]] = np.inf
        middle = np.partition(near, places[-1], axis=1)[:, places[-1]]
        doubt = doubts(lengths[rows], middle, lengths.max(), width)
        farthest = np.sqrt(middle.clip(min=0) + 3 * doubt) * (1 + 1e-6)
        possible = _members(np.flatnonzero((lower <= farthest[:, None]).any(axis=0)), n)
        count, margin = np.zeros(len(near), np.int64), (2 * doubt).astype(np.float32)
        for first in range(0, len(possible), COLUMNS):
            part = possible[first : first + COLUMNS]
            _collect(left[rows] @ columns[part].T, middle + margin, part, start, candidates, distances, count)
        yield _select(candidates, distances, count, margin, places, exact, start)


def hop_sums_of_lists(indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """See `graph_plain.hop_sums_of_lists`."""
    return np.asarray(_search_in_blocks(indptr, indices, WORDS))


class _Balls:
    """Balls around groups of consecutive points (w, n)."""

    def __init__(self, coordinates: np.ndarray) -> None:
        self.points = np.ascontiguousarray((coordinates - coordinates.mean(axis=1, keepdims=True)).T)
        n = len(self.points)
        starts = np.arange(0, n, GROUP)
        sizes = np.diff(starts, append=n)
        self.centres = np.add.reduceat(self.points, starts) / sizes[:, None]
        self.radii = np.sqrt(
            np.maximum.reduceat(_squares(self.points - np.repeat(self.centres, sizes, axis=0)), starts)
        )

    def lower_bounds(self, rows: slice) -> np.ndarray:
        """Distances (rows, groups) than which no point of a group is nearer to some of the points."""
        points = self.points[rows]
        sums = _squares(points)[:, None] + _squares(self.centres)
        apart = sums - 2 * points @ self.centres.T - 1e-15 * (points.shape[1] + 32) * sums  # less the rounding
        return np.asarray(np.sqrt(apart.clip(min=0)) - self.radii * (1 + 1e-6))


def _squares(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("ij,ij->i", points, points))


def _members(groups: np.ndarray, n: int) -> np.ndarray:
    """Numbers of the points of some groups."""
    numbers = (groups[:, None] * GROUP + np.arange(GROUP)).ravel()
    return numbers[numbers < n]


@compiled(nogil=True)
def _collect(near, bound, columns, start, candidates, distances, count):  # type: ignore[no-untyped-def]
    """Append to the candidates of each row what lies within its bound, other than itself."""
    for row in range(len(near)):
        place = count[row]
        for j in range(len(columns)):
            if near[row, j] <= bound[row]:
                candidates[row, place] = columns[j]
                distances[row, place] = near[row, j]
                place += columns[j] != start + row
        count[row] = place


@compiled(nogil=True)
def _select(candidates, distances, count, margin, places, points, start):  # type: ignore[no-untyped-def]
    """Neighbours among the candidates, by exact distances: numbers of them, which they are, and their levels."""
    kept = np.empty(len(count), np.int64)
    neighbours, levels = np.empty(count.sum(), np.int32), np.zeros(count.sum(), np.uint8)
    exact = np.empty(count.max())
    end = 0
    for row in range(len(count)):
        total, last, doubtful = count[row], places[-1], 0
        bound = np.partition(distances[row, :total], last)[last] + margin[row]
        for c in range(total):
            if distances[row, c] <= bound:
                candidates[row, doubtful] = candidates[row, c]
                exact[doubtful] = _squared_distance(points, start + row, candidates[row, c])
                doubtful += 1
        thresholds = np.sort(exact[:doubtful])[places]
        begin = end
        for c in range(doubtful):
            if exact[c] <= thresholds[-1]:
                neighbours[end] = candidates[row, c]
                levels[end] = np.searchsorted(thresholds, exact[c])
                end += 1
        kept[row] = end - begin
    return kept, neighbours[:end].copy(), levels[:end].copy()


@compiled(nogil=True)
def _search_in_blocks(indptr, indices, words):  # type: ignore[no-untyped-def]
    """Breadth-first searches from 64 · words consecutive vertices at a time.

    Bit s of row v of `seen` says that v is reached from source s; of `frontier`, that the last step did so. The sum of
    the distances of v is Σ_{t >= 0} of the number of sources farther than t.
    """
    n = len(indptr) - 1
    sums, lost, missing = np.zeros(n, np.int64), np.zeros(n, np.bool_), np.empty(n, np.int64)
    seen = np.empty((n, words), np.uint64)
    frontier, following = np.empty_like(seen), np.empty_like(seen)
    moving, moving_next = np.empty(n, np.bool_), np.empty(n, np.bool_)
    for first in range(0, n, 64 * words):
        stop = min(n, first + 64 * words)
        seen[:], missing[:], moving[:] = 0, stop - first, False
        for v in range(first, stop):
            seen[v, (v - first) >> 6] = ONE << np.uint64((v - first) & 63)
            frontier[v], missing[v], moving[v] = seen[v], stop - first - 1, True
        while moving.any():
            _step(indptr, indices, seen, frontier, following, moving, moving_next, missing, sums)
            frontier, following = following, frontier
            moving, moving_next = moving_next, moving
        lost |= missing > 0
    sums[lost] = -1
    return sums


@compiled(nogil=True)
def _step(indptr, indices, seen, frontier, following, moving, moving_next, missing, sums):  # type: ignore[no-untyped-def]
    """Each vertex that is not reached from all sources learns from those neighbours that the last step moved."""
    teachers = np.empty(len(missing), np.int64)
    for v in range(len(missing)):
        moving_next[v] = False
        sums[v] += missing[v]
        count = 0
        if missing[v]:
            for e in range(indptr[v], indptr[v + 1]):
                teachers[count] = indices[e]
                count += moving[indices[e]]
        if count:
            row, own = following[v], seen[v]
            _unite(row, frontier, teachers[:count])
            new = 0
            for w in range(len(row)):
                row[w] &= ~own[w]
                own[w] |= row[w]
                new += _ones(row[w])
            missing[v] -= new
            moving_next[v] = new > 0


@compiled(inline="always")
def _unite(row, rows, members):  # type: ignore[no-untyped-def]
    """Union of some rows, four at a time: it is the memory that takes the time."""
    row[:] = rows[members[0]]
    single = len(members) % 4
    for place in range(1, single):
        other = rows[members[place]]
        for w in range(len(row)):
            row[w] |= other[w]
    for place in range(single, len(members), 4):
        a, b, c, d = rows[members[place]], rows[members[place + 1]], rows[members[place + 2]], rows[members[place + 3]]
        for w in range(len(row)):
            row[w] |= a[w] | b[w] | c[w] | d[w]
