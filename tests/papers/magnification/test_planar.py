"""Tasks in the plane: distances by brute force, regions that a rotation-symmetric volume cannot tell apart."""

import numpy as np
import pytest

from repro.data.synthetic import sinusoid_height
from repro.papers.magnification import planar


def test_the_square_runs_the_first_coordinate_fastest():
    points = planar.square(3, 2.0)
    assert points.tolist() == [[x, y] for y in (-2, 0, 2) for x in (-2, 0, 2)]


def test_distance_to_the_curve_is_the_smallest_of_a_dense_search():
    points = np.random.default_rng(0).uniform(-1, 1, (20, 2))
    x = np.linspace(-1.6, 1.6, 400_001)
    brute = [np.hypot(p[0] - x, p[1] - sinusoid_height(x)).min() for p in points]
    assert min(brute) > 0.005 and np.abs(planar.curve_distance(points) - brute).max() < 1e-5
    on_it = np.column_stack([x[::1001], sinusoid_height(x[::1001])])
    assert planar.curve_distance(on_it).max() < 3e-4


def test_a_symmetric_volume_tells_no_image_of_xor_from_its_boundary():
    where = planar.regions("xor", 200)
    logs = -(np.linalg.norm(where.points, axis=1) ** 2)
    boundary, diagonals = planar.near_over_far(logs, where)
    assert boundary > 0.1  # magnified by nothing but its way through the origin
    assert boundary == pytest.approx(diagonals, abs=0.01)


def test_a_ridge_on_the_curve_is_found_there_alone():
    where = planar.regions("sinusoid")
    assert where.near.shape == (4, 6400) and not (where.near & where.far).any()
    logs = -planar.curve_distance(where.points)
    boundary, *images = planar.near_over_far(logs, where)
    assert boundary > 0.3 and max(images) < 0.75 * boundary


def test_crests_are_extrema_and_flanks_zeros():
    points = planar.square(161, 1.0)
    crests, flanks = planar.crests_and_flanks(points)
    assert np.abs(points[crests, 1]).min() > 0.6 - planar.NEAR and np.abs(points[flanks, 1]).max() < planar.NEAR
    assert not (crests & flanks).any()
    assert planar.curve_distance(points[crests | flanks]).max() < planar.NEAR


def test_a_nets_own_boundary_is_where_its_margin_vanishes():
    points = planar.square(81, 1.0)
    found = planar.own_boundary(points[:, 0] ** 2 + points[:, 1] ** 2 - 0.49, 81, 1.0)
    assert np.abs(np.linalg.norm(found, axis=1) - 0.7).max() < 1e-3 and len(found) > 100
    assert len(planar.own_boundary(np.ones(81**2), 81, 1.0)) == 0


@pytest.mark.parametrize("task", planar.TASKS)
def test_points_are_those_of_the_task(task):
    sample = planar.draw(task, 200, np.random.default_rng(3))
    inputs, labels = sample.inputs.numpy(), sample.labels.numpy()
    assert set(labels) == {-1.0, 1.0}
    if task == "xor":
        assert (labels == -inputs.prod(1)).all() and len(labels) == 4
        return
    assert np.abs(inputs).max() <= 1 and len(labels) == (planar.FEW if task == "few points" else 200)
    side = np.where(inputs[:, 1] > sinusoid_height(inputs[:, 0]), 1, -1)
    if task == "few points":
        assert labels.sum() == 0 and (labels != side).any()
    else:
        assert (labels == side).all()
    if task == "hole at the boundary":
        assert planar.curve_distance(inputs).min() > planar.HOLE
    if task == "hole elsewhere":
        assert planar.curve_distance(-inputs).min() > planar.HOLE and planar.curve_distance(inputs).min() < 0.02


def test_refuses_another_task():
    for call in (lambda: planar.draw("spiral", 10, np.random.default_rng(0)), lambda: planar.regions("spiral")):
        with pytest.raises(ValueError, match="spiral"):
            call()
