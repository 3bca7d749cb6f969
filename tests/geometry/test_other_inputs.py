"""Arrays, sequences and networks of other people: the numbers of the plain input, or one sentence with the argument."""

import dataclasses
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import coo_array, csr_array, issparse
from torch import nn

from repro.geometry import graph, infinite_width, kernel_pca, neighbours, ntk, pullback
from repro.geometry.activations import activations
from repro.geometry.arrays import as_array, as_tensor
from repro.geometry.compression import amplification
from repro.geometry.jacobian import jacobian
from repro.training.svm import hard_margin_svm, soft_margin_svm

pytestmark = pytest.mark.filterwarnings("error")

RNG = np.random.default_rng(0)
X, OTHER = (RNG.integers(-4, 5, (12, 3)).astype(np.float64) for _ in range(2))  # exact in every precision
FACTOR = RNG.integers(-1, 2, (12, 12))
GRAM = (FACTOR @ FACTOR.T + 12 * np.eye(12)).astype(np.float64)
LABELS = np.tile([1.0, -1.0], 6)
RING = np.roll(np.eye(12), 1, axis=0) + np.roll(np.eye(12), -1, axis=0)
HOPS, CURVATURE = np.array([9.0, 4.0, 7.0, 1.0]), np.array([1.0, -3.0, 2.0, 0.0])
WEIGHT, BIAS, READOUT = RNG.integers(-2, 3, (5, 3)).astype(np.float64), np.arange(5.0), np.array([1.0, 1, -1, 1, -1])
torch.manual_seed(0)
NETWORK = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
MACHINE = hard_margin_svm(GRAM, LABELS)
FEATURES = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).double()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, once, on the first use of its forward mode
    pullback.metric(FEATURES, torch.zeros(1, 3).double())


class Case(NamedTuple):
    """A function of one argument of a public function."""

    argument: str
    plain: np.ndarray
    call: Callable
    double: bool = True  # float64 is used whatever comes; otherwise another precision may be refused
    finite: bool = True  # what is not finite is refused
    taken: str = ""  # what the others refuse and this takes


