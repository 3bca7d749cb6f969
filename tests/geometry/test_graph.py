import math
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import shortest_path

from repro.geometry import graph_compiled, graph_large, graph_plain
from repro.geometry import neighbours as graphs_module
from repro.geometry.graph import (
    graph_statistics,
    hop_sum,
    neighbour_graph,
    ricci_coefficient,
    ricci_correlation,
    standardise,
    total_curvature,
)


def normal(n, width=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width))


def rectified(n, width=6, seed=0):
    """Activations of a layer after ReLU: dead units (constant columns) and rows of zeros that coincide."""
    values = np.maximum(normal(n, width, seed) - 0.8, 0)
    values[:, 1] = 0
    return values


def two_clusters(n):
    values = normal(n)
    values[: n // 2] += 100
    return values


POINTS = {
    "normal": normal(40),
    "integer grid": np.stack(np.meshgrid(*[np.arange(4.0)] * 3), -1).reshape(-1, 3),  # many exact ties
    "duplicates": np.repeat(normal(12), 3, axis=0),
    "rectified": rectified(70),
    "all equal": np.ones((9, 2)),
    "disconnected": two_clusters(30),
    "one word": normal(64),
    "past one word": normal(65, 5),
}


# the slow and obvious way: loops over points, and networkx


def slow_arcs(points, k):
    """Arcs i -> j with d(i, j) at most the k-th smallest distance from i to another point; sets decide ties exactly."""
    arcs = set()
    for i, x in enumerate(points):
        squared = {
            j: sum((a - b) ** 2 for a, b in zip(x.tolist(), y.tolist(), strict=True)) for j, y in enumerate(points)
        }
        del squared[i]
        threshold = sorted(squared.values())[k - 1]
        arcs |= {(i, j) for j, value in squared.items() if value <= threshold}
    return arcs


def slow_graph(points, k, convention):
    network = nx.DiGraph()
    network.add_nodes_from(range(len(points)))
    network.add_edges_from(slow_arcs(points, k))
    return network if convention == "directed" else network.to_undirected()


def slow_curvature(network):
    return sum(4 - network.degree(i) - network.degree(j) for i, j in network.edges)  # degree = in + out when directed


def slow_hop_sum(network):
    network = network.to_undirected()
    if not nx.is_connected(network):
        return math.inf
    return sum(sum(lengths.values()) for _, lengths in nx.shortest_path_length(network))


def slow_coefficient(layers, k, convention):
    graphs = [slow_graph(points, k, convention) for points in layers]
    g, curvature = [slow_hop_sum(network) for network in graphs], [slow_curvature(network) for network in graphs]
    eta = [later - earlier for earlier, later in pairwise(g)]
    return float(np.corrcoef(eta, curvature[:-1])[0, 1])


def adjacency(network):
    return csr_array(nx.to_scipy_sparse_array(network, nodelist=sorted(network)))


@pytest.fixture(params=[graph_compiled, graph_plain], ids=["compiled", "plain"])
def loops(request, monkeypatch):
    monkeypatch.setattr(graphs_module, "loops", request.param)


def test_compiled_loops_are_used_where_numba_is_installed():
    assert graphs_module.loops is graph_compiled and graphs_module.large is graph_large
    without = (
        "import sys; sys.modules['numba'] = None; from repro.geometry import graph, neighbours as n; "
        "print(n.loops, n.large)"
    )
    found = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=True).stdout
    assert found.count("graph_plain.py") == 2


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("convention", ["directed", "union"])
@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("k", [1, 3, 8])
def test_equal_to_loops_and_networkx(name, k, convention):
    network = slow_graph(POINTS[name], k, convention)
    built = neighbour_graph(POINTS[name], k, convention)
    assert np.array_equal(built.toarray(), adjacency(network).toarray())
    assert total_curvature(built, convention) == slow_curvature(network)
    assert hop_sum(built) == slow_hop_sum(network)
    assert hop_sum(built) == shortest_path(built, directed=False, unweighted=True).sum()


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("name", POINTS)
def test_statistics_are_those_of_each_graph(name):
    points, neighbours = POINTS[name], [5, 1, 2, 8, 2]
    for k, statistics in zip(neighbours, graph_statistics(points, neighbours), strict=True):
        directed, union = (neighbour_graph(points, k, convention) for convention in ("directed", "union"))
        assert statistics == (
            k,
            directed.nnz,
            union.nnz // 2,
            total_curvature(directed, "directed"),
            total_curvature(union, "union"),
            hop_sum(union),
        )
        assert hop_sum(directed) == hop_sum(union)  # hops ignore the direction
        assert [type(value) for value in statistics] == [int] * 5 + [float]


