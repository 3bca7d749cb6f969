"""How fast the average geometry moves: the cell, its data, and the numbers that are judged."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from repro.papers.gih import invariance_analysis as analysis
from repro.papers.gih import study
from repro.papers.gih.grid import invariance_settings
from repro.papers.gih.invariance import cosine, data_deviations, invariance_cell

TINY = {
    "draw": 0, "arm": "aligned", "optimiser": "adam", "learning_rate": 0.01, "epochs": 4, "points": 32, "nets": 2,
    "intervals": 2, "probes": 2, "networks": 8, "side": 8, "channels": "8", "blocks": "1", "strides": "2",
    "dense_channels": "6", "seed": 3, "device": "cpu",
}  # fmt: skip


def eigen(values):
    values = np.array(values)
    return study.Directions(torch.diag(torch.from_numpy(values)).expand(2, -1, -1), values, np.eye(len(values)))


@pytest.mark.parametrize("kind", ["residual", "dense"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_rows_are_plain_and_repeatable(kind, optimiser):
    rows = invariance_cell(kind=kind, **TINY | {"optimiser": optimiser})
    assert json.dumps(rows) == json.dumps(invariance_cell(kind=kind, **TINY | {"optimiser": optimiser}))
    assert [row["interval"] for row in rows] == [1, 2] and rows[-1]["share"] == 1
    assert all(0 <= row["speed"] <= 2 and 0 <= row["train"] <= 1 and row["response"] == 1 for row in rows)


def test_arms_share_everything_but_the_spectrum_of_their_data():
    still = TINY | {"learning_rate": 1e-12}
    speeds = [invariance_cell(kind="residual", **still | {"arm": arm})[0]["speed"] for arm in ("aligned", "flipped")]
    assert max(abs(speed) for speed in speeds) < 1e-6  # nets that do not learn do not move, on either


def test_data_lie_along_or_across_the_geometry():
    aligned, response = data_deviations(eigen([4.0, 1.0, 0.25]), "aligned")
    np.testing.assert_allclose(aligned**2, [1.0, 0.25, 0.0625])
    assert response == 1
    flipped, response = data_deviations(eigen([4.0, 1.0, 0.25]), "flipped")
    np.testing.assert_allclose(flipped**2, [0.0625, 0.25, 1.0])
    assert response == pytest.approx((0.25 + 0.25 + 0.25) / (4 + 0.25 + 0.015625))
    matched, response = data_deviations(eigen([4.0, 1.0, 0.25]), "matched")
    assert response == pytest.approx(1.0)
    np.testing.assert_allclose(matched / flipped, (matched / flipped)[0])


def test_cosine_of_different_nets_is_free_of_their_own_motion():
    generator = torch.Generator().manual_seed(0)
    first = torch.eye(20) + torch.randn(200, 20, 20, generator=generator)
    second = torch.eye(20) + torch.randn(200, 20, 20, generator=generator)
    assert cosine(first, first) == pytest.approx(1.0)
    assert cosine(first, second) < 0.95  # noise of single nets
    assert cosine(first, second, different=True) == pytest.approx(1.0, abs=0.08)
    assert np.isnan(cosine(first - first.mean(0), second, different=True))


def test_refusals():
    with pytest.raises(ValueError, match="aligned, flipped or matched"):
        invariance_cell(kind="residual", **TINY | {"arm": "crossed"})
    with pytest.raises(ValueError, match="two nets"):
        invariance_cell(kind="residual", **TINY | {"nets": 1})


def rows(speeds, train=0.8, response=1.0):
    return pd.DataFrame([
        {"draw": draw, "interval": number, "share": number / 2, "speed": speed * number, "corrected": speed,
         "train": train, "response": response}
        for draw, speed in enumerate(speeds) for number in (1, 2)
    ])  # fmt: skip


def test_judged_numbers_and_tables():
    aligned, flipped = rows([0.2, 0.4]), rows([0.1, 0.1], train=0.6, response=0.01)
    estimate, values, _ = analysis.speed_ratio(aligned, flipped)
    assert estimate.value == pytest.approx(8**0.5) and estimate.n == 2
    assert values["corrected"] == pytest.approx(3.0) and values["response"] == pytest.approx(0.01)
    assert (values["memorisation_aligned"], values["memorisation_other"]) == pytest.approx((0.3, 0.1))
    table = analysis.along({"a": {"aligned": aligned, "flipped": flipped}})
    assert table.query("data == 'aligned' and quantity == 'speed'")["mean"].tolist() == pytest.approx([0.3, 0.6])
    assert analysis.ratios({"a": analysis.speed_ratio(aligned, flipped)})["corrected"].tolist() == pytest.approx([3.0])
    for corrected in (-0.01, np.nan):  # nothing is left of the speed
        unclear = {"a": analysis.speed_ratio(aligned, flipped.assign(corrected=corrected))}
        assert analysis.ratios(unclear)["corrected"].isna().all()


def test_settings():
    found = invariance_settings(epochs=3, learning_rate=0.1, adam_epochs=4, adam_rate=0.01)
    assert found["residual, SGD"][0] == ("aligned", "flipped", "matched")
    assert found["dense, residual G"][1]["foreign"] and found["residual, Adam"][1]["optimiser"] == "adam"


def test_started_networks_have_the_variance_of_he():
    form = study.Network(side=8, channels="8", blocks="1", strides="2", normalised=False)
    before, after = (study.family(form, 2)(np.random.default_rng(0)) for _ in range(2))
    study.started(after, form)
    ratio = after.body[0][0].weight / before.body[0][0].weight
    torch.testing.assert_close(ratio, torch.full_like(ratio, 6**0.5))
    assert torch.equal(after.readout.weight, before.readout.weight)
    normal = study.Network(side=8, channels="8", blocks="1", strides="2")
    network = study.family(normal, 2)(np.random.default_rng(0))
    kept = network.body[0][0].weight.detach().clone()
    assert torch.equal(study.started(network, normal).body[0][0].weight, kept)
