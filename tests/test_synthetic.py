import numpy as np
import pytest
import torch
from scipy.stats import chi2

from repro.data.synthetic import cylinder, cylinder_radius, stripe


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
