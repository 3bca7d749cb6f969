"""Images as inputs of the nets of arXiv 2301.11375: pixels from 0 to 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from repro.data import images

DIGITS = "digits"
TRAIN_SHARE = 0.75  # of the digits, and of the training images that a net draws


class Labelled(NamedTuple):
    """Images with their classes."""

    inputs: Tensor  # (points, channels, side, side), pixels from 0 to 1
    classes: np.ndarray  # (points,)


def labelled(pool: images.Images, pooling: bool, precision: torch.dtype, place: torch.device) -> Labelled:
    """Images as tensors, averaged over squares of 2 × 2 pixels where `pooling`; their largest possible pixel is 1."""
    highest = 16 if pool.images.shape[1] == 8 else 255
    pixels = torch.from_numpy(pool.images.astype(np.float64) / highest)
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    pixels = torch.nn.functional.avg_pool2d(pixels, 2) if pooling else pixels
    return Labelled(pixels.to(place, precision).contiguous(memory_format=torch.channels_last), pool.classes)


def draw_split(
    dataset: str, pooling: bool, precision: torch.dtype, place: torch.device, generator: np.random.Generator
) -> tuple[Labelled, Labelled]:
    """Training and test images of one net: three quarters of the training images, drawn at random, and the test images.

    The digits have no test images of their own: theirs are the other quarter.

    Raises:
        ValueError: for an unknown set.
        repro.data.images.DataError: if the images are not at hand.
    """
    if dataset == DIGITS:
        pool = test = images.digits()
    else:
        pool, test = (images.load(dataset, split) for split in ("train", "test"))  # type: ignore[arg-type]
    order = generator.permutation(len(pool.classes))
    cut = round(TRAIN_SHARE * len(order))
    chosen, rest = np.sort(order[:cut]), np.sort(order[cut:]) if dataset == DIGITS else slice(None)
    parts = (
        images.Images(pool.images[chosen], pool.classes[chosen]),
        images.Images(test.images[rest], test.classes[rest]),
    )
    train, held_out = (labelled(part, pooling, precision, place) for part in parts)
    return train, held_out
