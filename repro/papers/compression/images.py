"""The tangent kernel of a convolutional net before and after learning the parity of classes (arXiv 2007.11471).

A cell takes plain scalars and returns rows of plain scalars, one number a row. All randomness comes from `seed` and the
training-set size, with a stream of its own for training, fresh and test images, weights, batches and permutations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from repro.data import images
from repro.data.synthetic import Sample
from repro.device import resolve_device, resolve_dtype
from repro.geometry.jacobian import jacobian
from repro.models.conv import MobileNetwork
from repro.papers.compression.kernels import TOP, principal_components
from repro.papers.compression.stripe import error_rate
from repro.training.sgd import train_to_margin
from repro.training.svm import soft_margin_svm

Row = dict[str, Any]  # column name -> bool, int, float, str or None
PENALTY = 1e6  # of the kernel machines: as good as infinite, but finite, since the kernels are in single precision
FRESH_SHARE = 3  # the last third of the training split is kept for the kernel sets, so that they are fresh
BATCH = 64  # images that pass through the net at once


def image_cell(
    *,
    dataset: images.Name,
    train_size: int,
    seed: int,
    width: int,
    output_scale: float = 2e-3,
    test_size: int = 2000,
    permutations: int = 10,
    epoch_limit: int = 2000,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Train one net to every margin; learn the same task with its tangent kernels.

    Rows hold `quantity`, `subject`, `rank` (0 where it has no meaning), `value`:

        test_error   share of test images on the wrong side; subject is the learner: net; lazy (initial NTK on the
                     training images); initial, final, last_layer_initial, last_layer_final (on as many fresh images)
        information, share, alignment   kernel PCA of the initial and the final NTK on the fresh images, see
                     `compression_kernels.principal_components`
        epochs, steps, smallest_margin  of the training, subject net

    The derivative by the readout's bias is left out of the NTK: it is 1 everywhere, which the offset of the kernel
    machine absorbs, and would drown the rest in the alignment.

    Args:
        dataset: see `repro.data.images.load`. Training images come from the first two thirds of its training split,
            fresh ones from the rest, test images from its test split; classes are balanced in each.
        train_size: training images p, and fresh images, at least 20.
        seed: non-negative integer.
        width: unit of width h of the net.
        output_scale: α.
        test_size: test images.
        permutations: of the labels, over which the baselines are averaged.
        epoch_limit: passes after which the training gives up.
        dtype: "float32" or "float64", of the net and its Jacobians.
        device: of the same.

    Raises:
        ValueError: for a parameter out of range, or more images than there are.
        repro.data.images.DataError: if the images are not at hand.
        RuntimeError: if the training diverges.
    """
    for name, value, least in (
        ("train_size", train_size, 2 * TOP),
        ("seed", seed, 0),
        ("permutations", permutations, 1),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    streams = np.random.SeedSequence([seed, train_size]).spawn(6)
    draw, draw_fresh, draw_test, draw_weights, order, permute = (np.random.default_rng(stream) for stream in streams)
    place, precision = resolve_device(device), resolve_dtype(dtype)
    pool, test_pool = images.load(dataset, "train"), images.load(dataset, "test")
    mean, border = pool.images.mean(0), len(pool.classes) * (FRESH_SHARE - 1) // FRESH_SHARE
    train, fresh, test = (
        Sample(*(tensor.to(place, precision) for tensor in _task(part, mean, points, generator)))
        for part, points, generator in (
            (images.Images(*(array[:border] for array in pool)), train_size, draw),
            (images.Images(*(array[border:] for array in pool)), train_size, draw_fresh),
            (test_pool, test_size, draw_test),
        )
    )
    initial = MobileNetwork(width, draw_weights, precision).to(place)
    training = train_to_margin(initial, *train, output_scale, order, epoch_limit=epoch_limit)

    found: list[tuple[str, str, int, float]] = [
        ("epochs", "net", 0, float(training.epochs)),
        ("steps", "net", 0, float(training.steps)),
        ("smallest_margin", "net", 0, training.smallest_margin),
    ]
    for name, network in (("initial", initial), ("final", training.network)):
        last, last_test = _features(network, fresh.inputs), _features(network, test.inputs)
        found.append(("test_error", f"last_layer_{name}", 0, _kernel_error(last, fresh.labels, last_test, test.labels)))
        rows, rows_test = _tangents(network, fresh.inputs), _tangents(network, test.inputs)
        found.append(("test_error", name, 0, _kernel_error(rows, fresh.labels, rows_test, test.labels)))
        if name == "initial":
            lazy = _kernel_error(_tangents(network, train.inputs), train.labels, rows_test, test.labels)
            found.append(("test_error", "lazy", 0, lazy))
        found.extend(principal_components(name, rows @ rows.T, fresh.labels, permutations, permute))
    output = _outputs(training.network, test.inputs) - _outputs(initial, test.inputs)
    found.append(("test_error", "net", 0, error_rate(output, test.labels)))
    return [{"quantity": q, "subject": s, "rank": r, "value": v} for q, s, r, v in found]


def _task(pool: images.Images, mean: np.ndarray, points: int, generator: np.random.Generator) -> Sample:
    """Balanced draw from a pool: inputs (points, 1, 28, 28) and the parity of their class, float32."""
    chosen = images.draw_balanced(pool.classes, points, generator)
    inputs = images.standardised(pool.images[chosen], mean)
    return Sample(torch.from_numpy(inputs), torch.from_numpy(images.parity(pool.classes[chosen])))


def _tangents(network: MobileNetwork, inputs: Tensor) -> Tensor:
    """Jacobian without its last column, the readout's bias, (points, parameters − 1)."""
    return jacobian(network, inputs, BATCH)[:, :-1]


@torch.no_grad()
def _features(network: MobileNetwork, inputs: Tensor) -> Tensor:
    return torch.cat([network.features(chunk) for chunk in torch.split(inputs, BATCH)])


@torch.no_grad()
def _outputs(network: torch.nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([network(chunk) for chunk in torch.split(inputs, BATCH)])


def _kernel_error(rows: Tensor, labels: Tensor, rows_test: Tensor, labels_test: Tensor) -> float:
    """Test error of the support vector machine whose kernel is the inner product of rows."""
    machine = soft_margin_svm(rows @ rows.T, labels, PENALTY)
    support = rows[torch.from_numpy(machine.support).to(rows.device)]
    return error_rate(torch.from_numpy(machine.decision(rows_test @ support.T)), labels_test)
