"""Cosines corrected for noise: synthetic rows whose answers are known."""

import numpy as np
import pandas as pd
import pytest
import torch

from repro.papers.gih import evolution_analysis as analysis
from repro.papers.gih.evolution import CANDIDATES, Look, candidates, theorem_rows, training_rows

SIZE, DRAWS = 20, 4


def geometry(draw, noise=0.0, spread=0.8):
    """Four parts of G of falling spectrum, and S."""
    random = np.random.default_rng(draw)
    rotation = np.linalg.qr(random.standard_normal((SIZE, SIZE)))[0]
    parts = np.diag(spread ** np.arange(SIZE)) + noise * random.standard_normal((4, SIZE, SIZE))
    moment = rotation @ np.diag(0.7 ** np.arange(SIZE)) @ rotation.T
    return torch.from_numpy((parts + parts.transpose(0, 2, 1)) / 2), torch.from_numpy(moment)


def theorem(factor=-3.0, towards="GSG", noise=0.0, label_change=float("nan"), **settings):
    """Rows of draws whose Δ is a multiple of a candidate, with independent noise in its halves."""
    rows = []
    for draw in range(DRAWS):
        parts, moment = geometry(draw, **settings)
        exact = candidates(parts.mean(0).expand(4, -1, -1), moment)[towards]
        random = torch.from_numpy(np.random.default_rng([draw, 1]).standard_normal((2, SIZE, SIZE)))
        delta = factor * exact + noise * (random + random.transpose(1, 2))
        for row in theorem_rows(delta, parts, moment):
            change = label_change * row["evolution_energy"]
            rows.append(row | {"draw": draw, "label_change": change})
    return pd.DataFrame(rows).assign(kind="dense", nonlinearity="gelu", width=16)


def test_an_evolution_along_gsg_is_recognised():
    rows = theorem()
    found, values, withheld = analysis.agreement(rows, "dense", "gelu")
    assert found.value == pytest.approx(1) and found.lower == pytest.approx(1) and found.n == DRAWS and not withheld
    others = pd.Series({name: values[key] for name, key in (("S", "with_s"), ("G", "with_g"), ("I", "with_identity"))})
    assert others.between(0.1, 0.99).all() and 0.99 < values["inside"] <= 1
    margin = analysis.margin(rows, "dense", "gelu").estimate
    table = analysis.start(rows)
    assert table["candidate"].tolist() == list(CANDIDATES) and set(table["nonlinearity"]) == {"GELU"}
    assert margin.value == pytest.approx(1 - table["mean"][1:].max()) and margin.lower > 0
    assert analysis.sign(rows, "dense", "gelu").estimate.value == pytest.approx(-1)
    assert analysis.sign(theorem(factor=2.0), "dense", "gelu").estimate.value == pytest.approx(1)


def test_an_evolution_along_g_is_not_taken_for_gsg():
    rows = theorem(towards="G")
    found, values, _ = analysis.agreement(rows, "dense", "gelu")
    assert values["with_g"] == pytest.approx(1) and found.value < 0.9
    assert analysis.margin(rows, "dense", "gelu").estimate.value == pytest.approx(found.value - 1)


def test_where_g_is_isotropic_gsg_and_s_cannot_be_told_apart():
    assert analysis.margin(theorem(spread=1.0), "dense", "gelu").estimate.value == pytest.approx(0, abs=1e-12)


def test_noise_makes_no_cosine_smaller():
    rows = theorem(noise=0.03)
    found = analysis.agreement(rows, "dense", "gelu").estimate
    assert found.lower < 1 < found.upper and found.value == pytest.approx(1, abs=0.15)
    part = rows[rows["candidate"] == "GSG"]
    exact = theorem()[lambda table: table["candidate"] == "GSG"]["evolution_energy"].sum()
    plain = np.sqrt(exact / (exact + DRAWS * 2 * SIZE**2 * 0.03**2))  # of one half with all its noise, on average
    assert plain < 0.95 and part["evolution_energy"].sum() == pytest.approx(exact, rel=0.1)


def test_noise_beyond_the_signal_is_withheld():
    rows = theorem().assign(evolution_energy=-1.0)
    assert analysis.agreement(rows, "dense", "gelu").withheld == "the noise of the networks exceeds the signal"


def test_the_largest_width_is_judged_and_every_width_is_shown():
    rows = pd.concat([theorem(), theorem(towards="G").assign(width=8)])
    assert analysis.agreement(rows, "dense", "gelu").estimate.value == pytest.approx(1)
    table = analysis.start(rows)
    assert sorted(table["width"].unique()) == [8, 16] and len(table) == 2 * len(CANDIDATES)


def test_labels_are_judged_where_they_were_measured():
    rows = pd.concat([theorem(label_change=0.03), theorem().assign(nonlinearity="relu")])
    assert analysis.label_effect(rows, "dense").estimate.value == pytest.approx(0.03)
    table = analysis.controls(rows)
    assert table["quantity"].tolist() == ["sign", "labels", "sign"]
    assert table["nonlinearity"].tolist() == ["GELU", "GELU", "ReLU"]


def training(towards, labels="real"):
    """Networks whose geometry is G₀ at first and then one of the baselines."""
    rows = []
    for draw in range(DRAWS):
        parts, moment = geometry(draw)
        found = {name: pair[0] for name, pair in candidates(parts, moment).items()}
        seen = {
            step: Look(found[name].expand(3, -1, -1), accuracy)
            for step, name, accuracy in ((0, "G", 0.5), (5, towards, 0.8), (10, towards, 0.9))
        }
        rows += [row | {"draw": draw} for row in training_rows(seen, parts, moment)]
    return pd.DataFrame(rows).assign(kind="residual", labels=labels)


def test_leads_are_means_after_the_start():
    table = analysis.during(training("GSG")).pivot(index="step", columns="baseline", values="mean")
    assert table["G₀"][0] == pytest.approx(1) and table["GSG"][[5, 10]].tolist() == pytest.approx([1, 1])
    for name in ("S", "G₀"):
        found, values, _ = analysis.lead(training("GSG"), "real", name)
        assert found.value == pytest.approx(1 - table[name][10]) and found.value > 0
        assert values == pytest.approx({"accuracy": 0.9})
    assert analysis.lead(training("S", "random"), "random", "S").estimate.upper < 0
    assert analysis.lead(training("G"), "real", "G₀").estimate.upper < 0


def test_tables_of_training_name_every_curve():
    both = pd.concat([training("GSG"), training("S", "random")])
    table = analysis.during(both)
    assert len(table) == 2 * 3 * 3 and (table["draws"] == DRAWS).all()
    assert set(table["labels"]) == {"real", "random"} and set(table["baseline"]) == {"GSG", "S", "G₀"}
