import numpy as np
import pytest
import torch
from scipy.stats import chi2

from repro.data.synthetic import box_with_channels, cylinder, cylinder_radius, sine_sheet, spiral_rolls, stripe


def draw(points=20_000, dimension=3, seed=0, **options):
    return stripe(points, dimension, np.random.default_rng(seed), **options)


def test_shapes_and_types():
    inputs, labels = draw(7, 4)
    assert inputs.shape == (7, 4) and labels.shape == (7,)
    assert inputs.dtype == labels.dtype == torch.float64


def test_label_depends_on_the_first_coordinate_alone():
    inputs, labels = draw(1000)
    inside = (inputs[:, 0] > -0.3) & (inputs[:, 0] < 1.18549)
    assert (labels[inside] == -1).all() and (labels[~inside] == 1).all()


def test_default_planes_balance_the_classes():
    points = 200_000
    mean = float(draw(points).labels.mean())
    assert abs(mean) < 4 / np.sqrt(points)  # four standard errors of a fair coin


def test_inputs_are_standard_normal():
    inputs = draw(100_000).inputs
    covariance = inputs.T @ inputs / len(inputs)
    assert torch.allclose(covariance, torch.eye(3, dtype=torch.float64), atol=0.02)  # 4.5 standard errors of √2/√n


def test_same_generator_state_same_points_and_a_longer_draw_extends_a_shorter_one():
    short, long = draw(10), draw(20)
    assert torch.equal(short.inputs, long.inputs[:10]) and torch.equal(short.labels, long.labels[:10])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 0}, "points must be at least 1, got 0"),
        ({"dimension": 1}, "dimension must be at least 2, got 1"),
        ({"lower": 1.0, "upper": 1.0}, "lower=1.0, upper=1.0"),
        ({"lower": float("nan")}, "lower=nan"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        draw(**{"points": 5, **options})


@pytest.mark.parametrize(("informative", "share"), [(2, 0.5), (3, 0.4938), (8, 0.4990)])
def test_cylinder_classes_are_balanced(informative, share):
    points = 100_000
    labels = cylinder(points, 10, informative, np.random.default_rng(0)).labels
    exact = chi2.cdf(cylinder_radius(informative) ** 2, informative)
    assert exact == pytest.approx(share, abs=1e-3)
    assert abs(float((labels > 0).double().mean()) - exact) < 2 / np.sqrt(points)  # four standard errors


def test_cylinder_label_is_plus_one_inside_and_blind_to_the_other_coordinates():
    inputs, labels = cylinder(1000, 5, 2, np.random.default_rng(0))
    inside = inputs[:, 0] ** 2 + inputs[:, 1] ** 2 <= 2 * np.log(2)
    assert torch.equal(labels, torch.where(inside, 1.0, -1.0).double())
    assert torch.equal(inputs, draw(1000, 5).inputs)  # the stripe's points


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 5, 2), "points must be"), ((5, 2, 2), "got 2 and 2"), ((5, 5, 1), "at least 2 informative")],
)
def test_bad_arguments_of_the_cylinder_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cylinder(*arguments, np.random.default_rng(0))


SOLIDS = pytest.mark.parametrize("task", [spiral_rolls, box_with_channels, sine_sheet])


@SOLIDS
def test_solids_have_three_coordinates_and_two_classes(task):
    inputs, labels = task(7, np.random.default_rng(0))
    assert inputs.shape == (7, 3) and labels.shape == (7,)
    assert inputs.dtype == labels.dtype == torch.float64
    assert set(task(100, np.random.default_rng(0)).labels.tolist()) == {1.0, -1.0}


@SOLIDS
def test_a_longer_draw_of_a_solid_extends_a_shorter_one(task):
    short, long = (task(points, np.random.default_rng(3)) for points in (10, 200))
    assert torch.equal(short.inputs, long.inputs[:10]) and torch.equal(short.labels, long.labels[:10])
    assert not torch.equal(short.inputs, task(10, np.random.default_rng(4)).inputs)


@SOLIDS
def test_solids_refuse_no_points(task):
    with pytest.raises(ValueError, match="points must be at least 1, got 0"):
        task(0, np.random.default_rng(0))


@pytest.mark.parametrize("task", [spiral_rolls, sine_sheet])
def test_rolls_and_sheet_are_balanced_exactly(task):
    assert task(1000, np.random.default_rng(0)).labels.sum() == 0
    assert task(1001, np.random.default_rng(0)).labels.sum() == 1


