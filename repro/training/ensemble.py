"""Mini-batch training of many small classifiers of one architecture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  numba's products; loaded here for its threads to be found below
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from repro.geometry.compiled import compiled
from repro.models.ensemble import DenseEnsemble


@dataclass(frozen=True)
class RMSprop:
    """Steps −rate·g/(√v + ε) along the gradient g, where v ← decay·v + (1 − decay) g² starts at 0, without momentum.

    The defaults are those of Keras; torch's own decay is 0.99 and its ε 1e-8.

    Raises:
        ValueError: for a rate or ε that is not positive, or a decay outside [0, 1).
    """

    learning_rate: float = 1e-3
    decay: float = 0.9
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or not self.epsilon > 0:
            raise ValueError(f"learning_rate and epsilon must be positive, got {self.learning_rate}, {self.epsilon}")
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {self.decay}")


KERAS = RMSprop()
DIVERGED = "training diverged: a logit or a parameter is not finite"


def train_classifiers(
    ensemble: DenseEnsemble,
    inputs: Tensor,
    labels: Tensor,
    generators: Sequence[np.random.Generator],
    epochs: int,
    *,
    batch_size: int = 32,
    optimiser: RMSprop = KERAS,
) -> DenseEnsemble:
    """The nets after so many epochs of `training_epochs`, whose arguments and errors these are.

    Raises:
        ValueError: also if epochs is below 1.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    passes = training_epochs(ensemble, inputs, labels, generators, batch_size=batch_size, optimiser=optimiser)
    return next(islice(passes, epochs - 1, None))


def training_epochs(
    ensemble: DenseEnsemble,
    inputs: Tensor,
    labels: Tensor,
    generators: Sequence[np.random.Generator],
    *,
    batch_size: int = 32,
    optimiser: RMSprop = KERAS,
) -> Iterator[DenseEnsemble]:
    """Train every net on its own by mini-batch descent on the mean binary cross-entropy; yields them epoch by epoch.

    There is no last epoch. An epoch is a pass in a new random order, of each net its own; the last batch may be short.

    On the CPU the nets take turns, an epoch each, in a compiled loop. A small net's parameters then stay in the cache
    for a whole epoch, which is nearly twice as fast as batched products of stacked nets (benchmarks/ricci_training.py)
    and makes a net's result the same, bit for bit, whatever nets are trained with it. On other devices the nets are
    stacked, and the number of them can change the rounding.

    Args:
        ensemble: the nets to start from; it is not changed, and each yielded ensemble is a copy.
        inputs: (points, d), for all nets.
        labels: (points,) of 0 and 1, or (nets, points) for each net its own.
        generators: order of the batches, one for each net.
        batch_size: points per step.
        optimiser: its state starts at 0 and is carried from epoch to epoch.

    Raises:
        ValueError: for inputs that do not fit the nets or are not finite, labels other than 0 and 1 or not one per
            input, not one generator per net, or a batch size below 1.
        RuntimeError: while iterating, if a logit or a parameter is no longer finite.

    Example:
        >>> from repro.models.ensemble import glorot_ensemble
        >>> x = torch.linspace(-1, 1, 50)[:, None]
        >>> start = glorot_ensemble((1, 8, 1), [np.random.default_rng(0)])
        >>> for epoch, nets in enumerate(training_epochs(start, x, x[:, 0] > 0, [np.random.default_rng(1)]), 1):
        ...     if epoch == 100:
        ...         break
    """
    _check(ensemble, inputs, labels, generators, batch_size)
    targets = labels.to(inputs).expand(len(ensemble), -1)
    epochs = _compiled_epochs if inputs.device.type == "cpu" else _stacked_epochs
    return epochs(ensemble, inputs, targets, generators, batch_size, optimiser)


