"""One neuron before t*: the equation of arXiv 2007.11471's released code, which no other neuron enters.

While every point of the stripe is in the loss, neurons do not feel each other. With u = (x/√d, 1), v = (w, b) and
natural time s = t/h each follows dv/ds = β q(v), dβ/ds = v·q(v), where the drive is a population mean,

    q = √2 E[y 1(v·u > 0) u] + noise.

Along w⊥ it vanishes once the neuron points along x₁. What p training points leave there is sampling noise: in each
perpendicular component √2/√d · sd[x_i 1(v·u > 0)] / √p times a unit normal, drawn once. So Λ grows without bound for
p → ∞ and like √p otherwise.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.integrate import solve_ivp
from scipy.special import ndtr, owens_t

from repro.data.synthetic import STRIPE
from repro.models.dense import GAIN, ShallowNetwork

Array = npt.NDArray[np.float64]

TINY = 1e-12  # stands in for a length or an offset of zero


def one_neuron_flow(
    network: ShallowNetwork,
    times: npt.ArrayLike,
    *,
    train_size: float = math.inf,
    generator: np.random.Generator | None = None,
    tolerance: float = 1e-4,
) -> list[ShallowNetwork]:
    """Integrate the one-neuron equation of the stripe for every neuron of a network.

    Args:
        network: the net at time 0.
        times: (times,) increasing s = t/h >= 0 at which to report. Valid up to about t*.
        train_size: p of the sampling noise; infinity for none.
        generator: draws the noise; needed for a finite train_size.
        tolerance: of the integrator, relative and absolute.

    Returns:
        The net at each time, float64 on the CPU.

    Raises:
        ValueError: for times out of order, a train_size that is not positive, or noise without a generator.
        RuntimeError: if the integration fails.
    """
    report = np.asarray(times, dtype=np.float64)
    if report.ndim != 1 or not report.size or report[0] < 0 or (np.diff(report) < 0).any():
        raise ValueError(f"expected increasing times from 0 on, got {report.tolist()}")
    if not train_size > 0:
        raise ValueError(f"train_size must be positive, got {train_size}")
    if math.isfinite(train_size) and generator is None:
        raise ValueError(f"the noise of train_size = {train_size} needs a generator")
    width, dimension = network.weight.shape
    parameters = [network.weight, network.bias[:, None], network.readout[:, None]]
    start = torch.cat(parameters, 1).to("cpu", torch.float64).numpy()  # (h, d + 2)
    noise = np.zeros((width, dimension - 1))
    if generator is not None:
        noise = generator.standard_normal(noise.shape) / math.sqrt(train_size)

    def rate(_: float, state: Array) -> Array:
        neurons = state.reshape(start.shape)
        hidden, readout = neurons[:, :-1], neurons[:, -1:]
        drive = population_drive(hidden, noise)
        return np.concatenate([readout * drive, (hidden * drive).sum(1, keepdims=True)], 1).ravel()

    span = (0.0, max(float(report[-1]), 1e-12))
    solution = solve_ivp(rate, span, start.ravel(), t_eval=report, rtol=tolerance, atol=tolerance)
    if not solution.success:
        raise RuntimeError(f"the one-neuron equation could not be integrated: {solution.message}")
    states = torch.from_numpy(solution.y.T.copy()).reshape(-1, *start.shape)
    return [ShallowNetwork(state[:, :-2], state[:, -2], state[:, -1]) for state in states]


def population_drive(hidden: Array, noise: Array) -> Array:
    """q = √2 E[y 1(v·u > 0) u] on the stripe, with the sampling noise of the perpendicular components.

    With g the component of x along w⊥ the neuron is active where t = k x₁ + s g > −c, (k, s) = (w₁, |w⊥|)/|w| and
    c = √d b/|w|. Below an edge, A = {t > −c, x₁ < e}, Gauss' theorem gives the first moments,

        E[g 1_A] = s φ(c) Φ((e + kc)/s),   E[x₁ 1_A] = k φ(c) Φ((e + kc)/s) − φ(e) Φ((ke + c)/s),

    and P(A) is a bivariate normal probability. The label is 1 − 2·1[lower < x₁ < upper].

    Args:
        hidden: (h, d + 1) v = (w, b).
        noise: (h, d − 1) unit normals over √p.

    Returns:
        (h, d + 1) drives.
    """
    root = math.sqrt(hidden.shape[1] - 1)  # √d
    perpendicular = hidden[:, 1:-1]
    length = np.maximum(np.linalg.norm(perpendicular, axis=1), TINY)
    norm = np.hypot(hidden[:, 0], length)
    k, s, c = hidden[:, 0] / norm, length / norm, root * hidden[:, -1] / norm  # (h,) each

    def below(edge: float) -> Array:
        """P(A), E[x₁ 1_A] and E[g 1_A], (3, h)."""
        crossing = _density(c) * ndtr((edge + k * c) / s)
        return np.stack([
            _bivariate(c, edge, -k, s), k * crossing - _density(edge) * ndtr((k * edge + c) / s), s * crossing
        ])  # fmt: skip

    everywhere = np.stack([ndtr(c), k * _density(c), s * _density(c)])
    mean_one, mean_first, mean_along = everywhere - 2 * (below(STRIPE[1]) - below(STRIPE[0]))
    direction = perpendicular / length[:, None]
    mean = mean_along[:, None] * direction  # E[y x_i 1], (h, d − 1)
    square = ndtr(c)[:, None] - (s**2 * c * _density(c))[:, None] * direction**2  # E[x_i² 1]
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    drive = np.concatenate([mean_first[:, None] / root, (mean + noise * spread) / root, mean_one[:, None]], 1)
    return np.asarray(GAIN * drive)


def _density(values: Array | float) -> Array:
    return np.asarray(np.exp(-np.square(values) / 2) / math.sqrt(2 * math.pi))


def _bivariate(first: Array, second: float, correlation: Array, root: Array) -> Array:
    """P(X < first, Y < second) of standard normals, by Owen's T; root = √(1 − correlation²)."""
    first = np.where(np.abs(first) < TINY, TINY, first)
    halves = (ndtr(first) + ndtr(second)) / 2 - np.where(first * second < 0, 0.5, 0.0)
    owen_first = owens_t(first, (second - correlation * first) / (first * root))
    owen_second = owens_t(second, (first - correlation * second) / (second * root))
    return np.asarray(halves - owen_first - owen_second)