CASES = {
    "activations": Case("points", X, lambda x: activations(NETWORK, x), double=False),
    "jacobian": Case("x", X, lambda x: jacobian(NETWORK, x), double=False),
    "empirical_ntk x": Case("x", X, lambda x: ntk.empirical_ntk(NETWORK, x), double=False),
    "empirical_ntk y": Case(
        "y", X, lambda x: ntk.empirical_ntk(NETWORK, torch.tensor(X), x), double=False, taken="none"
    ),
    "relu_ntk x": Case("x", X, ntk.relu_ntk, double=False),
    "relu_ntk y": Case("y", X, lambda y: ntk.relu_ntk(OTHER, y), double=False, taken="none"),
    "shallow_ntk weight": Case("weight", WEIGHT, lambda w: ntk.shallow_ntk(w, BIAS, READOUT, X), double=False),
    "shallow_ntk bias": Case("bias", BIAS, lambda b: ntk.shallow_ntk(WEIGHT, b, READOUT, X), double=False),
    "shallow_ntk readout": Case("readout", READOUT, lambda r: ntk.shallow_ntk(WEIGHT, BIAS, r, X), double=False),
    "shallow_ntk x": Case("x", X, lambda x: ntk.shallow_ntk(WEIGHT, BIAS, READOUT, x), double=False),
    "shallow_ntk y": Case(
        "y", X, lambda y: ntk.shallow_ntk(WEIGHT, BIAS, READOUT, OTHER, y), double=False, taken="none"
    ),
    "label_projection gram": Case("gram", GRAM, lambda k: kernel_pca.label_projection(k, LABELS).eigenvalues),
    "label_projection labels": Case("labels", LABELS, lambda y: kernel_pca.label_projection(GRAM, y).share),
    "label_alignment gram": Case("gram", GRAM, lambda k: kernel_pca.label_alignment(k, LABELS)),
    "label_alignment labels": Case("labels", LABELS, lambda y: kernel_pca.label_alignment(GRAM, y)),
    "eigenvector_information gram": Case("gram", GRAM, lambda k: kernel_pca.eigenvector_information(k, LABELS)),
    "eigenvector_information labels": Case("labels", LABELS, lambda y: kernel_pca.eigenvector_information(GRAM, y)),
    "coordinate_information": Case("coordinate", X[:, 0], lambda x: kernel_pca.coordinate_information(x, LABELS)),
    "coordinate_information labels": Case("labels", LABELS, lambda y: kernel_pca.coordinate_information(X[:, 0], y)),
    "amplification": Case("weight", WEIGHT, amplification),
    "input_jacobian": Case("x", X, lambda x: pullback.input_jacobian(FEATURES, x), double=False),
    "metric": Case("x", X, lambda x: pullback.metric(FEATURES, x), double=False),
    "volume_element": Case("x", X, lambda x: pullback.volume_element(FEATURES, x), double=False),
    "log_effective_volume": Case("x", X, lambda x: pullback.log_effective_volume(FEATURES, x), double=False),
    "singular_values": Case("x", X, lambda x: pullback.singular_values(FEATURES, x), double=False),
    "ricci_scalar": Case("x", X, lambda x: pullback.ricci_scalar(FEATURES, x), double=False),
    "shallow_metric": Case("x", X, lambda x: pullback.shallow_metric(WEIGHT, BIAS, x), double=False),
    "shallow_volume_element": Case(
        "weight", WEIGHT, lambda w: pullback.shallow_volume_element(w, BIAS, X, "erf"), double=False
    ),
    "shallow_ricci_scalar": Case(
        "bias", BIAS, lambda b: pullback.shallow_ricci_scalar(WEIGHT, b, X / 8, "tanh"), double=False
    ),
    "infinite_width metric": Case("x", X, lambda x: infinite_width.metric(x, "sigmoid")),
    "infinite_width volume": Case("x", X, lambda x: infinite_width.volume_element(x, "erf")),
    "infinite_width ricci": Case("x", X, lambda x: infinite_width.ricci_scalar(x, "monomial2")),
    "neighbour_graph": Case("points", X, lambda x: neighbours.neighbour_graph(x, 3)),
    "graph_statistics": Case("points", X, lambda x: neighbours.graph_statistics(x, [2, 3])),
    "total_curvature": Case("graph", RING, lambda g: neighbours.total_curvature(g, "union")),
    "hop_sum": Case("graph", RING, neighbours.hop_sum),
    "edge_curvature": Case("graph", RING, neighbours.edge_curvature),
    "hops_to_neighbours graph": Case("graph", RING, lambda g: neighbours.hops_to_neighbours(g, RING)),
    "hops_to_neighbours next": Case("next_graph", RING, lambda g: neighbours.hops_to_neighbours(RING, g)),
    "ricci_coefficient": Case("layers[1]", X, lambda x: graph.ricci_coefficient([OTHER, x, OTHER], 3)),
    "local_ricci": Case("layers[1]", X, lambda x: graph.local_ricci([OTHER, x, OTHER], 3)),
    "local_ricci_coefficients": Case("layers[0]", X, lambda x: graph.local_ricci_coefficients([x, OTHER, X], 3)),
    "layer_ricci_coefficients": Case("layers[2]", X, lambda x: graph.layer_ricci_coefficients([X, OTHER, x], 3)),
    "ricci_correlation": Case("hop_sums", HOPS, lambda g: graph.ricci_correlation(g, CURVATURE), finite=False),
    "ricci_correlation curvature": Case(
        "curvature", CURVATURE, lambda c: graph.ricci_correlation(HOPS, c), finite=False
    ),
    "hard_margin_svm gram": Case("gram", GRAM, lambda k: hard_margin_svm(k, LABELS)),
    "hard_margin_svm labels": Case("labels", LABELS, lambda y: hard_margin_svm(GRAM, y)),
    "soft_margin_svm gram": Case("gram", GRAM, lambda k: soft_margin_svm(k, LABELS, 1.0)),
    "soft_margin_svm labels": Case("labels", LABELS, lambda y: soft_margin_svm(GRAM, y, 1.0)),
    "decision": Case("cross_gram", GRAM[:, MACHINE.support], MACHINE.decision, taken="no rows"),
}


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def objects(array):
    rows = np.empty(len(array), dtype=object)
    rows[:] = [row if array.ndim == 1 else row.copy() for row in array]
    return rows


