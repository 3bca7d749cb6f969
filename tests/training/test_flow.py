import itertools
import math

import numpy as np
import oracles
import pytest
import torch

from repro.data.synthetic import stripe
from repro.geometry.compression import amplification
from repro.models.dense import ShallowNetwork, initialise
from repro.training import flow as flow_module
from repro.training.flow import hinge_flow

WIDTH, DIMENSION = 100, 5


def problem(seed=0, train_size=64, dtype=torch.float64, width=WIDTH):
    children = np.random.SeedSequence(seed).spawn(3)
    train, test, weights = (np.random.default_rng(child) for child in children)
    inputs, labels = stripe(train_size, DIMENSION, train)
    network = initialise(width, DIMENSION, weights, dtype)
    return network, inputs.to(dtype), labels.to(dtype), stripe(10_000, DIMENSION, test)


def trained_error(initial, final, test):
    inputs = test.inputs.to(final.weight.dtype)
    return float(((final(inputs) - initial(inputs)) * test.labels <= 0).double().mean())


def margins(initial, final, inputs, labels, output_scale):
    return labels * output_scale * (final(inputs) - initial(inputs))


def internals(network, inputs, labels, output_scale=1.0):
    neurons = flow_module._Neurons(torch.cat([network.weight, network.bias[:, None]], 1), network.readout)
    return neurons, flow_module._Points.of(neurons, inputs, labels, output_scale)


def test_closed_form_gradient_is_autograds():
    network, inputs, labels, _ = problem()
    output_scale = 3.0
    neurons, points = internals(network, inputs, labels, output_scale)
    values, masks = points.margins(neurons)
    assert float(values.abs().max()) == 0  # F starts at zero exactly
    parameters = [tensor.clone().requires_grad_() for tensor in (network.weight, network.bias, network.readout)]
    trained = output_scale * (oracles.output(*parameters, inputs) - network(inputs))
    loss = torch.relu(1 - labels * trained).mean() / output_scale
    weight, bias, readout = torch.autograd.grad(loss, parameters)
    drive = points.drive(masks, flow_module._hinge(values))
    rate = neurons.readout[:, None] * drive  # dv/ds
    expected = -WIDTH * torch.cat([weight, bias[:, None]], 1)
    assert torch.allclose(rate, expected, rtol=1e-12, atol=1e-14)  # rounding only
    assert torch.allclose((neurons.hidden * drive).sum(1), -WIDTH * readout, rtol=1e-12, atol=1e-14)


def test_tangent_kernel_is_the_derivative_of_the_margins():
    network, inputs, labels, _ = problem()
    neurons, points = internals(network, inputs, labels, output_scale=2.0)
    values, masks = points.margins(neurons)
    forces = torch.from_numpy(np.random.default_rng(0).random(len(labels)))
    state = flow_module._WorkingState(neurons, values, masks, forces)
    kernel = flow_module._TangentKernel(points, state)
    response = kernel.response(masks, points.signed, masks.T @ (points.signed * forces[:, None]))
    assert torch.allclose(response, kernel.block(masks, points.signed) @ forces, rtol=1e-12)  # rounding
    duration = 1e-7
    moved, _ = points.margins(neurons.rotated(points.drive(masks, forces) * duration))
    assert torch.allclose((moved - values) / duration, response, rtol=1e-4, atol=1e-6)  # first-order difference


def test_implicit_solve_satisfies_its_optimality_conditions():
    network, inputs, labels, _ = problem(train_size=200)
    neurons, points = internals(network, inputs, labels, output_scale=2.0)
    values, masks = points.margins(neurons)
    start = flow_module._hinge(values)
    kernel = flow_module._TangentKernel(points, flow_module._WorkingState(neurons, values, masks, start))
    forces = start
    for duration in (0.1, 0.3, 1.0, 3.0):
        forces, predicted = kernel.solve(values, forces, duration)
        assert forces.min() > -0.01 and forces.max() < 1.01  # FORCE_TOLERANCE
        full = values + duration * kernel.block(masks, points.signed) @ forces
        assert torch.allclose(predicted, full, atol=1e-9)  # rounding times the duration
        expected = ((1 - full) / flow_module.HUBER_WIDTH).clamp(0, 1)
        assert torch.allclose(forces, expected, atol=0.01)  # FORCE_TOLERANCE


