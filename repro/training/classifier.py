"""Mini-batch training of one classifier with many classes."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Network = TypeVar("Network", bound=nn.Module)


def train_classifier(
    network: Network,
    inputs: Tensor,
    classes: Tensor,
    generator: np.random.Generator,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 0.05,
    weight_decay: float = 1e-4,
) -> Network:
    """Train a copy of a network by SGD with momentum 0.9 on the mean cross-entropy; it is returned in evaluation mode.

    The learning rate falls as a cosine to 0. What is left over by whole batches of an epoch is dropped.

    Args:
        network: from (points, ...) to logits (points, classes); not changed.
        inputs: (points, ...).
        classes: (points,) whole numbers from 0.
        generator: order of the batches.
        epochs: passes over the points.
        batch_size: points per step.
        learning_rate: of the first step.
        weight_decay: of all parameters.

    Raises:
        ValueError: for no epoch, a batch larger than all points or below 1, or a class missing for an input.
        RuntimeError: if the loss is no longer finite.
    """
    if epochs < 1 or not 1 <= batch_size <= len(inputs) or len(classes) != len(inputs):
        raise ValueError(
            f"expected an epoch or more, batches of 1 to {len(inputs)} points and a class each, got {epochs} epochs, "
            f"batches of {batch_size} and {len(classes)} classes"
        )
    trained = copy.deepcopy(network).train()
    descent = torch.optim.SGD(trained.parameters(), lr=learning_rate, momentum=0.9, weight_decay=weight_decay)
    batches = len(inputs) // batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, epochs * batches)
    for epoch in range(epochs):
        order = torch.from_numpy(generator.permutation(len(inputs))).to(inputs.device)
        for rows in torch.split(order[: batches * batch_size], batch_size):
            loss = cross_entropy(trained(inputs[rows]), classes[rows])
            descent.zero_grad()
            torch.autograd.backward(loss)
            descent.step()
            schedule.step()
        if not math.isfinite(float(loss.detach())):
            raise RuntimeError(f"training diverged in epoch {epoch + 1}: the loss is not finite")
    return trained.eval()