few_values = st.integers(0, 3) | st.floats(-2, 2, width=16)  # ties and duplicates are common


@settings(max_examples=60, deadline=None)
@given(points=st.tuples(st.integers(4, 14), st.integers(1, 3)).flatmap(lambda s: arrays(float, s, elements=few_values)))
def test_drawn_points(points):
    for k, statistics in zip((1, 3), graph_statistics(points, [1, 3]), strict=True):
        directed, union = (slow_graph(points, k, convention) for convention in ("directed", "union"))
        counts = directed.number_of_edges(), union.number_of_edges()
        curvatures = slow_curvature(directed), slow_curvature(union)
        assert statistics == (k, *counts, *curvatures, slow_hop_sum(union))


def test_fallback_is_equal_in_every_number(monkeypatch):
    points = np.float64(rectified(300, 25))
    neighbours = [1, 4, 10, 60, 150]
    compiled = graph_statistics(points, neighbours)
    monkeypatch.setattr(graphs_module, "loops", graph_plain)
    assert graph_statistics(points, neighbours) == compiled


LAYERS = {
    "rectified": rectified(300, 25),
    "far from the origin": rectified(200, 3) + 1e6,
    "two far clusters": rectified(200, 3) + np.where(np.arange(200) < 100, 0, 3e5)[:, None],
    "some far smaller": rectified(200, 2) * np.where(np.arange(200) < 50, 1.0, 1e-21)[:, None],
    "one far out": rectified(200, 3) + np.where(np.arange(200) == 7, 1e5, 0)[:, None],
    "on a grid": np.random.default_rng(3).integers(0, 4, (250, 3)),
    "nearly on a grid": np.random.default_rng(4).integers(0, 4, (250, 3)) + 1e-9 * rectified(250, 3),
    "wide": np.random.default_rng(5).standard_normal((150, 900)),
    "three values": np.random.default_rng(6).integers(0, 3, (100, 1)),
}


@pytest.mark.parametrize("places", [[0], [9], [98], [0, 1, 9, 50, 98]], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_levels_in_doubt_are_decided_exactly(name, places):
    coordinates = np.ascontiguousarray(np.float64(LAYERS[name]).T)
    coordinates /= np.abs(coordinates).max()
    compiled, plain = (
        np.concatenate([rows for _, rows in each.blocks_of_levels(coordinates, np.array(places))])
        for each in (graph_compiled, graph_plain)
    )
    assert np.array_equal(compiled, plain)


@pytest.fixture(params=[graph_large, graph_plain], ids=["compiled", "plain"])
def as_lists(request, monkeypatch):
    """A call to go from graphs in bits to graphs as lists of arcs."""

    def switch():
        monkeypatch.setattr(graphs_module, "large", request.param)
        monkeypatch.setattr(graphs_module, "FEW", 0)
        monkeypatch.setattr(graphs_module, "ARCS_OF_BITS", 0)

    return switch


@pytest.mark.parametrize("neighbours", [[1], [8], [5, 1, 2, 8, 2]], ids=str)
@pytest.mark.parametrize("points", [*POINTS.values(), *LAYERS.values()], ids=[*POINTS, *LAYERS])
def test_lists_of_arcs_are_the_graphs_in_bits(points, neighbours, as_lists):
    def everything():
        graphs = [neighbour_graph(points, neighbours[0], convention) for convention in ("directed", "union")]
        return graph_statistics(points, neighbours), [hop_sum(each) for each in graphs], graphs

    statistics, hops, graphs = everything()
    as_lists()
    listed_statistics, listed_hops, listed = everything()
    assert listed_statistics == statistics and listed_hops == hops
    for one, other in zip(graphs, listed, strict=True):
        for part in ("data", "indices", "indptr"):
            assert np.array_equal(getattr(one, part), getattr(other, part))
            assert getattr(one, part).dtype == getattr(other, part).dtype


@pytest.mark.parametrize("seed", range(4))
def test_lists_of_arcs_over_several_blocks_of_sources_and_groups_passed_over(seed, as_lists):
    generator = np.random.default_rng(seed)
    centres = (20 if seed else 1) * generator.standard_normal((7, 4))
    points = centres[generator.integers(7, size=2_100)] + generator.standard_normal((2_100, 4))
    points[::3] = np.round(points[::3])  # ties
    points[1::50] = points[::50]  # duplicates
    neighbours = [2, 20] if seed else [15, 40]  # in pieces, and connected
    expected = graph_statistics(points, neighbours)
    assert {math.isinf(each.hop_sum) for each in expected} == {seed > 0}
    as_lists()
    assert graph_statistics(points, neighbours) == expected


def test_points_that_tie_too_often_for_lists_are_counted_in_bits(monkeypatch):
    points = np.repeat(normal(2), 50, axis=0)
    expected = graph_statistics(points, [1])
    monkeypatch.setattr(graphs_module, "FEW", 0)
    assert graph_statistics(points, [1]) == expected and expected[0].arcs == 100 * 49
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**20))
    with pytest.raises(ValueError, match="graphs of 100 points need"):
        graph_statistics(points, [1])


