"""Ricci coefficients along training: the cell, the stopping rules, tables by hand, and figures that draw."""

import json
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repro.geometry.graph import layer_ricci_coefficients, local_ricci_coefficients, ricci_coefficient
from repro.models.ensemble import glorot_ensemble
from repro.papers.ricci import training_analysis as analysis
from repro.papers.ricci import training_plots as plots
from repro.papers.ricci.grid import training_cost
from repro.papers.ricci.nets import random_stream, task
from repro.papers.ricci.study import hidden_widths
from repro.papers.ricci.training import training_cell
from repro.training.ensemble import train_classifiers

CELL = {
    "dataset": "C", "architecture": "narrow", "depth": 5, "nets": 2, "k": 8, "epochs": 8, "train_size": 100,
    "checkpoints": 4, "points": 50, "few_points": 20, "few_k": 4, "test_size": 60, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return training_cell(**CELL)


def test_rows_are_plain_and_in_order(rows):
    frame = pd.DataFrame(json.loads(json.dumps(rows)))
    assert frame[["checkpoint", "net"]].to_numpy().tolist() == [[c, n] for c in range(5) for n in range(2)]
    assert (frame["epoch"] == 2 * frame["checkpoint"]).all()
    assert frame["layers_augmented"].map(len).eq(6).all()
    assert frame["few_ollivier"].notna().tolist() == [c in (0, 1, 2, 4) for c in range(5) for _ in range(2)]
    for name in ("rho_directed", "rho_union", "local_forman", "local_augmented", "layer_augmented", "few_augmented"):
        assert frame[name].dropna().between(-1, 1).all() and frame[name].notna().any()


def test_cell_is_bitwise_repeatable_and_a_net_does_not_depend_on_the_others(rows):
    assert json.dumps(training_cell(**CELL)) == json.dumps(rows)
    alone = training_cell(**CELL | {"nets": 1})
    assert json.dumps(alone) == json.dumps([row for row in rows if row["net"] == 0])


@pytest.fixture(scope="module")
def net():
    """The second net of the cell at its end, trained the plain way; the validation and the test points."""
    x, y, *test = task("C", 150, 60, 0)
    initial, order = (np.random.default_rng(s) for s in random_stream(0, "C", "narrow", 5, 1).spawn(2))
    start = glorot_ensemble([3, *hidden_widths("narrow", 5), 1], [initial])
    return train_classifiers(start, x[:100], y[:100], [order], epochs=8), (x[100:], y[100:]), test


def test_scores_are_those_of_plain_training(rows, net):
    trained, validation, test = net
    for name, (x, y) in {"validation": validation, "test": test}.items():
        assert rows[-1][f"{name}_accuracy"] == ((trained(x)[0] > 0) == (y > 0)).double().mean().item()
    p = torch.sigmoid(trained(validation[0])[0].double())
    loss = -torch.where(validation[1] > 0, p.log(), (1 - p).log()).mean()
    assert rows[-1]["validation_loss"] == pytest.approx(loss.item(), rel=1e-9)


def test_coefficients_are_those_of_the_validation_points(rows, net):
    trained, (x, _), _ = net
    hidden = [layer[0] for layer in trained.activations(x)]
    layers = [x, *hidden, torch.sigmoid(trained(x)[0].double())[:, None]]
    found = rows[-1]
    for convention in ("directed", "union"):
        rho = ricci_coefficient(hidden, 8, convention).rho
        assert found[f"rho_{convention}"] == pytest.approx(rho, abs=1e-12, nan_ok=True)
    for curvature in ("forman", "augmented"):
        points = local_ricci_coefficients(layers, 8, curvature)
        assert found[f"local_{curvature}"] == pytest.approx(np.nanmean(points))
        assert found[f"undefined_{curvature}"] == np.isnan(points).mean()
    assert found["layers_augmented"] == layer_ricci_coefficients(layers, 8, "augmented").tolist()
    few = local_ricci_coefficients([layer[:20] for layer in layers], 4, "ollivier")
    assert found["few_ollivier"] == pytest.approx(np.nanmean(few), nan_ok=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 9}, "multiple of checkpoints, got 9 and 4"),
        ({"checkpoints": 0}, "multiple of checkpoints, got 8 and 0"),
        ({"few_points": 51}, "expected 2 to 50 few_points, got 51"),
        ({"dataset": "D"}, "expected a data set"),
        ({"k": 50}, "k must be"),
    ],
)
def test_wrong_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        training_cell(**CELL | change)


