"""Inner loops of the neighbour graphs, compiled by numba on the first call and kept in its cache.

What each function computes is written in `graph_plain`. Vertex sets are rows of bits, 64 vertices to a machine word.
No fast-math: sums are taken in the written order, so results do not depend on the processor.
"""

from __future__ import annotations

import numpy as np

from repro.geometry.compiled import compiled

ONE = np.uint64(1)


def squared_distances(coordinates: np.ndarray, start: int, stop: int) -> np.ndarray:
    """See `graph_plain.squared_distances`."""
    distances = np.zeros((stop - start, coordinates.shape[1]))
    _add_squares(coordinates, start, distances)
    return distances


def levels(distances: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """See `graph_plain.levels`."""
    level = np.zeros(distances.shape, dtype=np.uint8)
    _count_exceeded(distances, thresholds, level)
    return level


def degrees(level: np.ndarray, count: int) -> np.ndarray:
    """See `graph_plain.degrees`."""
    return np.cumsum(_count_levels(level, count)[:, :count].T, axis=0)


def hop_sums(adjacent: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
    """See `graph_plain.hop_sums`."""
    n = len(adjacent)
    wanted_bits = np.repeat(_bits(np.ones((1, n), dtype=bool)), n, axis=0) if wanted is None else _bits(wanted)
    return np.asarray(_search(_bits(adjacent), wanted_bits))


def common_neighbours(adjacent: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """See `graph_plain.common_neighbours`."""
    return np.asarray(_count_common(_bits(adjacent), first, second))


def _bits(sets: np.ndarray) -> np.ndarray:
    """Rows of bits (r, words) of a boolean matrix (r, n): bit v % 64 of word v // 64 is column v."""
    rows, n = sets.shape
    octets = np.zeros((rows, 8 * ((n + 63) // 64)), dtype=np.uint8)
    octets[:, : (n + 7) // 8] = np.packbits(sets, axis=1, bitorder="little")
    return octets.view("<u8").astype(np.uint64, copy=False)


@compiled()
def _add_squares(coordinates, start, distances):  # type: ignore[no-untyped-def]
    width, n = coordinates.shape
    for row in range(len(distances)):
        i = start + row
        sums = distances[row]
        d = 0
        while d + 4 <= width:  # four at a time, in order: a sum is read and written once for four
            a, b, c, e = coordinates[d], coordinates[d + 1], coordinates[d + 2], coordinates[d + 3]
            for j in range(n):
                p, q, r, s = a[j] - a[i], b[j] - b[i], c[j] - c[i], e[j] - e[i]
                sums[j] = (((sums[j] + p * p) + q * q) + r * r) + s * s
            d += 4
        while d < width:
            a = coordinates[d]
            for j in range(n):
                p = a[j] - a[i]
                sums[j] += p * p
            d += 1


@compiled()
def _count_exceeded(distances, thresholds, level):  # type: ignore[no-untyped-def]
    for row in range(len(distances)):
        for t in range(thresholds.shape[1]):
            threshold = thresholds[row, t]
            for j in range(distances.shape[1]):
                level[row, j] += distances[row, j] > threshold


@compiled()
def _count_levels(level, count):  # type: ignore[no-untyped-def]
    counts = np.zeros((len(level), count + 1), np.int64)
    for i in range(len(level)):
        for j in range(len(level)):
            counts[i, level[i, j]] += 1
            counts[j, level[i, j]] += 1
    return counts


@compiled()
def _search(adjacent, wanted):  # type: ignore[no-untyped-def]
    """Breadth-first search from all vertices at once.

    After t steps, row v of `reached` holds the vertices within t hops of v; the next row is the union of the rows of
    v's neighbours. The sum of the distances is Σ_{t >= 0} of the number of wanted vertices farther than t.

    Rows of 64 consecutive vertices are skipped together when they hold nothing new: the more alike consecutive vertices
    are, the faster the search; any order gives the same sums.
    """
    n, words = adjacent.shape
    reached = adjacent.copy()  # t = 1
    sums, missing = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for v in range(n):
        reached[v, v >> 6] |= ONE << np.uint64(v & 63)
        for w in range(words):
            missing[v] += _ones(wanted[v, w] & ~reached[v, w])
            sums[v] += _ones(wanted[v, w] & adjacent[v, w])
        sums[v] += missing[v]  # t = 0: all wanted vertices but v itself
    following, unions = np.empty_like(reached), np.empty((words, words), np.uint64)
    moved = True
    while moved and missing.any():
        moved = False
        unions[:] = 0  # of the rows of 64 consecutive vertices
        for v in range(n):
            for w in range(words):
                unions[v >> 6, w] |= reached[v, w]
        for v in range(n):
            sums[v] += missing[v]
            row = following[v]
            row[:] = reached[v]
            for block in range(words):
                neighbours = adjacent[v, block]
                if neighbours == 0 or _within(unions[block], row):  # nothing new to learn from these neighbours
                    continue
                while neighbours:
                    lowest = neighbours & (~neighbours + ONE)
                    neighbours ^= lowest
                    others = reached[64 * block + _ones(lowest - ONE)]
                    for w in range(words):
                        row[w] |= others[w]
            missing[v] = 0
            for w in range(words):
                missing[v] += _ones(wanted[v, w] & ~row[w])
                moved |= row[w] != reached[v, w]
        reached, following = following, reached
    sums[missing > 0] = -1
    return sums


@compiled()
def _count_common(adjacent, first, second):  # type: ignore[no-untyped-def]
    counts = np.zeros(len(first), np.int64)
    for e in range(len(first)):
        for w in range(adjacent.shape[1]):
            counts[e] += _ones(adjacent[first[e], w] & adjacent[second[e], w])
    return counts


@compiled(inline="always")
def _ones(word):  # type: ignore[no-untyped-def]
    """Number of bits set, by sums over fields of 2, 4 and 8 bits; the compiler knows the pattern."""
    word -= (word >> ONE) & np.uint64(0x5555_5555_5555_5555)
    word = (word & np.uint64(0x3333_3333_3333_3333)) + ((word >> np.uint64(2)) & np.uint64(0x3333_3333_3333_3333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F_0F0F_0F0F_0F0F)
    return np.int64((word * np.uint64(0x0101_0101_0101_0101)) >> np.uint64(56))


@compiled(inline="always")
def _within(row, other):  # type: ignore[no-untyped-def]
    outside = np.uint64(0)
    for w in range(len(row)):
        outside |= row[w] & ~other[w]
    return outside == 0