@pytest.mark.skipif(sys.platform != "linux", reason="the address space of a process is limited on Linux only")
def test_many_points_need_little_memory():
    told = graphs_module.graph_memory(25_000, 5)
    assert told < 25_000**2 / 8  # one set of arcs in bits
    run = f"""
import resource
import numpy as np
import psutil
from repro.geometry import neighbours
points = np.random.default_rng(0).standard_normal((25_000, 3))
neighbours.graph_statistics(points[:500], [5])
neighbours.large.hop_sums_of_lists(np.array([0, 1, 2], np.int32), np.array([1, 0], np.int32))
limit = psutil.Process().memory_info().vms + {told} + 10 * points.nbytes
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
neighbours.graph_statistics(points, [5])
"""
    child = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr  # in bits it fails


@pytest.mark.parametrize(
    ("network", "curvature", "hops"),
    [
        (nx.complete_graph(3), 0, 6),  # 3 edges of 4 − 2 − 2
        (nx.path_graph(4), 1 + 0 + 1, 20),
        (nx.star_graph(5), 5 * (4 - 5 - 1), 2 * (5 * 1 + 10 * 2)),
        (nx.complete_graph(7), 21 * (4 - 12), 42),
        (nx.cycle_graph(6), 0, 6 * (1 + 1 + 2 + 2 + 3)),
        (nx.empty_graph(3), 0, math.inf),
    ],
)
def test_hand_graphs(network, curvature, hops):
    matrix = adjacency(network)
    assert total_curvature(matrix, "union") == curvature
    assert hop_sum(matrix) == hops
    if network.number_of_edges():  # every edge is two arcs, and every degree doubles
        assert total_curvature(matrix, "directed") == sum(
            2 * (4 - 2 * network.degree(i) - 2 * network.degree(j)) for i, j in network.edges
        )


def test_hop_sum_of_a_long_path():
    n = 150
    path = np.eye(n, k=1)  # one direction only
    assert hop_sum(path) == n * (n * n - 1) // 3 and type(hop_sum(path)) is int


def test_a_subsample_has_the_spread_of_disjoint_ones_for_an_error():
    layers = [normal(90, 3, seed) for seed in range(6)]
    found = ricci_coefficient(layers, 4, points=25, seed=3)
    order = np.random.default_rng(3).permutation(90)
    apart = [ricci_coefficient([layer[order[i : i + 25]] for layer in layers], 4) for i in (0, 25, 50)]
    assert found.rho == apart[0].rho and np.array_equal(found.hop_sums, apart[0].hop_sums)
    assert found.error == pytest.approx(np.std([each.rho for each in apart], ddof=1))
    whole, every = ricci_coefficient(layers, 4), ricci_coefficient(layers, 4, points=90)
    assert every.rho == whole.rho and math.isnan(every.error) and math.isnan(whole.error)


def test_layers_measured_at_a_time_change_nothing():
    layers = [normal(60, 3, seed) for seed in range(5)]
    alone, together = (ricci_coefficient(layers, 4, workers=workers) for workers in (1, 3))
    assert alone.rho == together.rho and np.array_equal(alone.curvature, together.curvature)


def test_graphs_too_large_for_the_memory_are_refused_before_they_are_built(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**20))
    with pytest.raises(ValueError, match=r"graphs of 50 points need 0\.0 GiB, 0\.0 are free: pass points="):
        ricci_coefficient([normal(50)] * 3, 4)


