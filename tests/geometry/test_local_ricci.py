import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.sparse import csr_array

from repro.geometry import graph_compiled, graph_plain
from repro.geometry import neighbours as graphs_module
from repro.geometry.graph import (
    edge_curvature,
    layer_ricci_coefficients,
    local_ricci,
    local_ricci_coefficients,
    neighbour_graph,
)
from repro.geometry.neighbours import hops_to_neighbours


@pytest.fixture(params=[graph_compiled, graph_plain], ids=["compiled", "plain"])
def loops(request, monkeypatch):
    monkeypatch.setattr(graphs_module, "loops", request.param)


def normal(n, width=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width))


def adjacency(network):
    return csr_array(nx.to_scipy_sparse_array(network, nodelist=sorted(network)))


def random_network(seed, n=14):
    return nx.compose(nx.gnp_random_graph(n, 0.3, seed=seed), nx.cycle_graph(n))  # connected


# independent implementations


def transport_cost(network, x, y):
    """W₁ between uniform measures on the neighbours of x and of y, as a linear programme over the transport plan."""
    sources, targets = list(network[x]), list(network[y])
    lengths = dict(nx.all_pairs_shortest_path_length(network))
    cost = [lengths[a][b] for a in sources for b in targets]
    shape = len(sources), len(targets)
    leaving = [np.repeat(np.eye(shape[0])[i], shape[1]) for i in range(shape[0])]
    arriving = [np.tile(np.eye(shape[1])[j], shape[0]) for j in range(shape[1])]
    totals = [1 / shape[0]] * shape[0] + [1 / shape[1]] * shape[1]
    return linprog(cost, A_eq=leaving + arriving, b_eq=totals).fun


def slow_curvature(network, x, y, curvature):
    forman = 4 - network.degree(x) - network.degree(y)
    if curvature == "forman":
        return forman
    if curvature == "augmented":
        return forman + 3 * len(list(nx.common_neighbors(network, x, y)))
    return 1 - transport_cost(network, x, y)


def slow_local(layers, k, curvature):
    """O and eta of shape (L − 1, n) by loops; a neighbour out of reach makes eta NaN."""
    networks = [nx.from_scipy_sparse_array(neighbour_graph(points, k, "union")) for points in layers]
    o, eta = [], []
    for network, following in pairwise(networks):
        lengths = dict(nx.all_pairs_shortest_path_length(following))
        o.append([np.mean([slow_curvature(network, x, y, curvature) for y in network[x]]) for x in network])
        eta.append([np.mean([lengths[x].get(y, math.nan) - 1 for y in network[x]]) for x in network])
    return np.array(o), np.array(eta)


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("curvature", ["forman", "augmented"])
@pytest.mark.parametrize("seed", range(3))
def test_edge_curvature_is_that_of_networkx(curvature, seed):
    network = random_network(seed, n=90)
    found = edge_curvature(adjacency(network), curvature)
    assert found.nnz == 2 * network.number_of_edges()
    for x, y in network.edges:
        assert found[x, y] == found[y, x] == slow_curvature(network, x, y, curvature)


def test_augmented_total_counts_triangles():
    network = random_network(5, n=40)
    matrix = adjacency(network)
    difference = edge_curvature(matrix, "augmented").sum() - edge_curvature(matrix, "forman").sum()
    assert difference == 2 * 3 * sum(nx.triangles(network).values())  # each triangle: 3 vertices, 3 edges, 2 directions


@pytest.mark.parametrize("seed", range(4))
def test_ollivier_is_a_linear_programme(seed):
    network = random_network(seed)
    found = edge_curvature(adjacency(network), "ollivier")
    for x, y in network.edges:
        assert found[x, y] == found[y, x] == pytest.approx(1 - transport_cost(network, x, y), abs=1e-9)


@pytest.mark.parametrize(
    ("network", "edge", "expected"),
    [
        (nx.complete_graph(6), (0, 1), 1 - 1 / 5),  # 1/5 of the mass moves from y to x
        (nx.complete_graph(3), (0, 1), 1 / 2),
        (nx.path_graph(2), (0, 1), 0),  # all mass moves across the edge
        (nx.path_graph(5), (1, 2), 0),  # {0, 2} to {1, 3}
        (nx.path_graph(5), (0, 1), 0),  # {1} to {0, 2}
        (nx.cycle_graph(4), (0, 1), 0),
        (nx.cycle_graph(5), (0, 1), 0),  # {1, 4} to {0, 2}: one hop each
        (nx.cycle_graph(8), (0, 1), 0),
        (nx.star_graph(4), (0, 1), 0),  # leaves to the centre
        (nx.balanced_tree(2, 3), (0, 1), 2 / 2 + 2 / 3 - 2),  # in a tree 2/deg x + 2/deg y − 2 inside
        (nx.balanced_tree(2, 3), (1, 3), 2 / 3 + 2 / 3 - 2),
        (nx.complete_bipartite_graph(3, 3), (0, 3), 0),
    ],
)
def test_ollivier_of_hand_graphs(network, edge, expected):
    assert edge_curvature(adjacency(network), "ollivier")[edge] == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("curvature", ["forman", "augmented", "ollivier"])