def test_cost_grows_with_what_is_asked_for():
    for name, more in {"nets": 4, "depth": 11, "points": 100, "few_points": 40, "dataset": "sandal-boot"}.items():
        assert training_cost(CELL | {name: more}) > training_cost(CELL)


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "fall", "stop"),
    [
        ([5, 4, 3, 2, 1], 0.0, (4, 4)),  # never stops
        ([1, 2, 3, 4, 5], 0.0, (3, 0)),
        ([3, 2, 2, 2, 2, 1], 0.0, (4, 1)),  # equal is no fall
        ([3, 4, 4, 2, 4, 4, 4, 0], 0.0, (6, 3)),  # the third checkpoint is in time
        ([0, -0.005, -0.009, -0.012], 0.01, (3, 3)),  # slow: no step is a fall, but the lowest is kept
        ([0, -0.02, -0.025, -0.036, -0.036, -0.036, -0.036], 0.01, (6, 3)),
        ([0, -0.5, -1.0], 0.5, (2, 2)),  # exactly the smallest fall is one
        ([NAN, 1, NAN, NAN, NAN, 0], 0.0, (4, 1)),
        ([NAN, NAN, NAN, 1], 0.0, (2, 0)),  # nothing to keep but the first
        ([7], 0.0, (0, 0)),
    ],
)
def test_stopping_by_hand(values, fall, stop):
    assert analysis.stopping(values, 3, fall) == stop


@given(
    st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=20), st.integers(1, 4), st.sampled_from([0, 1.0, 2.5])
)
def test_stopping_is_that_of_the_words(values, patience, fall):
    """Stop at the first checkpoint with `patience` in a row, itself the last, that are no falls; slow and obvious."""

    def falls(at):
        earlier = min(values[:at], default=np.inf)
        return values[at] < earlier and earlier - values[at] >= fall

    stops = [
        at for at in range(len(values))
        if at + 1 >= patience and not any(falls(each) for each in range(at - patience + 1, at + 1))
    ]  # fmt: skip
    stopped = min(stops, default=len(values) - 1)
    assert analysis.stopping(values, patience, fall) == (stopped, int(np.argmin(values[: stopped + 1])))


@pytest.mark.parametrize(
    ("values", "patience", "fall"), [([], 3, 0), ([NAN], 3, 0), ([[1.0]], 3, 0), ([1.0], 0, 0), ([1.0], 3, -1)]
)
def test_stopping_refuses(values, patience, fall):
    with pytest.raises(ValueError, match="expected"):
        analysis.stopping(values, patience, fall)


def study():
    """Two nets of one cell, five checkpoints after the start."""
    coefficient = [[0.1, -0.2, -0.1, -0.1, -0.5, -0.5], [0.3, -0.1, -0.2, -0.3, -0.2, -0.2]]
    loss = [[0.7, 0.5, 0.4, 0.3, 0.2, 0.1], [0.7, 0.5, 0.6, 0.6, 0.4, 0.3]]
    accuracy = [[0.5, 0.6, 0.7, 0.8, 0.9, 1.0], [0.5, 0.8, 0.7, 0.9, 0.95, 0.85]]
    return pd.DataFrame(
        {
            "dataset": "A", "architecture": "narrow", "depth": 2, "net": net, "checkpoint": c, "epoch": 10 * c,
            "test_accuracy": accuracy[net][c], "validation_loss": loss[net][c], "rho_directed": [0.0, NAN][net],
            "rho_union": 0.0, "local_augmented": coefficient[net][c], "local_forman": coefficient[net][c] / 2,
            "few_ollivier": coefficient[net][c] if c in (0, 5) else NAN, "few_augmented": NAN,
            "layers_augmented": [[-0.1, -0.2, NAN], [-0.3, -0.4, -0.5]][net],
        }
        for c in range(6) for net in range(2)
    )  # fmt: skip