def fractions(array):
    return np.array([Fraction(int(value)) for value in array.ravel()], dtype=object).reshape(array.shape)


def table(array, dtype="float64"):
    kind = pd.Series if array.ndim == 1 else pd.DataFrame
    return kind(array).astype(dtype)


def doubled(array):
    """A tensor with a stride of two."""
    return torch.from_numpy(np.repeat(array, 2, axis=-1))[..., ::2]


SAME = {  # float64 all of them
    "tensor": torch.from_numpy,
    "gradient": lambda a: torch.tensor(a, requires_grad=True),
    "parameter": lambda a: nn.Parameter(torch.tensor(a)),
    "result of a computation": lambda a: torch.tensor(a, requires_grad=True) * 1,
    "strided tensor": doubled,
    "negated view": lambda a: torch.complex(torch.zeros(a.shape).double(), torch.tensor(-a)).conj().imag,
    "negative strides": lambda a: a[::-1].copy()[::-1],
    "column order": np.asfortranarray,
    "strided array": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "big-endian": lambda a: a.astype(">f8"),
    "big-endian, read-only": lambda a: read_only(a.astype(">f8")),
    "read-only": read_only,
    "broadcast view": lambda a: np.broadcast_to(a, (1, *a.shape))[0],
    "table": table,
    "table of objects": lambda a: table(a, object),
    "nullable table": lambda a: table(a, "Float64"),
    "lists": lambda a: a.tolist(),
    "tuple of arrays": tuple,
    "list of tensors": lambda a: [torch.tensor(row, requires_grad=True) for row in a],
    "objects": lambda a: a.astype(object),
    "object array of rows": objects,
    "fractions": fractions,
    "masked array without masks": np.ma.array,
}
OTHER_TYPE = {
    "float32": lambda a: a.astype(np.float32),
    "float32 tensor": lambda a: torch.tensor(a, dtype=torch.float32),
    "float16": lambda a: a.astype(np.float16),
    "float16 tensor": lambda a: torch.tensor(a, dtype=torch.float16),
    "bfloat16 tensor": lambda a: torch.tensor(a, dtype=torch.bfloat16),
    "long double": lambda a: a.astype(np.longdouble),
    "integers": lambda a: a.astype(np.int64),
    "big-endian integers": lambda a: a.astype(">i4"),
    "integer tensor": lambda a: torch.tensor(a, dtype=torch.int32),
    "integer table": lambda a: table(a, "int8"),
    "nullable integer table": lambda a: table(a, "Int64"),
    "lists of integers": lambda a: a.astype(int).tolist(),
}


def unlike(array, change):
    """The array with another first entry, as an object array."""
    changed = array.astype(object)
    changed[(0,) * array.ndim] = change
    return changed


def masked(array):
    return np.ma.array(array, mask=array == array.max())


def without_warning(make):
    def made(array):
        with warnings.catch_warnings():  # torch tells that its sparse and quantised tensors are young or old
            warnings.simplefilter("ignore")
            return make(array)

    return made


REFUSED = {
    "ragged objects": lambda a: np.array([np.zeros(1), np.zeros(2)] * 6, dtype=object),
    "ragged lists": lambda a: [[0.0], [1.0, 2.0]],
    "ragged tensors": lambda a: [torch.zeros(1), torch.zeros(2)],
    "strings": lambda a: a.astype(str),
    "string objects": lambda a: a.astype(str).astype(object),
    "one string": lambda a: unlike(a, "1.0"),
    "a string": lambda a: "activations.npy",
    "bytes": lambda a: a.astype(bytes),
    "a missing value": lambda a: unlike(a, None),
    "missing in a table": lambda a: table(unlike(a, pd.NA), object),
    "dates": lambda a: a.astype("datetime64[s]"),
    "complex": lambda a: a + 0j,
    "complex object": lambda a: unlike(a, 1j),
    "complex tensor": lambda a: torch.tensor(a + 0j),
    "sparse tensor": without_warning(lambda a: torch.tensor(a).to_sparse()),
    "quantised tensor": without_warning(
        lambda a: torch.quantize_per_tensor(torch.tensor(a).float(), 1, 0, torch.qint8)
    ),
    "nested tensor": without_warning(lambda a: torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)])),
    "meta tensor": lambda a: torch.tensor(a, device="meta"),
    "masked entries": masked,
    "list of masked rows": lambda a: list(masked(np.atleast_2d(a))),
    "empty list": lambda a: [],
    "no rows": lambda a: a[:0],
    "no columns": lambda a: a[..., :0],
    "a number": lambda a: 1.0,
    "no dimension": lambda a: torch.tensor(1.0, dtype=torch.float64),
    "none": lambda a: None,
    "mapping": lambda a: {"values": a},
    "generator": lambda a: (row for row in a),
    "structured": lambda a: np.zeros(len(a), dtype=[("a", float)]),
}
NOT_FINITE = {
    "overflow": lambda a: np.where(a == a.max(), np.inf, a).astype(np.float16),
    "overflow in bfloat16": lambda a: (torch.tensor(a) * 1e39).to(torch.bfloat16),
    "nan": lambda a: np.where(a == a.max(), np.nan, a),
    "nan tensor": lambda a: torch.tensor(np.where(a == a.max(), np.nan, a)),
    "nan in a table": lambda a: table(np.where(a == a.max(), np.nan, a)),
    "long double too large": without_warning(lambda a: a.astype(np.longdouble) * np.longdouble("1e400")),
}