def on_first_roll(inputs):
    """Whether some t of [π/2, 7π/2] with the point's polar angle has its radius within 0.12 of 0.12 t."""
    x, y, _ = inputs.numpy().T
    angle, radius = np.arctan2(y, x) % (2 * np.pi), np.hypot(x, y)
    turns = angle[:, None] + 2 * np.pi * np.arange(2)
    reachable = (turns >= np.pi / 2) & (turns <= 3.5 * np.pi)
    return (reachable & (np.abs(radius[:, None] - 0.12 * turns) <= 0.12 + 1e-12)).any(1)


def test_the_second_roll_is_the_first_turned_by_pi():
    inputs, labels = spiral_rolls(5000, np.random.default_rng(0))
    half_turn = torch.tensor([-1.0, -1.0, 1.0])
    first, second = inputs[labels > 0], inputs[labels < 0]
    assert on_first_roll(first).all() and on_first_roll(second * half_turn).all()
    assert not on_first_roll(second).any() and not on_first_roll(first * half_turn).any()  # an empty gap between them
    assert inputs[:, 2].min() >= 0 and inputs[:, 2].max() <= 2


def test_rolls_are_uniform_in_angle_thickness_and_height():
    inputs = spiral_rolls(20_000, np.random.default_rng(0)).inputs
    radius = inputs[:, :2].norm(dim=1)
    mean, error = 0.12 * 2 * np.pi, np.sqrt((0.36 * np.pi) ** 2 / 12 + 0.24**2 / 12) / np.sqrt(20_000)
    assert abs(float(radius.mean()) - mean) < 4 * error
    assert abs(float(inputs[:, 2].mean()) - 1) < 4 * np.sqrt(1 / 3 / 20_000)
    assert (radius > 0).all()  # 0.12 π/2 exceeds the half-thickness: no roll reaches the axis


def ellipses(inputs):
    """s² of the two channels, from their equations in the coordinates of the cube [−1, 1]³."""
    x, _, z = inputs.numpy().T
    return np.stack([(x / 0.58) ** 2 + ((z - centre) / 0.33) ** 2 for centre in (-0.46, 0.46)])


def test_channels_run_through_the_box_and_their_rim_is_empty():
    inputs, labels = box_with_channels(20_000, np.random.default_rng(0))
    distance = np.sqrt(ellipses(inputs))
    inside = labels.numpy() > 0
    assert ((distance < 0.88 + 1e-12).sum(0) == inside).all()  # in exactly one channel or in none: they do not overlap
    assert (distance[:, ~inside] > 1.12 - 1e-12).all()
    assert inputs.abs().max() <= 1
    for column in inputs.T:  # the box reaches all six faces; a channel reaches the front and the back
        assert column.min() < -0.99 and column.max() > 0.99
    assert inputs[inside, 1].min() < -0.99 and inputs[inside, 1].max() > 0.99
    upper, lower = distance[1, inside] < 1, distance[0, inside] < 1
    assert abs(upper.mean() - lower.mean()) < 4 / np.sqrt(inside.sum())


def test_share_of_the_channels_is_their_area():
    points, area = 100_000, 2 * np.pi * 0.29 * 0.165
    share = 0.88**2 * area / (1 - (1.12**2 - 0.88**2) * area)
    assert share == pytest.approx(0.272, abs=5e-4)  # as the docstring says
    inside = box_with_channels(points, np.random.default_rng(0)).labels > 0
    assert abs(float(inside.double().mean()) - share) < 4 * np.sqrt(share * (1 - share) / points)


def test_sheet_and_slab():
    inputs, labels = sine_sheet(20_000, np.random.default_rng(0))
    x, _, z = inputs.T
    sheet = labels > 0
    assert torch.allclose(z[sheet], torch.sin(2 * torch.pi * x[sheet]), rtol=0, atol=1e-14)  # rounding only
    assert z[~sheet].abs().max() <= 0.18 and z[~sheet].abs().max() > 0.179
    assert inputs.abs().max() <= 1 and float(z.max()) > 0.999 and float(z.min()) < -0.999
    crossing, expected = float((z[sheet].abs() < 0.18).double().mean()), 2 / np.pi * np.arcsin(0.18)
    assert expected == pytest.approx(0.115, abs=5e-4)  # as the docstring says
    assert abs(crossing - expected) < 4 * np.sqrt(expected * (1 - expected) / 10_000)