def test_rotation_solves_the_fixed_drive_equation_and_conserves():
    network, *_ = problem()
    neurons = flow_module._Neurons(torch.cat([network.weight, network.bias[:, None]], 1), network.readout)
    impulse = torch.from_numpy(np.random.default_rng(0).standard_normal(neurons.hidden.shape))
    impulse[0] = 0  # a neuron without drive stays
    hidden, readout = neurons
    generator = torch.zeros(WIDTH, DIMENSION + 2, DIMENSION + 2, dtype=torch.float64)
    generator[:, :-1, -1] = generator[:, -1, :-1] = impulse
    exact = (torch.linalg.matrix_exp(generator) @ torch.cat([hidden, readout[:, None]], 1)[:, :, None])[:, :, 0]
    rotated = neurons.rotated(impulse)
    assert torch.allclose(torch.cat([rotated.hidden, rotated.readout[:, None]], 1), exact, rtol=1e-11, atol=1e-11)


def conserved(network):
    return (network.weight**2).sum(1) + network.bias**2 - network.readout**2


def test_each_neuron_conserves_its_invariant_through_the_whole_flow():
    network, inputs, labels, _ = problem()
    result = hinge_flow(network, inputs, labels, 1e-2)
    # rotations conserve it exactly, whatever the step; cutting the last step before t* by interpolation costs
    # 0.05² of the neuron's size there
    size = (result.final.weight**2).sum(1) + result.final.bias**2 + result.final.readout**2
    assert ((conserved(result.final) - conserved(network)).abs() / size).max() < 2.5e-3


@pytest.fixture(scope="module")
def against_euler():
    """Nets, plain Euler on them, the flow on them, and test errors of both."""
    rows = []
    for seed in range(4):
        network, inputs, labels, test = problem(seed, train_size=48)
        slow = oracles.euler_flow(network, inputs, labels, 1e-6)
        fast = hinge_flow(network, inputs, labels, 1e-6)
        errors = [trained_error(network, result.final, test) for result in (slow, fast)]
        rows.append((slow, fast, *errors))
    return rows


def test_compression_at_t_star_is_plain_eulers(against_euler):
    for slow, fast, *_ in against_euler:
        expected = amplification(slow.at_t_star.weight)
        assert amplification(fast.at_t_star.weight) == pytest.approx(expected, rel=0.02)  # Euler's own step error


def test_mean_error_is_plain_eulers(against_euler):
    slow, fast = (np.mean([row[column] for row in against_euler]) for column in (2, 3))
    assert fast == pytest.approx(slow, rel=0.10)  # the late stage amplifies any difference between schemes


def test_far_fewer_steps_than_plain_euler(against_euler):
    for slow, fast, *_ in against_euler:
        assert fast.explicit_steps + fast.implicit_steps + fast.rejected_steps < slow.steps / 10


def test_two_tolerances_agree():
    errors = []
    for seed in range(4):
        network, inputs, labels, test = problem(seed, train_size=128)
        coarse = hinge_flow(network, inputs, labels, 1e-6)
        fine = hinge_flow(network, inputs, labels, 1e-6, weight_tolerance=0.01, margin_tolerance=0.02)
        expected = amplification(fine.at_t_star.weight)
        assert amplification(coarse.at_t_star.weight) == pytest.approx(expected, rel=0.02)  # 2 % is the promise
        errors.append([trained_error(network, result.final, test) for result in (coarse, fine)])
    coarse, fine = np.mean(errors, axis=0)
    assert coarse == pytest.approx(fine, rel=0.10)  # the promise for the mean of four nets


@pytest.mark.parametrize("seed", range(4))
def test_final_amplification_is_the_flows_own(seed):
    """Explicit Euler steps of another program, each a twentieth of the Huber width, end at the same Λ to 0.1 %."""
    network, inputs, labels, _ = problem(seed, train_size=32, width=30)
    euler = oracles.compiled_euler_flow(network, inputs, labels, 1e-6, 0.001, flow_module.HUBER_WIDTH)
    fine = hinge_flow(network, inputs, labels, 1e-6, weight_tolerance=0.05 / 16, margin_tolerance=0.1 / 16)
    assert euler.finished and fine.converged
    # a net near a branch (a neuron about to switch) is 2 % off at these steps and 0.02 % at four times finer ones
    assert amplification(fine.final.weight) == pytest.approx(amplification(euler.final.weight), rel=0.05)
    assert fine.time_final == pytest.approx(euler.time, rel=0.02)


@pytest.mark.parametrize("output_scale", [1e-12, 1e-6, 1e-2, 1.0, 1e3])
def test_float32_agrees_with_float64_at_every_scale(output_scale):
    single, double = (
        hinge_flow(*problem(dtype=dtype)[:3], output_scale, stop_at_t_star=True)
        for dtype in (torch.float32, torch.float64)
    )
    expected = amplification(double.at_t_star.weight)
    assert amplification(single.at_t_star.weight) == pytest.approx(expected, rel=1e-3)  # mask flips, no chaos yet
    assert single.time_t_star == pytest.approx(double.time_t_star, rel=1e-3)  # same
    assert not single.converged and single.implicit_steps == 0


