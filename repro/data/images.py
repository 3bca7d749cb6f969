"""Images with their classes: two samples of Fashion-MNIST kept in this package, and full sets.

`load("fashion-mnist-sample")` and `load("fashion-mnist-footwear")` need nothing: 6 000 images of all classes, and every
sandal and ankle boot, are kept in this package (made by `make_sample`). The full sets `"mnist"`, `"fashion-mnist"` and
`"cifar-10"` are taken from a folder of yours, the cache, a system package or the network: see `repro.data.sources`.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from repro.data import sources
from repro.data.sources import DataError, fetch, reason, ways

__all__ = [
    "NAMES", "DataError", "Images", "Name", "Pair", "Split", "class_pair", "digits", "draw_balanced", "fetch", "load",
    "make_sample", "parity", "standardised", "ways", "where",
]  # fmt: skip

Name = Literal["fashion-mnist-sample", "fashion-mnist-footwear", "fashion-mnist", "mnist", "cifar-10"]
Split = Literal["train", "test"]
NAMES: tuple[Name, ...] = get_args(Name)
SPLITS: tuple[Split, ...] = get_args(Split)

IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
CIFAR_BATCHES = {
    "train": tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
    "test": ("cifar-10-batches-py/test_batch",),
}
BATCH_BYTES = 2**25  # each of them takes 31 MB
SIDE = 28
NPY_HEADER_BYTES = 128  # as NumPy pads it


class PackagedSample(NamedTuple):
    """A part of Fashion-MNIST kept in this package, in the order of the full set."""

    file: Path
    pinned: str  # SHA-256 of its four arrays, see `_array_hash`
    classes: tuple[int, ...]
    per_class: dict[str, int]  # the first so many of each class of a split

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each of its arrays, all uint8."""
        counts = {split: count * len(self.classes) for split, count in self.per_class.items()}
        images: dict[str, tuple[int, ...]] = {f"{split}_images": (n, SIDE, SIDE) for split, n in counts.items()}
        return images | {f"{split}_classes": (n,) for split, n in counts.items()}


SAMPLES = {
    "fashion-mnist-sample": PackagedSample(
        Path(__file__).with_name("fashion_mnist_sample.npz"),
        "932846eaab8a1bcdab8f0fc67dee4c4d04be6da0a2b1855cc30b7f57b0e50ea9",
        tuple(range(10)),
        {"train": 400, "test": 200},
    ),
    "fashion-mnist-footwear": PackagedSample(
        Path(__file__).with_name("fashion_mnist_footwear.npz"),
        "fababe011d1d309ee6a4580f633c91ec97dd6681570f7978fde0f575c177164b",
        (5, 9),  # sandals and ankle boots, all of them
        {"train": 6000, "test": 1000},
    ),
}


class Images(NamedTuple):
    """Images with the number of their class."""

    images: np.ndarray  # uint8: (points, 28, 28) grey, or (points, 32, 32, 3) red, green, blue for CIFAR-10
    classes: np.ndarray  # (points,) uint8, 0 to 9


def load(name: Name, split: Split) -> Images:
    """One split of a set of images, from the package or the first place of `repro.data.sources` that has it.

    Raises:
        ValueError: for an unknown set or split.
        DataError: if the data is nowhere to be found, truncated, or has another hash.
    """
    if name not in NAMES or split not in SPLITS:
        raise ValueError(f"expected one of {[*NAMES]}, train or test, got {name!r}, {split!r}")
    if name in SAMPLES:
        return _packaged(SAMPLES[name], split)
    if name == "cifar-10":
        [archive] = sources.read(name, sources.PINS[name])
        return _from_cifar(archive, CIFAR_BATCHES[split])
    return _from_idx(*sources.read(name, IDX_FILES[split]))


def where(name: Name) -> Path | None:
    """The file or folder that holds a whole set, every file of it checked; None if none does. Nothing is fetched.

    Raises:
        DataError: if files are damaged, missing beside others, or have another hash.
    """
    if name in SAMPLES:
        _packaged(SAMPLES[name], "train")
        return SAMPLES[name].file
    folder = sources.find(name, sources.PINS[name])
    if folder:
        sources.read(name, sources.PINS[name], folder)
    return folder


def digits() -> Images:
    """The 1 797 handwritten digits of 8 × 8 pixels, values 0 to 16, that scikit-learn brings; in its order."""
    from sklearn.datasets import load_digits  # which takes a second to import

    found = load_digits()
    return Images(found.images.astype(np.uint8), found.target.astype(np.uint8))


