"""Training without labels: two views of each image should have features that agree and say much."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, normalize

from repro.models.residual import ResidualNetwork

Method = Literal["barlow", "simclr"]
WARM_UP = 0.1  # share of the steps over which the learning rate rises to its full height
SMALLEST_CROP = 0.6  # side of a crop, as a share of the image's
LARGEST_CHANGE = 0.4  # of contrast and brightness
NOISE = 0.05  # standard deviation added to pixels from 0 to 1
GREY = 0.2  # probability that a coloured view loses its colours


@dataclass(frozen=True)
class SelfSupervised:
    """How a network is trained without labels.

    Raises:
        ValueError: for another method, or a number that is not positive.
    """

    method: Method = "barlow"
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 2e-3  # of AdamW, at its highest
    weight_decay: float = 1e-4
    projector_width: int = 256
    outputs: int = 256  # of the projector
    off_diagonal: float = 5e-3  # weight of Barlow Twins' second term
    temperature: float = 0.2  # of SimCLR

    def __post_init__(self) -> None:
        if self.method not in ("barlow", "simclr"):
            raise ValueError(f"method must be barlow or simclr, got {self.method!r}")
        numbers = {name: value for name, value in vars(self).items() if name not in ("method", "weight_decay")}
        wrong = [f"{name} = {value}" for name, value in numbers.items() if not value > 0]
        if wrong or not self.weight_decay >= 0 or self.batch_size < 2:
            raise ValueError(f"expected positive numbers and batches of 2 or more, got {', '.join(wrong) or self}")


class Trained(NamedTuple):
    """A network, and the mean loss of every epoch on the way there."""

    network: ResidualNetwork
    losses: list[float]


def train_selfsupervised(
    network: ResidualNetwork, images: Tensor, generator: np.random.Generator, settings: SelfSupervised
) -> Trained:
    """Train the features of a network so that two random views of an image agree, by Barlow Twins or SimCLR.

    A projector of two layers with batch normalisation between them stands on the features while they are trained, and
    is thrown away. AdamW; the learning rate rises linearly over a tenth of the steps and falls as a cosine to 0.

    Sources: J. Zbontar et al., arXiv 2103.03230, Eq. 1; T. Chen et al., arXiv 2002.05709, Eq. 1.

    Args:
        network: where to start, not changed; its read-out is not trained.
        images: (points, channels, side, side), pixels from 0 to 1.
        generator: weights of the projector, order of the images, views.
        settings: see there.

    Returns:
        A copy in evaluation mode.

    Raises:
        ValueError: for fewer images than a batch.
        RuntimeError: if the loss is no longer finite.
    """
    if len(images) < settings.batch_size:
        raise ValueError(f"expected at least {settings.batch_size} images, one batch, got {len(images)}")
    trained = copy.deepcopy(network).train()
    projector = _projector(trained.readout.in_features, settings, generator).to(images)
    parameters = [*trained.body.parameters(), *projector.parameters()]
    descent = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    batches = len(images) // settings.batch_size
    schedule = torch.optim.lr_scheduler.LambdaLR(descent, lambda step: _share(step, settings.epochs * batches))
    losses = []
    for epoch in range(settings.epochs):
        order = torch.from_numpy(generator.permutation(len(images))).to(images.device)
        total = 0.0
        for rows in torch.split(order[: batches * settings.batch_size], settings.batch_size):
            views = torch.cat([view(images[rows], generator) for _ in range(2)])
            first, second = projector(trained.features(views)).chunk(2)
            loss = _loss(first, second, settings)
            descent.zero_grad()
            torch.autograd.backward(loss)
            descent.step()
            schedule.step()
            total += float(loss.detach())
        losses.append(total / batches)
        if not math.isfinite(losses[-1]):
            raise RuntimeError(f"training diverged in epoch {epoch + 1}: the loss is not finite")
    return Trained(trained.eval(), losses)


def _loss(first: Tensor, second: Tensor, settings: SelfSupervised) -> Tensor:
    if settings.method == "barlow":
        return barlow_loss(first, second, settings.off_diagonal)
    return simclr_loss(first, second, settings.temperature)


def barlow_loss(first: Tensor, second: Tensor, off_diagonal: float) -> Tensor:
    """Σᵢ (1 − Cᵢᵢ)² + λ Σᵢⱼ Cᵢⱼ², i ≠ j, with C the correlations over a batch of the outputs (points, n) of two views.

    Example:
        >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> round(float(barlow_loss(x, x, 0.005)), 5)
        0.0
    """
    one, two = ((x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5) ** 0.5 for x in (first, second))
    correlation = one.T @ two / len(one)
    diagonal = correlation.diagonal()
    others = correlation.square().sum() - diagonal.square().sum()
    loss: Tensor = (1 - diagonal).square().sum() + off_diagonal * others
    return loss


def simclr_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean cross-entropy with which a view (points, n) finds its other one among all other views of the batch.

    Logits are cosines over the temperature.

    Example:
        >>> x = torch.eye(3)
        >>> round(float(simclr_loss(x, x, 0.01)), 5)
        0.0
    """
    both = normalize(torch.cat([first, second]), dim=1)
    logits = both @ both.T / temperature
    logits = logits.masked_fill(torch.eye(len(both), dtype=torch.bool, device=both.device), -torch.inf)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    return cross_entropy(logits, partner)


