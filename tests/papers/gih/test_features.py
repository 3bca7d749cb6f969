"""Features along eigenvectors: cells, directions to remove, images to keep, and the numbers that are judged."""

import json

import numpy as np
import pandas as pd
import pytest

from repro.papers.gih import features_analysis as analysis
from repro.papers.gih.features import (
    directions_to_remove,
    images_cell,
    index_cell,
    load_images,
    pruned,
    simplicity_cell,
)

SHAPE = {"channels": "8", "blocks": "1", "strides": "2", "networks": 8, "seed": 3, "device": "cpu"}
TINY = SHAPE | {"draw": 0, "side": 8, "points": 128, "test_points": 60, "epochs": 1}


@pytest.mark.parametrize("label", ["linear", "quadratic", "sinusoidal"])
def test_rows_of_one_direction(label):
    rows = index_cell(label=label, places=[0.0, 0.5, 1.0], **TINY)
    assert json.dumps(rows) == json.dumps(index_cell(label=label, places=[0.0, 0.5, 1.0], **TINY))
    assert [row["place"] for row in rows] == [0.0, 0.5, 1.0]
    assert 0 <= rows[0]["index"] <= 1 and 62 <= rows[2]["index"] <= 63
    with pytest.raises(ValueError, match="got 'cubic'"):
        index_cell(label="cubic", places=[0.0], **TINY)


def test_a_dense_net_learns_a_linear_label_in_any_direction():
    rows = index_cell(label="linear", places=[0.0, 0.9], kind="dense", **TINY | {"points": 2000, "epochs": 10})
    assert min(row["test"] for row in rows) > 0.85


def test_a_dense_net_follows_the_cue():
    many = {"points": 2000, "epochs": 10, "test_points": 400}
    (row,) = simplicity_cell(places=[0.5], kind="dense", cue_size=3.0, **TINY | many)
    assert row["reliance"] > 0.9 and row["linear"] > 0.9
    assert row["test"] > 0.97
    assert row["index"] in (31, 32)


def test_images_are_standardised_and_shrunk():
    pixels, classes = load_images("fashion-mnist-sample", "train", 16)
    assert pixels.shape == (4000, 1, 16, 16) and classes.shape == (4000,)
    assert pixels.mean() == pytest.approx(0, abs=1e-9) and pixels.std() == pytest.approx(1)
    test, _ = load_images("fashion-mnist-sample", "test", 16)
    assert test.std() == pytest.approx(1, abs=0.05) and test.std() != 1
    assert load_images("fashion-mnist-sample", "test", 32)[0].shape == (2000, 1, 32, 32)
    with pytest.raises(ValueError, match="divide 32, got 20"):
        load_images("fashion-mnist-sample", "test", 20)


def test_random_directions_hold_as_much_variance():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((300, 30)) * np.linspace(3, 0.1, 30)
    root = generator.standard_normal((30, 5))
    geometry = root @ root.T
    for count in (2, 6):
        bases = {
            choice: directions_to_remove(x, geometry, count, choice, np.random.default_rng(1))
            for choice in ("geometry", "random")
        }
        for basis in bases.values():
            np.testing.assert_allclose(basis.T @ basis, np.eye(count), atol=1e-9)
        held = {choice: ((x @ basis) ** 2).sum() for choice, basis in bases.items()}
        assert held["random"] == pytest.approx(held["geometry"], rel=0.02)
    moment = x.T @ x / len(x)
    top = directions_to_remove(x, geometry, 1, "geometry", generator)[:, 0]
    product = geometry @ moment @ geometry
    np.testing.assert_allclose(product @ top, top * np.linalg.eigvalsh(product)[-1], rtol=1e-6, atol=1e-6)