@pytest.mark.parametrize(
    ("output_scale", "dtype"),
    [(1e-30, torch.float32), (1e-12, torch.float32), (1e-6, torch.float32), (1e4, torch.float32), (1e6, torch.float64)],
)
def test_every_margin_is_reached(output_scale, dtype):
    network, inputs, labels, _ = problem(dtype=dtype, width=300)
    result = hinge_flow(network, inputs, labels, output_scale)
    final = margins(network, result.final, inputs, labels, output_scale)
    assert result.converged and result.time_final > result.time_t_star
    assert final.min() > 0.98 - 0.01  # the stopping rule, less the rounding of f times the scale


def test_flow_at_rest_on_a_point_without_active_neurons_says_so():
    # on the last point no neuron is active, and the others, on the far side of the origin, cannot change that ...
    weight = torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)
    network = ShallowNetwork(weight, torch.full((3,), -0.5, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    inputs = torch.tensor([[2.0, 0.0]] * 3 + [[-2.0, 0.0]], dtype=torch.float64)
    result = hinge_flow(network, inputs, torch.ones(4, dtype=torch.float64), 1e-2)
    assert not result.converged  # ... so the flow ends, with three points of four satisfied


def test_lazy_net_keeps_its_weights_and_its_kernel():
    network, inputs, labels, _ = problem(train_size=128)
    result = hinge_flow(network, inputs, labels, 1e6)
    assert amplification(result.final.weight) == pytest.approx(amplification(network.weight), rel=1e-4)  # 1/α
    assert (result.final.weight - network.weight).abs().max() < 1e-3


def test_feature_net_compresses():
    network, inputs, labels, _ = problem(train_size=512)
    result = hinge_flow(network, inputs, labels, 1e-6, stop_at_t_star=True)
    assert amplification(result.at_t_star.weight) > 5  # about √p = 22; 13 to 48 are usual


def test_t_star_is_the_first_time_more_than_a_tenth_is_satisfied():
    network, inputs, labels, _ = problem(train_size=128)
    states = []
    result = hinge_flow(network, inputs, labels, 1e-6, observe=states.append)
    explicit = [state for state in states if state.stage == "explicit"]
    shares = [float((state.margins >= 1).double().mean()) for state in explicit]
    assert shares[-1] > 0.1 and max(shares[:-1]) <= 0.1
    assert explicit[-1].time == result.time_t_star
    assert torch.equal(explicit[-1].network.weight, result.at_t_star.weight)


def test_observer_sees_every_step_and_changes_nothing():
    network, inputs, labels, _ = problem()
    states = []
    watched = hinge_flow(network, inputs, labels, 1e-6, observe=states.append)
    alone = hinge_flow(network, inputs, labels, 1e-6)
    assert len(states) == 1 + watched.explicit_steps + watched.implicit_steps
    assert torch.equal(watched.final.weight, alone.final.weight)
    times = [state.time for state in states]
    assert times == sorted(times) and times[0] == 0 and times[-1] == watched.time_final
    loss = [float(torch.relu(1 - state.margins).mean()) for state in states]
    assert loss[0] == 1 and all(later <= earlier + 0.02 for earlier, later in itertools.pairwise(loss))
    last = margins(network, states[-1].network, inputs, labels, 1e-6)
    assert torch.allclose(states[-1].margins, last, rtol=1e-9)  # rounding of f − f₀


def test_input_network_is_not_changed():
    network, inputs, labels, _ = problem()
    before = network.weight.clone()
    hinge_flow(network, inputs, labels, 1e-6)
    assert torch.equal(network.weight, before)


def test_uninformative_coordinates_are_interchangeable():
    network, inputs, labels, _ = problem()
    rotation = torch.eye(DIMENSION, dtype=torch.float64)
    rotation[1:, 1:] = torch.linalg.qr(torch.from_numpy(np.random.default_rng(0).standard_normal((4, 4)))).Q
    turned_network = ShallowNetwork(network.weight @ rotation, network.bias, network.readout)
    result = hinge_flow(network, inputs, labels, 1e-6, stop_at_t_star=True)
    turned = hinge_flow(turned_network, inputs @ rotation, labels, 1e-6, stop_at_t_star=True)
    # float64 rounding grows through seven e-folds and possible mask flips
    assert torch.allclose(turned.at_t_star.weight, result.at_t_star.weight @ rotation, rtol=1e-6, atol=1e-6)


def test_order_of_points_and_neurons_does_not_matter():
    network, inputs, labels, _ = problem()
    generator = torch.Generator().manual_seed(0)
    points, neurons = torch.randperm(len(labels), generator=generator), torch.randperm(WIDTH, generator=generator)
    shuffled = ShallowNetwork(network.weight[neurons], network.bias[neurons], network.readout[neurons])
    result = hinge_flow(network, inputs, labels, 1e-6, stop_at_t_star=True)
    other = hinge_flow(shuffled, inputs[points], labels[points], 1e-6, stop_at_t_star=True)
    assert torch.allclose(other.at_t_star.weight, result.at_t_star.weight[neurons], rtol=1e-6, atol=1e-6)  # as above


def test_bitwise_repeatable():
    results = [hinge_flow(*problem(dtype=torch.float32)[:3], 1e-6) for _ in range(2)]
    assert torch.equal(results[0].final.weight, results[1].final.weight)
    assert results[0].time_final == results[1].time_final


def test_result_can_be_used_with_autograd():
    network, inputs, labels, _ = problem()
    final = hinge_flow(network, inputs, labels, 1e-6).final
    final.weight.requires_grad_()
    final(inputs).sum().backward()
    assert final.weight.grad is not None


BAD = {
    "inputs (p, d)": (lambda n, x, y: (n, x[0], y, 1.0), r"expected inputs \(p, 5\)"),
    "dimension": (lambda n, x, y: (n, x[:, :3], y, 1.0), r"expected inputs \(p, 5\)"),
    "no points": (lambda n, x, y: (n, x[:0], y[:0], 1.0), "p >= 1"),
    "labels shape": (lambda n, x, y: (n, x, y[:-1], 1.0), r"labels \(p,\)"),
    "labels values": (lambda n, x, y: (n, x, y * 0.5, 1.0), r"labels must be \+1 or -1, got"),
    "precision": (lambda n, x, y: (n, x.float(), y, 1.0), "inputs is torch.float32"),
    "non-finite": (lambda n, x, y: (n, x / 0, y, 1.0), "inputs holds non-finite"),
    "scale zero": (lambda n, x, y: (n, x, y, 0.0), "output_scale must lie in .* got 0.0"),
    "scale negative": (lambda n, x, y: (n, x, y, -1.0), "got -1.0"),
    "scale nan": (lambda n, x, y: (n, x, y, math.nan), "got nan"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        hinge_flow(*arguments(*problem()[:3]))


def test_scale_too_large_for_float32_is_named():
    with pytest.raises(ValueError, match=r"1e\+04.* got 1000000.0"):
        hinge_flow(*problem(dtype=torch.float32)[:3], 1e6)


def test_bad_tolerances_and_limits_are_named():
    for name in ("weight_tolerance", "margin_tolerance", "step_limit"):
        with pytest.raises(ValueError, match=name):
            hinge_flow(*problem()[:3], 1.0, **{name: 0})


def test_step_limit_before_t_star_says_where_the_flow_stood():
    with pytest.raises(RuntimeError, match=r"t\* was not reached in 20 steps .* deciding margin"):
        hinge_flow(*problem()[:3], 1e-6, step_limit=20)


def test_step_limit_after_t_star_stops_there_unconverged():
    whole = hinge_flow(*problem()[:3], 1e-6)
    limit = whole.explicit_steps + whole.implicit_steps // 2
    states = []
    stopped = hinge_flow(*problem()[:3], 1e-6, step_limit=limit, observe=states.append)
    assert not stopped.converged and whole.converged
    assert stopped.explicit_steps + stopped.implicit_steps + stopped.rejected_steps == limit
    assert torch.equal(stopped.final.weight, states[-1].network.weight)
    assert stopped.time_t_star < stopped.time_final < whole.time_final


def test_contradictory_labels_do_not_run_forever():
    network, inputs, *_ = problem()
    with pytest.raises(RuntimeError, match=r"at rest before"):
        hinge_flow(network, inputs[[0, 0]], torch.tensor([1.0, -1.0], dtype=torch.float64), 1.0, step_limit=300)


def test_dead_network_is_an_error():
    network, inputs, labels, _ = problem()
    dead = ShallowNetwork(network.weight, network.bias * 0 - 1e3, network.readout)
    with pytest.raises(RuntimeError, match="at rest before"):
        hinge_flow(dead, inputs, labels, 1.0)


def test_network_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"expected weight \(h, d\)"):
        ShallowNetwork(torch.ones(3, 2), torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="at least 1, got 0 and 5"):
        initialise(0, 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="floating"):
        initialise(3, 5, np.random.default_rng(0), torch.int64)