def test_a_curvature_of_zero_is_stored(curvature):
    found = edge_curvature(adjacency(nx.cycle_graph(6)), curvature)
    assert found.nnz == 12 and not found.data.any()


@pytest.mark.usefixtures("loops")
def test_hops_to_neighbours():
    path, ring = nx.path_graph(5), nx.cycle_graph(5)
    assert hops_to_neighbours(adjacency(ring), adjacency(path)).tolist() == [5, 2, 2, 2, 5]
    assert hops_to_neighbours(adjacency(path), adjacency(ring)).tolist() == [1, 2, 2, 2, 1]
    ring.remove_edges_from([(0, 1), (2, 3)])  # {3, 4, 0} and {1, 2}
    found = hops_to_neighbours(adjacency(path), adjacency(ring))
    assert np.isnan(found).tolist() == [True, True, True, True, False] and found[4] == 1
    with pytest.raises(ValueError, match="same vertices, got 5 and 6"):
        hops_to_neighbours(adjacency(path), adjacency(nx.path_graph(6)))


@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("curvature", ["forman", "augmented"])
@pytest.mark.parametrize("split", [False, True])
def test_local_ricci_is_that_of_loops(curvature, split):
    layers = [normal(70, 3, seed) for seed in range(6)]
    if split:
        layers[3][:30] += 100  # two components: neighbours of layer 2 across the gap are out of reach
    check_local(layers, 4, curvature, gaps=split)


def test_local_ricci_with_ollivier():
    check_local([normal(16, 2, seed) for seed in range(5)], 3, "ollivier", gaps=False)


def check_local(layers, k, curvature, gaps):
    o, eta = slow_local(layers, k, curvature)
    found = local_ricci(layers, k, curvature)
    assert np.allclose(found.curvature, o, rtol=0, atol=1e-9)
    assert np.allclose(found.eta, eta, rtol=0, atol=1e-12, equal_nan=True)
    assert np.isnan(eta).any() == gaps
    for x, coefficient in enumerate(found.points):
        gap = np.isnan(eta[:, x]).any()
        expected = math.nan if gap else np.corrcoef(o[:, x], eta[:, x])[0, 1]
        assert coefficient == pytest.approx(expected, abs=1e-9, nan_ok=True)
    for step, coefficient in enumerate(found.layers):
        kept = ~np.isnan(eta[step])
        assert coefficient == pytest.approx(np.corrcoef(o[step, kept], eta[step, kept])[0, 1], abs=1e-9)
    assert np.array_equal(local_ricci_coefficients(layers, k, curvature), found.points, equal_nan=True)
    assert np.array_equal(layer_ricci_coefficients(layers, k, curvature), found.layers, equal_nan=True)


def test_unchanging_layers_have_no_coefficients():
    found = local_ricci([normal(20)] * 4, 3)
    assert not found.eta.any() and np.isnan(found.points).all() and np.isnan(found.layers).all()


def test_a_layer_that_separates_every_point_from_a_neighbour():
    pairs = np.repeat(np.arange(6.0) * 100, 2)[:, None] + np.tile([0.0, 1.0], 6)[:, None]
    other = np.roll(pairs, 1, axis=0)  # other partners
    found = local_ricci([pairs, other, pairs], 1)
    assert np.isnan(found.eta).all() and np.isnan(found.points).all() and np.isnan(found.layers).all()


def test_torch_input_and_shapes():
    layers = [normal(25, width, width) for width in (2, 5, 3, 4)]
    found = local_ricci([torch.from_numpy(points) for points in layers], 5)
    assert found.points.shape == (25,) and found.layers.shape == (3,)
    assert found.curvature.shape == found.eta.shape == (3, 25)
    for from_torch, from_numpy in zip(found, local_ricci(layers, 5), strict=True):
        assert np.array_equal(from_torch, from_numpy)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="curvature must be one of forman, augmented, ollivier, got 'ricci'"):
        local_ricci([normal(10)] * 3, 2, "ricci")
    with pytest.raises(ValueError, match="must be symmetric"):
        edge_curvature(np.eye(4, k=1))
    with pytest.raises(ValueError, match="self-loops"):
        edge_curvature(np.eye(4))
    with pytest.raises(ValueError, match="at least 2 layers, got 1"):
        local_ricci([normal(10)], 2)
    with pytest.raises(ValueError, match=r"the same points, got \[10, 11\]"):
        local_ricci([normal(10), normal(11)], 2)
    with pytest.raises(ValueError, match="from 1 to n - 1 = 9, got 10"):
        local_ricci([normal(10)] * 3, 10)
