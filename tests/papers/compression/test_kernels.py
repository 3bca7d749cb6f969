"""Cells and analysis of the tangent kernels before and after training."""

import numpy as np
import pandas as pd
import pytest
import torch

from repro.data.images import DataError
from repro.papers.compression import kernels_analysis as analysis
from repro.papers.compression.exponents import learning_curve_cell
from repro.papers.compression.images import image_cell
from repro.papers.compression.kernels import kernel_cell, laplace, principal_components, stretched

KERNEL = {"dimension": 4, "train_size": 64, "seed": 0, "width": 100, "test_size": 1000, "permutations": 2}
IMAGE = {"dataset": "fashion-mnist-sample", "train_size": 20, "seed": 0, "width": 1, "test_size": 100}
PLAIN = (bool, int, float, str)


@pytest.fixture(scope="module")
def kernel_rows():
    return kernel_cell(**KERNEL, device="cpu")


@pytest.fixture(scope="module")
def image_rows():
    return image_cell(**IMAGE, permutations=2, device="cpu")


def values(rows, quantity):
    return {row["subject"]: row["value"] for row in rows if row["quantity"] == quantity}


def test_the_net_is_that_of_the_learning_curves(kernel_rows):
    shared = {name: KERNEL[name] for name in ("dimension", "train_size", "seed", "width", "test_size")}
    for regime, learner in (("feature", "net"), ("lazy", "analytic")):
        [row] = learning_curve_cell(regime=regime, **shared, device="cpu")
        assert values(kernel_rows, "test_error")[learner] == row["test_error"]
    assert values(kernel_rows, "amplification")["A"] > 2


@pytest.mark.parametrize("rows", ["kernel_rows", "image_rows"])
def test_rows_are_plain_and_complete(rows, request):
    rows = request.getfixturevalue(rows)
    assert all(type(value) in PLAIN for row in rows for value in row.values())
    names = {(row["quantity"], row["subject"], row["rank"]) for row in rows}
    assert len(names) == len(rows)
    subjects = [*analysis.KERNELS, *map(analysis.PERMUTED.format, analysis.KERNELS)]
    for subject in subjects:
        assert {("information", subject, rank) for rank in range(1, 11)} < names
        assert ("alignment", subject, 0) in names


def test_cells_are_bitwise_repeatable(kernel_rows, image_rows):
    assert kernel_cell(**KERNEL, device="cpu") == kernel_rows
    assert image_cell(**IMAGE, permutations=2, device="cpu") == image_rows


def test_the_order_of_the_learners_on_the_stripe():
    rows = [values(kernel_cell(**KERNEL | {"train_size": 128, "seed": seed}), "test_error") for seed in range(3)]
    mean = pd.DataFrame(rows).mean()
    assert mean["final"] < mean["initial"] and mean["stretched"] < mean["analytic"] < mean["wrong_axis"]
    assert mean["laplace_stretched"] < 0.5 * mean["laplace"]


def test_image_cell_reaches_every_margin_on_other_images_for_other_seeds(image_rows):
    assert values(image_rows, "smallest_margin")["net"] > 1
    other = image_cell(**IMAGE | {"seed": 1}, permutations=2, device="cpu")
    assert values(other, "test_error") != values(image_rows, "test_error")


def test_stretching_and_the_laplace_kernel():
    x = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    assert stretched(x, 2.0).tolist() == [[1, 1, 2]] and stretched(x, 2.0, kept=1).tolist() == [[0.5, 2, 2]]
    assert float(laplace(x, torch.zeros_like(x))) == pytest.approx(np.exp(-(21**0.5) / 100))
    assert float(laplace(x)) == 1


def test_principal_components_of_the_labels_own_kernel_against_its_baseline():
    labels = torch.tensor([1.0, -1.0] * 50, dtype=torch.float64)
    gram = torch.outer(labels, labels) + torch.diag(1e-6 * torch.arange(100.0, dtype=torch.float64))
    found = {(q, s, r): v for q, s, r, v in principal_components("k", gram, labels, 20, np.random.default_rng(0))}
    assert found["share", "k", 1] == pytest.approx(1, abs=1e-6) and found["alignment", "k", 0] == pytest.approx(1)
    assert found["share", "k, labels permuted", 1] < 0.1 and found["information", "k, labels permuted", 1] < 0.2


