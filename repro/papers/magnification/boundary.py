"""Nets of arXiv 2301.11375 trained in the plane, and where their feature maps magnify area.

A cell trains all seeds of one setting together. Net i starts from the same points and batches in every setting, and
from the same weights at equal widths. Logarithms of the volume element are natural ones unless a name says log10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from repro.device import resolve_device
from repro.geometry.pullback import shallow_metric, shallow_ricci_scalar, shallow_volume_element, volume_element
from repro.models.sigmoid_ensemble import SigmoidEnsemble, normal_ensemble
from repro.papers.magnification.planar import (
    FAR,
    MIRRORS,
    NEAR,
    REACH,
    Array,
    Regions,
    circles,
    crests_and_flanks,
    draw,
    near_over_far,
    own_boundary,
    regions,
    square,
)
from repro.training.sigmoid_ensemble import Descent, Loss, net_losses, scaled_logits, training_steps

Row = dict[str, Any]

MAP_REACH = 1.5  # half the side of the square that the paper shows
TINY = np.finfo(np.float64).tiny  # stands for what vanishes in floating point, where logarithms are taken


class Problem(NamedTuple):
    """Points of every net and a start for it."""

    inputs: Tensor  # (nets, points, 2)
    classes: Tensor  # (nets, points), 0 and 1
    start: SigmoidEnsemble
    order: list[np.random.Generator]


def problem(task: str, hidden: Sequence[int], points: int, nets: int, seed: int, device: str) -> Problem:
    """Draw points, weights and the order of batches of nets 0, 1, ..., each from a stream of its own.

    Raises:
        ValueError: for no net, a negative seed, or what `draw` and `normal_ensemble` refuse.
    """
    if nets < 1 or seed < 0:
        raise ValueError(f"expected at least one net and a seed >= 0, got {nets} and {seed}")
    streams = [np.random.SeedSequence([seed, net]).spawn(3) for net in range(nets)]
    data, weights, order = ([np.random.default_rng(stream) for stream in part] for part in zip(*streams, strict=True))
    samples = [draw(task, points, generator) for generator in data]
    place = resolve_device(device)
    inputs = torch.stack([sample.inputs for sample in samples]).to(place)
    classes = (torch.stack([sample.labels for sample in samples]) > 0).long().to(place)
    return Problem(inputs, classes, normal_ensemble([2, *hidden, 2], weights, torch.float64, place), order)


def boundary_cell(
    *,
    task: str,
    width: int,
    nets: int,
    looks: list[int],
    loss: Loss = "cross-entropy",
    output_scale: float = 1.0,
    optimiser: str = "adam",
    learning_rate: float = 0.03,
    weight_decay: float = 0.0,
    batch_size: int = 100,
    points: int = 400,
    side: int = 80,
    near: float = NEAR,
    far: float = FAR,
    map_side: int = 0,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Nets with one hidden layer, measured at the given steps of training.

    Rows, one per look and net: step, net, train_loss (nats, or mean squared error), train_accuracy, and of the hidden
    layer's volume element on the grid of `regions`

    - near_far: list, mean log near less that far, of the boundary and of each of its mirror images;

    at the first and the last look (NaN or None else)

    - own, own_mirrored: the same about the net's own boundary on the whole square and, averaged, its images mirrored in
      x₁, x₂ and both (NaN where the net has no boundary);
    - crests_flanks: log of the mean volume at the curve's crests over that at its zeros (sinusoids; NaN for XOR);
    - angular_spread: root mean square over three circles of the deviation of the log volume over the angle;
    - projected: as near_far, of the metric without the direction of the read-out;
    - logit, probability: as near_far, of the length of the gradient of the difference of the logits, and of the
      probability of a class;
    - curvature: as near_far, of the absolute Ricci scalar; curvature_quantiles: its 5, 50 and 95 % quantiles with sign.

    Net 0 also has volume_map (log10), margin_map (difference of the logits) and, at the first and the last look,
    curvature_map, lists over `square(map_side, 1.5)`; None elsewhere.

    Args:
        task: see `draw`.
        width: hidden units, at least 2.
        nets: number of nets.
        looks: steps, from 0, increasing.
        loss: "cross-entropy" or "squared error".
        output_scale: α of α (f − f₀); large values leave the features as they are. The learning rate is divided by it
            (Adam) or by its square (SGD), so that the outputs change at the same pace.
        optimiser: "adam" or "sgd" (momentum 0.9).
        learning_rate: of a step.
        weight_decay: of the optimiser.
        batch_size: points of a step.
        points: training points of a net.
        side, near, far: of `regions`.
        map_side: points along a side of the maps; 0 for none.
        seed: non-negative integer.
        device: "auto" for CUDA where available.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if the training diverges.
    """
    if width < 2 or not looks or looks[0] < 0 or sorted(set(looks)) != list(looks):
        raise ValueError(f"expected a width of at least 2 and increasing steps to look at, got {width} and {looks}")
    given = problem(task, [width], points, nets, seed, device)
    rate = learning_rate / output_scale ** (1 if optimiser == "adam" else 2)
    descent = Descent(optimiser, rate, weight_decay)  # type: ignore[arg-type]  # it checks the word
    steps = training_steps(
        given.start, given.inputs, given.classes, given.order, batch_size=batch_size, loss=loss,
        output_scale=output_scale, descent=descent,
    )  # fmt: skip
    where = regions(task, side, near, far)
    rows = []
    for step, ensemble in _at(given.start, steps, looks):
        thorough = step in (looks[0], looks[-1])
        fitted = _fit(ensemble, given, loss, output_scale)
        for net in range(nets):
            nonlinear = Hidden(ensemble, given.start, net, output_scale)
            row = {"step": step, "net": net} | {name: float(values[net]) for name, values in fitted.items()}
            row |= _measured(nonlinear, task, where, side, thorough)
            rows.append(row | _maps(nonlinear, map_side if net == 0 else 0, thorough))
    return rows


