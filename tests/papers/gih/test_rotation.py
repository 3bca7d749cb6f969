"""The rotation test: planes, cells and the numbers that are judged."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from repro.data.synthetic import circles
from repro.papers.gih import rotation_analysis as analysis
from repro.papers.gih import study
from repro.papers.gih.grid import architecture_grid, training_cost, variant_grid
from repro.papers.gih.rotation import (
    angle_cell,
    architecture_cell,
    decision_map,
    planes_cell,
    radius_cell,
    threshold_cell,
    turned,
)

TINY = {"channels": "8", "blocks": "1", "strides": "2", "side": 8, "networks": 8, "seed": 3, "device": "cpu"}
FEW = {"points": 128, "test_points": 60, "epochs": 1}


@pytest.fixture(scope="module")
def directions():
    return study.draw_directions(study.Network(side=8, channels="8", blocks="1", strides="2"), 40, seed=3, draw=1)


def test_circles_lie_on_their_plane_with_noise_off_it():
    generator = np.random.default_rng(0)
    plane = np.linalg.qr(generator.standard_normal((20, 3)))[0]
    x, classes, angle = circles(4000, plane[:, :2], 2.5, 0.25, generator, noise=0.5, cue=plane[:, 2], cue_size=1.0)
    inside = x @ plane[:, :2]
    radius = np.hypot(*inside.T)
    np.testing.assert_allclose(radius[classes == 0], 2.5)
    np.testing.assert_allclose(radius[classes == 1], 0.25)
    np.testing.assert_allclose(np.arctan2(inside[:, 1], inside[:, 0]) % (2 * np.pi), angle, atol=1e-9)
    np.testing.assert_allclose(x @ plane[:, 2], classes - 0.5, atol=1e-12)
    rest = x - x @ plane @ plane.T
    assert (rest**2).sum(1).mean() == pytest.approx(17 * 0.25, rel=0.05)
    assert classes.mean() == 0.5
    with pytest.raises(ValueError, match="even number"):
        circles(3, plane[:, :2], 1.0, 0.1, generator)
    with pytest.raises(ValueError, match="orthonormal"):
        circles(4, 2 * plane[:, :2], 1.0, 0.1, generator)


def test_directions_are_repeatable_and_draws_differ(directions):
    network = study.Network(side=8, channels="8", blocks="1", strides="2")
    same, other = (study.draw_directions(network, 40, seed=3, draw=draw) for draw in (1, 2))
    assert torch.equal(same.halves, directions.halves)
    assert not torch.equal(other.halves, directions.halves)
    geometry = directions.halves.mean(0).numpy()
    np.testing.assert_allclose(geometry @ directions.vectors, directions.vectors * directions.eigenvalues, atol=1e-12)
    assert (np.diff(directions.eigenvalues) <= 0).all()


def test_planes_are_orthonormal_and_of_their_kind(directions):
    for kind in study.KINDS:
        plane = study.draw_plane(directions, kind, np.random.default_rng(0))
        np.testing.assert_allclose(plane.T @ plane, np.eye(2), atol=1e-12)
    mixed = study.draw_plane(directions, study.MIXED, np.random.default_rng(0))
    found = [int(np.abs(directions.vectors.T @ u).argmax()) for u in mixed.T]
    assert found[0] in study.band(64, study.TOP) and found[1] in study.band(64, study.MIDDLE)
    with pytest.raises(ValueError, match="got 'sideways'"):
        study.draw_plane(directions, "sideways", np.random.default_rng(0))


def test_bands_of_the_paper_size():
    assert study.band(256, "middle").tolist() == list(range(90, 116))
    assert study.band(256, "bottom")[-1] == 255


def test_smaller_share_is_that_of_the_worse_direction(directions):
    plane = directions.vectors[:, [2, 40]]
    expected = directions.eigenvalues[40] / directions.eigenvalues.mean()
    assert study.smaller_share(directions, plane) == pytest.approx(expected)
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert study.smaller_share(directions, plane @ rotation) == pytest.approx(expected)


def test_unknown_architectures_are_refused():
    for network, message in (
        (study.Network(kind="recurrent"), "unknown kind"),
        (study.Network(head="long"), "unknown kind"),
        (study.Network(channels="8-12-32"), "multiples of 8"),
        (study.Network(channels="8;16"), "8-16-32"),
    ):
        with pytest.raises(ValueError, match=message):
            study.family(network, 2)


def test_a_plane_is_turned_by_its_angle():
    start, other = np.eye(5)[:, :2], np.linalg.qr(np.random.default_rng(0).standard_normal((5, 2)))[0]
    for angle in (0.0, 30.0, 90.0):
        plane = turned(start, other, angle)
        np.testing.assert_allclose(plane.T @ plane, np.eye(2), atol=1e-12)
        np.testing.assert_allclose(start.T @ plane, np.cos(np.radians(angle)) * np.eye(2), atol=1e-12)


def test_rows_of_planes_are_plain_and_repeatable():
    cell = {"draw": 0, "kinds": ["top", "mixed"], "seeds": 2, "map_side": 5, "watch": True} | TINY | FEW
    rows = planes_cell(**cell)
    assert json.dumps(rows) == json.dumps(planes_cell(**cell))
    frame = pd.DataFrame(rows)
    assert frame["plane"].tolist() == ["top", "top", "mixed", "mixed"]
    assert frame["net"].tolist() == [0, 1, 0, 1]
    assert frame[["test", "train", "arc_1", "arc_2"]].apply(lambda column: column.between(0, 1)).all(axis=None)
    assert frame["share"].nunique() == 2
    assert all(len(row["maps"]) == len(row["steps"]) == len(row["history"]) == 2 for row in rows)
    assert rows[0]["maps"][-1] == rows[0]["map"]
    assert rows[0]["history"][-1] == rows[0]["test"]
    alone = planes_cell(**cell | {"watch": False, "map_side": 0})
    assert [row["test"] for row in alone] == [row["test"] for row in rows]


def test_a_dense_net_learns_circles_off_the_coordinates():
    rows = planes_cell(draw=0, kinds=["random"], kind="dense", **TINY, points=2000, test_points=400, epochs=12)
    assert rows[0]["test"] > 0.97 and rows[0]["arc_1"] > 0.9 and rows[0]["arc_2"] > 0.9


def test_a_map_is_the_net_on_the_plane():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    plane = np.eye(64)[:, [3, 9]]
    found = np.array(decision_map(network, study.Network(side=8), plane, 3, 1.0, torch.device("cpu")))
    weight = (network[1].weight[1] - network[1].weight[0]).detach().numpy()
    bias = float(network[1].bias[1] - network[1].bias[0])
    line = np.array([-1.3, 0.0, 1.3])
    expected = (weight[9] * line[:, None] + weight[3] * line[None, :] + bias).ravel()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bisection_finds_the_smallest_size_that_passes(monkeypatch):
    from repro.papers.gih import rotation

    def learned(jobs, recipe, place, watch=None):
        passes = jobs[0].task.points >= (800 if jobs[0].numbers[2] == 0 else 99999)
        return [rotation.Trained(None, {"test": 0.96 if passes else 0.6, "train": 1.0, "arc_1": 1.0, "arc_2": 1.0}, [])]

    monkeypatch.setattr(rotation, "train", learned)
    rows = pd.DataFrame(threshold_cell(draw=0, kinds=["top", "random"], sizes=[100, 200, 400, 800, 1600, 3200], **TINY))
    assert rows.groupby("plane")["threshold"].unique().map(list).to_dict() == {"top": [800], "random": [6400]}
    assert rows.groupby("plane")["censored"].all().to_dict() == {"top": False, "random": True}
    assert (rows.groupby("plane").size() <= 3).all()
    with pytest.raises(ValueError, match="increase"):
        threshold_cell(draw=0, kinds=["top"], sizes=[200, 100], **TINY)


def test_other_cells_give_a_row_a_plane():
    angles = angle_cell(draw=0, angles=[0.0, 90.0], **TINY, **FEW)
    assert [row["angle"] for row in angles] == [0.0, 90.0] and angles[0]["share"] > angles[1]["share"]
    window = radius_cell(draw=0, kinds=["top", "random"], radii=[1.0, 2.0], **TINY, **FEW)
    assert [(row["plane"], row["radius"]) for row in window] == [
        ("top", 1.0), ("top", 2.0), ("random", 1.0), ("random", 2.0)
    ]  # fmt: skip
    shape = {key: value for key, value in TINY.items() if key != "strides"}
    forms = architecture_cell(draw=0, kinds=["top"], head="flat", strides="2", normalised=False, **shape, **FEW)
    assert forms[0]["best"] >= forms[0]["test"] and forms[0]["participation"] != 0


def test_grids_differ_where_their_names_say():
    cells = architecture_grid(draws=3, totals=[2, 8], points=100, strides="2-2-2")
    assert len(cells) == 8 and all(len(group) == 3 for group in cells.values())
    flat = cells["flat head, stride 2, not normalised"][1]
    assert flat == {"points": 100, "head": "flat", "strides": "1-2-1", "normalised": False, "draw": 1}
    variants = variant_grid(draws=1, weight_decay=0.005, points=100)
    assert list(variants) == ["plain", "without skips", "ReLU", "weight decay 0.005"]
    assert variants["ReLU"][0]["nonlinearity"] == "relu"
    assert training_cost({"points": 100, "epochs": 2, "kinds": ["a"], "strides": "2-2-2"}) > 0


def frame(values, **columns):
    """Rows of a table {plane: values of each draw}."""
    return pd.concat(
        [
            pd.DataFrame({"draw": range(len(tests)), "plane": plane, "net": 0, "test": tests, "train": 1.0} | columns)
            for plane, tests in values.items()
        ],
        ignore_index=True,
    )


def test_judged_numbers():
    dense = frame({kind: [1.0, 0.99, 0.98] for kind in analysis.JUDGED} | {"upper": [0.1, 0.1, 0.1]})
    assert analysis.lowest(dense).estimate.value == pytest.approx(0.99)  # planes that are not of the claim do not count
    rows = frame({"top": [0.9, 0.95, 0.94], "random": [0.5, 0.52, 0.54]})
    estimate, values, withheld = analysis.top_less_random(rows)
    assert estimate.value == pytest.approx(0.41) and estimate.n == 3 and not withheld
    assert values == pytest.approx({"top": 0.93, "random": 0.52})
    withheld = analysis.top_less_random(rows.assign(train=[1.0, 0.98, 1.0, 1.0, 1.0, 1.0])).withheld
    assert withheld == "1 of 6 nets fit less than 0.99 of their points"
    arcs = frame({"mixed": [0.7, 0.7, 0.8]}).assign(arc_1=[1.0, 0.9, 0.8], arc_2=[0.3, 0.3, 0.3])
    assert analysis.strips(arcs).estimate.value == pytest.approx(0.6)


def test_seeds_are_averaged_within_a_draw_first():
    rows = frame({"top": [0.9, 0.7], "random": [0.5, 0.5]})
    more = pd.concat([rows, rows.assign(test=rows["test"] + 0.1, net=1)], ignore_index=True)
    assert analysis.top_less_random(more).estimate.n == 2
    assert analysis.top_less_random(more).estimate.value == pytest.approx(0.3)


def test_thresholds_are_compared_in_octaves():
    rows = frame({"top": [0.96, 0.96], "random": [0.5, 0.5]})
    rows["threshold"], rows["censored"] = [1000, 2000, 8000, 8000], [False, False, True, False]
    estimate, values, _ = analysis.threshold_difference(rows)
    assert estimate.value == pytest.approx(2.5)
    assert (values["censored_top"], values["censored_random"]) == (0, 1)
    assert analysis.thresholds(rows)["threshold"].tolist() == [1000, 2000, 8000, 8000]


def test_order_within_draws():
    rows = frame({kind: [0.5 + 0.1 * n] * 2 for n, kind in enumerate(["random", "middle", "top", "bottom"])})
    rows["share"] = [2.0, 2.0, 1.0, 1.0, 9.0, 9.0, 0.1, 0.1]
    estimate, values, _ = analysis.monotone(rows)
    assert estimate.value == pytest.approx(-0.4) and values["without_bottom"] == pytest.approx(0.5)
    constant = rows.assign(test=0.5)
    assert analysis.monotone(constant).estimate.value == 0


def test_partial_correlation_takes_the_architecture_off():
    shares = np.tile([3.0, 2.0, 1.0], 2)
    rows = pd.DataFrame({
        "draw": np.repeat([0, 1], 6), "architecture": np.tile(np.repeat(["a", "b"], 3), 2),
        "share": np.tile(shares, 2), "test": np.tile([0.6, 0.55, 0.5, 0.99, 0.98, 0.97], 2),
        "train": 1.0, "participation": np.tile(np.repeat([10.0, 200.0], 3), 2),
    })  # fmt: skip
    estimate, values, _ = analysis.partial_rank_correlation(rows)
    assert estimate.value == pytest.approx(1.0)
    assert values["participation_link"] == pytest.approx(1.0)
    reverse = analysis.partial_rank_correlation(rows.assign(share=-rows["share"])).estimate
    assert reverse.value == pytest.approx(-1.0)


def test_tables_for_figures():
    rows = frame({"top": [0.9, 0.8], "random": [0.5, 0.6]}, share=1.0)
    table = analysis.accuracies({"dense": rows, "residual": rows})
    assert table["plane"].tolist() == ["top", "random"] * 2
    assert table["mean"].tolist() == pytest.approx([0.85, 0.55] * 2)
    turned_rows = pd.DataFrame({"draw": [0, 0, 1, 1], "angle": [0.0, 90.0] * 2, "test": [1.0, 0.5, 0.8, 0.7]})
    along = analysis.together({"x": turned_rows.assign(network="dense")}, "angle", "network")
    assert along["mean"].tolist() == pytest.approx([0.9, 0.6])
    window = analysis.window({"x": rows.assign(network="dense", radius=2.0)})
    assert window["series"].tolist() == ["dense, top", "dense, random"]
    mapped = rows.assign(map=[[0.0] * 4] * 4)
    assert analysis.maps(mapped, ["top"], 1, 2, 1.0)["u1"].tolist() == [-1.3, 1.3, -1.3, 1.3]
