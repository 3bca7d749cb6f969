"""What the pinned arithmetic costs: every hot path with the kernels of `repro.workflow.arithmetic` and with this
processor's own, in turns, each time in a fresh process with one thread.

Ratios above 1 are what the same bytes on every machine cost here; below 1, the pinned kernels are the faster ones.
Nothing is required of them: on another processor they are others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from compression_kernels import images
from timing import seconds

from repro.data.synthetic import stripe
from repro.geometry.graph import graph_statistics
from repro.geometry.jacobian import jacobian
from repro.geometry.ntk import relu_ntk
from repro.models.conv import MobileNetwork
from repro.models.ensemble import glorot_ensemble
from repro.papers.compression.stripe import Stripe
from repro.training.ensemble import training_epochs
from repro.training.flow import hinge_flow
from repro.training.sgd import train_to_margin
from repro.training.svm import hard_margin_svm
from repro.workflow import arithmetic

ROUNDS = 3


def flow() -> None:
    problem = Stripe(5, 512, 0, width=300, device="cpu").draw()
    hinge_flow(problem.network, *problem.train, 1e-6)


def kernel_machine() -> None:
    train = stripe(1024, 5, np.random.default_rng(0))
    hard_margin_svm(relu_ntk(train.inputs), train.labels)


def convolutional_jacobian() -> None:
    jacobian(MobileNetwork(5, np.random.default_rng(0)), images(64))


def convolutional_training() -> None:
    labels = torch.from_numpy(np.random.default_rng(1).choice([-1.0, 1.0], 320).astype(np.float32))
    network, order = MobileNetwork(5, np.random.default_rng(0)), np.random.default_rng(2)
    train_to_margin(network, images(320), labels, 1e-3, order, epoch_limit=3)


def ensemble() -> None:
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32))
    generators = [np.random.default_rng(net) for net in range(12)]
    nets = glorot_ensemble([3, *[25] * 5, 1], generators)
    for _ in islice(training_epochs(nets, points, points[:, 0] > 0, generators), 5):
        pass


def graphs() -> None:
    graph_statistics(np.random.default_rng(0).normal(size=(2000, 25)).astype(np.float32), [10, 50, 350])


def matrix_product() -> None:
    square = torch.from_numpy(np.random.default_rng(0).normal(size=(1500, 1500)).astype(np.float32))
    for _ in range(5):
        square @ square


PATHS: dict[str, Callable[[], None]] = {
    "hinge flow, 512 points, 300 neurons": flow,
    "NTK and SVM, 1024 points": kernel_machine,
    "convolutional Jacobian, 64 images": convolutional_jacobian,
    "convolutional net, 3 epochs of 320 images": convolutional_training,
    "12 classifiers, 5 epochs": ensemble,
    "neighbour graphs, 2000 points, k = 10, 50, 350": graphs,
    "float32 products, 1500 by 1500": matrix_product,
}


def measure(environment: dict[str, str]) -> dict[str, float]:
    child = subprocess.run([sys.executable, __file__, "--paths"], env=environment, capture_output=True, text=True)
    if child.returncode:
        sys.exit(child.stderr)
    return dict(json.loads(child.stdout))


def main() -> int:
    if sys.argv[1:] == ["--paths"]:
        print(json.dumps({name: seconds(run, repeats=1) for name, run in PATHS.items()}))
        return 0
    if not arithmetic.can_be_pinned():
        print(arithmetic.announcement({}))
        return 0
    pinned = arithmetic.environment(os.environ)
    free = {name: value for name, value in pinned.items() if name not in arithmetic.KERNELS}
    rounds = [(measure(pinned), measure(free)) for _ in range(ROUNDS)]
    print(f"{'least CPU s of ' + str(ROUNDS) + ' runs':48} {'pinned':>8} {'free':>8} {'ratio':>6}")
    for name in PATHS:
        own, other = (min(each[side][name] for each in rounds) for side in (0, 1))
        print(f"{name:48} {own:8.3f} {other:8.3f} {own / other:6.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