def depth_cell(
    *,
    hidden: list[int],
    nets: int,
    steps: int,
    optimiser: str = "adam",
    learning_rate: float = 0.03,
    batch_size: int = 100,
    points: int = 400,
    side: int = 40,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Deep nets on the sinusoid before and after training, layer by layer.

    Rows, one per look, net and layer (from 1): step, train_loss, train_accuracy, contrast (90 % less 10 % quantile of
    log10 of the volume element on `square(side, 1.5)`), near_far and its mirror images' mean near_far_mirrored (on the
    grid of `regions`), and for net 0 volume_map and margin_map (None for others).

    Args:
        hidden: widths of the hidden layers, each at least 2.
        nets: number of nets.
        steps: of training.
        optimiser, learning_rate, batch_size, points, seed, device: see `boundary_cell`.
        side: of the grid.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if the training diverges.
    """
    if len(hidden) < 2 or min(hidden) < 2 or steps < 1:
        raise ValueError(f"expected two hidden layers or more of at least 2 units and a step, got {hidden} and {steps}")
    given = problem("sinusoid", hidden, points, nets, seed, device)
    descent = Descent(optimiser, learning_rate)  # type: ignore[arg-type]  # it checks the word
    training = training_steps(
        given.start, given.inputs, given.classes, given.order, batch_size=batch_size, descent=descent
    )
    where, picture = regions("sinusoid"), square(side, MAP_REACH)
    rows = []
    for step, ensemble in _at(given.start, training, [0, steps]):
        fitted = _fit(ensemble, given, "cross-entropy", 1.0)
        margins = _margins(ensemble(_tensor(picture, given.inputs)))
        for net in range(nets):
            row = {"step": step, "net": net} | {name: float(values[net]) for name, values in fitted.items()}
            for layer in range(len(hidden)):
                features = ensemble.features(net, layer)
                logs, near = (
                    _log(volume_element(features, _tensor(points, given.inputs))) for points in (picture, where.points)
                )
                low, high = np.quantile(logs, [0.1, 0.9]) / np.log(10)
                ratios = near_over_far(near, where)
                measured = {"layer": layer + 1, "contrast": float(high - low), "near_far": float(ratios[0])}
                maps = {"volume_map": (logs / np.log(10)).tolist(), "margin_map": margins[0].tolist()}
                blank = dict.fromkeys(maps)
                own = {"near_far_mirrored": float(ratios[1:].mean())}
                rows.append(row | measured | own | (blank if net else maps))
    return rows


def equal_loss_cell(
    *,
    width: int,
    nets: int,
    target: float,
    step_limit: int,
    check_every: int = 20,
    optimiser: str = "adam",
    learning_rate: float = 0.03,
    batch_size: int = 100,
    points: int = 400,
    seed: int = 0,
    device: str = "auto",
) -> list[Row]:
    """Nets on the sinusoid, each measured when its training loss is first seen at the target.

    Rows, one per net: reached, step (of the look, or the limit), train_loss, train_accuracy, near_far (list, see
    `boundary_cell`).

    Args:
        width: hidden units.
        nets: number of nets.
        target: mean cross-entropy, nats.
        step_limit: after which a net is measured as it is, with reached = False.
        check_every: steps between looks at the loss.
        optimiser, learning_rate, batch_size, points, seed, device: see `boundary_cell`.

    Raises:
        ValueError: for a parameter out of range.
        RuntimeError: if the training diverges.
    """
    if width < 2 or not target > 0 or not 1 <= check_every <= step_limit:
        raise ValueError(
            f"expected a width of 2 or more, a positive target and looks within the steps, got {width}, {target}, and "
            f"{check_every} of {step_limit}"
        )
    given = problem("sinusoid", [width], points, nets, seed, device)
    descent = Descent(optimiser, learning_rate)  # type: ignore[arg-type]  # it checks the word
    training = training_steps(
        given.start, given.inputs, given.classes, given.order, batch_size=batch_size, descent=descent
    )
    where, rows = regions("sinusoid"), {}
    looks = range(check_every, step_limit + 1, check_every)
    for step, ensemble in _at(given.start, training, looks):
        fitted = _fit(ensemble, given, "cross-entropy", 1.0)
        for net in (net for net in range(nets) if net not in rows):
            reached = float(fitted["train_loss"][net]) <= target
            if reached or step == looks[-1]:
                logs = _log(Hidden(ensemble, given.start, net, 1.0).volume(where.points))
                row = {"net": net, "step": step, "reached": reached, "near_far": near_over_far(logs, where).tolist()}
                rows[net] = row | {name: float(values[net]) for name, values in fitted.items()}
        if len(rows) == nets:
            break
    return [rows[net] for net in range(nets)]


def _at(
    start: SigmoidEnsemble, steps: Iterator[SigmoidEnsemble], looks: Sequence[int]
) -> Iterator[tuple[int, SigmoidEnsemble]]:
    """The nets at the given steps of their training."""
    done = 0
    for look in looks:
        yield look, (start if look == 0 else next(islice(steps, look - done - 1, None)))
        done = look


class Hidden(NamedTuple):
    """The hidden layer of one net, with the closed forms of its geometry; points are arrays (n, 2)."""

    ensemble: SigmoidEnsemble
    start: SigmoidEnsemble
    net: int
    output_scale: float

    @property
    def layer(self) -> tuple[Tensor, Tensor]:
        """Weight (width, 2) and bias (width,)."""
        return self.ensemble.weights[0][self.net].T, self.ensemble.biases[0][self.net, 0]

    def volume(self, points: Array) -> Tensor:
        """Volume element at each point."""
        return shallow_volume_element(*self.layer, self._on_device(points))

    def curvature(self, points: Array) -> Array:
        """Ricci scalar at each point."""
        return _array(shallow_ricci_scalar(*self.layer, self._on_device(points)))

    def margin(self, points: Array) -> Array:
        """Difference of the two logits at each point."""
        net = slice(self.net, self.net + 1)
        logits = scaled_logits(self.ensemble[net], self.start[net], self._on_device(points), self.output_scale)
        return np.asarray(_margins(logits)[0])

    def projected_volume(self, points: Array) -> Tensor:
        """Volume element of the features without their component along the difference of the read-out's rows."""
        x = self._on_device(points)
        direction = self._readout()
        along = self._push(x, direction / direction.norm())  # (n, 2)
        metric = shallow_metric(*self.layer, x) - along[:, :, None] * along[:, None, :]
        volume: Tensor = torch.linalg.det(metric).clamp_min(0) ** 0.5
        return volume

    def gradient(self, points: Array) -> Tensor:
        """Length of the gradient of the difference of the logits at each point."""
        slope = self._push(self._on_device(points), self._readout())
        if self.output_scale != 1:
            first = Hidden(self.start, self.start, self.net, 1.0)
            slope = self.output_scale * (slope - first._push(self._on_device(points), first._readout()))
        length: Tensor = torch.linalg.vector_norm(slope, dim=1)
        return length

    def _readout(self) -> Tensor:
        last = self.ensemble.weights[1][self.net]  # (width, 2)
        return last[:, 1] - last[:, 0]

    def _push(self, x: Tensor, direction: Tensor) -> Tensor:
        """Gradient (n, 2) of the features' component along a direction, over √width."""
        weight, bias = self.layer
        value = torch.sigmoid(x @ weight.T + bias)
        gradient: Tensor = (value * (1 - value) * direction) @ weight / len(weight) ** 0.5
        return gradient

    def _on_device(self, points: Array) -> Tensor:
        return _tensor(points, self.ensemble.weights[0])