def view(images: Tensor, generator: np.random.Generator) -> Tensor:
    """A random view of each image: cropped and resized, flipped, with other contrast and brightness, grey, and noise.

    The crop's side is 60 to 100 % of the image's, its place any; one view in two is flipped; contrast and brightness
    change by up to 40 %; one coloured view in five is grey. Pixels stay from 0 to 1.

    Args:
        images: (points, channels, side, side), pixels from 0 to 1.
        generator: of the views.
    """
    points = len(images)
    side = generator.uniform(SMALLEST_CROP, 1, points)
    place = (1 - side)[:, None] * generator.uniform(-1, 1, (points, 2))
    flip = generator.choice([-1.0, 1.0], points)
    theta = np.zeros((points, 2, 3))
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = flip * side, side, place
    grid = affine_grid(torch.from_numpy(theta).to(images), list(images.shape), align_corners=False)
    seen = grid_sample(images, grid, align_corners=False, padding_mode="reflection")
    contrast, light = 1 + LARGEST_CHANGE * generator.uniform(-1, 1, (2, points, 1, 1, 1))
    mean = seen.mean((1, 2, 3), keepdim=True)
    seen = ((seen - mean) * torch.from_numpy(contrast).to(images) + mean) * torch.from_numpy(light).to(images)
    if images.shape[1] > 1:
        grey = torch.from_numpy(generator.uniform(size=(points, 1, 1, 1)) < GREY).to(images.device)
        seen = torch.where(grey, seen.mean(1, keepdim=True), seen)
    noise = NOISE * torch.from_numpy(generator.standard_normal(seen.shape)).to(images)
    return (seen + noise).clamp(0, 1)


def _projector(features: int, settings: SelfSupervised, generator: np.random.Generator) -> nn.Sequential:
    """Two linear layers, their weights and biases U(−1, 1)/√fan-in, with batch normalisation and ReLU between them."""
    layers = [nn.Linear(features, settings.projector_width), nn.Linear(settings.projector_width, settings.outputs)]
    with torch.no_grad():
        for layer in layers:
            for part in (layer.weight, layer.bias):
                part.copy_(torch.from_numpy(generator.uniform(-1, 1, part.shape) / math.sqrt(layer.in_features)))
    return nn.Sequential(layers[0], nn.BatchNorm1d(settings.projector_width), nn.ReLU(), layers[1])


def _share(step: int, steps: int) -> float:
    """Of the full learning rate."""
    warm_up = max(1, round(WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
