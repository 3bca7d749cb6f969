import math
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from repro.models.ensemble import DenseEnsemble, glorot_ensemble, parameter_count
from repro.training import ensemble as training
from repro.training.ensemble import KERAS, RMSprop, train_classifiers, training_epochs

NARROW, WIDE, BOTTLENECK = [25] * 5, [50] * 5, [50, 50, 25, 50, 50]
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5}  # of a few layers


def generators(nets, purpose):
    return [np.random.default_rng([purpose, net]) for net in range(nets)]


def start(widths, nets=3, dtype=torch.float64):
    return glorot_ensemble(widths, generators(nets, 0), dtype)


def problem(points, dimension, dtype=torch.float64):
    """Points of the cube, or many pixels from 0 to 1, half of them 0; the classes depend on a few coordinates."""
    generator = np.random.default_rng(5)
    x = generator.uniform(-1, 1, (points, dimension))
    if dimension > 10:
        x = np.maximum(0, np.round(255 * x)) / 255
        x[:, ::7] = 0  # never lit
    x = torch.from_numpy(x).to(dtype)
    return x, x[:, 1] * x[:, 2] > x[:, 3 % dimension] * x.mean()


def one_by_one(ensemble, x, labels, orders, steps, batch_size=32):
    """Each net as a plain module with torch's own loss and optimiser."""
    trained = []
    for index, generator in enumerate(orders):
        network = ensemble.network(index)
        optimiser = torch.optim.RMSprop(network.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
        done = 0
        while done < steps:
            for rows in torch.from_numpy(generator.permutation(len(x))).split(batch_size):
                loss = nn.BCEWithLogitsLoss()(network(x[rows])[:, 0], labels[rows].to(x))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                done += 1
        trained.append(flat(network))
    return torch.stack(trained)


def flat(network):
    layers = [module for module in network if isinstance(module, nn.Linear)]
    return torch.cat([part.detach().flatten() for layer in layers for part in (layer.weight.T, layer.bias)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_calls_and_activations_are_those_of_the_modules(dtype):
    ensemble, (x, _) = start([4, 7, 5, 1], dtype=dtype), problem(11, 4, dtype)
    hidden = ensemble.activations(x)
    assert [tuple(layer.shape) for layer in hidden] == [(3, 11, 7), (3, 11, 5)]
    for index in range(3):
        network = ensemble.network(index)
        close = {"rtol": ROUNDING[dtype], "atol": ROUNDING[dtype]}
        assert torch.allclose(ensemble(x)[index], network(x)[:, 0], **close)
        assert torch.allclose(hidden[0][index], network[:2](x), **close)
        assert torch.allclose(hidden[1][index], network[:4](x), **close)
        assert torch.equal(flat(network), ensemble.parameters[index])


def test_inputs_of_each_net_its_own():
    ensemble = start([4, 7, 1])
    x = torch.stack([problem(11, 4)[0] * scale for scale in (1, 2, 3)])
    expected = torch.stack([ensemble[index](x[index])[0] for index in range(3)])
    assert torch.equal(ensemble(x), expected)


def test_selected_nets():
    ensemble, (x, _) = start([3, 5, 1], nets=6), problem(9, 3)
    for chosen in (slice(2, 5), [4, 0], torch.tensor([1, 1]), torch.arange(6) > 2):
        assert torch.equal(ensemble[chosen](x), ensemble(x)[chosen])
    assert len(ensemble) == 6 and len(ensemble[-1]) == 1
    assert torch.equal(ensemble[-1](x)[0], ensemble(x)[-1])


def test_glorot_bounds_variance_and_zero_biases():
    ensemble = start([30, 40, 20, 1], nets=200)
    for weights, biases in ensemble.layers():
        bound = math.sqrt(6 / (weights.shape[1] + weights.shape[2]))
        assert 0.99 * bound < weights.abs().max() <= bound
        # 4000 draws or more: the mean square has a relative standard deviation of √(4/5)/√4000 = 0.014
        assert float(weights.square().mean()) == pytest.approx(bound**2 / 3, rel=0.07)
        assert not biases.any()


def test_initial_weights_do_not_depend_on_the_group_or_the_precision():
    alone = glorot_ensemble([3, 5, 1], generators(4, 0)[2:3], torch.float64)
    assert torch.equal(alone.parameters, start([3, 5, 1], nets=4).parameters[2:3])
    single = glorot_ensemble([3, 5, 1], generators(4, 0), torch.float32)
    assert torch.equal(single.parameters, start([3, 5, 1], nets=4).parameters.float())


@pytest.mark.parametrize("hidden", [NARROW, WIDE, BOTTLENECK], ids=["narrow", "wide", "bottleneck"])
@pytest.mark.parametrize("dimension", [3, 784])
def test_training_is_that_of_plain_torch(hidden, dimension):
    ensemble, (x, labels) = start([dimension, *hidden, 1], nets=2), problem(320, dimension)
    trained = train_classifiers(ensemble, x, labels, generators(2, 1), 20)  # 200 steps
    expected = one_by_one(ensemble, x, labels, generators(2, 1), 200)
    assert float((trained.parameters - ensemble.parameters).abs().max()) > 0.01
    assert float((trained.parameters - expected).abs().max()) < 1e-10


def test_training_on_raw_pixels_is_that_of_plain_torch_up_to_rounding():
    # logits near 100 make σ(f) − y a difference of nearly equal numbers, so that training itself amplifies rounding
    ensemble, (x, labels) = start([784, *WIDE, 1], nets=2), problem(320, 784)
    trained = train_classifiers(ensemble, 255 * x, labels, generators(2, 1), 20).parameters
    nudged = DenseEnsemble(ensemble.parameters * (1 + 2**-52), ensemble.widths)
    plain, other = (one_by_one(nets, 255 * x, labels, generators(2, 1), 200) for nets in (ensemble, nudged))
    assert float((trained - plain).abs().max()) < 30 * float((other - plain).abs().max()) < 1e-6


def test_short_batches_and_deep_nets_are_those_of_plain_torch():
    ensemble, (x, labels) = start([3, *[12] * 11, 1], nets=2), problem(50, 3)
    trained = train_classifiers(ensemble, x, labels, generators(2, 1), 25, batch_size=16)  # 16, 16, 16, 2
    expected = one_by_one(ensemble, x, labels, generators(2, 1), 100, batch_size=16)
    assert float((trained.parameters - expected).abs().max()) < 1e-10


@pytest.mark.parametrize("points", [1, 7, 40])
def test_gradients_are_those_of_autograd(points):
    ensemble, (x, labels) = start([5, 9, 6, 8, 1]), problem(points, 5)
    # without memory, with rate 1 and ε = 1, a step is −g/(|g| + 1), which gives g back
    plain = RMSprop(learning_rate=1, decay=0, epsilon=1)
    step = train_classifiers(ensemble, x, labels, generators(3, 1), 1, batch_size=points, optimiser=plain)
    moved = step.parameters - ensemble.parameters
    for index in range(3):
        network = ensemble.network(index)
        nn.BCEWithLogitsLoss()(network(x)[:, 0], labels.double()).backward()
        layers = [module for module in network if isinstance(module, nn.Linear)]
        expected = torch.cat([part.flatten() for layer in layers for part in (layer.weight.grad.T, layer.bias.grad)])
        assert float((-moved[index] / (1 - moved[index].abs()) - expected).abs().max()) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", [[3, *NARROW, 1], [3, *BOTTLENECK, 1], [784, *WIDE, 1]], ids=str)
def test_a_net_does_not_depend_on_its_group(widths, dtype):
    ensemble, (x, labels) = start(widths, 12, dtype), problem(100, widths[0], dtype)

    def trained(nets):
        chosen = train_classifiers(ensemble[nets], x, labels, generators(12, 1)[nets], 2)
        return [chosen.parameters, chosen(x), *chosen.activations(x)]

    together = trained(slice(0, 12))
    for size in (1, 2, 3, 5):
        groups = [trained(slice(first, min(first + size, 12))) for first in range(0, 12, size)]
        for whole, parts in zip(together, zip(*groups, strict=True), strict=True):
            assert torch.equal(whole, torch.cat(parts))


def test_stacked_and_compiled_training_agree():
    ensemble, (x, _) = start([3, *BOTTLENECK, 1]), problem(100, 3)
    labels = torch.stack([x[:, axis] > 0 for axis in range(3)]).double()
    compiled, stacked = (
        list(islice(epochs(ensemble, x, labels, generators(3, 1), 32, KERAS), 25))
        for epochs in (training._compiled_epochs, training._stacked_epochs)
    )
    for one, other in zip(compiled, stacked, strict=True):
        assert float((one.parameters - other.parameters).abs().max()) < 1e-10


def test_every_net_has_its_own_labels():
    ensemble, (x, _) = start([3, 10, 1]), problem(60, 3)
    labels = torch.stack([x[:, axis] > 0 for axis in range(3)])
    together = train_classifiers(ensemble, x, labels, generators(3, 1), 3)
    for index in range(3):
        alone = train_classifiers(ensemble[index], x, labels[index], generators(3, 1)[index : index + 1], 3)
        assert torch.equal(alone.parameters[0], together.parameters[index])


def test_every_net_has_its_own_order():
    ensemble, (x, labels) = start([3, 10, 1])[[0, 0, 0]], problem(60, 3)
    seeds = [np.random.default_rng(seed) for seed in (1, 2, 1)]
    trained = train_classifiers(ensemble, x, labels, seeds, 1).parameters
    assert torch.equal(trained[0], trained[2]) and not torch.equal(trained[0], trained[1])


def test_training_is_deterministic_and_leaves_its_arguments_alone():
    ensemble, (x, labels) = start([3, 10, 1]), problem(60, 3)
    before = ensemble.parameters.clone()
    epochs = [list(islice(training_epochs(ensemble, x, labels, generators(3, 1)), 3)) for _ in range(2)]
    for first, second in zip(*epochs, strict=True):
        assert torch.equal(first.parameters, second.parameters)
    assert torch.equal(ensemble.parameters, before)
    assert not torch.equal(epochs[0][0].parameters, epochs[0][1].parameters)  # copies, not one buffer
    last = train_classifiers(ensemble, x, labels, generators(3, 1), 3)
    assert torch.equal(last.parameters, epochs[0][2].parameters)


def test_separable_classes_are_learnt():
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (400, 3))).float()
    labels = x.sum(1) > 0
    trained = train_classifiers(start([3, 25, 25, 1], 4, torch.float32), x, labels, generators(4, 1), 60)
    assert float(((trained(x) > 0) == labels).float().mean(1).min()) > 0.98


@pytest.mark.parametrize("epochs", [training._compiled_epochs, training._stacked_epochs])
def test_divergence_is_an_error(epochs):
    ensemble, (x, labels) = start([3, 10, 1], dtype=torch.float32), problem(60, 3, torch.float32)
    passes = epochs(ensemble, x, labels.float().expand(3, -1), generators(3, 1), 32, RMSprop(learning_rate=1e30))
    with pytest.raises(RuntimeError, match="not finite"):
        list(islice(passes, 50))


def test_wrong_arguments():
    ensemble, (x, labels), orders = start([3, 10, 1]), problem(60, 3), generators(3, 1)
    for wrong in ({"epochs": 0}, {"batch_size": 0}, {"inputs": x[:, :2]}, {"inputs": x.float()}, {"inputs": x / 0}):
        arguments = {"inputs": x, "labels": labels, "generators": orders, "epochs": 1} | wrong
        with pytest.raises(ValueError, match=next(iter(wrong))):
            train_classifiers(ensemble, **arguments)
    for labels_, match in (
        (labels[:5], "shape"),
        (2 * labels.double() - 1, "0 and 1"),
        (labels.expand(2, -1), "shape"),
    ):
        with pytest.raises(ValueError, match=match):
            training_epochs(ensemble, x, labels_, orders)  # at the call, not at the first epoch
    with pytest.raises(ValueError, match="generator"):
        training_epochs(ensemble, x, labels, orders[:2])
    for optimiser in ({"learning_rate": 0}, {"decay": 1}, {"epsilon": 0}):
        with pytest.raises(ValueError, match=next(iter(optimiser))):
            RMSprop(**optimiser)
    for widths in ([3, 1], [3, 0, 1], [3, 5, 2]):
        with pytest.raises(ValueError, match="widths"):
            glorot_ensemble(widths, orders)
    with pytest.raises(ValueError, match="generator"):
        glorot_ensemble([3, 5, 1], [])
    with pytest.raises(ValueError, match="float32 or float64"):
        glorot_ensemble([3, 5, 1], orders, torch.int64)
    with pytest.raises(ValueError, match="parameters"):
        DenseEnsemble(torch.zeros(2, parameter_count([3, 5, 1]) + 1), (3, 5, 1))
    for inputs in (x[:, :2], x[0], x.expand(2, -1, -1), x.float()):
        with pytest.raises(ValueError, match="inputs must"):
            ensemble(inputs)