def _measured(hidden: Hidden, task: str, where: Regions, side: int, thorough: bool) -> Row:
    logs = _log(hidden.volume(where.points))
    row: Row = {"near_far": near_over_far(logs, where).tolist()}
    numbers = ("own", "own_mirrored", "crests_flanks", "angular_spread")
    lists = ("projected", "logit", "probability", "curvature", "curvature_quantiles")
    if not thorough:
        return row | dict.fromkeys(numbers, np.nan) | dict.fromkeys(lists)
    row |= _about_own_boundary(hidden, logs, task, side)
    curvature, slope = hidden.curvature(where.points), _log(hidden.gradient(where.points))
    certainty = np.log(np.cosh(hidden.margin(where.points) / 2))  # p (1 − p) = 1 / (4 cosh²(margin / 2))
    values = {
        "projected": _log(hidden.projected_volume(where.points)),
        "logit": slope,
        "probability": slope - 2 * certainty,
        "curvature": np.log(np.maximum(np.abs(curvature), TINY)),
    }
    row |= {name: near_over_far(value, where).tolist() for name, value in values.items()}
    row["curvature_quantiles"] = np.quantile(curvature, [0.05, 0.5, 0.95]).tolist()
    crests, flanks = crests_and_flanks(where.points)
    volume = np.exp(logs)
    row["crests_flanks"] = (
        float("nan") if task == "xor" else float(np.log(volume[crests].mean() / volume[flanks].mean()))
    )
    rings = _log(hidden.volume(circles().reshape(-1, 2))).reshape(len(circles()), -1)
    row["angular_spread"] = float(np.sqrt(rings.var(1).mean()))
    return row


