import math

import pytest
import torch

from repro.device import resolve_device
from repro.papers.compression.exponents import decision_slice_cell, learning_curve_cell

CELL = {"dimension": 5, "train_size": 64, "seed": 0, "width": 100, "device": "cpu"}


def curve(regime="feature", **options):
    [row] = learning_curve_cell(**{"regime": regime, **CELL, "test_size": 5_000, **options})
    return row


@pytest.mark.parametrize("regime", ["feature", "lazy"])
def test_row_holds_plain_results(regime):
    row = curve(regime)
    assert 0 < row["test_error"] < 0.5 and row["converged"] is True
    assert all(value is None or type(value) in (bool, int, float, str) for value in row.values())


def test_both_regimes_have_the_same_columns():
    assert list(curve("feature")) == list(curve("lazy"))


@pytest.mark.parametrize("regime", ["feature", "lazy"])
def test_bitwise_repeatable(regime):
    assert curve(regime) == curve(regime)


def test_amplifications_are_of_the_same_layer():
    row = curve()
    assert row["amplification_A"] == pytest.approx(math.sqrt(4) * row["amplification_B"])  # √(d − 1)


def test_seed_dimension_and_size_give_other_data():
    rows = [curve("lazy", **change) for change in ({}, {"seed": 1}, {"dimension": 6}, {"train_size": 65})]
    assert len({row["test_error"] for row in rows}) == 4


def test_test_size_does_not_change_the_training():
    assert curve()["amplification_A"] == curve(test_size=100)["amplification_A"]


def test_net_beats_the_kernel_on_the_same_data():
    errors = {
        regime: sum(curve(regime, train_size=256, seed=seed)["test_error"] for seed in range(3))
        for regime in ("feature", "lazy")
    }
    assert errors["lazy"] > 1.5 * errors["feature"]  # the ratio is 2 to 4 at this size


def test_lazy_net_is_close_to_the_kernel_machine():
    kernel, net = (
        sum(curve(regime, seed=seed, **options)["test_error"] for seed in range(3)) / 3
        for regime, options in (("lazy", {}), ("feature", {"output_scale": 1e6, "dtype": "float64", "width": 1000}))
    )
    assert net == pytest.approx(kernel, rel=0.25)  # flow against SVM, finite width against infinite


@pytest.mark.parametrize("regime", ["feature", "lazy"])
def test_decision_slice(regime):
    rows = decision_slice_cell(regime=regime, **CELL, points=13)
    assert len(rows) == 13**2 and set(rows[0]) == {"x1", "x2", "decision"}
    assert (rows[0]["x1"], rows[0]["x2"], rows[1]["x1"]) == (-3.0, -3.0, -3.0) and rows[1]["x2"] == -2.5
    far = [row["decision"] for row in rows if abs(row["x1"]) == 3.0 and abs(row["x2"]) <= 1]
    inside = [row["decision"] for row in rows if row["x1"] == 0.5 and abs(row["x2"]) <= 1]
    assert min(far) > max(inside)  # the label is −1 in the stripe
    assert rows == decision_slice_cell(regime=regime, **CELL, points=13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regime": "rich"}, "got 'rich'"),
        ({"dimension": 1}, "dimension must be at least 2, got 1"),
        ({"train_size": 1}, "train_size must be at least 2, got 1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"output_scale": 0.0}, "output_scale must be positive, got 0.0"),
        ({"output_scale": 1e6}, "got 1000000.0"),
        ({"test_size": 0}, "test_size must be at least 1, got 0"),
        ({"dtype": "float16"}, "got 'float16'"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
    ],
)
def test_bad_parameters_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        curve(**change)


@pytest.mark.parametrize(("change", "message"), [({"points": 1}, "got 1 and 3.0"), ({"extent": math.inf}, "and inf")])
def test_bad_slice_parameters_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        decision_slice_cell(regime="lazy", **CELL, **change)


def test_resolve_device():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            resolve_device("cuda")
