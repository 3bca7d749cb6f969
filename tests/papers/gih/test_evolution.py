"""Evolution of the average geometry: cells on small networks against plain sums."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from repro.data import images
from repro.geometry import average
from repro.papers.gih import evolution
from repro.papers.gih.evolution import Streams, theorem_cell, training_cell
from repro.papers.gih.study import Network, family
from repro.training.stacked import Recipe

F64 = torch.float64
THEOREM = {"kind": "dense", "nonlinearity": "linear", "width": 24, "networks": 64, "geometry_networks": 32, "draw": 1,
           "samples": 20, "side": 4, "device": "cpu"}  # fmt: skip
TRAINING = {"labels": "real", "kind": "residual", "channels": "8-8", "networks": 3, "geometry_networks": 8, "draw": 0,
            "points": 30, "steps": 4, "looks": 3, "probes": 6, "device": "cpu"}  # fmt: skip
STREAMS = Streams(3, 0)


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def symmetric(*shape, seed=0):
    one = normal(*shape, seed=seed)
    return one + one.transpose(-1, -2)


def test_rows_of_the_theorem_are_plain_repeatable_and_show_the_sign():
    rows = theorem_cell(**THEOREM)
    frame = pd.DataFrame(json.loads(json.dumps(rows)))
    assert frame["candidate"].tolist() == list(evolution.CANDIDATES)
    assert frame["label_change"].isna().all() and set(frame["evolution_energy"]) == {frame["evolution_energy"][0]}
    gsg = frame.loc[0]
    assert -1.2 < gsg["projection"] / np.sqrt(gsg["evolution_energy"] * gsg["candidate_energy"]) < -0.6
    assert json.dumps(theorem_cell(**THEOREM)) == json.dumps(rows)
    assert theorem_cell(**THEOREM | {"draw": 2})[0]["projection"] != rows[0]["projection"]


@pytest.mark.parametrize("changes", [{}, {"kind": "residual", "width": 8, "nonlinearity": "gelu"}])
def test_single_precision_is_enough(changes):
    small = THEOREM | {"networks": 8, "geometry_networks": 8, "labelled": True} | changes
    single, double = (pd.DataFrame(theorem_cell(**small, precision=name)) for name in ("float32", "float64"))
    numbers = single.columns.drop("candidate")
    np.testing.assert_allclose(single[numbers], double[numbers], rtol=2e-3)


def test_rows_are_scalar_products_of_halves():
    delta, geometry, moment = symmetric(2, 20, 20), symmetric(4, 20, 20, seed=1), symmetric(20, 20, seed=2)
    rows = {row["candidate"]: row for row in evolution.theorem_rows(delta, geometry, moment)}
    g1, g2, g3, g4 = geometry
    first, second = g1 @ moment @ g2 + g2 @ moment @ g1, g3 @ moment @ g4 + g4 @ moment @ g3
    assert rows["GSG"]["candidate_energy"] == pytest.approx(float((first * second).sum() / 4))
    assert rows["GSG"]["projection"] == pytest.approx(float(((delta[0] + delta[1]) * (first + second)).sum() / 8))
    assert rows["S"]["candidate_energy"] == pytest.approx(float((moment**2).sum()))
    assert rows["G"]["candidate_energy"] == pytest.approx(float(((g1 + g2) * (g3 + g4)).sum() / 4))
    assert rows["G²"]["candidate_energy"] == pytest.approx(float((((g1 @ g2) + (g2 @ g1)) * (g3 @ g4)).sum() / 2))
    assert rows["I"]["projection"] == pytest.approx(float(delta.mean(0).trace()))
    assert rows["I"]["evolution_energy"] == pytest.approx(float((delta[0] * delta[1]).sum()))
    projector = torch.linalg.eigh(geometry.mean(0))[1][:, 4:]
    projector = projector @ projector.T
    inside = (projector @ delta[0] @ projector * delta[1]).sum()
    assert rows["I"]["inside"] == pytest.approx(float(inside))


@pytest.mark.parametrize("kind", ["dense", "residual"])
def test_without_its_offset_a_network_evolves_as_if_the_offset_were_the_target(kind):
    make = family(evolution.theorem_network(kind, "gelu", 8, 4), 1, F64)
    bare = evolution.WithoutOffset(make)
    x, data = normal(2, 1, 4, 4), normal(5, 1, 4, 4, seed=1)
    number = np.random.SeedSequence([7, 0])
    offset = list(make(np.random.default_rng(number)).parameters())[-1].detach()
    assert offset.abs() > 1e-3 and not list(bare(np.random.default_rng(number)).parameters())[-1].any()
    moved = average.evolution_halves(make, x, data, 1, 7, targets=offset.expand(5), parts=1)
    torch.testing.assert_close(average.evolution_halves(bare, x, data, 1, 7, parts=1), moved, rtol=1e-10, atol=1e-14)


def test_data_have_the_spectrum_and_targets_the_size_asked_for():
    data = evolution.gaussian_data(STREAMS, 20000, 4)
    found = torch.linalg.eigvalsh(evolution.second_moment(data)).flip(0).numpy()
    assert found == pytest.approx(0.9 ** np.arange(16), rel=0.1)
    make = evolution.WithoutOffset(family(evolution.theorem_network("dense", "relu", 8, 4), 1, F64))
    targets = evolution.random_targets(make, data[:50], STREAMS)
    outputs = [make(STREAMS.generator(evolution.SCALE, n))(data[:50]).detach() for n in range(evolution.CHUNK)]
    assert torch.cat(outputs).square().mean() == pytest.approx(float(targets.square().mean()))
    assert len(targets.abs().unique()) == 1 and len(targets.unique()) == 2


def test_rows_of_training_leave_out_products_of_a_network_with_itself():
    geometries, geometry, moment = symmetric(3, 6, 6), symmetric(4, 6, 6, seed=1), symmetric(6, 6, seed=2)
    geometries = geometries + 9 * torch.eye(6)
    seen = {0: evolution.Look(geometries, 0.5), 4: evolution.Look(2 * geometries, 0.75)}
    rows = pd.DataFrame(evolution.training_rows(seen, geometry, moment))
    assert rows["baseline"].tolist() == ["GSG", "S", "G₀"] * 2 and rows["step"].tolist() == [0] * 3 + [4] * 3
    trace = geometries.mean(0).trace()
    pairs = [(geometries[a] * geometries[b]).sum() / trace**2 for a, b in ((0, 1), (0, 2), (1, 2))]
    assert rows["geometry_energy"].to_numpy() == pytest.approx(np.full(6, float(sum(pairs)) / 3))
    assert rows["growth"].tolist() == pytest.approx([1] * 3 + [2] * 3)
    assert rows["projection"][1] == pytest.approx(float((geometries.mean(0) * moment).sum() / trace / moment.trace()))


def test_training_is_watched_from_start_to_end():
    rows = pd.DataFrame(json.loads(json.dumps(training_cell(**TRAINING))))
    assert rows["step"].unique().tolist() == [0, 2, 4] and len(rows) == 9
    assert (rows["growth"][:3] == 1).all() and len(set(rows["growth"])) == 3 and rows["accuracy"].between(0, 1).all()
    coin = pd.DataFrame(training_cell(**TRAINING | {"labels": "random"}))
    assert coin["projection"][:3].tolist() == rows["projection"][:3].tolist()  # the same networks at the start
    assert coin["projection"][8] != rows["projection"][8]
    dense = training_cell(**TRAINING | {"kind": "dense", "channels": "9-7", "nonlinearity": "gelu"})
    assert len(dense) == 9


def test_networks_are_measured_each_at_its_own_probes():
    network = Network("dense", 4, 1, "6", normalised=False)
    x, y = normal(8, 1, 4, 4).float(), torch.arange(8) % 2
    recipe = Recipe(2, 1e-3, 8, optimiser="adam")
    seen = evolution.watch_training(network, x, y, 2, recipe, 5, 2, STREAMS)
    assert list(seen) == [0, 2]
    for number in range(2):
        net = family(network, 2)(STREAMS.generator(evolution.TRAINED, number))
        probes = STREAMS.generator(evolution.PROBES, number).standard_normal((5, 1, 4, 4))
        alone = evolution.single_geometry(net, torch.from_numpy(probes).float())
        torch.testing.assert_close(seen[0].geometries[number], alone)
        rows = average.input_gradients(average.stack([net]), torch.from_numpy(probes).float())[0, 0].double()
        torch.testing.assert_close(alone, rows.T @ rows / 5, rtol=1e-4, atol=1e-7)


def test_images_are_standardised_and_in_two_classes():
    x, y = evolution.draw_images("fashion-mnist-sample", True, 200, STREAMS)
    assert x.shape == (200, 1, 16, 16) and x.dtype == torch.float32
    assert x.mean().abs() < 1e-5 and x.std(correction=0) == pytest.approx(1, abs=1e-5)
    full = evolution.draw_images("fashion-mnist-sample", False, 200, STREAMS)[0]
    assert full.shape == (200, 1, 32, 32) and len(full[..., :2, :].unique()) == 1
    pool = images.load("fashion-mnist-sample", "train")
    chosen = STREAMS.generator(evolution.DATA).choice(len(pool.classes), 200, replace=False)
    assert y.tolist() == [int(number in (5, 7, 8, 9)) for number in pool.classes[chosen]] and 60 < y.sum() < 100


@pytest.mark.parametrize(
    ("cell", "change", "message"),
    [
        (theorem_cell, {"networks": 3}, "an even number at the start"),
        (theorem_cell, {"networks": 0}, "2 or more networks"),
        (theorem_cell, {"geometry_networks": 6}, "a multiple of 4"),
        (theorem_cell, {"samples": 0}, "a point"),
        (theorem_cell, {"seed": -1}, "draw and seed >= 0"),
        (theorem_cell, {"kind": "lenet"}, "kind must be dense or residual"),
        (theorem_cell, {"nonlinearity": "sine"}, "nonlinearity must be one of"),
        (theorem_cell, {"precision": "half"}, "precision must be one of float32, float64"),
        (theorem_cell, {"kind": "residual", "width": 12}, "multiples of 8"),
        (training_cell, {"networks": 1}, "2 or more networks"),
        (training_cell, {"labels": "none"}, "expected labels"),
        (training_cell, {"kind": "lenet"}, "expected labels, kind"),
        (training_cell, {"steps": 5}, "looks that divide the steps"),
        (training_cell, {"looks": 1}, "looks that divide the steps"),
        (training_cell, {"points": 10**6}, "at most 4000 points"),
        (training_cell, {"dataset": "faces"}, "expected one of"),
    ],
)
def test_wrong_parameters_are_refused(cell, change, message):
    with pytest.raises(ValueError, match=message):
        cell(**(THEOREM if cell is theorem_cell else TRAINING) | change)
