"""Inner loops of the neighbour graphs, compiled by numba on the first call and kept in its cache.

What each function computes is written in `graph_plain`. Vertex sets are rows of bits, 64 vertices to a machine word.
No fast-math: sums are taken in the written order, so results do not depend on the processor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from repro.geometry.compiled import compiled

ONE = np.uint64(1)
BLOCK = 2**18  # distances held at a time, 1 MB, so that they stay in the cache
ROUNDING = 2.0**-24  # of single precision
TINY = 1e-37  # what is lost of a product that single precision cannot hold


def blocks_of_levels(coordinates: np.ndarray, places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """See `graph_plain.blocks_of_levels`.

    Squared distances |x − y|² come from a matrix product in single precision, which is off by ε (|x| + |y|)² at most.
    Whatever lies farther than that from a threshold is decided by it; the others are computed as `graph_plain` does, so
    that the levels are the same, ties included. A few points far out cast no doubt on the rest: where |y| exceeds |x|
    by more than twice the largest distance asked for and 8 √ε |x|, y is beyond it whatever the rounding.
    """
    width, n = coordinates.shape
    left, right, lengths = single_precision(coordinates)
    exact = np.ascontiguousarray(coordinates.T)
    step = max(16, BLOCK // n)
    for start in range(0, n, step):
        near = left[start : start + step] @ right
        near[np.arange(len(near)), np.arange(start, start + len(near))] = np.inf
        alone = len(places) == 1  # to sort is no dearer than several partitions, and tells how many lie in doubt
        ordered = np.partition(near, places, axis=1) if alone else np.sort(near, axis=1)
        doubt = doubts(lengths[start : start + step], ordered[:, places[-1]], lengths.max(), width)
        yield start, _decide(near, ordered, not alone, places, doubt.astype(np.float32), exact, start)


def single_precision(coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors (n, w + 2) and (w + 2, n) of the squared distances of points (w, n), and lengths (n,) from their mean."""
    centred = coordinates - coordinates.mean(axis=1, keepdims=True)  # smaller numbers, less doubt
    squares = np.einsum("ij,ij->j", centred, centred)
    ones = np.ones_like(squares)
    left = np.ascontiguousarray(np.vstack([-2 * centred, squares, ones]).T, dtype=np.float32)
    right = np.vstack([centred, ones, squares]).astype(np.float32)  # left @ right is |x|² − 2 xy + |y|²
    return left, right, np.sqrt(squares)


def doubts(lengths: np.ndarray, thresholds: np.ndarray, longest: float, width: int) -> np.ndarray:
    """By how much those squared distances are off at most, for pairs that are not much farther apart than a threshold.

    Args:
        lengths: (rows,) of the points.
        thresholds: (rows,) largest squared distance asked for, as such a product has it.
        longest: length of any point.
        width: number of coordinates.
    """
    error = ROUNDING * (width + 32)
    farthest = lengths * (1 + 8 * math.sqrt(error)) + 2 * np.sqrt(thresholds.clip(min=0), dtype=np.float64)
    return np.asarray(error * (lengths + np.minimum(farthest, longest)) ** 2 + TINY * (width + 32))


def arc_statistics(arcs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `graph_plain.arc_statistics`."""
    back = _transposed(arcs)
    mutual = np.bitwise_count(arcs & back).sum(axis=1, dtype=np.int64)  # each of these edges is two arcs
    edges = np.bitwise_or(arcs, back, out=back)
    degree = np.bitwise_count(edges).sum(axis=1, dtype=np.int64)
    return degree + mutual, degree, _hop_sums(edges)


def hop_sums(adjacent: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
    """See `graph_plain.hop_sums`."""
    return _hop_sums(packed(adjacent), None if wanted is None else packed(wanted))


def common_neighbours(adjacent: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """See `graph_plain.common_neighbours`."""
    return np.asarray(_count_common(packed(adjacent), first, second))


def _hop_sums(adjacent: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
    """Of rows of bits."""
    every = np.broadcast_to(packed(np.ones((1, len(adjacent)), dtype=bool)), adjacent.shape)
    return np.asarray(_search(adjacent, every if wanted is None else wanted))


def packed(arcs: np.ndarray) -> np.ndarray:
    """Rows of bits (r, words) of a boolean matrix (r, n): bit v % 64 of word v // 64 is column v."""
    rows, n = arcs.shape
    octets = np.zeros((rows, 8 * ((n + 63) // 64)), dtype=np.uint8)
    octets[:, : (n + 7) // 8] = np.packbits(arcs, axis=1, bitorder="little")
    return octets.view("<u8").astype(np.uint64, copy=False)


@compiled(nogil=True)
def _decide(near, ordered, is_sorted, places, doubt, points, start):  # type: ignore[no-untyped-def]
    rows, n = near.shape
    level = np.zeros((rows, n), np.uint8)
    unclear, exact = np.empty(n, np.int64), np.empty(n)
    for row in range(rows):
        distances, levels = near[row], level[row]
        for t in range(len(places)):
            middle = ordered[row, places[t]]
            margin = np.float32(2) * doubt[row]
            lower, upper = middle - margin, middle + margin
            for j in range(n):
                levels[j] += distances[j] > upper
            if is_sorted:
                nearer = np.searchsorted(ordered[row], lower)
                count = np.searchsorted(ordered[row], upper, side="right") - nearer
            else:
                nearer, count = 0, 0
                for j in range(n):
                    nearer += distances[j] < lower
                    count += lower <= distances[j] <= upper
            if count == 1:  # the threshold itself
                continue
            count = 0
            for j in range(n):
                if lower <= distances[j] <= upper:
                    unclear[count] = j
                    exact[count] = _squared_distance(points, start + row, j)
                    count += 1
            threshold = np.partition(exact[:count], places[t] - nearer)[places[t] - nearer]
            for each in range(count):
                levels[unclear[each]] += exact[each] > threshold
    return level


@compiled(nogil=True)
def _squared_distance(points, i, j):  # type: ignore[no-untyped-def]
    total = 0.0
    for d in range(points.shape[1]):  # in this order, as written in `graph_plain`
        difference = points[j, d] - points[i, d]
        total += difference * difference
    return total


@compiled(nogil=True)
def _transposed(bits):  # type: ignore[no-untyped-def]
    """Bits of the transposed matrix, square by square of 64 × 64, whose quarters change places, then theirs, and on."""
    n, words = bits.shape
    turned, square = np.empty_like(bits), np.empty(64, np.uint64)
    for top in range(words):
        for left in range(words):
            for i in range(64):
                square[i] = bits[64 * top + i, left] if 64 * top + i < n else np.uint64(0)
            step, mask = 32, np.uint64(0xFFFFFFFF)
            while step:
                shift = np.uint64(step)
                for i in range(64):
                    if not i & step:
                        swapped = ((square[i] >> shift) ^ square[i + step]) & mask
                        square[i + step] ^= swapped
                        square[i] ^= swapped << shift
                step >>= 1
                mask ^= mask << np.uint64(step)
            for i in range(min(64, n - 64 * left)):
                turned[64 * left + i, top] = square[i]
    return turned


@compiled(nogil=True)
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


@compiled(nogil=True)
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