def draw_balanced(classes: np.ndarray, points: int, generator: np.random.Generator) -> np.ndarray:
    """Indices (points,) of a random draw in which the classes take turns: each appears equally often, give or take one.

    Raises:
        ValueError: if points < 1 or a class has too few members.
    """
    present = np.unique(classes)
    rounds = -(-points // len(present))
    fewest = int(np.bincount(classes)[present].min())
    if not 1 <= points <= fewest * len(present):
        raise ValueError(f"expected 1 to {fewest * len(present)} points ({fewest} in the smallest class), got {points}")
    shuffled = [generator.permutation(np.flatnonzero(classes == number))[:rounds] for number in present]
    turns: np.ndarray = np.stack([generator.permutation(column) for column in np.stack(shuffled, 1)]).ravel()[:points]
    return turns


def parity(classes: np.ndarray) -> np.ndarray:
    """Labels +1 for even and −1 for odd class numbers, float32."""
    labels: np.ndarray = 1 - 2 * (classes % 2).astype(np.float32)
    return labels


class Pair(NamedTuple):
    """Two classes of a set of images as a task with two labels."""

    inputs: np.ndarray  # (points, pixels) float32, pixel values 0 to 255 as they are
    labels: np.ndarray  # (points,) float32, +1 for the first class and −1 for the second


def class_pair(images: Images, first: int, second: int) -> Pair:
    """The images of two classes, flattened and not scaled, in the order of the set.

    Sandal against ankle boot of Fashion-MNIST is `class_pair(load("fashion-mnist", "train"), 5, 9)`.

    Raises:
        ValueError: if a class has no image, or both are the same.
    """
    present = np.unique(images.classes).tolist()
    if first == second or not {first, second} <= set(present):
        raise ValueError(f"expected two different classes out of {present}, got {first} and {second}")
    chosen = np.isin(images.classes, (first, second))
    labels = np.where(images.classes[chosen] == first, 1, -1).astype(np.float32)
    return Pair(images.images[chosen].reshape(len(labels), -1).astype(np.float32), labels)


def standardised(images: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Subtract the mean image (28, 28) and scale each image to norm 28 = √784: (points, 1, 28, 28) float32."""
    centred = images - mean
    norms = np.sqrt((centred**2).sum((1, 2), keepdims=True))
    scaled: np.ndarray = (SIDE * centred / norms)[:, None].astype(np.float32)
    return scaled


def make_sample(sample: PackagedSample) -> str:
    """Write the file of a packaged sample from full Fashion-MNIST, and return the hash to pin.

    `python -m repro.data.images` makes them all.
    """
    arrays: dict[str, np.ndarray] = {}
    for split, count in sample.per_class.items():
        full = load("fashion-mnist", split)  # type: ignore[arg-type]
        first = [np.flatnonzero(full.classes == number)[:count] for number in sample.classes]
        chosen = np.sort(np.concatenate(first))
        arrays |= {f"{split}_images": full.images[chosen], f"{split}_classes": full.classes[chosen]}
    np.savez_compressed(sample.file, **arrays)  # type: ignore[arg-type]
    return _array_hash(arrays)


def _packaged(sample: PackagedSample, split: str) -> Images:
    file = sample.file.name
    shapes = sample.shapes()
    try:
        raw = sources.file_content(sample.file, sum(map(math.prod, shapes.values())) + sources.OVERHEAD_BYTES)
        with zipfile.ZipFile(io.BytesIO(raw)) as stored:
            arrays = {key: _array(stored, key, shape) for key, shape in shapes.items()}
    except Exception as error:  # it is parsed before its hash is known: damage makes that fail in every way
        raise DataError(f"{file} in the package is damaged ({reason(error)}): check it out or install again") from None
    found = _array_hash(arrays)
    if found != sample.pinned:
        said = f"{file} in the package has SHA-256 {found}, expected {sample.pinned}"
        raise DataError(f"{said}: check it out or install again")
    return Images(arrays[f"{split}_images"], arrays[f"{split}_classes"])


def _array(stored: zipfile.ZipFile, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of an .npz file; its header is believed only if it says what is expected."""
    with stored.open(f"{key}.npy") as member:
        content = io.BytesIO(sources.at_most(member, math.prod(shape) + NPY_HEADER_BYTES))
    version = np.lib.format.read_magic(content)
    header = np.lib.format.read_array_header_1_0(content)
    if (version, header) != ((1, 0), (shape, False, np.dtype(np.uint8))):
        raise DataError(f"{key} is {header[2]} {header[0]}, expected uint8 {shape}")
    return np.frombuffer(content.getvalue(), np.uint8, offset=content.tell()).reshape(shape)


def _array_hash(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over the bytes of the arrays in the order of their names: zip archives differ by compressor."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[key]).tobytes())
    return digest.hexdigest()


def _from_idx(images: bytes, classes: bytes) -> Images:
    """Arrays out of two IDX files whose hash was checked: headers of 16 and 8 bytes, then one byte an entry."""
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, SIDE, SIDE)
    return Images(pixels, np.frombuffer(classes, np.uint8, offset=8))


ADMITTED = {  # what the pickle of an array needs
    # Python 2's name of what starts an array; its content follows, so that no size need be believed
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0, np.uint8),
    ("numpy", "ndarray"): None,  # the first of the arguments ignored above
    ("numpy", "dtype"): np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays, lists and dictionaries pickled by Python 2; whatever else a pickle asks for is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ADMITTED[module, name]


def _from_cifar(archive: bytes, batches: tuple[str, ...]) -> Images:
    """Batches of CIFAR-10's archive: rows of 3 072 bytes, the red plane first, each plane row by row.

    Its hash was checked, which keeps out what no reader of pickles is safe from: a few bytes that ask for much memory.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            files = [io.BytesIO(sources.tar_member(tar, batch, BATCH_BYTES)) for batch in batches]
        parts = [_ArraysOnly(file, encoding="bytes").load() for file in files]
        pixels = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
        classes = np.concatenate([np.array(part[b"labels"], dtype=np.uint8) for part in parts])
    except Exception as error:  # a pickle is a program, and may fail in every way
        raise DataError(f"the archive of CIFAR-10 cannot be read: {reason(error)}") from None
    return Images(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), classes)


if __name__ == "__main__":
    for name, sample in SAMPLES.items():
        print(f"{name}: {make_sample(sample)}")