def test_scores_belong_to_their_images():
    x = np.array([[1.0, 0.0], [0.0, 5.0], [2.0, 0.1], [0.1, 1.0]])
    kept = pruned(x, np.array([0, 0, 1, 1]), np.diag([1.0, 0.0]), np.random.default_rng(0))
    assert kept["score"].tolist() == [0, 2] and kept["lowest"].tolist() == [1, 3]
    assert kept["within"].tolist() == [0, 2] and kept["all"].tolist() == [0, 1, 2, 3] and len(kept["random"]) == 2


def test_rows_of_images():
    cell = SHAPE | {"strides": "4", "draw": 0, "dataset": "fashion-mnist-sample", "counts": [4], "epochs": 1}
    frame = pd.DataFrame(images_cell(**cell, prune_epochs=1))
    assert frame["choice"].tolist() == ["none", "geometry", "random", "all", "random", "score", "lowest", "within"]
    assert frame["count"].tolist()[:7] == [0, 4, 4, 3000, 1500, 1500, 1500]
    assert 1490 <= frame["count"].iloc[7] <= 1500  # half of each class, rounded down
    variance = frame.set_index("choice")["variance"][:3]
    assert variance["none"] == 0 and frame["variance"][1] == pytest.approx(frame["variance"][2], rel=0.1)
    assert frame["classes"].between(0, 1).all()


def test_judged_numbers():
    places = [0.0, 0.5, 0.99]
    rows = pd.DataFrame([
        {"draw": draw, "place": place, "index": int(100 * place), "test": test, "train": 1.0}
        for draw in range(2) for place, test in zip(places, (0.9, 0.7, 0.8), strict=True)
    ])  # fmt: skip
    estimate, values, _ = analysis.index_correlation(rows)
    assert estimate.value == pytest.approx(-0.5)
    assert (values["first"], values["last"], values["first_70_percent"]) == pytest.approx((0.9, 0.8, -1.0))
    assert analysis.along_index({("residual", "linear"): rows}, places)["mean"].tolist() == pytest.approx(
        [0.9, 0.7, 0.8]
    )
    cues = pd.DataFrame({"draw": [0, 0, 1, 1], "place": [0.0, 0.95] * 2, "reliance": [0.9, 0.2, 0.8, 0.1]})
    assert analysis.reliance_difference(cues).estimate.value == pytest.approx(0.7)
    assert set(analysis.cues({"residual": cues.assign(linear=0.5, circle=0.5)})["quantity"]) == {
        "reliance", "linear", "circle"
    }  # fmt: skip


def test_judged_numbers_of_images():
    removal = [("none", 0, 0.85), ("geometry", 4, 0.80), ("random", 4, 0.82)]
    pruning = [("all", 40, 0.85), ("random", 20, 0.8), ("score", 20, 0.7), ("lowest", 20, 0.75), ("within", 20, 0.78)]
    rows = pd.DataFrame([
        {"draw": draw, "experiment": name, "choice": choice, "count": count, "test": test + 0.01 * draw,
         "variance": 0.1, "classes": 0.5}
        for name, group in (("removal", removal), ("pruning", pruning))
        for draw in range(2) for choice, count, test in group
    ])  # fmt: skip
    estimate, values, withheld = analysis.removal_cost(rows, 4)
    assert estimate.value == pytest.approx(0.02) and values["untouched"] == pytest.approx(0.855)
    assert not withheld
    unlike = rows.assign(variance=rows["variance"] + 0.02 * ((rows["choice"] == "random") & (rows["draw"] == 1)))
    assert "1 of 2 draws" in analysis.removal_cost(unlike, 4).withheld
    estimate, values, _ = analysis.pruning_gain(rows)
    assert estimate.value == pytest.approx(-0.1) and values["within_gain"] == pytest.approx(-0.02)
    assert analysis.choices(rows)["mean"].iloc[0] == pytest.approx(0.855)
    uneven = rows.assign(count=rows["count"] - (rows["choice"] == "within") * rows["draw"])
    table = analysis.choices(uneven).set_index("choice")
    assert table.loc["within", "draws"] == 2 and table.loc["within", "count"] == 19
