"""A cell's rows are those of its nets, whatever nets run beside them; tasks, nulls and grids are as declared."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from repro.data import images
from repro.geometry.graph import ricci_coefficient
from repro.models.ensemble import glorot_ensemble
from repro.papers.ricci import grid
from repro.papers.ricci import nets as ricci

CELL = {"dataset": "A", "architecture": "narrow", "depth": 3, "condition": "trained", "first_net": 0, "nets": 2}
CELL |= {"neighbours": [5, 10], "epochs": 2, "train_size": 60, "test_size": 50, "dtype": "float64", "device": "cpu"}
COLUMNS = ["dataset", "architecture", "depth", "condition", "net", "points", "train_accuracy", "test_accuracy"]
COLUMNS += ["test_loss", "k", "hop_sums", "directed_curvature", "union_curvature"]


def cell(**change):
    return ricci.ensemble_cell(**{**CELL, **change})


@pytest.fixture
def seen(monkeypatch):
    """What a cell trains: the nets it starts from and ends with, its labels, its batches' generators."""
    calls = []

    def spy(ensemble, inputs, labels, generators, **options):
        states = [generator.bit_generator.state for generator in generators]
        trained = original(ensemble, inputs, labels, generators, **options)
        calls.append({"start": ensemble, "end": trained, "labels": labels, "order": states, "inputs": inputs} | options)
        return trained

    original = ricci.train_classifiers
    monkeypatch.setattr(ricci, "train_classifiers", spy)
    return calls


# --- nets ---


def test_hidden_widths():
    assert ricci.hidden_widths("narrow", 5) == [25] * 5 and ricci.hidden_widths("wide", 11) == [50] * 11
    assert ricci.hidden_widths("bottleneck", 5) == [50, 50, 25, 50, 50]
    assert ricci.hidden_widths("bottleneck", 11) == [50] * 5 + [25] + [50] * 5


@pytest.mark.parametrize(("architecture", "depth"), [("deep", 5), ("bottleneck", 4), ("wide", 0)])
def test_other_widths_are_refused(architecture, depth):
    with pytest.raises(ValueError, match=f"got '{architecture}'" if architecture == "deep" else f"got {depth}"):
        ricci.hidden_widths(architecture, depth)


# --- tasks ---


@pytest.mark.parametrize("dataset", ["A", "B", "C"])
def test_drawn_tasks_are_the_same_for_a_seed_and_others_for_another(dataset):
    first, again, other = (ricci.task(dataset, 60, 40, seed, torch.float64) for seed in (0, 0, 1))
    assert [tuple(part.shape) for part in first] == [(60, 3), (60,), (40, 3), (40,)]
    assert set(first.train_labels.tolist()) == set(first.test_labels.tolist()) == {0.0, 1.0}
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.train_inputs, other.train_inputs)
    assert not torch.equal(first.train_inputs[:40], first.test_inputs)


def test_fewer_training_points_are_the_first_ones_and_leave_the_test_points_alone():
    few, many = (ricci.task("C", size, 40, 0) for size in (20, 60))
    assert torch.equal(few.train_inputs, many.train_inputs[:20]) and torch.equal(few.test_inputs, many.test_inputs)
    assert few.train_inputs.dtype == few.train_labels.dtype == torch.float32


def test_image_tasks_are_raw_pixels_of_the_two_classes():
    found = ricci.task("sandal-boot", 200, 100, 0)
    assert found.train_inputs.shape == (200, 784) and found.test_inputs.shape == (100, 784)
    assert found.train_inputs.min() == 0 and found.train_inputs.max() == 255
    everything = images.load("fashion-mnist-footwear", "train")
    classes = {image.tobytes(): label for image, label in zip(everything.images, everything.classes, strict=True)}
    drawn = [classes[x.to(torch.uint8).numpy().tobytes()] for x in found.train_inputs]
    assert drawn == [5 if label == 0 else 9 for label in found.train_labels] and len(set(drawn)) == 2
    assert len(ricci.task("sandal-boot", 200, 10**6, 0).test_labels) == 2000  # at most as many as there are


def test_impossible_tasks_are_refused():
    with pytest.raises(ValueError, match="got 'D'"):
        ricci.task("D", 10, 10, 0)
    with pytest.raises(ValueError, match="12000 training images, got train_size=12001"):
        ricci.task("sandal-boot", 12001, 10, 0)


