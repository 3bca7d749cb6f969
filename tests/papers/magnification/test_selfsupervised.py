"""The cell of nets trained without labels, at a tiny scale, and its tables by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from repro.papers.magnification import selfsupervised
from repro.papers.magnification import selfsupervised_analysis as analysis
from repro.papers.magnification.selfsupervised import METHODS, selfsupervised_cell

CELL = {
    "dataset": "fashion-mnist-sample", "net": 1, "epochs": 1, "supervised_epochs": 1, "channels": [3, 4, 11],
    "blocks": [0, 1, 1], "strides": [1, 2, 2], "batch_size": 40, "projector_width": 6, "outputs": 5, "between": 4,
    "same": 2, "points": 5, "train_size": 120, "seed": 2, "dtype": "float64", "device": "cpu",
}  # fmt: skip
RANKS = {10: "k = 10", 0: "full rank"}


@pytest.fixture(scope="module")
def rows():
    return selfsupervised_cell(**CELL)


def test_rows_are_plain_repeatable_and_share_their_segments(rows):
    assert json.dumps(selfsupervised_cell(**CELL)) == json.dumps(rows)
    frame = pd.DataFrame(json.loads(json.dumps(rows)))
    found = frame[frame["quantity"] == "segment"]
    assert found.groupby(["method", "state", "rank", "kind"]).size().to_dict() == {
        (method, state, rank, kind): count
        for method in METHODS for state in ("trained", "untrained") for rank in (0, 10)
        for kind, count in (("between", 4), ("same", 2))
    }  # fmt: skip
    untrained = found[(found["state"] == "untrained") & (found["rank"] == 0)]
    curves = {method: part["curve"].tolist() for method, part in untrained.groupby("method")}
    assert curves["barlow"] == curves["simclr"] == curves["supervised"]
    assert frame[frame["quantity"] == "accuracy"]["value"].between(0, 1).all()
    assert (frame["quantity"] == "loss").sum() == 2


def test_every_net_draws_its_own_training_images(monkeypatch):
    seen = []

    def spy(network, points, classes):
        seen.append(classes)
        return real(network, points, classes)

    real = selfsupervised.Probe
    monkeypatch.setattr(selfsupervised, "Probe", spy)
    for net in (0, 1):
        selfsupervised_cell(**CELL | {"net": net, "channels": [2, 2, 10], "points": 3})
    assert len(seen) == 8 and all(len(classes) == 120 for classes in seen)
    assert np.array_equal(seen[0], seen[3]) and not np.array_equal(seen[0], seen[4])


def test_a_cut_spectrum_is_part_of_the_whole(rows):
    frame = pd.DataFrame(rows)
    chosen = frame[(frame["method"] == "barlow") & (frame["state"] == "trained") & (frame["quantity"] == "segment")]
    ten, full = (np.array(chosen[chosen["rank"] == rank]["curve"].tolist()) for rank in (10, 0))
    assert ten.shape == full.shape == (6, 5) and (full - ten < 0).all()  # the eleventh singular value is below 1


def test_refuses_what_cannot_be_scanned():
    for change in ({"rank": 12}, {"between": 0}, {"points": 2}, {"net": -1}):
        with pytest.raises(ValueError, match="expected net"):
            selfsupervised_cell(**CELL | change)


def bumps(height, nets=3, crossings=(0.3, 0.5, 0.7)):
    """Log-volumes with a bump (or a dip) at the crossing of every segment after training, and a slope before it."""
    table = []
    t = np.linspace(0, 1, 41)
    for method in METHODS:
        for net in range(nets):
            for rank in RANKS:
                for segment, crossing in enumerate(crossings):
                    classes = (t > crossing).astype(int).tolist()
                    for state in ("trained", "untrained"):
                        high = height * (1 + 0.1 * net)
                        curve = high * np.exp(-(((t - crossing) / 0.1) ** 2)) if state == "trained" else t
                        row = {"quantity": "segment", "method": method, "net": net, "kind": "between", "state": state,
                               "segment": segment, "rank": rank, "crossing": crossing, "curve": curve.tolist(),
                               "classes": classes, "peak": float(t[curve.argmax()]), "contrast": high,
                               "range": float(np.ptp(curve))}  # fmt: skip
                        table.append(row)
    return pd.DataFrame(table)


def test_bumps_and_dips_are_told_apart():
    up, down = bumps(2.0), bumps(-2.0)
    for rows, sign in ((up, 1), (down, -1)):
        estimate, values, _ = analysis.contrast(analysis.segments(rows, "simclr"), 10)
        assert estimate.value == pytest.approx(2.2 * sign) and estimate.n == 3
        assert values["positive"] == (1.0 if sign > 0 else 0.0)
        middle = analysis.profiles(rows, RANKS)
        middle = middle[(middle["state"] == "trained") & (middle["rank"] == "k = 10")]
        at = middle.set_index(["method", "offset"])["mean"]
        assert np.sign(at[("simclr", 0.0)] - at[("simclr", 0.25)]) == sign


def test_the_summary_knows_a_peak_at_the_crossing():
    table = analysis.summary(bumps(2.0), RANKS).set_index(["statistic", "method", "rank", "state"])["mean"]
    assert table[("over untrained", "barlow", "k = 10", "trained")] < 0.1
    assert table[("rank correlation", "barlow", "full rank", "trained")] > 0.99
    assert table[("rank correlation", "barlow", "full rank", "untrained")] == 0  # its peak never moves
    assert len(table) == 3 * 2 * 6


def test_examples_are_the_first_segments_of_the_first_net():
    table = analysis.examples(bumps(1.0), 2, RANKS)
    assert set(table["segment"]) == {0, 1} and len(table) == 3 * 2 * 2 * 2 * 41


def test_losses_are_relative_to_the_first_epoch():
    rows = pd.DataFrame(
        {"quantity": "loss", "method": "barlow", "net": net, "epoch": epoch, "value": (4.0 + net) / epoch}
        for net in (0, 1) for epoch in (1, 2)
    )  # fmt: skip
    assert analysis.losses(rows)["loss"].tolist() == [1, 0.5, 1, 0.5]
