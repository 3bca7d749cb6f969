"""Spectra of the average geometry: cells against theory, and their tables."""

import json

import numpy as np
import pandas as pd
import pytest

from repro.papers.gih import spectrum_analysis as analysis
from repro.papers.gih.grid import spectrum_grid
from repro.papers.gih.spectrum import spectrum_cell, stride_cell, total_stride

SMALL = {"channels": "8-8", "blocks": "1-1", "strides": "2-2", "networks": 40, "seed": 3, "device": "cpu"}


def test_rows_are_plain_and_repeatable():
    cell = {"draw": 0, "kind": "residual", "pictures": 2} | SMALL
    (row,) = spectrum_cell(**cell)
    assert json.dumps(row) == json.dumps(spectrum_cell(**cell)[0])
    assert np.mean(row["values"]) == pytest.approx(1.0)
    assert row["k90"] <= row["k99"] <= 256 and 0 < row["participation"] < 0.5
    assert len(row["pictures"]) == 2 and len(row["pictures"][0]) == 256
    assert row["chance"] == 16 / 256 and np.mean(row["fourier"][:4]) > 3 * row["chance"]


def test_a_dense_net_is_isotropic_only_without_the_bias_of_sampling():
    options = SMALL | {"channels": "40", "networks": 60}
    (row,) = spectrum_cell(draw=0, kind="dense", side=16, **options)
    assert row["participation"] == pytest.approx(1.0, abs=0.15)
    assert row["biased"] < 0.9


@pytest.mark.parametrize(("strides", "rank"), [("1-1", 1), ("2-1", 4), ("2-2", 16), ("2-4", 64)])
def test_the_stride_law_is_exact(strides, rank):
    (row,) = stride_cell(draw=1, strides=strides, networks=140, side=16, channels=8, device="cpu")
    assert row["rank"] == rank == row["stride"] ** 2


@pytest.mark.parametrize("change", [{"padding": "zeros"}, {"head": "flat"}])
def test_the_law_needs_its_conditions(change):
    (row,) = stride_cell(draw=1, strides="2-2", networks=300, side=8, device="cpu", **change)
    assert row["rank"] > 16


def test_judged_numbers_and_tables():
    cells = {"values": [2.0, 1.0, 1.0, 0.0], "fourier": [1.0, 0.5, 0.2, 0.1], "pictures": [[0.0, -2.0, 1.0, 0.0]]}
    rows = pd.DataFrame([
        {"network": name, "draw": draw, "participation": 0.5 + 0.1 * draw, "biased": 0.4, "k90": 2, "k99": 3,
         "top_16": 0.9, "chance": 0.25} | cells
        for name in ("dense", "residual") for draw in range(2)
    ])  # fmt: skip
    estimate, values, _ = analysis.participation(rows, "residual")
    assert estimate.value == pytest.approx(0.55) and values["k99"] == 3
    assert analysis.summary(rows).query("quantity == 'k90'")["mean"].tolist() == pytest.approx([0.5, 0.5])
    assert analysis.spectra(rows).groupby("network").size().tolist() == [4, 4]
    assert analysis.fourier(rows, groups=2)["mean"].tolist() == pytest.approx([0.75, 0.15] * 2)
    picture = analysis.pictures(rows)
    assert picture["value"].max() == 1.0 and picture["value"].min() == -0.5  # the largest pixel is positive
    law = pd.DataFrame({"stride": [2, 2, 4], "rank": [4, 3, 16], "off": [0.0, 0.1, 0.0]}).assign(participation=2.0)
    ratio = analysis.rank_over_law(law, 2).estimate
    assert (ratio.value, ratio.lower, ratio.upper, ratio.n) == (0.875, 0.75, 1.0, 2)
    assert set(analysis.strides({"a": law})["variant"]) == {"a"}


def test_the_grid_names_its_networks():
    cells = spectrum_grid(
        draws=2, networks=10, pictures=3, strides="2-2-2", side=16, residual="8-16-32", blocks="1-1-1",
        dense="100-100", transformer="48-3-4-4", seed=1, device="cpu",
    )  # fmt: skip
    assert list(cells) == ["dense", "residual", "LeNet", "transformer", "residual, ReLU, unit inputs"]
    assert [cell["pictures"] for cell in cells["dense"]] == [3, 0]
    assert cells["residual, ReLU, unit inputs"][0]["input_scale"] == 1.0
    assert total_stride("1-2-4") == 8