# --- cells ---


def test_rows_hold_plain_values_of_every_net_and_k():
    rows = cell()
    assert [(row["net"], row["k"]) for row in rows] == [(0, 5), (0, 10), (1, 5), (1, 10)]
    assert all(list(row) == COLUMNS for row in rows)
    for row in rows:
        assert row["points"] == 50 and 0 <= row["test_accuracy"] <= 1 and row["test_loss"] > 0
        for name in COLUMNS[-3:]:
            assert len(row[name]) == 3 and all(type(value) in (int, float) for value in row[name])


@pytest.mark.parametrize("condition", ricci.CONDITIONS)
def test_a_net_does_not_depend_on_the_nets_beside_it(condition):
    together = cell(condition=condition, nets=4)
    assert together == cell(condition=condition, nets=4)  # bit for bit
    assert together == cell(condition=condition) + cell(condition=condition, first_net=2)


def test_seed_and_cell_give_other_nets():
    rows = [cell(nets=1, condition="untrained", **change)[0] for change in ({}, {"seed": 1}, {"first_net": 1})]
    assert len({row["test_loss"] for row in rows}) == 3


def activations_of(ensemble, task):
    return [layer.numpy() for layer in ensemble.activations(task.test_inputs)]


@pytest.mark.parametrize(("dataset", "neighbours"), [("A", [10, 5]), ("B", [20])])
def test_geometry_is_that_of_the_trained_nets_activations(seen, dataset, neighbours):
    rows = cell(dataset=dataset, neighbours=neighbours)
    layers = activations_of(seen[0]["end"], ricci.task(dataset, 60, 50, 0, torch.float64))
    for row, (net, k) in zip(rows, itertools.product((0, 1), neighbours), strict=True):
        for convention in ("directed", "union"):
            expected = ricci_coefficient([layer[net] for layer in layers], k, convention)
            assert (row["net"], row["k"], row["hop_sums"]) == (net, k, expected.hop_sums.tolist())
            assert row[f"{convention}_curvature"] == expected.curvature.tolist()


def test_scores_are_those_of_single_nets(seen):
    rows = cell(neighbours=[5])
    task = ricci.task("A", 60, 50, 0, torch.float64)
    for row in rows:
        net = seen[0]["end"].network(row["net"])
        with torch.no_grad():
            train, test = (torch.sigmoid(net(x)).squeeze(1) for x in (task.train_inputs, task.test_inputs))
        assert row["train_accuracy"] == np.mean((train > 0.5).numpy() == (task.train_labels == 1).numpy())
        assert row["test_accuracy"] == np.mean((test > 0.5).numpy() == (task.test_labels == 1).numpy())
        chance = torch.where(task.test_labels == 1, test, 1 - test)  # of the right class
        assert row["test_loss"] == pytest.approx(-float(chance.log().mean()))


def test_untrained_nets_are_the_initial_ones_of_every_other_condition(seen):
    untrained = cell(condition="untrained", neighbours=[5])
    assert not seen
    for condition in ("trained", "shuffled labels", "few labels"):
        cell(condition=condition, neighbours=[5])
    starts = [call["start"] for call in seen]
    assert all(torch.equal(starts[0].parameters, start.parameters) for start in starts)
    layers = activations_of(starts[0], ricci.task("A", 60, 50, 0, torch.float64))
    for row in untrained:
        expected = ricci_coefficient([layer[row["net"]] for layer in layers], 5)
        assert row["hop_sums"] == expected.hop_sums.tolist()
    drawn = glorot_ensemble([3, 25, 25, 25, 1], [np.random.default_rng(net) for net in range(200)])
    assert starts[0].widths == drawn.widths
    assert starts[0].parameters.abs().max() <= drawn.parameters.abs().max() + 1e-3  # the same bounds


