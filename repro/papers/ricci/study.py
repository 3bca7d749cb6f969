"""The words of the Ricci study, each said once: data sets, architectures, conditions, accuracy bars, published numbers.

Of arXiv 2404.14265, whose nets arXiv 2509.22362 follows along their training.
"""

from typing import Literal

ImageSet = Literal["mnist", "fashion-mnist", "fashion-mnist-footwear"]  # see `repro.data.images.load`

KEY = ["dataset", "architecture", "depth"]  # of a cell of the study
SYNTHETIC = ("A", "B", "C")
IMAGES: dict[str, tuple[ImageSet, int, int]] = {  # the set, and the classes labelled 0 and 1
    "mnist-1v7": ("mnist", 1, 7),
    "mnist-6v8": ("mnist", 6, 8),
    "sandal-boot": ("fashion-mnist-footwear", 5, 9),
    "shirt-coat": ("fashion-mnist", 6, 4),
}
ARCHITECTURES = ("narrow", "wide", "bottleneck")
TRAINED, UNTRAINED, SHUFFLED, FEW = "trained", "untrained", "shuffled labels", "few labels"
CONDITIONS = (TRAINED, UNTRAINED, SHUFFLED, FEW)

NEAR_PERFECT = {  # test accuracy above which the paper calls a net well trained (its section "Methods")
    "A": 0.99, "B": 0.99, "C": 0.91, "mnist-1v7": 0.99, "mnist-6v8": 0.99, "sandal-boot": 0.98, "shirt-coat": 0.90,
}  # fmt: skip

PUBLISHED_SHARE = 0.932  # of well-trained nets with a negative coefficient
PUBLISHED_T, PUBLISHED_NETS = -2.27, 1227  # Table S2
PUBLISHED_PARTIAL_CORRELATION = -0.065  # follows from its t and degrees of freedom
PUBLISHED_BEST = {  # best k, read off the boxes of Fig. 3; narrow, wide, bottleneck of depth 5, then of depth 11
    "A": (30, 30, 50, 100, 90, 100),
    "B": (10, 6, 6, 9, 6, 6),
    "C": (30, 18, 50, 6, 6, 7),
    "mnist-1v7": (500, 350, 350, 350, 350, 350),
    "mnist-6v8": (500, 350, 350, 350, 350, 350),
    "sandal-boot": (500, 500, 500, 350, 350, 250),
    "shirt-coat": (500, 500, 500, 500, 500, 500),
}
PUBLISHED_POINTS = {"mnist-1v7": 2163, "mnist-6v8": 1932, "sandal-boot": 2000, "shirt-coat": 2000}  # else 1,000


def kind(dataset: str) -> str:
    """Whether a data set is "images" or "synthetic"."""
    return "images" if dataset in IMAGES else "synthetic"


def hidden_widths(architecture: str, depth: int) -> list[int]:
    """Widths of the hidden layers: 25 (narrow), 50 (wide), or 50 with a middle layer of 25 (bottleneck).

    Raises:
        ValueError: for another architecture, or a bottleneck of even depth, which has no middle layer.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"expected an architecture of {list(ARCHITECTURES)}, got {architecture!r}")
    if depth < 1 or (architecture == "bottleneck" and depth % 2 == 0):
        raise ValueError(f"expected a depth of at least 1, odd for a bottleneck, got {depth}")
    widths = [25 if architecture == "narrow" else 50] * depth
    if architecture == "bottleneck":
        widths[depth // 2] = 25
    return widths