def _check(
    ensemble: DenseEnsemble,
    inputs: Tensor,
    labels: Tensor,
    generators: Sequence[np.random.Generator],
    batch_size: int,
) -> None:
    parameters, d = ensemble.parameters, ensemble.widths[0]
    if inputs.ndim != 2 or inputs.shape[1] != d or not len(inputs):
        raise ValueError(f"inputs must have shape (points, {d}), got {tuple(inputs.shape)}")
    if (inputs.dtype, inputs.device) != (parameters.dtype, parameters.device):
        raise ValueError(
            f"inputs must be {parameters.dtype} on {parameters.device}, got {inputs.dtype}, {inputs.device}"
        )
    if not bool(torch.isfinite(inputs).all()):
        raise ValueError("inputs hold non-finite entries")
    if labels.shape not in ((len(inputs),), (len(ensemble), len(inputs))):
        raise ValueError(
            f"labels must have shape ({len(inputs)},) or ({len(ensemble)}, {len(inputs)}), got {tuple(labels.shape)}"
        )
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise ValueError(f"labels must be 0 and 1, got values from {labels.min()} to {labels.max()}")
    if len(generators) != len(ensemble):
        raise ValueError(f"expected a generator for each of {len(ensemble)} nets, got {len(generators)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _compiled_epochs(
    ensemble: DenseEnsemble,
    inputs: Tensor,
    labels: Tensor,
    generators: Sequence[np.random.Generator],
    batch_size: int,
    optimiser: RMSprop,
) -> Iterator[DenseEnsemble]:
    parameters = ensemble.parameters.detach().clone(memory_format=torch.contiguous_format)
    nets, x, y = parameters.numpy(), inputs.detach().contiguous().numpy(), labels.contiguous().numpy()
    squares = np.zeros_like(nets)
    widths = np.array(ensemble.widths)
    constants = [nets.dtype.type(c) for c in (optimiser.learning_rate, optimiser.decay, optimiser.epsilon)]
    blas = ThreadpoolController()
    while True:
        with blas.limit(limits=1, user_api="blas"):  # the products are small, and threads would change their rounding
            for net, square, target, generator in zip(nets, squares, y, generators, strict=True):
                order = generator.permutation(len(x))
                finite = _epoch(net, square, widths, x, target, order, batch_size, *constants)
                if not finite or not np.isfinite(net).all():
                    raise RuntimeError(DIVERGED)
        yield DenseEnsemble(parameters.clone(), ensemble.widths)


# Division by zero as in NumPy: Python's check would keep the update of the parameters from being vectorised and make it
# ten times, a whole step nearly twice as slow. The first call ever compiles; later processes load the result.
_compiled = compiled(error_model="numpy")


@_compiled
def _epoch(net, squares, widths, inputs, labels, order, batch_size, learning_rate, decay, epsilon):  # type: ignore[no-untyped-def]
    """Train a net in place for an epoch; whether every logit was finite."""
    batch = np.empty((min(batch_size, len(order)), widths[0]), inputs.dtype)
    outputs = np.empty(len(batch) * widths[1:].sum(), inputs.dtype)  # of all layers, (points, width) one after another
    gradient = np.empty_like(net)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        for i in range(len(rows)):
            batch[i] = inputs[rows[i]]
        x = batch[: len(rows)]
        logits = _forward(net, widths, x, outputs)
        if not np.isfinite(logits).all():
            return False
        for i in range(len(rows)):  # from here on the derivative of the loss, σ(f) − y over the size of the batch
            logits[i] = (1 / (1 + np.exp(-logits[i])) - labels[rows[i]]) / len(rows)
        _backward(net, widths, x, outputs, gradient)
        _descend(net, squares, gradient, learning_rate, decay, epsilon)
    return True


