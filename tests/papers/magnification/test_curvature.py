"""Printed and true curvature: numbers by pen and paper, literal sums, and tables by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from repro.geometry.pullback import ricci_scalar, shallow_ricci_scalar
from repro.papers.magnification import curvature_analysis as analysis
from repro.papers.magnification.curvature import (
    FORMULAS,
    SURFACES,
    both_sides_cell,
    by_determinant,
    closed_example,
    printed_cell,
    printed_route,
    route_cell,
    three_terms,
    three_units,
    triple_sum,
)
from repro.papers.magnification.symmetry import profile_cell, random_layer

CPU = torch.device("cpu")
ORIGIN = torch.zeros(1, 2, dtype=torch.float64)


@pytest.mark.parametrize("bias", [0.5, 1.0, -2.0])
def test_three_units_at_the_origin_are_those_of_pen_and_paper(bias):
    """π b² exp b² by B.70, and three times that by Eq. 4: worked out in the notebook's first cell."""
    by_hand = math.pi * bias**2 * math.exp(bias**2)
    layer = three_units(bias, CPU)
    assert float(closed_example(bias, ORIGIN)) == pytest.approx(by_hand, rel=1e-13)
    assert float(shallow_ricci_scalar(*layer, ORIGIN, "erf")) == pytest.approx(by_hand, rel=1e-12)
    assert float(triple_sum(layer, ORIGIN, "erf")) == pytest.approx(3 * by_hand, rel=1e-12)
    assert float(three_terms(layer, ORIGIN, "erf")) == pytest.approx(3 * by_hand, rel=1e-12)


@pytest.mark.parametrize("bias", [0.0, 0.5, 1.0])
def test_the_closed_example_in_terms_of_the_determinant_is_the_same_number(bias):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 2)))
    torch.testing.assert_close(by_determinant(bias, x), closed_example(bias, x), rtol=1e-9, atol=0)


def test_the_triple_sum_is_the_literal_one():
    weight, bias = random_layer(5, 0, 0, CPU)
    x = torch.tensor([[0.3, -0.8]], dtype=torch.float64)
    w, z = weight.numpy(), (weight @ x[0] + bias).numpy()
    slope = np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)
    bend = -z * slope
    m = np.array([[w[j, 0] * w[k, 1] - w[j, 1] * w[k, 0] for k in range(5)] for j in range(5)])
    determinant = sum(m[j, k] ** 2 * slope[j] ** 2 * slope[k] ** 2 for j in range(5) for k in range(5)) / 50
    total = sum(
        m[j, k] ** 2 * m[i, j] * m[i, k] * slope[i] ** 2 * slope[j] * slope[k] * bend[j] * bend[k]
        for i in range(5) for j in range(5) for k in range(5)
    )  # fmt: skip
    expected = -3 * total / (125 * determinant**2)
    assert float(triple_sum((weight, bias), x, "erf")) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("formula", FORMULAS)
def test_printed_over_true_is_three_or_one(formula):
    frame = pd.DataFrame(json.loads(json.dumps(printed_cell(formula=formula, nets=3, points=20)))).assign(
        formula=formula
    )
    assert len(frame) == 60
    found, _, withheld = analysis.printed_over_true(frame, formula)
    expected = 1 if formula == "B.70" else 3
    assert not withheld and [found.value, *found.interval] == pytest.approx([expected] * 3, rel=1e-9)


def test_the_route_is_right_with_the_right_sign():
    def net(x):
        return torch.stack([x[:, 0].sin(), x[:, 0] * x[:, 1], x[:, 1].cos(), x[:, 0].exp()], 1)

    def metric_at(point):
        jacobian = torch.func.jacfwd(lambda p: net(p[None])[0])(point)
        return jacobian.T @ jacobian / 4

    x = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 2)))
    assert torch.allclose(printed_route(metric_at, x, sign=1.0), ricci_scalar(net, x), rtol=1e-9)
    assert not torch.allclose(printed_route(metric_at, x), ricci_scalar(net, x), rtol=0.1)


def test_for_other_maps_the_route_is_no_multiple_but_the_sphere_comes_out_right():
    tables = [pd.DataFrame(route_cell(surface=surface, points=30)).assign(surface=surface) for surface in SURFACES]
    ratio = analysis.ratios(pd.concat(tables), "surface").groupby("surface")["ratio"]
    assert ratio.get_group("sphere").to_numpy() == pytest.approx(1, rel=1e-9)
    assert ratio.get_group("paraboloid").std() > 0.1 and ratio.get_group("deep net").std() > 0.1


def test_both_sides_are_the_nets_of_the_profiles():
    settings = {"activation": "erf", "width": 12, "draws": 2, "lengths": [0.5, 1.0], "seed": 3}
    rows = both_sides_cell(**settings)
    assert [row["true"] for row in rows] == [row["ricci"] for row in profile_cell(**settings)]
    for row in rows:
        assert row["printed"] == pytest.approx(3 * np.array(row["true"]), rel=1e-7)
    table = analysis.both_sides(pd.DataFrame(rows).assign(activation="erf", width=12), [0.5, 1.0])
    limit = table[(table["draws"] == 0) & (table["length"] == 1.0)].set_index("formula")["mean"]
    assert limit.to_dict() == pytest.approx({"true": -0.93664196, "as printed": -2.80992588}, abs=1e-7)


def nets_in_the_plane():
    """Two nets before and after training; |R| near over far grows from e to e³ and e⁵, about mirror images not."""
    near = {0: [[1.0, 1.0, 1.0, 1.0]] * 2, 100: [[3.0, 0.5, 1.0, 1.5], [5.0, 1.0, 1.0, 1.0]]}
    return pd.DataFrame(
        {
            "width": 20, "step": step, "net": net, "curvature": near[step][net],
            "curvature_quantiles": [-5.0 - step, -1.0 if net else 1.0, 2.0],
            "curvature_map": np.arange(9.0).tolist(), "margin_map": np.arange(9.0).tolist(),
        }
        for step in (0, 100) for net in (0, 1)
    )  # fmt: skip


def test_curvature_at_the_boundary_by_hand():
    found, values, _ = analysis.at_boundary(nets_in_the_plane())
    assert found.value == pytest.approx(3.0) and found.n == 2
    expected = {"trained": np.e**4, "mirrored": np.e, "untrained": np.e, "untrained_mirrored": np.e, "ratio": np.e**3}
    assert values == pytest.approx(expected | {"wins": 1.0})


def test_tables_of_trained_nets():
    rows = nets_in_the_plane()
    assert len(analysis.near_and_far(rows, [20])) == 8
    table = analysis.distributions(rows, [20])
    assert table[["low", "median", "high"]].iloc[-1].tolist() == [-105.0, -1.0, 2.0]
    assert analysis.negative(rows, 20) == 0.5
    assert analysis.maps(rows, [20])["panel"].unique().tolist() == ["width 20, untrained", "width 20, trained"]


def test_what_is_not_at_hand_is_withheld():
    found, values, withheld = analysis.not_at_hand()
    assert np.isnan(found.value) and not values and withheld == "the printed formula is not at hand"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: printed_cell(formula="B.69", nets=1, points=1), "expected a formula of .* got 'B.69'"),
        (lambda: printed_cell(formula="Eq. 4", nets=0, points=1), "a net, a point and a seed"),
        (lambda: route_cell(surface="torus", points=1), "expected a surface of .* got 'torus'"),
        (lambda: both_sides_cell(activation="erf", width=1, draws=1, lengths=[1.0]), "a width of at least 2"),
    ],
)
def test_wrong_parameters_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