def numbers(result):
    """The numbers of any result, as a list of arrays."""
    if issparse(result):
        return [result.toarray()]
    if isinstance(result, torch.Tensor):
        assert not result.requires_grad
        return [result.numpy()]
    if dataclasses.is_dataclass(result):
        return numbers(tuple(vars(result).values()))
    if isinstance(result, list | tuple):
        return [array for item in result for array in numbers(item)]
    return [np.asarray(result)]


def refusal(call, argument):
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and argument in message, message


@pytest.mark.parametrize("name", CASES)
def test_other_forms_of_the_same_numbers_give_the_same_result(name):
    case = CASES[name]
    expected = numbers(case.call(torch.from_numpy(case.plain)))
    for form, make in SAME.items():
        found = numbers(case.call(make(case.plain)))
        assert all(map(lambda a, b: np.allclose(a, b, rtol=1e-12, atol=1e-12, equal_nan=True), found, expected)), form
        assert len(found) == len(expected)


@pytest.mark.parametrize("name", CASES)
def test_other_types_of_number_give_the_same_result_or_one_sentence_where_precision_matters(name):
    case = CASES[name]
    expected = numbers(case.call(torch.from_numpy(case.plain)))
    for form, make in OTHER_TYPE.items():
        try:
            found = numbers(case.call(make(case.plain)))
        except ValueError as error:
            assert not case.double, form
            refusal(lambda error=error: (_ for _ in ()).throw(error), case.argument)
            continue
        tolerance = 1e-12 if case.double else 1e-5  # float32
        assert all(map(lambda a, b: np.allclose(a, b, tolerance, tolerance, equal_nan=True), found, expected)), form


@pytest.mark.parametrize("name", CASES)
def test_what_holds_no_numbers_is_one_sentence_that_names_the_argument(name):
    case = CASES[name]
    for form, make in {**REFUSED, **(NOT_FINITE if case.finite else {})}.items():
        if form == case.taken:
            case.call(make(case.plain))
        else:
            refusal(lambda make=make: case.call(make(case.plain)), case.argument)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_plain_arrays_and_tensors_are_neither_copied_nor_changed(kind):
    for plain in (X.astype(kind), np.asfortranarray(X, dtype=kind)):
        tensor = as_tensor(plain, "x")
        assert np.shares_memory(tensor.numpy(), plain) and tensor.numpy().strides == plain.strides
        assert as_tensor(tensor, "x").data_ptr() == tensor.data_ptr()
        assert np.shares_memory(as_array(plain, "x"), plain) == (kind is np.float64)
        assert (
            as_array(plain, "x").flags.c_contiguous
            == as_array(tensor, "x").flags.c_contiguous
            == plain.flags.c_contiguous
        )


def test_bools_are_numbers():
    assert neighbours.hop_sum(RING > 0) == neighbours.hop_sum(RING)
    assert neighbours.hop_sum(torch.from_numpy(RING > 0)) == neighbours.hop_sum(RING)
    assert neighbours.graph_statistics(X > 0, [1]) == neighbours.graph_statistics((X > 0).astype(float), [1])


