"""The tangent kernel of a net before and after training on the stripe (arXiv 2007.11471): kernel PCA and learning.

A cell takes plain scalars and returns rows of plain scalars, one number a row. Training data, test data and initial
weights are those of `papers.compression.exponents.learning_curve_cell` at the same seed, dimension and size (`Stripe`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repro.data.synthetic import Sample
from repro.device import resolve_dtype
from repro.geometry.compression import amplification
from repro.geometry.kernel_pca import component_information, label_alignment, label_projection
from repro.geometry.ntk import relu_ntk, shallow_ntk
from repro.models.dense import ShallowNetwork
from repro.papers.compression.stripe import Stripe, error_rate
from repro.training.flow import hinge_flow
from repro.training.svm import SupportVectorMachine, hard_margin_svm, soft_margin_svm

Row = dict[str, Any]  # column name -> bool, int, float, str or None
Kernel = Callable[..., Tensor]  # (p, d), (q, d) or nothing -> (p, q)
TOP = 10  # leading eigenvectors looked at, as in the released code
BANDWIDTH = 100.0  # of the Laplace kernel: far beyond |x|, where its cusp governs and the bandwidth cancels
LAST_LAYER_PENALTY = 1e4  # that kernel has at most h eigenvectors, so it need not separate the classes
CHUNK = 512  # test points at a time


def kernel_cell(
    *,
    dimension: int,
    train_size: int,
    seed: int,
    width: int = 300,
    output_scale: float = 1e-6,
    test_size: int = 10_000,
    permutations: int = 20,
    dtype: str = "float32",
    device: str = "auto",
) -> list[Row]:
    """Train one net on the stripe; compare its tangent kernels, and the kernel machines that could stand in for it.

    Rows hold `quantity`, `subject`, `rank` (0 where it has no meaning), `value`:

        test_error   share of fresh points on the wrong side; subject is the learner:
                     net; analytic, stretched, stretched_B, wrong_axis, laplace, laplace_stretched (on the training
                     points); initial, final, last_layer_initial, last_layer_final (NTKs, on as many fresh points)
        information  I(φ_r; y) in bits, of rank 1 to 10, with `initial`, `final`, and each with labels permuted
        share        share of |y|² on φ_r, the same
        alignment    y·K y/(p |K|), the same
        amplification  Λ at t*, subject A or B

    Args:
        dimension: input dimension d, at least 2.
        train_size: training points p, and points of the fresh set on which the NTKs are evaluated; at least 20.
        seed: non-negative integer.
        width: hidden neurons h.
        output_scale: α.
        test_size: test points.
        permutations: of the labels, over which the baselines are averaged.
        dtype: "float32" or "float64", of the net; kernels are in double precision.
        device: of the net and the kernels, "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if the flow does not converge, or a kernel that should separate the classes does not.
    """
    task = Stripe(dimension, train_size, seed, 1, width, output_scale, test_size, dtype, device)
    for name, value, least in (("train_size", train_size, 2 * TOP), ("permutations", permutations, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    generators, precision = task.generators(), resolve_dtype(dtype)
    train, test, fresh = (
        Sample(*(tensor.to(task.place) for tensor in sample))
        for sample in (task.train(), task.test(), task.sample(train_size, generators.fresh))
    )
    initial = task.network()
    flow = hinge_flow(initial, train.inputs.to(precision), train.labels.to(precision), output_scale)
    factors = {version: amplification(flow.at_t_star.weight, definition=version) for version in ("A", "B")}

    found = [("amplification", version, 0, factor) for version, factor in factors.items()]
    points = test.inputs.to(precision)
    output = output_scale * (flow.final(points) - initial(points))
    found.append(("test_error", "net", 0, error_rate(output, test.labels)))
    for name, kernel in _stand_ins(factors["A"], factors["B"]).items():
        found.append(("test_error", name, 0, _kernel_error(kernel, train, test, hard_margin_svm)))
    for name, network in (("initial", initial), ("final", flow.final)):
        kernel, last = _tangent_kernels(network)
        soft = partial(soft_margin_svm, penalty=LAST_LAYER_PENALTY)
        found.append(("test_error", name, 0, _kernel_error(kernel, fresh, test, hard_margin_svm)))
        found.append(("test_error", f"last_layer_{name}", 0, _kernel_error(last, fresh, test, soft)))
        gram = kernel(fresh.inputs)
        found.extend(principal_components(name, gram, fresh.labels, permutations, generators.permutations))
    return [{"quantity": q, "subject": s, "rank": r, "value": v} for q, s, r, v in found]


def stretched(inputs: Tensor, factor: float, kept: int = 0) -> Tensor:
    """Divide every coordinate but one by `factor`: what a compression by Λ does to the inputs, (points, d)."""
    scale = torch.full_like(inputs[0], 1 / factor)
    scale[kept] = 1.0
    return inputs * scale


def laplace(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Laplace kernel exp(−|x − y|/σ) of bandwidth 100, (p, q): the cusp of the ReLU NTK without a network."""
    distance = torch.cdist(x, x if y is None else y, compute_mode="donot_use_mm_for_euclid_dist")
    return (-distance / BANDWIDTH).exp_()