def _about_own_boundary(hidden: Hidden, logs: Array, task: str, side: int) -> Row:
    """Near and far of where the net itself changes its decision, and of the mirror images of that."""
    reach = REACH.get(task, 1.0)
    points = square(side, reach)
    boundary = own_boundary(hidden.margin(points), side, reach)
    nothing = dict.fromkeys(("own", "own_mirrored"), np.nan)
    if not len(boundary):
        return nothing
    distance = np.stack([KDTree(boundary * mirror).query(points)[0] for mirror in ([[1.0, 1.0]], *MIRRORS)])
    own = Regions(points, distance < NEAR, distance > FAR)
    if not (own.near.any(1) & own.far.any(1)).all():
        return nothing
    whole = logs if len(logs) == len(points) else _log(hidden.volume(points))  # XOR's are those of a disc
    ratios = near_over_far(whole, own)
    return {"own": float(ratios[0]), "own_mirrored": float(ratios[1:].mean())}


def _maps(hidden: Hidden, side: int, thorough: bool) -> Row:
    names = ("volume_map", "margin_map", "curvature_map")
    if not side:
        return dict.fromkeys(names)
    points = square(side, MAP_REACH)
    maps: Row = {
        "volume_map": (_log(hidden.volume(points)) / np.log(10)).tolist(),
        "margin_map": hidden.margin(points).tolist(),
    }
    return dict.fromkeys(names) | maps | ({"curvature_map": hidden.curvature(points).tolist()} if thorough else {})


def _fit(ensemble: SigmoidEnsemble, given: Problem, loss: Loss, output_scale: float) -> dict[str, Tensor]:
    """Loss and accuracy of each net on its training points, (nets,) each."""
    logits = scaled_logits(ensemble, given.start, given.inputs, output_scale)
    correct = logits.argmax(2) == given.classes
    return {"train_loss": net_losses(logits, given.classes, loss), "train_accuracy": correct.double().mean(1)}


def _margins(logits: Tensor) -> Array:
    return _array(logits[..., 1] - logits[..., 0])


def _log(values: Tensor) -> Array:
    """Natural logarithm of positive numbers."""
    return np.asarray(np.log(np.maximum(_array(values), TINY)))


def _array(values: Tensor) -> Array:
    found: Array = values.detach().cpu().numpy()
    return found


def _tensor(points: Array, like: Tensor) -> Tensor:
    return torch.from_numpy(points).to(like)