@pytest.mark.parametrize(
    ("cell", "change", "message"),
    [
        (kernel_cell, {"train_size": 19}, "train_size must be at least 20, got 19"),
        (kernel_cell, {"seed": -1}, "seed must be at least 0, got -1"),
        (kernel_cell, {"permutations": 0}, "permutations must be at least 1, got 0"),
        (kernel_cell, {"test_size": 0}, "test_size must be at least 1, got 0"),
        (image_cell, {"train_size": 19}, "train_size must be at least 20, got 19"),
        (image_cell, {"permutations": 0}, "permutations must be at least 1, got 0"),
        (image_cell, {"test_size": 3000}, "expected 1 to 2000 points"),
        (image_cell, {"dataset": "cifar"}, "got 'cifar'"),
    ],
)
def test_bad_parameters_are_named(cell, change, message):
    with pytest.raises(ValueError, match=message):
        cell(**(KERNEL if cell is kernel_cell else IMAGE) | change)


def test_missing_images_are_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("REPRO_DATA", raising=False)
    monkeypatch.setattr("shutil.which", lambda program: None)
    with pytest.raises(DataError, match="mnist was not found"):
        image_cell(**IMAGE | {"dataset": "mnist"})


def rows_of(curves, quantity="test_error", ranks=(0,)):
    """Rows of two seeds at sizes 100 and 400: value(size) of each subject, with a factor of the seed."""
    return pd.DataFrame(
        [
            {
                "seed": seed,
                "train_size": p,
                "quantity": quantity,
                "subject": subject,
                "rank": rank,
                "value": f(p) * factor,
            }
            for subject, f in curves.items()
            for p in (100, 400)
            for seed, factor in ((0, 0.9), (1, 1.1))
            for rank in ranks
        ]
    )


def test_ratios_and_exponents_of_power_laws():
    rows = rows_of({"net": lambda p: p**-0.7, "lazy": lambda p: 2 * p**-0.4, "final": lambda p: p**-0.4})
    gain = analysis.exponent_gain(rows)
    assert gain.value == pytest.approx(0.3) and gain.interval == pytest.approx((0.3, 0.3))
    ratio = analysis.error_ratio(rows, "final", "lazy")
    assert ratio.value == pytest.approx(0.5) and ratio.interval == pytest.approx((0.5, 0.5))
    ratio = analysis.error_ratio(rows, "net", "final")
    assert ratio.value == pytest.approx(np.sqrt(100**-0.3 * 400**-0.3))  # geometric mean over sizes
    assert analysis.share_of_runs(rows, "final", "lazy", 0.51) == 1
    assert analysis.share_of_runs(rows, "net", "final", 0.2) == 0.5  # at 400 only


def test_single_ratios_are_those_of_each_seed_and_size():
    rows = rows_of({"net": lambda p: p**-0.7, "lazy": lambda p: p**-0.4})
    found = analysis.single_ratios(rows, [("net", "lazy")])
    assert len(found) == 4 and found["ratio"].to_numpy() == pytest.approx(found["train_size"].to_numpy() ** -0.3)


def test_changes_average_sizes_and_sum_shares():
    rows = rows_of({"initial": lambda p: 0.01, "final": lambda p: p / 1e4}, "share", ranks=range(1, 11))
    change = analysis.change(rows, "share")
    assert change.n == 2 and change.value == pytest.approx(10 * (0.025 - 0.01))
    information = rows.assign(quantity="information")
    assert analysis.change(information, "information").value == pytest.approx(0.025 - 0.01)  # of rank 1
    assert analysis.average(information, "information", "final") == pytest.approx(0.025)


def test_a_missing_seed_is_refused():
    rows = rows_of({"net": lambda p: p**-0.7})
    with pytest.raises(ValueError, match="test_error of 'net' is not there for every seed at every size"):
        analysis.table(rows.iloc[1:], "test_error", "net")


def test_tables_of_real_rows(kernel_rows):
    rows = pd.DataFrame(kernel_rows).assign(dimension=4, train_size=64)
    rows = pd.concat([rows.assign(seed=0), rows.assign(seed=1)])
    drawn = analysis.by_dimension(rows, analysis.before_and_after)
    assert set(drawn["dimension"]) == {4} and (drawn["lower"] == drawn["mean"]).all()
    spectra = analysis.spectra(rows, 64)
    last = spectra[(spectra["quantity"] == "share") & (spectra["rank"] == 10)].set_index("subject")["mean"]
    assert last["final"] == pytest.approx(analysis.average(rows, "share", "final"))
    curves = analysis.learning_curves(rows, ["net", "final"])
    assert list(curves["learner"]) == ["net", "final"] and (curves["seeds"] == 2).all()
    ratios = analysis.controls(rows, ["net", "analytic"])
    assert ratios["ratio"].iloc[0] == pytest.approx(1) and ratios["ratio"].iloc[1] > 1