def test_hub_hand_case():
    # four points around a centre, k = 1: all corners point at the centre, which ties to all four
    points = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    assert neighbour_graph(points, 1).sum(axis=1).tolist() == [4, 1, 1, 1, 1]
    assert total_curvature(neighbour_graph(points, 1)) == 8 * (4 - 8 - 2)
    assert total_curvature(neighbour_graph(points, 1, "union"), "union") == 4 * (4 - 4 - 1)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_identities(k):
    n, points = 200, normal(200)
    directed, union = neighbour_graph(points, k), neighbour_graph(points, k, "union")
    in_degree, degree = directed.sum(axis=0), union.sum(axis=1)
    assert directed.sum(axis=1).tolist() == [k] * n  # no ties
    expected = 4 * n * k - 4 * n * k**2 - n * np.var(in_degree)
    assert total_curvature(directed, "directed") == pytest.approx(expected, rel=1e-12)
    assert total_curvature(union, "union") == 2 * degree.sum() - (degree**2).sum()
    assert total_curvature(directed, "directed") != total_curvature(union, "union")


@pytest.mark.parametrize("change", ["permutation", "rotation", "scale", "shift"])
def test_invariances(change):
    points = normal(80, 4)
    changed = {
        "permutation": points[np.random.default_rng(1).permutation(80)],
        "rotation": points @ np.linalg.qr(normal(4, 4, seed=2)).Q,
        "scale": 1e200 * points,  # squares would overflow
        "shift": points + 3,
    }[change]
    assert graph_statistics(changed, [2, 7]) == graph_statistics(points, [2, 7])


def test_the_union_of_the_graphs_grows_with_k():
    curvature = [statistics.union_curvature for statistics in graph_statistics(normal(60), range(2, 60))]
    assert curvature == sorted(curvature, reverse=True)
    last = graph_statistics(normal(60), [59])[0]
    assert last == (59, 60 * 59, 30 * 59, 60 * 59 * (4 - 4 * 59), 30 * 59 * (4 - 2 * 59), 60 * 59)


@pytest.mark.parametrize("convention", ["directed", "union"])
@pytest.mark.parametrize("ties", [False, True])
def test_coefficient_is_the_correlation_of_slow_graphs(convention, ties):
    layers = [np.round(2 * normal(30, 3, seed)) if ties else normal(30, 3, seed) for seed in range(6)]
    found = ricci_coefficient(layers, 6, convention)
    rho = slow_coefficient(layers, 6, convention)
    assert found.rho == pytest.approx(rho, abs=1e-9)
    assert found.z == pytest.approx(math.atanh(rho) / math.sqrt(2), abs=1e-8)
    assert found.connected and found.eta.tolist() == np.diff(found.hop_sums).tolist()
    graphs = [neighbour_graph(points, 6, convention) for points in layers]
    assert found.hop_sums.tolist() == [hop_sum(built) for built in graphs]
    assert found.curvature.tolist() == [total_curvature(built, convention) for built in graphs]


def test_conventions_give_different_coefficients():
    layers = [normal(50, 3, seed) for seed in range(6)]
    directed, union = (ricci_coefficient(layers, 4, convention) for convention in ("directed", "union"))
    assert directed.rho != union.rho and directed.hop_sums.tolist() == union.hop_sums.tolist()


def test_disconnected_layer():
    layers = [normal(30, 3, seed) for seed in range(6)]
    layers[3], layers[4] = two_clusters(30), two_clusters(30)
    found = ricci_coefficient(layers, 5)
    assert math.isnan(found.rho) and math.isnan(found.z) and not found.connected
    assert np.isinf(found.hop_sums).tolist() == [False, False, False, True, True, False]
    assert np.isfinite(found.curvature).all()


def test_constant_side_has_no_coefficient():
    same = ricci_coefficient([normal(20)] * 5, 4)
    assert math.isnan(same.rho) and same.connected and same.eta.tolist() == [0] * 4
    assert math.isnan(ricci_coefficient([normal(20), normal(20, seed=1)], 4).rho)  # one point


def test_few_layers_have_no_standardised_coefficient():
    found = ricci_coefficient([normal(20, 3, seed) for seed in range(4)], 4)
    assert math.isfinite(found.rho) and math.isnan(found.z)
    assert np.isnan(standardise(np.array([0.1, 0.2]), 4)).all()
    assert standardise(-1.0, 5) == math.atanh(-0.999999)
    assert standardise(np.array([0.5, math.nan]), 13)[0] == pytest.approx(math.atanh(0.5) / 3)


