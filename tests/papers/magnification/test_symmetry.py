"""Random nets and their limit: cells against plain formulas, and tables of synthetic rows whose exponents are known."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from repro.geometry import infinite_width
from repro.papers.magnification import symmetry_analysis as analysis
from repro.papers.magnification.symmetry import convergence_cell, depth_cell, profile_cell, random_layer, random_net

CELL = {"activation": "erf", "width": 200, "draws": 3, "side": 5, "curvature_draws": 2, "device": "cpu"}
CPU = torch.device("cpu")


def test_rows_are_plain_repeatable_and_a_draw_does_not_depend_on_the_others():
    rows = convergence_cell(**CELL)
    frame = pd.DataFrame(json.loads(json.dumps(rows)))
    assert frame["draw"].tolist() == [0, 1, 2]
    assert frame["curvature_error"].notna().tolist() == [True, True, False]
    assert frame["metric_error"].between(0.01, 0.5).all() and (frame["angular_spread"] > 0).all()
    assert json.dumps(convergence_cell(**CELL | {"draws": 2})) == json.dumps(rows[:2])


def test_error_is_that_of_a_plain_sum_over_units():
    weight, bias = (each.numpy() for each in random_layer(200, 1, 0, CPU))
    line, errors = np.linspace(-1.5, 1.5, 5), []
    for x in ([a, b] for a in line for b in line):
        slope = np.sqrt(2 / np.pi) * np.exp(-((weight @ x + bias) ** 2) / 2)
        g = sum(s**2 * np.outer(w, w) for s, w in zip(slope, weight, strict=True)) / 200
        limit = infinite_width.metric(torch.tensor([x]), "erf")[0].numpy()
        errors.append(np.linalg.norm(g - limit) / np.linalg.norm(limit))
    assert convergence_cell(**CELL)[1]["metric_error"] == pytest.approx(np.mean(errors), rel=1e-10)


def test_wider_nets_are_nearer_and_deep_nets_start_with_the_layer_of_the_shallow_ones():
    near, far = (np.mean([row["metric_error"] for row in depth_cell(activation="erf", depth=2, width=n, draws=4)])
                 for n in (400, 25))  # fmt: skip
    assert near < 0.5 * far
    shallow = convergence_cell(**CELL | {"side": 4, "curvature_draws": 0})
    one = depth_cell(activation="erf", depth=1, width=200, draws=3, device="cpu")
    assert [row["metric_error"] for row in one] == pytest.approx([row["metric_error"] for row in shallow], rel=1e-10)
    deep = random_net("erf", 3, 40, 0, 0, CPU)
    assert deep(torch.zeros(2, 2, dtype=torch.float64)).shape == (2, 40)


def test_profiles_are_lists_over_lengths():
    rows = profile_cell(activation="monomial2", width=50, draws=2, lengths=[0.0, 1.0, 2.0], device="cpu")
    assert [len(row["volume"]) for row in rows] == [len(row["ricci"]) for row in rows] == [3, 3]
    table = analysis.profiles(pd.DataFrame(rows).assign(activation="monomial2", width=50), [0.0, 1.0, 2.0])
    limits = table[table["draws"] == 0].groupby(["quantity", "net"])["mean"].apply(list)
    assert limits["volume", analysis.INFINITE] == pytest.approx([1.3333, 3.7712, 10.7497], abs=5e-5)
    assert limits["ricci", analysis.PRINTED] == pytest.approx(3 * np.array(limits["ricci", analysis.INFINITE]))
    mean = table[(table["quantity"] == "volume") & (table["draws"] == 2)]["mean"]
    assert mean.tolist() == pytest.approx(np.mean([row["volume"] for row in rows], axis=0))


def synthetic_rows():
    """Errors draw · width^-1/2 and spreads draw / width."""
    table = pd.MultiIndex.from_product([[100, 1000, 10000], [0, 1, 2]], names=["width", "draw"]).to_frame(index=False)
    table = table.assign(activation="monomial2", metric_error=(1 + table["draw"]) * table["width"] ** -0.5)
    curvature = np.where((table["width"] == 10000) & (table["draw"] < 2), 0.25, np.nan)
    return table.assign(angular_spread=(1 + table["draw"]) / table["width"], curvature_error=curvature)


def test_slopes_and_errors_are_those_put_in():
    found, values, _ = analysis.slope(synthetic_rows(), "monomial2")
    assert found.value == pytest.approx(-0.5) and found.n == 3
    assert values == pytest.approx({"error_1000": 2 * 1000**-0.5, "curvature_error": 0.25, "angular_slope": -1})
    found, values, _ = analysis.largest_width(synthetic_rows(), "monomial2")
    assert found.value == pytest.approx(0.02) and values["angular_spread"] == pytest.approx(2e-4)
    table = analysis.convergence(synthetic_rows())
    assert set(table["activation"]) == {"quadratic"} and len(table) == 6


def test_errors_at_a_width_that_was_not_run_are_left_out():
    rows = synthetic_rows()
    found = analysis.slope(rows[rows["width"] != 1000].assign(curvature_error=np.nan), "monomial2")
    assert set(found.values) == {"angular_slope"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 1}, "a width of at least 2, a draw and a seed >= 0, got 1, 3 and 0"),
        ({"draws": 0}, "got 200, 0 and 0"),
        ({"seed": -1}, "got 200, 3 and -1"),
        ({"side": 1}, "a side of at least 2 and 0 to 3 curvature_draws, got 1, 2"),
        ({"curvature_draws": 4}, "got 5, 4"),
        ({"activation": "sine"}, "expected an activation of"),
    ],
)
def test_wrong_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        convergence_cell(**CELL | change)
