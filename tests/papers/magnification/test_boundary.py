"""Cells of the nets in the plane: against plain Jacobians, repeatable, and refusing what cannot be run."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from repro.papers.magnification.boundary import Hidden, boundary_cell, depth_cell, equal_loss_cell, problem
from repro.papers.magnification.grid import boundary_cost, boundary_grid
from repro.papers.magnification.planar import circles, near_over_far, regions, square
from repro.training.sigmoid_ensemble import Descent, training_steps

CELL = {
    "task": "sinusoid", "width": 6, "nets": 3, "looks": [0, 5, 40], "batch_size": 20, "points": 60, "side": 20,
    "map_side": 5, "seed": 4, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return boundary_cell(**CELL)


@pytest.fixture(scope="module")
def nets():
    """The nets of the cell at its end, with their start and points."""
    given = problem("sinusoid", [6], 60, 3, 4, "cpu")
    steps = training_steps(given.start, given.inputs, given.classes, given.order, batch_size=20, descent=Descent())
    for _ in range(40):
        trained = next(steps)
    return given, trained


def test_rows_are_plain_in_order_and_repeatable(rows):
    frame = pd.DataFrame(json.loads(json.dumps(rows)))
    assert frame[["step", "net"]].to_numpy().tolist() == [[step, net] for step in (0, 5, 40) for net in range(3)]
    assert json.dumps(boundary_cell(**CELL)) == json.dumps(rows)
    assert frame["near_far"].map(len).eq(4).all() and frame["train_accuracy"].between(0, 1).all()
    ends = frame["step"] != 5
    for name in ("projected", "logit", "probability", "curvature", "crests_flanks", "angular_spread"):
        assert frame[name].notna().eq(ends).all()
    assert frame["volume_map"].map(lambda v: v is not None).tolist() == [net == 0 for _ in range(3) for net in range(3)]
    assert frame["curvature_map"].notna().sum() == 2


def jacobian(hidden, points):
    """Of the features over √n, by autograd: (points, n, 2)."""
    features = hidden.ensemble.features(hidden.net, 0)
    x = torch.from_numpy(points)
    rows = torch.func.vmap(torch.func.jacrev(lambda p: features(p[None])[0]))(x)
    return rows / rows.shape[1] ** 0.5


def test_volume_is_that_of_the_jacobian(rows, nets):
    given, trained = nets
    where = regions("sinusoid", 20)
    for net in range(3):
        hidden = Hidden(trained, given.start, net, 1.0)
        singular = torch.linalg.svdvals(jacobian(hidden, where.points))
        logs = singular.log().sum(1).numpy()
        np.testing.assert_allclose(rows[6 + net]["near_far"], near_over_far(logs, where), rtol=1e-9)
        rings = torch.linalg.svdvals(jacobian(hidden, circles().reshape(-1, 2))).log().sum(1).reshape(3, -1)
        assert rows[6 + net]["angular_spread"] == pytest.approx(
            float(rings.var(1, correction=0).mean() ** 0.5), rel=1e-9
        )
    volume_map = torch.linalg.svdvals(jacobian(Hidden(trained, given.start, 0, 1.0), square(5, 1.5))).log10().sum(1)
    np.testing.assert_allclose(rows[6]["volume_map"], volume_map.numpy(), rtol=1e-9)


def test_levels_are_those_of_autograd(nets):
    given, trained = nets
    points = square(7, 1.0)
    for scale in (1.0, 50.0):
        hidden = Hidden(trained, given.start, 1, scale)
        x = torch.from_numpy(points).requires_grad_()
        logits = trained[1:2](x)[0] if scale == 1 else scale * (trained[1:2](x) - given.start[1:2](x))[0]
        (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), x)
        torch.testing.assert_close(hidden.gradient(points), gradient.norm(dim=1))
        np.testing.assert_allclose(hidden.margin(points), (logits[:, 1] - logits[:, 0]).detach().numpy(), atol=1e-12)


def test_what_is_projected_out_is_the_read_outs_direction(nets):
    given, trained = nets
    hidden, points = Hidden(trained, given.start, 2, 1.0), square(5, 1.0)
    last = trained.weights[1][2]
    direction = last[:, 1] - last[:, 0]
    unit = direction / direction.norm()
    rows = jacobian(hidden, points)
    left = rows - unit[None, :, None] * (unit @ rows)[:, None, :]
    torch.testing.assert_close(
        hidden.projected_volume(points), torch.linalg.svdvals(left).prod(1), rtol=1e-8, atol=1e-15
    )


def test_lazy_nets_keep_their_features_and_still_learn():
    usual, lazy = (
        boundary_cell(**CELL | {"looks": [0, 300], "width": 40, "map_side": 0} | change)
        for change in ({}, {"output_scale": 1000.0})
    )
    for rows, moved in ((usual, True), (lazy, False)):
        start, end = (np.array([row["near_far"][0] for row in part]) for part in (rows[:3], rows[3:]))
        assert (np.abs(end - start).max() > 0.05) == moved
        assert all(row["train_loss"] < 0.6 for row in rows[3:])


def test_layers_of_deep_nets():
    rows = depth_cell(hidden=[4, 3], nets=2, steps=3, points=40, batch_size=10, side=4, seed=1, device="cpu")
    frame = pd.DataFrame(rows)
    assert frame[["step", "net", "layer"]].to_numpy().tolist() == [
        [step, net, layer] for step in (0, 3) for net in (0, 1) for layer in (1, 2)
    ]
    given = problem("sinusoid", [4, 3], 40, 2, 1, "cpu")
    x = torch.from_numpy(square(4, 1.5))
    rows_of = torch.func.vmap(torch.func.jacrev(lambda p: given.start.features(1, 1)(p[None])[0]))(x)
    logs = torch.linalg.svdvals(rows_of / 3**0.5).log10().sum(1).numpy()
    low, high = np.quantile(logs, [0.1, 0.9])
    assert frame["contrast"][3] == pytest.approx(high - low, rel=1e-9)


def test_nets_are_measured_when_they_reach_the_loss():
    cell = {"width": 8, "nets": 3, "points": 60, "batch_size": 20, "seed": 2, "device": "cpu"}
    reached = equal_loss_cell(target=0.6, step_limit=400, **cell)
    assert all(row["reached"] and row["train_loss"] <= 0.6 and row["step"] < 400 for row in reached)
    assert len({row["step"] for row in reached}) > 1
    short = equal_loss_cell(target=1e-6, step_limit=40, **cell)
    assert [(row["net"], row["step"], row["reached"]) for row in short] == [(net, 40, False) for net in range(3)]


def test_refuses_what_cannot_be_run():
    for change in ({"width": 1}, {"looks": []}, {"looks": [3, 1]}, {"nets": 0}, {"seed": -1}, {"task": "spiral"}):
        with pytest.raises(ValueError, match=r"expected|must be"):
            boundary_cell(**CELL | change)
    with pytest.raises(ValueError, match="hidden layers"):
        depth_cell(hidden=[8], nets=2, steps=3)
    with pytest.raises(ValueError, match="target"):
        equal_loss_cell(width=8, nets=2, target=0.0, step_limit=100)


def test_the_grid_has_each_setting_once_and_costs_something():
    cells = boundary_grid(
        widths=[5, 20], xor_widths=[2, 10], steps=100, xor_steps=50, frames=7, map_side=4, control_width=9, side=20,
        output_scale=100.0, lazy_rate=0.1, nets=2, points=50, batch_size=40, optimiser="adam", learning_rate=0.03,
        seed=0, device="cpu",
    )  # fmt: skip
    named = [(c["task"], c["width"], c.get("loss"), c.get("output_scale")) for c in cells]
    assert len(set(named)) == len(cells) == 9
    assert all(boundary_cost(cell) > 0 and cell["looks"][0] == 0 for cell in cells)
    assert next(c["batch_size"] for c in cells if c["task"] == "few points") == 30
    assert {c["optimiser"] for c in cells if c["task"] == "xor"} == {"sgd"}
