"""Images: the packaged samples, the formats of the full sets (small files in their place), and what is made of them."""

import pickle

import numpy as np
import pytest
from small_sets import ARCHIVE, COUNTS, cifar, cifar_rows, idx, pin, pin_of, python2_batch, supply

from repro.data import images, sources
from repro.data.images import DataError, Images, class_pair, draw_balanced, load, parity, standardised, where


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    pin(monkeypatch, tmp_path)
    return tmp_path


def test_idx_files_become_images_with_classes(small):
    supply(small / "system", idx("fashion-mnist"), compressed=True)
    for split, count in COUNTS.items():
        found = load("fashion-mnist", split)
        pixels = np.random.default_rng([len("fashion-mnist"), count]).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        assert np.array_equal(found.images, pixels) and found.images.dtype == np.uint8
        assert found.classes.tolist() == [*range(10)] * (count // 10) and found.classes.dtype == np.uint8


def supply_cifar(folder, monkeypatch, archive):
    supply(folder / "cache" / "repro" / "cifar-10", {ARCHIVE: archive})
    monkeypatch.setitem(sources.PINS, "cifar-10", {ARCHIVE: pin_of(archive)})


def test_cifar_batches_become_colour_images(small, monkeypatch):
    supply_cifar(small, monkeypatch, cifar())
    for split, batches in (("train", range(5)), ("test", [5])):
        found = load("cifar-10", split)
        assert found.images.shape == (4 * len(batches), 32, 32, 3)
        assert found.images.dtype == found.classes.dtype == np.uint8
        assert found.classes.tolist() == [number for batch in batches for number in cifar_rows(batch)[1]]
        for batch, part in zip(batches, np.split(found.images, len(batches)), strict=True):
            rows, _ = cifar_rows(batch)
            # red, then green, then blue, each plane row by row: pixel (y, x) of colour c is byte 1024 c + 32 y + x
            assert part[3, 7, 30, 2] == rows[3, 2 * 1024 + 7 * 32 + 30]
            assert np.array_equal(part[:, 0, :, 0], rows[:, :32])


def test_the_stand_in_for_a_python_2_pickle_is_one():
    """The usual recipe for CIFAR-10, an unrestricted unpickler, reads it too."""
    pixels, labels = cifar_rows(0)
    read = pickle.loads(python2_batch(pixels, labels), encoding="bytes")
    assert np.array_equal(read[b"data"], pixels) and read[b"labels"] == labels


class Planted:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_malicious_batch_is_not_executed(small, monkeypatch):
    planted = pickle.dumps({"data": Planted(small / "executed")}, protocol=2)
    supply_cifar(small, monkeypatch, cifar(lambda batch: planted))
    with pytest.raises(DataError, match=r"archive of CIFAR-10 cannot be read: it asks for .*open"):
        load("cifar-10", "train")
    assert not (small / "executed").exists()
    pickle.loads(planted)  # it would have been
    assert (small / "executed").exists()


@pytest.mark.parametrize("batch", [b"", b"no pickle", pickle.dumps({}), pickle.dumps([])])
def test_a_damaged_batch_is_one_error(small, monkeypatch, batch):
    supply_cifar(small, monkeypatch, cifar(lambda _: batch))
    with pytest.raises(DataError, match=r"archive of CIFAR-10 cannot be read"):
        load("cifar-10", "test")


def test_where_a_set_is(small):
    assert where("fashion-mnist-footwear").name == "fashion_mnist_footwear.npz"
    assert where("mnist") is None
    supply(small / "system", idx("fashion-mnist"))
    assert where("fashion-mnist") == small / "system"
    (small / "system" / "t10k-labels-idx1-ubyte").write_bytes(b"wrong")
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte has SHA-256"):
        where("fashion-mnist")


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
    with pytest.raises(DataError, match=r"train_images is float64 \(3,\), expected uint8 \(4000, 28, 28\)"):
        load("fashion-mnist-sample", "train")


def test_a_pickle_in_a_sample_is_not_executed(own_sample, small):
    objects = np.array([Planted(small / "executed")], dtype=object)
    np.savez_compressed(own_sample, train_images=objects)
    with pytest.raises(DataError, match=r"sample.npz in the package is damaged"):
        load("fashion-mnist-sample", "train")
    assert not (small / "executed").exists()


def test_samples_are_made_from_the_full_set(small, monkeypatch):
    supply(small / "system", idx("fashion-mnist"))
    for name, classes in (("fashion-mnist-sample", tuple(range(10))), ("fashion-mnist-footwear", (5, 9))):
        sample = images.PackagedSample(small / f"{name}.npz", "", classes, {"train": 2, "test": 1})
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