@pytest.mark.parametrize("convert", [csr_array, coo_array], ids=["rows", "triples"])
def test_sparse_graphs_are_graphs(convert):
    assert neighbours.hop_sum(convert(RING.astype(bool))) == neighbours.hop_sum(RING)
    refusal(lambda: neighbours.hop_sum(convert(RING * 1j)), "graph")
    refusal(lambda: neighbours.hop_sum(convert(np.where(RING > 0, np.nan, 0.0))), "graph")
    refusal(lambda: neighbours.hops_to_neighbours(RING, convert(RING[:3])), "next_graph")


# Sequences


def test_what_can_be_gone_through_once_is_a_sequence():
    layers = [X, OTHER, X + OTHER, X - OTHER]
    assert neighbours.graph_statistics(X, (k for k in (2, 3))) == neighbours.graph_statistics(X, [2, 3])
    assert neighbours.graph_statistics(X, np.array([3, 2, 3])) == neighbours.graph_statistics(X, [3, 2, 3])
    for function in (graph.ricci_coefficient, graph.local_ricci, graph.local_ricci_coefficients,
                     graph.layer_ricci_coefficients):  # fmt: skip
        expected = numbers(function(layers, 3))
        for given in (iter(layers), (layer for layer in layers), tuple(layers), np.array(layers), {1: layers}[1],
                      torch.tensor(np.array(layers), requires_grad=True)):  # fmt: skip
            assert all(map(lambda a, b: np.array_equal(a, b, equal_nan=True), numbers(function(given, 3)), expected))
    expected = activations(NETWORK, torch.from_numpy(X), ["0", "2"])
    for names in (("0", "2"), iter(["0", "2"]), np.array(["0", "2"]), pd.Series(["0", "2"])):
        assert all(map(torch.equal, activations(NETWORK, torch.from_numpy(X), names), expected))


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("neighbours", lambda: neighbours.graph_statistics(X, 3)),
        ("neighbours", lambda: neighbours.graph_statistics(X, torch.tensor(3))),
        ("neighbours", lambda: neighbours.graph_statistics(X, "23")),
        ("neighbours", lambda: neighbours.graph_statistics(X, {2: "two"})),
        ("neighbours", lambda: neighbours.graph_statistics(X, iter([]))),
        ("k", lambda: neighbours.graph_statistics(X, [2, "3"])),
        ("k", lambda: neighbours.graph_statistics(X, [[2], [3]])),
        ("k", lambda: neighbours.graph_statistics(X, [1, True])),
        ("layers", lambda: graph.ricci_coefficient({"a": X, "b": X}, 3)),
        ("layers", lambda: graph.ricci_coefficient(None, 3)),
        ("layers", lambda: graph.ricci_coefficient(torch.tensor(1.0), 3)),
        ("layers", lambda: graph.local_ricci("layers", 3)),
        ("layers[0]", lambda: graph.local_ricci(X, 3)),
        ("layers[0]", lambda: graph.local_ricci(table(X), 3)),
        ("layers", lambda: graph.local_ricci(iter([X]), 3)),
        ("layers", lambda: activations(NETWORK, torch.from_numpy(X), "0")),
        ("layers", lambda: activations(NETWORK, torch.from_numpy(X), [0])),
        ("layers", lambda: activations(NETWORK, torch.from_numpy(X), [["0"]])),
        ("layers", lambda: activations(NETWORK, torch.from_numpy(X), list(NETWORK))),
        ("layers", lambda: activations(NETWORK, torch.from_numpy(X), NETWORK[0].weight)),
        ("layers", lambda: activations(NETWORK, torch.from_numpy(X), 0)),
        ("layers", lambda: activations(NETWORK, torch.from_numpy(X), iter([]))),
    ],
)
def test_what_is_no_sequence_is_one_sentence(argument, call):
    refusal(call, argument)