@_compiled
def _forward(net, widths, x, outputs):  # type: ignore[no-untyped-def]
    """Fill the outputs of all layers, after their ReLU; the last ones, the logits, are returned as a view."""
    zero = x.dtype.type(0)
    here, there = 0, 0  # positions in the parameters and in the outputs
    for layer in range(1, len(widths)):
        m, n = widths[layer - 1], widths[layer]
        weights, biases = net[here : here + m * n].reshape(m, n), net[here + m * n : here + m * n + n]
        y = outputs[there : there + len(x) * n].reshape(len(x), n)
        np.dot(x, weights, y)
        hidden = layer < len(widths) - 1
        for i in range(len(x)):
            for j in range(n):
                value = y[i, j] + biases[j]
                y[i, j] = zero if hidden and value < zero else value  # NaN passes
        x = y
        here, there = here + (m + 1) * n, there + len(x) * n
    return outputs[there - len(x) : there]


@_compiled
def _backward(net, widths, x, outputs, gradient):  # type: ignore[no-untyped-def]
    """Gradient of the loss, from its derivatives in place of the logits; the outputs are overwritten."""
    zero = x.dtype.type(0)
    spare = np.empty(len(x) * widths[1:].max(), x.dtype)
    here, there = len(net), len(x) * widths[1:].sum()
    for layer in range(len(widths) - 1, 0, -1):
        m, n = widths[layer - 1], widths[layer]
        here, there = here - (m + 1) * n, there - len(x) * n
        weights, biases = slice(here, here + m * n), slice(here + m * n, here + m * n + n)
        delta = outputs[there : there + len(x) * n].reshape(len(x), n)
        below = outputs[there - len(x) * m : there].reshape(len(x), m) if layer > 1 else x
        np.dot(below.T, delta, gradient[weights].reshape(m, n))
        slope = gradient[biases]
        slope[:] = 0
        for i in range(len(x)):
            for j in range(n):
                slope[j] += delta[i, j]
        if layer > 1:
            hidden, back = outputs[there - len(x) * m : there], spare[: len(x) * m]
            np.dot(delta, net[weights].reshape(m, n).T, back.reshape(len(x), m))
            for i in range(len(back)):
                hidden[i] = back[i] if hidden[i] > zero else zero


@_compiled
def _descend(net, squares, gradient, learning_rate, decay, epsilon):  # type: ignore[no-untyped-def]
    """One step of `RMSprop` in a single pass over memory."""
    fresh = net.dtype.type(1) - decay
    for i in range(len(net)):
        squares[i] = decay * squares[i] + fresh * gradient[i] * gradient[i]
        net[i] -= learning_rate * gradient[i] / (np.sqrt(squares[i]) + epsilon)


def _stacked_epochs(
    ensemble: DenseEnsemble,
    inputs: Tensor,
    labels: Tensor,
    generators: Sequence[np.random.Generator],
    batch_size: int,
    optimiser: RMSprop,
) -> Iterator[DenseEnsemble]:
    """The same on any device, with autograd and torch's optimiser; equal to `_compiled_epochs` but for rounding."""
    layers = [[part.detach().clone().requires_grad_() for part in layer] for layer in ensemble.layers()]
    descent = torch.optim.RMSprop(
        [part for layer in layers for part in layer],
        lr=optimiser.learning_rate,
        alpha=optimiser.decay,
        eps=optimiser.epsilon,
    )
    while True:
        order = np.stack([generator.permutation(len(inputs)) for generator in generators])
        for rows in torch.split(torch.from_numpy(order).to(inputs.device), batch_size, dim=1):
            outputs = inputs[rows]  # (nets, batch, d)
            for weights, biases in layers[:-1]:
                outputs = torch.baddbmm(biases, outputs, weights).relu()
            logits = torch.baddbmm(layers[-1][1], outputs, layers[-1][0]).squeeze(2)
            loss = binary_cross_entropy_with_logits(logits, labels.gather(1, rows), reduction="none").mean(1).sum()
            descent.zero_grad()
            torch.autograd.backward(loss)
            descent.step()
        parameters = torch.cat([part.detach().flatten(1) for layer in layers for part in layer], 1)
        if not bool(torch.isfinite(logits).all() and torch.isfinite(parameters).all()):
            raise RuntimeError(DIVERGED)
        yield DenseEnsemble(parameters, ensemble.widths)
