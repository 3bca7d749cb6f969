"""Curvature and hop sum of one layer's neighbour graph, against the plain ways.

1. networkx: neighbours by scikit-learn, a loop over edges for the curvature, a breadth-first search from each vertex.
2. SciPy: neighbours by scikit-learn, degrees from the sparse matrix, `scipy.sparse.csgraph.shortest_path`.
3. The strongest libraries: neighbours by scikit-learn, hops from all vertices by rustworkx, compiled, on one thread
   (the extra `bench`). Beside it the physical limit of the neighbour search: the one product of matrices it needs.
4. What one more k costs when all k of a study share one neighbour search.
5. Local and layer coefficients, per step from a layer to the next.
6. What early stopping costs: a look at the mean local coefficient against a validation loss and an epoch of training.

7. With --large only: 50 000 points, against scikit-learn and SciPy's breadth-first search from some of them, its time
   scaled to all: rustworkx's matrix of distances would take 20 GB, and its searches from single vertices are slower.

Searches of the plain ways start from a few sources, and their time is scaled to all n; curvatures must agree with ours,
and hop sums with SciPy on one whole graph and with rustworkx on all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

import networkx as nx
import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, shortest_path
from sklearn.neighbors import NearestNeighbors, kneighbors_graph
from timing import seconds, tell_row, tell_shortfalls, timed
from torch.nn.functional import binary_cross_entropy_with_logits

from repro.geometry.graph import graph_statistics, local_ricci
from repro.geometry.neighbours import graph_memory
from repro.models.ensemble import glorot_ensemble
from repro.papers.ricci.nets import hidden_widths, task
from repro.training.ensemble import training_epochs

try:
    import rustworkx
except ImportError:
    rustworkx = None

WIDTH = 50
LARGE, LARGE_NEIGHBOURS, LARGE_SOURCES = 50_000, 50, 50
SINGLE = [(1000, 10), (1000, 50), (1000, 200), (2000, 10), (2000, 50), (2000, 350), (5000, 50)]  # (points, k)
SOURCES = {"networkx": 8, "SciPy": 40}
GRIDS = {
    1000: [6, 7, 9, 10, 15, 18, 20, 30, 50, 90, 100, 120, 140, 150, 160, 180, 200],
    2000: [10, 20, 30, 50, 90, 100, 120, 150, 250, 350, 500, 700, 1000],
}
USUAL = {"networkx, n = 2000": 50.0, "SciPy, n = 2000": 10.0}
USUAL_STRONGEST = {"strongest, n = 2000, k = 10": 3.0, "strongest, n = 2000, k = 50": 5.0}
USUAL_STEP = 0.050  # CPU seconds that the local coefficients of a step take at most


class Measured(NamedTuple):
    """Of one graph by a plain way."""

    curvature: int  # directed
    hops: np.ndarray  # (sources,) sums of the hop distances from the first vertices
    seconds: float  # CPU time, searches scaled to all sources


def activations(n: int, layers: int = 1) -> list[np.ndarray]:
    """Layers of a random ReLU network on two overlapping clusters in three dimensions."""
    generator = np.random.default_rng(n)
    points = generator.standard_normal((n, 3)) + np.where(np.arange(n) < n // 2, -1.0, 1.0)[:, None]
    found = []
    for _ in range(layers):
        weight = generator.standard_normal((points.shape[1], WIDTH)) * np.sqrt(2 / points.shape[1])
        points = np.maximum(points @ weight + 0.1 * generator.standard_normal(WIDTH), 0)
        found.append(points)
    return found


def measure(build: Callable[[], tuple[int, Callable[[int], int]]], n: int, sources: int) -> Measured:
    """Run a plain way: `build` gives the curvature and a function from a source to its sum of hop distances."""
    building, (curvature, search) = timed(build)
    searching, hops = timed(lambda: np.array([search(source) for source in range(sources)]))
    return Measured(curvature, hops, building + searching * n / sources)


def with_networkx(points: np.ndarray, k: int) -> tuple[int, Callable[[int], int]]:
    graph = nx.from_scipy_sparse_array(kneighbors_graph(points, k), create_using=nx.DiGraph)
    curvature = sum(4 - graph.degree(i) - graph.degree(j) for i, j in graph.edges)
    undirected = graph.to_undirected()
    return curvature, lambda source: sum(nx.single_source_shortest_path_length(undirected, source).values())


def with_scipy(points: np.ndarray, k: int) -> tuple[int, Callable[[int], int]]:
    graph = csr_array(kneighbors_graph(points, k))
    degree = np.asarray(graph.sum(axis=0) + graph.sum(axis=1), dtype=np.int64)
    rows, columns = graph.nonzero()
    curvature = int((4 - degree[rows] - degree[columns]).sum())

    def search(source: int) -> int:
        return int(shortest_path(graph, directed=False, unweighted=True, indices=source).sum())

    return curvature, search


def single_graphs() -> dict[str, float]:
    ratios = {}
    for n, k in SINGLE:
        points = activations(n)[0]
        ours = seconds(lambda points=points, k=k: graph_statistics(points, [k]))
        statistics = graph_statistics(points, [k])[0]
        plain = {
            "networkx": measure(lambda points=points, k=k: with_networkx(points, k), n, SOURCES["networkx"]),
            "SciPy": measure(lambda points=points, k=k: with_scipy(points, k), n, SOURCES["SciPy"]),
        }
        assert all(each.curvature == statistics.directed_curvature for each in plain.values())
        assert np.array_equal(plain["networkx"].hops, plain["SciPy"].hops[: SOURCES["networkx"]])
        print(f"n = {n}, k = {k}: {ours * 1e3:.1f} CPU ms", end="")
        for name, each in plain.items():
            ratios[f"{name}, n = {n}"] = each.seconds / ours
            print(f"; {name} {each.seconds:.2f} s, {each.seconds / ours:.0f} times", end="")
        print(f" (searches scaled from {SOURCES['networkx']} and {SOURCES['SciPy']} sources)")
    return ratios


def strongest(points: np.ndarray, k: int) -> float:
    """Sum of all hop distances of the graph of k nearest neighbours."""
    arcs = csr_array(kneighbors_graph(points, k))
    edges = (arcs + arcs.T).tocoo()
    graph = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(len(points)))
    chosen = edges.row < edges.col
    graph.extend_from_edge_list(list(zip(edges.row[chosen].tolist(), edges.col[chosen].tolist(), strict=True)))
    return float(rustworkx.distance_matrix(graph, parallel_threshold=len(points) + 1).sum())


def large_graph() -> None:
    n, k, points = LARGE, LARGE_NEIGHBOURS, activations(LARGE)[0]
    graph_statistics(points[: n // 2], [k])  # compiled
    ours, (statistics,) = timed(lambda: graph_statistics(points, [k]))
    print(
        f"n = {n}, k = {k}: {ours:.1f} CPU s in {graph_memory(n, k) / 2**20:.0f} MiB beside copies of the points",
        end="",
    )
    searches = {}
    for algorithm in ("brute", "kd_tree"):
        model = NearestNeighbors(n_neighbors=k, algorithm=algorithm).fit(points)
        searches[algorithm], arcs = timed(lambda model=model: csr_array(model.kneighbors_graph()))
    told = ", ".join(f"{algorithm} {each:.1f} s" for algorithm, each in searches.items())
    print(f"; the product of all pairs alone {all_pairs(points):.1f} s; scikit-learn's neighbours {told}")
    degree = np.asarray(arcs.sum(axis=0) + arcs.sum(axis=1), dtype=np.int64)
    assert 4 * arcs.nnz - (degree**2).sum() == statistics.directed_curvature
    edges, sources = csr_array(arcs + arcs.T), range(0, n, n // LARGE_SOURCES)
    hops = shortest_path(edges, unweighted=True, indices=list(sources)).mean() * n**2
    assert abs(hops / statistics.hop_sum - 1) < 0.05  # that of the sources, scaled
    searching, _ = timed(lambda: [breadth_first_order(edges, source) for source in sources])
    whole = min(searches.values()) + searching * n / len(sources)
    print(
        f"strongest libraries {whole:.0f} s, {whole / ours:.0f} times: the faster neighbours and SciPy's breadth-first "
        f"search from {len(sources)} points, {searching:.2f} s, scaled to all"
    )


def all_pairs(points: np.ndarray) -> float:
    """Seconds of the matrix product of all points, in blocks that are not kept."""
    single = points.astype(np.float32)

    def multiply() -> None:
        for row in range(0, len(single), 128):
            single[row : row + 128] @ single.T

    return timed(multiply)[0]


def against_the_strongest() -> dict[str, float]:
    if rustworkx is None:
        print("rustworkx is not installed: no comparison with the strongest libraries (pip install 'repro[bench]')")
        return {}
    ratios = {}
    for n, k in SINGLE:
        points = activations(n)[0]
        assert strongest(points, k) == graph_statistics(points, [k])[0].hop_sum
        ours = seconds(lambda points=points, k=k: graph_statistics(points, [k]))
        search = seconds(lambda points=points, k=k: kneighbors_graph(points, k))
        whole = seconds(lambda points=points, k=k: strongest(points, k), repeats=1)
        single = points.astype(np.float32)
        limit = seconds(lambda single=single: single @ single.T)
        ratios[f"strongest, n = {n}, k = {k}"] = whole / ours
        print(
            f"n = {n}, k = {k}: {ours * 1e3:.1f} CPU ms; strongest libraries {whole * 1e3:.0f} ms (scikit-learn's "
            f"neighbours {search * 1e3:.0f}), {whole / ours:.1f} times; the product alone {limit * 1e3:.1f} ms"
        )
        tell_row(f"graph, n = {n}, k = {k}", ours, "scikit-learn, rustworkx", whole, n**2 * WIDTH)
    return ratios


def hop_sums_agree() -> None:
    points = activations(1000)[0]
    distances = shortest_path(kneighbors_graph(points, 10), directed=False, unweighted=True)
    assert graph_statistics(points, [10])[0].hop_sum == distances.sum()


def shared_search() -> None:
    for n, grid in GRIDS.items():
        points = activations(n)[0]
        every = seconds(lambda points=points, grid=grid: graph_statistics(points, grid))
        one = seconds(lambda points=points, grid=grid: graph_statistics(points, grid[-1:]))
        apart = seconds(lambda points=points, grid=grid: [graph_statistics(points, [k]) for k in grid], repeats=1)
        print(
            f"n = {n}, {len(grid)} k from {grid[0]} to {grid[-1]}: {every * 1e3:.0f} CPU ms a layer, "
            f"{apart / every:.1f} times faster than one by one; "
            f"{(every - one) / (len(grid) - 1) * 1e3:.1f} ms for each further k"
        )


def local_coefficients() -> None:
    layers = activations(1000, layers=11)
    for curvature in ("forman", "augmented"):
        step = seconds(lambda curvature=curvature: local_ricci(layers, 50, curvature)) / (len(layers) - 1)
        print(
            f"local and layer coefficients, n = 1000, k = 50, {curvature}: {step * 1e3:.1f} CPU ms a step "
            f"(usually below {USUAL_STEP * 1e3:.0f})"
        )


def early_stopping() -> None:
    """At the sizes of notebooks/ricci_training.ipynb: 500 validation points, k = 25, layers of 25 neurons."""
    for dataset, train_size in (("A", 1000), ("sandal-boot", 2000)):
        data = task(dataset, train_size, 500, seed=0)
        x, y = data.test_inputs, data.test_labels
        for depth in (5, 11):
            widths = [x.shape[1], *hidden_widths("narrow", depth), 1]
            start = glorot_ensemble(widths, [np.random.default_rng(0)])
            epochs = training_epochs(start, data.train_inputs, data.train_labels, [np.random.default_rng(1)])
            nets = next(islice(epochs, 10, None))
            layers = [x, *(layer[0] for layer in nets.activations(x)), torch.sigmoid(nets(x)[0].double())[:, None]]
            look = seconds(lambda layers=layers: local_ricci(layers, 25, "augmented"))
            loss = seconds(lambda nets=nets, x=x, y=y: binary_cross_entropy_with_logits(nets(x)[0], y), repeats=20)
            epoch = seconds(lambda epochs=epochs: next(epochs), repeats=10)
            print(
                f"{dataset}, {depth} layers: a look {look * 1e3:.1f} CPU ms = {look / loss:.0f} validation losses "
                f"= {look / epoch:.1f} epochs of training on {train_size} points"
            )


def main() -> None:
    torch.set_num_threads(1)
    hop_sums_agree()
    ratios = single_graphs()
    rivals = against_the_strongest()
    shared_search()
    local_coefficients()
    early_stopping()
    if "--large" in sys.argv[1:]:
        large_graph()
    tell_shortfalls(ratios | rivals, USUAL | (USUAL_STRONGEST if rivals else {}))


if __name__ == "__main__":
    main()