def test_stops_by_hand():
    table = analysis.stops(study(), patience=2, smallest_fall=0.01).set_index("net")
    assert table["heuristic_epoch"].tolist() == [30, 50] and table["heuristic_kept"].tolist() == [10, 30]
    assert table["rule_epoch"].tolist() == [50, 30] and table["rule_kept"].tolist() == [50, 10]
    assert table["heuristic_stopped"].tolist() == [True, False] and table["rule_stopped"].tolist() == [False, True]
    assert table["fixed_epoch"].tolist() == [40, 40]
    expected = {
        "heuristic": [0.6, 0.9], "rule": [1.0, 0.8], "fixed": [0.9, 0.95], "last": [1.0, 0.85], "stop": [0.8, 0.85]
    }  # fmt: skip
    for name, accuracies in expected.items():
        assert table[f"{name}_accuracy"].tolist() == accuracies


def test_judged_numbers_by_hand():
    table = analysis.stops(study(), 2, 0.01)
    assert analysis.accuracy_lost(table).value == pytest.approx(0.9 - 0.75)
    assert analysis.accuracy_lost(table, "fixed").value == pytest.approx(0.9 - 0.925)
    assert analysis.epochs_saved(table.assign(heuristic_epoch=[20, 10])).value == pytest.approx(1 - 15 / 40)
    compared = analysis.compared(table)
    assert compared["heuristic_share"].tolist() == [0.6, 1.0] and compared["rule_share"].tolist() == [1.0, 0.6]
    [row] = analysis.by_dataset(table).to_dict("records")
    assert row["lost"] == pytest.approx(0.15) and row["lost_fixed"] == pytest.approx(-0.025)


def test_before_and_after_by_hand():
    pairs = analysis.before_and_after(study())
    change = analysis.change(pairs[pairs["curvature"] == "augmented"])
    assert (change.value, change.n) == (pytest.approx(-0.55), 2)
    values = analysis.changes(pairs)
    assert values["change_Forman"] == pytest.approx(-0.275) and values["change_Ollivier"] == pytest.approx(-0.55)
    assert values["augmented_A"] == values["augmented_depth_2"] == pytest.approx(-0.55)
    assert (values["negative_untrained"], values["negative_trained"]) == (0, 1)


def test_layers_and_curves_leave_out_what_is_undefined():
    layers = analysis.layers(study()).query("state == 'trained'")
    assert layers["step"].tolist() == [1, 2, 3] and layers["nets"].tolist() == [2, 2, 1]
    assert layers["mean"].tolist() == pytest.approx([-0.2, -0.3, -0.5])
    curves = analysis.curves(study())
    assert curves[curves["quantity"] == "global"]["nets"].eq(1).all()
    assert curves[curves["quantity"] == "local, Ollivier, few points"]["epoch"].tolist() == [0, 50]
    assert not curves["quantity"].eq("local, augmented, few points").any()


@pytest.mark.parametrize("architectures", [["narrow"], ["narrow", "wide"]])
def test_figures_draw(architectures):
    frame = pd.concat(
        study().assign(dataset=name, architecture=a, depth=d)
        for name in ("B", "shirt-coat") for a in architectures for d in (2, 3)
    )  # fmt: skip
    compared = analysis.compared(analysis.stops(frame, 2, 0.01))
    draw = {
        "epoch": partial(plots.along_training, analysis.curves(frame)),
        "mean local ρ": partial(plots.before_and_after, analysis.before_and_after(frame)),
        "step between layers": partial(plots.layers, analysis.layers(frame)),
        "test accuracy lost": partial(plots.early_stopping, compared, largest_loss=0.005),
    }
    for label, figure in ((label, make()) for label, make in draw.items()):
        figure.canvas.draw()
        assert any(label in text for axis in figure.axes for text in (axis.get_xlabel(), axis.get_ylabel()))
    assert not plt.get_fignums()
