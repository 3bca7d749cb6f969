"""Nets trained together against each of them trained alone with torch's own loss and optimiser."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from repro.models.sigmoid_ensemble import normal_ensemble
from repro.training.sigmoid_ensemble import Descent, net_losses, training_steps

NETS, POINTS, BATCH, STEPS = 3, 50, 20, 7  # a short last batch, which is dropped, and a second epoch


def generators(purpose):
    return [np.random.default_rng([purpose, net]) for net in range(NETS)]


def start():
    return normal_ensemble([2, 6, 4, 2], generators(0))


def problem():
    inputs = torch.from_numpy(np.stack([generator.normal(size=(POINTS, 2)) for generator in generators(1)]))
    return inputs, (inputs.prod(2) > 0).long()


def parts(ensemble):
    return [*ensemble.weights, *ensemble.biases]


def alone(net, loss, optimiser, scale):
    """One net by plain autograd, the batches drawn as the module says."""
    nets, (inputs, classes) = start()[net : net + 1], problem()
    values = [part.clone().requires_grad_() for part in parts(nets)]
    depth = len(values) // 2

    def output(parameters, x):
        for layer in range(depth):
            x = x @ parameters[layer][0] + parameters[depth + layer][0]
            x = x / parameters[layer].shape[1] ** 0.5 if layer else x
            x = x if layer == depth - 1 else torch.sigmoid(x)
        return x

    descent = optimiser(values)
    order, rows = np.random.default_rng([2, net]), []
    for _ in range(STEPS):
        if not rows:
            permutation = order.permutation(POINTS)
            rows = [permutation[i : i + BATCH] for i in range(0, POINTS - POINTS % BATCH, BATCH)]
        chosen = rows.pop(0)
        x, y = inputs[net, chosen], classes[net, chosen]
        logits = output(values, x)
        if scale != 1:
            logits = scale * (logits - output(parts(nets), x))
        descent.zero_grad()
        (nn.functional.cross_entropy(logits, y) if loss == "cross-entropy" else
         nn.functional.mse_loss(logits, nn.functional.one_hot(y, 2).double())).backward()  # fmt: skip
        descent.step()
    return values


@pytest.mark.parametrize("loss", ["cross-entropy", "squared error"])
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(
    ("descent", "optimiser"),
    [
        (Descent("adam", 0.03, 1e-3), lambda values: torch.optim.Adam(values, lr=0.03, weight_decay=1e-3)),
        (Descent("sgd", 0.02, 1e-4), lambda values: torch.optim.SGD(values, 0.02, momentum=0.9, weight_decay=1e-4)),
    ],
)
def test_nets_together_are_nets_alone(loss, scale, descent, optimiser):
    steps = training_steps(
        start(), *problem(), generators(2), batch_size=BATCH, loss=loss, output_scale=scale, descent=descent
    )
    trained = next(islice(steps, STEPS - 1, None))
    for net in range(NETS):
        for together, single in zip(parts(trained), alone(net, loss, optimiser, scale), strict=True):
            torch.testing.assert_close(together[net], single.detach()[0], rtol=1e-9, atol=1e-12)


def test_the_start_is_not_changed_and_losses_fall():
    nets, (inputs, classes) = start(), problem()
    steps = training_steps(nets, inputs, classes, generators(2), batch_size=POINTS)
    trained = next(islice(steps, 400, None))
    assert all(torch.equal(a, b) for a, b in zip(parts(nets), parts(start()), strict=True))
    before, after = (net_losses(ensemble(inputs), classes, "cross-entropy") for ensemble in (nets, trained))
    assert (after < 0.5 * before).all()


def test_a_divergence_is_told():
    steps = training_steps(start(), *problem(), generators(2), batch_size=POINTS, loss="squared error",
                           descent=Descent("sgd", 1e200))  # fmt: skip
    with pytest.raises(RuntimeError, match="diverged"):
        next(islice(steps, 200, None))


def test_refuses_what_does_not_fit():
    inputs, classes = problem()
    refused = [
        ({"inputs": inputs[:2]}, "expected inputs"),
        ({"classes": classes[:, 1:]}, "expected inputs"),
        ({"generators": generators(2)[1:]}, "expected a generator"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": POINTS + 1}, "batch_size"),
        ({"output_scale": 0.0}, "output_scale"),
    ]
    for change, message in refused:
        given = {
            "ensemble": start(),
            "inputs": inputs,
            "classes": classes,
            "generators": generators(2),
            "batch_size": 5,
        }
        with pytest.raises(ValueError, match=message):
            training_steps(**(given | change))
    for wrong in (("newton", 0.1, 0.0), ("adam", 0.0, 0.0), ("sgd", 0.1, -1.0)):
        with pytest.raises(ValueError, match="expected adam or sgd"):
            Descent(*wrong)
