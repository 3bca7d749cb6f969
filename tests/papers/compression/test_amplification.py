"""The compression cells, the one-neuron equation and the lazy limit, each against theory."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from repro.data.synthetic import stripe
from repro.geometry.compression import amplification
from repro.geometry.ntk import shallow_ntk
from repro.models.dense import initialise
from repro.papers.compression.amplification import (
    amplification_cell,
    neuron_map_cell,
    neuron_path_cell,
    one_neuron_cell,
    stages_cell,
)
from repro.papers.compression.exponents import learning_curve_cell
from repro.papers.compression.stripe import Stripe
from repro.training.flow import HUBER_WIDTH, hinge_flow
from repro.training.one_neuron import one_neuron_flow, population_drive

CELL = {"dimension": 5, "train_size": 64, "seed": 0, "width": 60, "device": "cpu"}


def test_lazy_net_is_the_gradient_flow_of_its_initial_kernel():
    """α → ∞: the margins follow dr/ds = (α h/p) Θ₀ (y y') force(r), Θ₀ the initial NTK; so do the test outputs."""
    scale, width = 1e6, 400
    problem = Stripe(4, 20, 0, width=width, test_size=200, dtype="float64", device="cpu").draw()
    net, (x, y), test = problem.network, problem.train, problem.test
    flow = hinge_flow(net, x, y, scale)
    weights = (net.weight, net.bias, net.readout)
    train_kernel = (shallow_ntk(*weights, x) * torch.outer(y, y)).numpy() * scale * width / len(y)
    test_kernel = (shallow_ntk(*weights, test.inputs, x) * y).numpy() * scale * width / len(y)

    def rate(_, state):  # margins of the training points, then outputs F of the test points
        force = np.clip((1 - state[: len(y)]) / HUBER_WIDTH, 0, 1)
        return np.concatenate([train_kernel @ force, test_kernel @ force])

    start = np.zeros(len(y) + len(test.inputs))
    path = solve_ivp(rate, (0, flow.time_final), start, method="LSODA", rtol=1e-8, atol=1e-8)
    outputs = scale * (flow.final(test.inputs) - net(test.inputs)).numpy()
    # time steps of the implicit stage, and the hinge that is sharp up to t* and rounded over 0.02 after it
    assert np.abs(outputs - path.y[len(y) :, -1]).max() < 0.05 * np.abs(outputs).max()


def test_two_step_tolerances_agree():
    coarse, fine = (
        [
            learning_curve_cell(
                regime="feature", **CELL | {"train_size": 256, "seed": seed}, test_size=10_000, tolerance=tolerance
            )[0]
            for seed in range(4)
        ]
        for tolerance in (1.0, 0.2)
    )
    for one, other in zip(coarse, fine, strict=True):
        assert one["amplification_A"] == pytest.approx(other["amplification_A"], rel=0.01)  # 1 % is the promise
    means = [np.mean([row["test_error"] for row in rows]) for rows in (coarse, fine)]
    assert means[0] == pytest.approx(means[1], rel=0.10)  # the promise for a mean of four nets


def test_population_drive_is_the_average_over_many_points():
    net = initialise(8, 4, np.random.default_rng(0))
    inputs, labels = stripe(400_000, 4, np.random.default_rng(1))
    hidden = torch.cat([net.weight, net.bias[:, None]], 1)
    features = torch.cat([inputs / 2, torch.ones(len(inputs), 1, dtype=torch.float64)], 1)
    signed = (features @ hidden.T > 0) * labels[:, None]
    average = math.sqrt(2) * (signed.T @ features) / len(inputs)
    drive = population_drive(hidden.numpy(), np.zeros((8, 3)))
    assert np.abs(drive - average.numpy()).max() < 5 * math.sqrt(2 / len(inputs))  # five standard errors


def test_sampling_noise_of_the_drive_has_the_spread_of_finite_samples():
    net = initialise(1, 4, np.random.default_rng(0))
    hidden = torch.cat([net.weight, net.bias[:, None]], 1)
    points, draws = 500, 2_000
    inputs, labels = stripe(points * draws, 4, np.random.default_rng(1))
    active = (inputs @ net.weight[0] / 2 + net.bias > 0) * labels
    sampled = (inputs * active[:, None]).reshape(draws, points, 4).mean(1) * (math.sqrt(2) / 2)
    noise = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) / math.sqrt(points)
    quiet = population_drive(hidden.numpy(), np.zeros((1, 3)))
    spread = [(population_drive(hidden.numpy(), unit[None]) - quiet)[0, 1 + i] for i, unit in enumerate(noise)]
    assert np.allclose(sampled.std(0)[1:].numpy(), spread, rtol=0.08)  # five standard errors of a spread of 2 000


