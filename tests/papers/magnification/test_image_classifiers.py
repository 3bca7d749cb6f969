"""Cells of the image classifiers at a tiny scale, their numbers by hand, and their figures."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from repro.data import images as data
from repro.geometry.pullback import log_effective_volume
from repro.models.sigmoid_ensemble import normal_ensemble
from repro.papers.magnification import images_analysis as analysis
from repro.papers.magnification.grid import dense_blocks, numbers, residual_shape, segment_counts
from repro.papers.magnification.images import _dense, dense_cell, nonlinearity_cell, residual_cell
from repro.papers.magnification.pictures import draw_split

DENSE = {
    "dataset": "digits", "width": 70, "first_net": 0, "nets": 2, "epochs": 2, "learning_rate": 0.01, "between": 3,
    "same": 2, "misread": 2, "points": 5, "planes": 1, "plane_side": 5, "seed": 3, "dtype": "float64", "device": "cpu",
}  # fmt: skip
RESIDUAL = {
    "dataset": "fashion-mnist-sample", "net": 0, "epochs": 1, "channels": [3, 4, 11], "blocks": [1, 1, 1],
    "strides": [1, 2, 2], "between": 2, "same": 1, "misread": 2, "points": 5, "planes": 1, "plane_side": 4, "seed": 3,
    "dtype": "float64", "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def dense():
    return dense_cell(**DENSE)


@pytest.fixture(scope="module")
def residual():
    return residual_cell(**RESIDUAL)


def test_dense_rows_are_plain_and_repeatable_and_share_crossings(dense):
    assert json.dumps(dense_cell(**DENSE)) == json.dumps(dense)
    frame = pd.DataFrame(json.loads(json.dumps(dense)))
    found = frame[frame["quantity"] == "segment"]
    assert found.groupby(["net", "state", "kind"]).size().to_dict() == {
        (net, state, kind): count
        for net in (0, 1) for state in ("trained", "untrained")
        for kind, count in (("between", 3), ("misread", 2), ("same", 2))
    }  # fmt: skip
    keys = ["net", "kind", "segment"]
    trained, untrained = (found[found["state"] == s].set_index(keys) for s in ("trained", "untrained"))
    assert trained["crossing"].equals(untrained["crossing"]) and not trained["curve"].equals(untrained["curve"])
    assert set(frame["quantity"]) == {"segment", "plane", "spectrum", "picture", "accuracy"}
    assert frame[frame["quantity"] == "picture"]["net"].eq(0).all()


def test_a_net_of_a_block_has_its_own_images_and_does_not_depend_on_the_first_number():
    second = dense_cell(**DENSE | {"first_net": 1, "nets": 1, "planes": 0})
    assert {row["net"] for row in second} == {1}
    splits = [draw_split("digits", False, torch.float64, torch.device("cpu"), np.random.default_rng(n)) for n in (0, 1)]
    assert not np.array_equal(splits[0][0].classes, splits[1][0].classes)


@pytest.mark.parametrize("width", [20, 80])
def test_log_volumes_are_those_of_the_jacobian(width):
    nets = normal_ensemble([64, width, 10], [np.random.default_rng(n) for n in range(2)])
    x = torch.from_numpy(data.digits().images[:6].reshape(6, 64) / 16)
    closed = _dense(nets, 1).log_volumes(x)[0]
    np.testing.assert_allclose(closed, log_effective_volume(nets.features(1, 0), x).numpy(), rtol=1e-10)


def test_residual_rows_have_both_ranks(residual):
    assert json.dumps(residual_cell(**RESIDUAL)) == json.dumps(residual)
    frame = pd.DataFrame(residual)
    found = frame[frame["quantity"] == "segment"]
    assert set(found["rank"]) == {0, 10} and found["curve"].map(len).eq(5).all()
    assert np.isfinite(np.array(found["curve"].tolist())).all()


def test_nonlinearities_share_their_segments_and_their_weights():
    shared = {name: RESIDUAL[name] for name in RESIDUAL if name not in ("same", "misread", "planes", "plane_side")}
    frame = pd.DataFrame(nonlinearity_cell(**shared | {"nonlinearities": ["gelu", "relu", "mixed"]}))
    pictures = frame[frame["quantity"] == "picture"].groupby("nonlinearity")["pixels"].agg(list)
    assert len(pictures) == 3 and pictures["gelu"] == pictures["relu"] == pictures["mixed"]
    curves = frame[frame["quantity"] == "segment"].groupby("nonlinearity")["curve"].agg(list)
    assert len(curves["gelu"]) == 4 and curves["gelu"] != curves["relu"] and curves["gelu"] != curves["mixed"]
    assert analysis.examples({"GELU": frame[frame["nonlinearity"] == "gelu"]}, 1)["part"].nunique() == 4
    with pytest.raises(ValueError, match="nonlinearity"):
        nonlinearity_cell(**shared | {"nonlinearities": ["swish"]})


def test_pictures_are_from_0_to_1_and_pooled():
    train, test = draw_split("fashion-mnist-sample", True, torch.float32, torch.device("cpu"), np.random.default_rng(0))
    assert train.inputs.shape == (3000, 1, 14, 14) and test.inputs.shape == (2000, 1, 14, 14)
    raw = data.load("fashion-mnist-sample", "test").images[7].astype(float)
    assert float(test.inputs[7, 0, 2, 3]) == pytest.approx(raw[4:6, 6:8].mean() / 255)
    digits, rest = draw_split("digits", False, torch.float64, torch.device("cpu"), np.random.default_rng(0))
    assert len(digits.classes) + len(rest.classes) == 1797 and float(digits.inputs.max()) == 1


def test_refuses_what_cannot_be_scanned():
    for change in ({"between": 0}, {"points": 2}, {"width": 0}, {"nets": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="expected units"):
            dense_cell(**DENSE | change)
    with pytest.raises(ValueError, match="plane_side"):
        dense_cell(**DENSE | {"plane_side": 2})
    with pytest.raises(ValueError, match="rank"):
        residual_cell(**RESIDUAL | {"rank": 12})


def test_blocks_hold_every_net_once():
    cells = dense_blocks([{"width": 1}, {"width": 2}], 6, seed=0)
    assert [(c["width"], c["first_net"], c["nets"]) for c in cells] == [(1, 0, 4), (1, 4, 2), (2, 0, 4), (2, 4, 2)]
    for wrong in ("16,32", "", "a-1"):
        with pytest.raises(ValueError, match="hyphens"):
            numbers(wrong)
    with pytest.raises(ValueError, match="three numbers"):
        segment_counts("40-12")
    with pytest.raises(ValueError, match="multiples of 8"):
        residual_shape("16-20", "1-1", "2-1-2", "float32")
    assert residual_shape("16-20", "1-1", "2-1-2", "float64")["channels"] == [[16, 20]]


def test_narrow_nets_are_concave_and_a_bent_line_is_told():
    rows = pd.DataFrame(dense_cell(**DENSE | {"width": 12, "lines": 3, "planes": 0}))
    estimate, values, _ = analysis.concavity(rows)
    assert estimate.upper < 1e-9 and values["lines"] == 12 and estimate.n == 2
    bent = rows[rows["quantity"] == "line"].copy()
    bent["curve"] = bent["curve"].map(lambda curve: [*curve[:-1], curve[-2] + 5])
    assert analysis.concavity(bent)[0].value > 0.5


def test_distance_to_the_wrong_boundary():
    rows = pd.DataFrame(
        {"quantity": "segment", "net": net, "kind": "misread", "state": state, "rank": 0, "segment": segment,
         "crossing": 0.2, "peak": 0.2 + 0.1 * (net + 1) if state == "trained" else 0.0}
        for net in range(2) for segment in range(3) for state in ("trained", "untrained")
    )  # fmt: skip
    estimate, values, _ = analysis.wrong_boundary(rows)
    assert estimate.value == pytest.approx(np.sqrt(0.1 / 0.2 * 0.2 / 0.1)) and values["segments"] == 6
    assert values["untrained"] == pytest.approx(0.2 / 0.5)
    assert analysis.misread({"made up": rows}).groupby("state")["peak"].max().to_dict() == {
        "trained": pytest.approx(0.4), "untrained": 0,
    }  # fmt: skip


def test_junctions_are_averaged_within_a_net_first():
    rows = pd.DataFrame(
        {"quantity": "plane", "net": net, "state": state, "plane": plane,
         "junction": np.nan if plane == 2 else (net + 1) * (2.0 if state == "trained" else 1.0)}
        for net in range(3) for state in ("trained", "untrained") for plane in range(3)
    )  # fmt: skip
    estimate, values, _ = analysis.junction(rows)
    assert estimate.value == pytest.approx(4) and values["untrained"] == pytest.approx(2) and values["planes"] == 6
    assert analysis.junctions({"made up": rows})["junction"].max() == pytest.approx(6 / np.log(10))


def test_interior_peaks_are_shares_of_a_net():
    rows = pd.DataFrame(
        {"quantity": "segment", "net": net, "kind": "between", "state": state, "rank": 0, "segment": s, "crossing": 0.5,
         "peak": 0.5 if s <= net or state == "trained" else 0.0}
        for net in range(3) for state in ("trained", "untrained") for s in range(4)
    )  # fmt: skip
    estimate, values, _ = analysis.interior_peaks(rows)
    assert estimate.value == pytest.approx((0.25 + 0.5 + 0.75) / 3) and values["trained"] == 1


def test_tables_hold_what_the_figures_draw(dense, residual):
    kinds = {"digits, dense": pd.DataFrame(dense), "residual": pd.DataFrame(residual)}
    assert set(analysis.peaks(kinds)["kind"]) == set(kinds)
    ranges = analysis.within_and_between(kinds)
    assert ranges.groupby(["kind", "segments", "state"]).size().tolist() == [2, 2, 2, 2, 1, 1, 1, 1]
    assert (ranges["range"] > 0).all() and ranges["interior"].between(0, 1).all()
    segments = analysis.examples(kinds, 1)
    assert set(segments["part"]) == {"curve", "left", "middle", "right"}
    assert (segments[segments["part"] == "left"].groupby("kind").size() == [64, 196]).all()
    planes = analysis.planes({"digits, dense": kinds["digits, dense"]})
    assert planes.groupby("part").size()[["class", "entropy", "image 1"]].tolist() == [25, 25, 64]
    assert planes[planes["part"] == "entropy"]["value"].between(0, 1).all()
    assert analysis.spectra(kinds).groupby(["kind", "state"]).size().tolist() == [64, 64, 11, 11]
