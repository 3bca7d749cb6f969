"""The tasks of arXiv 2007.11471 and the net that learns them: one frozen description, checked once, and its draws.

All randomness comes from `seed`, the dimension and the training-set size, with a stream of its own for each purpose; so
both regimes see the same data, and a cell repeated on one machine gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from repro.data.synthetic import Sample, cylinder, stripe
from repro.device import resolve_device, resolve_dtype
from repro.models.dense import ShallowNetwork, initialise


class Problem(NamedTuple):
    """A net before training and its data, all in one precision on one device."""

    network: ShallowNetwork
    train: Sample
    test: Sample


class Generators(NamedTuple):
    """A stream of randomness for each purpose; none is disturbed by how much another is used."""

    train: np.random.Generator
    test: np.random.Generator
    weights: np.random.Generator
    fresh: np.random.Generator  # points that nothing was trained on, and the noise of the one-neuron equation
    permutations: np.random.Generator


@dataclass(frozen=True)
class Stripe:
    """A net on the stripe (one informative direction) or the cylinder (two or more), as plain numbers.

    Raises ValueError for a number out of range.
    """

    dimension: int  # input dimension d, at least 2
    train_size: int  # training points p, at least 2
    seed: int  # not negative
    informative: int = 1  # directions that the label depends on
    width: int = 300  # hidden neurons h
    output_scale: float = 1e-6  # α of F = α (f − f₀); above 1e4 it needs float64
    test_size: int = 1  # test points
    dtype: str = "float32"  # of the net: "float32" or "float64"
    device: str = "auto"  # of the net and of kernels: "auto" takes CUDA where available

    def __post_init__(self) -> None:
        least = {"dimension": 2, "train_size": 2, "seed": 0, "width": 1, "test_size": 1}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} must be at least {smallest}, got {getattr(self, name)}")
        if not self.output_scale > 0:
            raise ValueError(f"output_scale must be positive, got {self.output_scale}")
        resolve_dtype(self.dtype)

    @property
    def place(self) -> torch.device:
        """Where the net and the kernels live."""
        return resolve_device(self.device)

    def generators(self) -> Generators:
        """Fresh streams, always the same."""
        children = np.random.SeedSequence([self.seed, self.dimension, self.train_size]).spawn(len(Generators._fields))
        return Generators(*(np.random.default_rng(child) for child in children))

    def sample(self, points: int, generator: np.random.Generator) -> Sample:
        """Points of the task in float64 on the CPU."""
        if self.informative == 1:
            return stripe(points, self.dimension, generator)
        return cylinder(points, self.dimension, self.informative, generator)

    def train(self) -> Sample:
        """The training points in float64 on the CPU."""
        return self.sample(self.train_size, self.generators().train)

    def test(self) -> Sample:
        """The test points in float64 on the CPU."""
        return self.sample(self.test_size, self.generators().test)

    def network(self) -> ShallowNetwork:
        """The net before training."""
        return initialise(self.width, self.dimension, self.generators().weights, resolve_dtype(self.dtype), self.place)

    def placed(self, sample: Sample) -> Sample:
        """A sample in the precision and on the device of the net."""
        return Sample(*(tensor.to(self.place, resolve_dtype(self.dtype)) for tensor in sample))

    def draw(self) -> Problem:
        """The initial net, the training and the test points."""
        return Problem(self.network(), self.placed(self.train()), self.placed(self.test()))


def error_rate(output: Tensor, labels: Tensor) -> float:
    """Share of points on the wrong side, y F <= 0: (points,), (points,) → a number."""
    return float((output.cpu() * labels.cpu() <= 0).double().mean())