def principal_components(
    name: str, gram: Tensor, labels: Tensor, permutations: int, generator: np.random.Generator
) -> Iterator[tuple[str, str, int, float]]:
    """Kernel PCA of a Gram matrix (p, p) with labels (p,), at least 10 of them: (quantity, subject, rank, value).

    The information and the share of ranks 1 to 10 and the alignment, of `name`, and as a baseline their averages over
    random permutations of the labels.
    """
    projection = label_projection(gram, labels)
    vectors = projection.eigenvectors[:, :TOP].cpu().numpy()  # (p, 10)
    kernel, y = gram.cpu().numpy(), labels.cpu().numpy()

    def measures(labels: np.ndarray) -> np.ndarray:
        information = component_information(projection, labels, TOP)
        share = (labels @ vectors) ** 2 / len(labels)
        return np.array([*information, *share, label_alignment(kernel, labels)])

    baseline = np.mean([measures(generator.permutation(y)) for _ in range(permutations)], axis=0)
    for subject, values in ((name, measures(y)), (f"{name}, labels permuted", baseline)):
        for rank in range(TOP):
            yield "information", subject, rank + 1, float(values[rank])
            yield "share", subject, rank + 1, float(values[TOP + rank])
        yield "alignment", subject, 0, float(values[-1])


def _stand_ins(factor: float, factor_b: float) -> dict[str, Kernel]:
    """Fixed kernels without any training, on inputs as they are or stretched as the net stretched them."""

    def on(kernel: Kernel, *stretch: Any) -> Kernel:
        return lambda x, y=None: kernel(stretched(x, *stretch), None if y is None else stretched(y, *stretch))

    return {
        "analytic": relu_ntk,
        "stretched": on(relu_ntk, factor),
        "stretched_B": on(relu_ntk, factor_b),
        "wrong_axis": on(relu_ntk, factor, 1),
        "laplace": laplace,
        "laplace_stretched": on(laplace, factor),
    }


def _tangent_kernels(network: ShallowNetwork) -> tuple[Kernel, Kernel]:
    """The NTK of a net, and the part of it that comes from the readout."""
    # in double precision, since the trained one is nearly singular
    weight, bias, readout = (tensor.double() for tensor in (network.weight, network.bias, network.readout))
    return partial(shallow_ntk, weight, bias, readout), partial(shallow_ntk, weight, bias, torch.zeros_like(readout))


def _kernel_error(
    kernel: Kernel, train: Sample, test: Sample, machine: Callable[[Tensor, Tensor], SupportVectorMachine]
) -> float:
    learned = machine(kernel(train.inputs), train.labels)
    support = train.inputs[torch.from_numpy(learned.support).to(train.inputs.device)]
    decision = [learned.decision(kernel(chunk, support)) for chunk in torch.split(test.inputs, CHUNK)]
    return error_rate(torch.from_numpy(np.concatenate(decision)), test.labels)