WHOLE = {
    "k": (lambda k: neighbours.neighbour_graph(X, k), 3),
    "count": (lambda count: kernel_pca.eigenvector_information(GRAM, LABELS, count=count), 3),
    "neighbours": (lambda k: kernel_pca.eigenvector_information(GRAM, LABELS, neighbours=k), 3),
    "informative": (lambda count: amplification(WEIGHT, count), 2),
    "depth": (lambda depth: infinite_width.metric(X, "erf", depth=depth), 2),
    "batch_size": (lambda size: jacobian(NETWORK, torch.from_numpy(X), size), 5),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_those_of_python_and_numpy(name):
    call, value = WHOLE[name]
    expected = numbers(call(value))
    for kind in (np.int64, np.uint8):
        assert all(map(np.array_equal, numbers(call(kind(value))), expected))
    for other in (float(value), np.float64(value), True, np.True_, str(value), None, [value], np.ones((9, 9)), 0, -1):
        refusal(lambda other=other: call(other), name)


# Networks


class Answers(nn.Module):
    """Gives a mapping, as many libraries do."""

    def __init__(self):
        super().__init__()
        self.body, self.act, self.unused = nn.Linear(3, 4), nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return {"logits": self.act(self.body(x)), "loss": None}


def test_networks_of_any_result_and_points_of_integers_give_their_layers():
    network = Answers()
    (found,) = activations(network, torch.ones(5, 3))
    assert torch.equal(found, torch.relu(network.body(torch.ones(5, 3))))
    words = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 2), nn.Tanh())
    tokens = RNG.integers(0, 9, (6, 2))
    expected = activations(words, torch.from_numpy(tokens))[0]
    for given in (tokens, tokens.tolist(), pd.DataFrame(tokens), torch.from_numpy(tokens).int(), tokens.astype(">i4")):
        assert torch.equal(activations(words, given)[0], expected)


def test_arrays_are_taken_to_the_precision_of_the_network():
    for precision in (torch.float32, torch.float64, torch.bfloat16):
        network = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).to(precision)
        expected = activations(network, torch.from_numpy(X).to(precision))[0]
        for given in (X, X.astype(np.float32), table(X), X.tolist()):
            assert torch.equal(activations(network, given)[0], expected)


def lazy():
    return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 1))


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)))


ONES = torch.ones(5, 3)
SMALL = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("points", lambda: activations(SMALL, ONES.double())),
        ("points", lambda: activations(SMALL, ONES.long())),
        ("points", lambda: activations(SMALL, ONES.half())),
        ("points", lambda: activations(nn.Sequential(nn.Linear(3, 4, device="meta"), nn.ReLU()), ONES)),
        ("points", lambda: activations(SMALL, (ONES, ONES[:2]))),
        ("x", lambda: jacobian(SMALL, ONES.double())),
        ("x", lambda: pullback.metric(SMALL, ONES.double())),
        ("y", lambda: ntk.empirical_ntk(SMALL, ONES, ONES.double())),
        ("layers", lambda: activations(nn.Sequential(nn.LSTM(3, 4)), ONES, ["0"])),
        ("layers", lambda: activations(nn.Sequential(nn.GRU(3, 4)), ONES, ["0"])),
        ("layers", lambda: activations(Answers(), ONES, ["act", "unused"])),
        ("network", lambda: activations(nn.TransformerEncoderLayer(4, 1, 8), torch.ones(5, 2, 4))),
        ("network", lambda: activations(scripted(), ONES)),
        ("network", lambda: activations(nn.Sequential(scripted(), nn.ReLU()), ONES)),
        ("network", lambda: activations(lazy(), ONES)),
        ("network", lambda: activations(torch.relu, ONES)),
        ("network", lambda: activations(None, ONES)),
        ("network", lambda: jacobian(scripted(), ONES)),
        ("network", lambda: jacobian(lazy(), ONES)),
        ("network", lambda: jacobian(torch.relu, ONES)),
        ("network", lambda: pullback.metric(scripted(), ONES)),
        ("network", lambda: pullback.metric(lazy(), ONES)),
        ("feature_map", lambda: pullback.metric(None, ONES)),
        ("network", lambda: ntk.empirical_ntk(lazy(), ONES)),
        ("network", lambda: ntk.empirical_ntk(None, ONES)),
    ],
)
def test_what_a_network_cannot_do_is_one_sentence(argument, call):
    refusal(call, argument)


def test_a_lazy_network_is_left_lazy():
    network = lazy()
    refusal(lambda: activations(network, ONES), "'0.weight'")
    assert isinstance(network[0], nn.LazyLinear) and not network[0]._forward_hooks