def test_one_neuron_equation_is_a_net_on_a_population_sized_sample():
    net = initialise(10, 3, np.random.default_rng(0))
    inputs, labels = stripe(200_000, 3, np.random.default_rng(1))
    states = []
    flow = hinge_flow(net, inputs, labels, 1e-2, stop_at_t_star=True, observe=states.append)
    early = [state for state in states if state.time < 0.7 * flow.time_t_star]  # no point has left the loss
    path = one_neuron_flow(net, [state.time for state in early])
    for state, equation in zip(early, path, strict=True):
        size = float(equation.weight.abs().max())
        assert float((equation.weight - state.network.weight).abs().max()) < 0.03 * size  # noise of 1/√p, grown
    assert amplification(path[-1].weight) > 1.5 * amplification(net.weight)


def test_one_neuron_equation_conserves_and_saturates_with_noise_only():
    net = initialise(30, 5, np.random.default_rng(0))
    quiet = one_neuron_flow(net, [0.0, 15.0, 30.0])
    noisy = one_neuron_flow(net, [0.0, 15.0, 30.0], train_size=256, generator=np.random.default_rng(1))
    assert torch.equal(quiet[0].weight, net.weight)
    for state in (*quiet, *noisy):
        invariant = (state.weight**2).sum(1) + state.bias**2 - state.readout**2
        start = (net.weight**2).sum(1) + net.bias**2 - net.readout**2
        assert torch.allclose(invariant / state.readout**2, start / state.readout**2, atol=2e-3)  # the integrator's
    growth = [amplification(path[2].weight) / amplification(path[1].weight) for path in (quiet, noisy)]
    assert growth[0] > 5 and growth[1] < 2


@pytest.mark.parametrize(
    ("times", "options", "message"),
    [
        ([1.0, 0.5], {}, "increasing times"),
        ([-1.0], {}, "increasing times"),
        ([1.0], {"train_size": 0}, "train_size must be positive"),
        ([1.0], {"train_size": 10}, "needs a generator"),
    ],
)
def test_bad_arguments_of_the_equation_are_named(times, options, message):
    with pytest.raises(ValueError, match=message):
        one_neuron_flow(initialise(2, 3, np.random.default_rng(0)), times, **options)


def test_amplification_cell_is_the_learning_curve_cells_net():
    rows = {row["definition"]: row["amplification"] for row in amplification_cell(**CELL)}
    [trained] = learning_curve_cell(regime="feature", **CELL, test_size=100)
    assert (rows["A"], rows["B"]) == (trained["amplification_A"], trained["amplification_B"])
    assert rows["A"] == pytest.approx(2 * rows["B"])  # √(d − 1)


def test_stages_start_at_nothing_and_end_where_the_learning_curve_cell_does():
    rows = stages_cell(**CELL)
    [trained] = learning_curve_cell(regime="feature", **CELL, test_size=100)
    first, last = rows[0], rows[-1]
    assert (first["time"], first["loss"], first["satisfied"], first["test_error"]) == (0.0, 1.0, 0.0, 1.0)
    assert (last["time"], last["amplification_A"]) == (trained["time"], trained["amplification_final"])
    t_star = [row for row in rows if row["stage"] == "explicit"][-1]
    assert t_star["amplification_A"] == trained["amplification_A"] and t_star["satisfied"] > 0.1
    late = [row["time"] for row in rows if row["stage"] == "implicit"]
    assert late == sorted(late) and len(rows) < 300


def test_neuron_map_has_its_four_moments_and_every_neuron_in_each_frame():
    rows = neuron_map_cell(**CELL, frames=8)
    moments = {row["moment"]: row["frame"] for row in rows}
    assert moments["start"] == 0 < moments["t*"] < moments["90 % satisfied"] <= moments["end"]
    frames = {row["frame"] for row in rows}
    assert frames == set(range(max(frames) + 1)) and len(rows) == 60 * len(frames)
    with pytest.raises(ValueError, match="got 3"):
        neuron_map_cell(**CELL, frames=3)


def test_equation_starts_where_the_net_does():
    rows = one_neuron_cell(**CELL)
    starts = {row["source"]: row["amplification_A"] for row in rows if row["time"] == 0}
    assert set(starts) == {"net", "equation, p", "equation"}
    assert list(starts.values()) == pytest.approx([starts["net"]] * 3, rel=1e-6)  # float32 against float64
    paths = neuron_path_cell(**CELL, heaviest=2)
    assert len(paths) == 2 * len(rows) and len({row["neuron"] for row in paths}) == 2