def test_correlation_of_tables():
    generator = np.random.default_rng(0)
    hops, curvature = generator.integers(10**6, 10**7, (4, 3, 8)), generator.integers(-(10**9), 0, (4, 3, 8))
    table = hops.astype(float)
    table[1, 2, 7] = math.inf
    curvature[2, 0, :7] = 5  # the last layer's curvature is not used
    rho = ricci_correlation(table, curvature)
    assert rho.shape == (4, 3) and np.isnan(rho[1, 2]) and np.isnan(rho[2, 0]) and np.isnan(rho).sum() == 2
    for index in np.ndindex(4, 3):
        if not np.isnan(rho[index]):
            expected = np.corrcoef(np.diff(hops[index]), curvature[index][:-1])[0, 1]
            assert rho[index] == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match=r"expected two arrays \(\.\.\., L\)"):
        ricci_correlation(table, curvature[0])
    with pytest.raises(ValueError, match="L >= 2"):
        ricci_correlation(np.ones((3, 1)), np.ones((3, 1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_and_numpy_agree(dtype):
    layers = [torch.from_numpy(normal(30, 3, seed)).to(dtype).requires_grad_() for seed in range(5)]
    given_arrays = [points.detach().numpy() for points in layers]
    assert ricci_coefficient(layers, 5).rho == ricci_coefficient(given_arrays, 5).rho
    assert (neighbour_graph(layers[0], 5) != neighbour_graph(given_arrays[0], 5)).nnz == 0
    assert isinstance(neighbour_graph(layers[0], 5), csr_array)


@pytest.mark.parametrize(
    ("points", "k", "message"),
    [
        (normal(5)[0], 1, r"shape \(n, w\).*got \(3,\)"),
        (normal(1), 1, "n >= 2"),
        (normal(5)[:, :0], 1, "w >= 1"),
        (np.full((5, 2), math.nan), 1, "non-finite"),
        (np.full((5, 2), math.inf), 1, "non-finite"),
        (normal(5), 0, "from 1 to n - 1 = 4, got 0"),
        (normal(5), 5, "from 1 to n - 1 = 4, got 5"),
        (normal(5), 2.5, "got 2.5"),
        (normal(5), True, "got True"),
    ],
)
def test_bad_points_are_named(points, k, message):
    for call in (neighbour_graph, lambda p, k: graph_statistics(p, [k]), lambda p, k: ricci_coefficient([p, p], k)):
        with pytest.raises(ValueError, match=message):
            call(points, k)


def test_bad_options_are_named():
    built = neighbour_graph(normal(5), 2)
    calls = (
        lambda c: neighbour_graph(normal(5), 2, c),
        lambda c: total_curvature(built, c),
        lambda c: ricci_coefficient([normal(5)] * 3, 2, c),
    )
    for call in calls:
        with pytest.raises(ValueError, match="convention must be one of directed, union, got 'mutual'"):
            call("mutual")
    with pytest.raises(ValueError, match="at least 2 layers, got 1"):
        ricci_coefficient([normal(5)], 2)
    with pytest.raises(ValueError, match="points must be a whole number from 1 to n = 9, got 10"):
        ricci_coefficient([normal(9)] * 3, 2, points=10)
    with pytest.raises(ValueError, match="workers must be a whole number of at least 1, got 0"):
        ricci_coefficient([normal(9)] * 3, 2, workers=0)
    with pytest.raises(ValueError, match=r"the same points, got \[5, 6\]"):
        ricci_coefficient([normal(5), normal(6)], 2)
    for neighbours in ([], range(1, 257)):
        with pytest.raises(ValueError, match=f"1 to 255 values of k, got {len(neighbours)}"):
            graph_statistics(normal(300), neighbours)


def test_bad_graphs_are_named():
    with pytest.raises(ValueError, match="must be symmetric"):
        total_curvature(np.eye(4, k=1), "union")
    for call in (total_curvature, hop_sum):
        with pytest.raises(ValueError, match="self-loops"):
            call(np.eye(4))
        with pytest.raises(ValueError, match="square"):
            call(np.ones((2, 3)))


def test_stored_zeros_and_duplicates_are_no_further_arcs():
    rows, columns = [0, 1, 0, 1, 2, 2], [1, 0, 1, 2, 1, 0]
    matrix = coo_array(([1, 1, 1, 1, 1, 0], (rows, columns)), shape=(3, 3))
    assert total_curvature(matrix, "union") == 2 and hop_sum(matrix) == 8  # a path of three