def test_shuffled_labels_are_permutations_of_each_net_its_own(seen):
    cell(condition="shuffled labels", neighbours=[5], nets=3)
    cell(condition="few labels", neighbours=[5], nets=3)
    shuffled, true = seen
    assert shuffled["labels"].shape == (3, 60) and torch.equal(true["labels"], ricci.task("A", 60, 50, 0).train_labels)
    assert (shuffled["labels"].sum(1) == true["labels"].sum()).all()
    assert len({tuple(labels.tolist()) for labels in [*shuffled["labels"], true["labels"]]}) == 4
    assert shuffled["order"] == true["order"] and torch.equal(shuffled["inputs"], true["inputs"])


def test_training_accuracy_of_shuffled_labels_is_of_those_labels():
    [row] = cell(condition="shuffled labels", nets=1, train_size=6, epochs=2000, neighbours=[5], architecture="wide")
    assert row["train_accuracy"] == 1.0 and row["test_accuracy"] < 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"condition": "tamed"}, "got 'tamed'"),
        ({"architecture": "deep"}, "got 'deep'"),
        ({"dataset": "D"}, "got 'D'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size|batch size"),
        ({"neighbours": [50]}, "50"),
        ({"dtype": "float16"}, "got 'float16'"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
    ],
)
def test_bad_parameters_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        cell(**change)


# --- grids ---

GROUP = grid.Group(["A", "B"], (6, 10), epochs=7, train_size=100, test_size=50)
STUDY = {"architectures": ["narrow", "wide"], "depths": [5, 11], "few_points": 20, "few_epochs": 30}
STUDY |= {"seed": 3, "dtype": "float64"}
NETS = {"trained": 30, "untrained": 12, "shuffled labels": 5, "few labels": 5}


def test_grid_has_every_net_of_every_cell_once_in_blocks():
    configs = grid.study_grid([GROUP], nets=NETS, **STUDY)
    assert len(configs) == 8 * (3 + 1 + 1 + 1) and max(config["nets"] for config in configs) == grid.BLOCK == 12
    for condition, count in NETS.items():
        for cell_of_study in itertools.product("AB", ("narrow", "wide"), (5, 11)):
            numbers = [
                number
                for config in configs
                if (config["dataset"], config["architecture"], config["depth"]) == cell_of_study
                and config["condition"] == condition
                for number in range(config["first_net"], config["first_net"] + config["nets"])
            ]
            assert numbers == list(range(count))


def test_grid_trains_each_condition_on_its_points():
    settings = {
        config["condition"]: (config["train_size"], config["epochs"])
        for config in grid.study_grid([GROUP], nets=NETS, **STUDY)
    }
    assert settings["trained"] == (100, 7) and settings["untrained"][1] == 0
    assert settings["shuffled labels"] == settings["few labels"] == (20, 30)


def test_grids_are_configurations_of_cells():
    small = {**STUDY, "architectures": ["narrow"], "depths": [3], "few_epochs": 1}
    group = dataclasses.replace(GROUP, datasets=["A"], epochs=1)
    for config in grid.study_grid([group], nets=dict.fromkeys(NETS, 1), **small):
        assert len(ricci.ensemble_cell(**config)) == 2


def test_dearer_cells_cost_more():
    base = {**CELL, "epochs": 50, "train_size": 1000, "test_size": 1000}
    changes = [{"depth": 11}, {"architecture": "wide"}, {"dataset": "sandal-boot"}, {"nets": 12}, {"epochs": 100}]
    assert all(grid.relative_cost(base | change) > grid.relative_cost(base) for change in changes)
    untrained = grid.relative_cost({**base, "condition": "untrained", "epochs": 0})
    assert 0 < untrained < grid.relative_cost(base)


def test_missing_images_and_unknown_conditions_are_told_before_any_cell_runs(monkeypatch):
    def missing(name, split):
        raise images.DataError(f"{name} was not found")

    monkeypatch.setattr(images, "load", missing)
    settings = {"architectures": ["narrow"], "depths": [5]}

    def group(name):
        return [grid.Group([name], [5], epochs=1, train_size=50, test_size=50)]

    with pytest.raises(images.DataError, match="mnist was not found"):
        grid.study_grid(group("mnist-1v7"), nets={"trained": 2}, **settings)
    with pytest.raises(ValueError, match=r"conditions of .*, got .'trainde'"):
        grid.study_grid(group("A"), nets={"trainde": 2}, **settings)
    assert len(grid.study_grid(group("A"), nets={"trained": 2}, **settings)) == 1  # drawn sets need no files
