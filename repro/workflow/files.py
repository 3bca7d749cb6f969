"""Files read with clear errors and written as a whole or not at all."""

import hashlib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from repro.workflow.project import ReproError

if TYPE_CHECKING:
    from pydantic import ValidationError  # which would take longer to load than all of this

# What reading JSON of another shape than expected raises, of a file that may be damaged.
WRONG_SHAPE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


def digest(files: Iterable[Path], *texts: str) -> str:
    """SHA-256 over named files and further texts; a file counts with its name and bytes."""
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    for text in texts:
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its place only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", suffix=path.suffix, delete=False) as handle:
        temporary = Path(handle.name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # a temporary file is private, a result is not
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say of which file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def read_text(path: Path, shown: str) -> str:
    """Content of a text file, known to the user as `shown`; ReproError where it is none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ReproError(f"{shown}: not UTF-8 ({error}); save it as such") from None


def read_toml(path: Path, shown: str) -> dict[str, Any]:
    """Content of a TOML file, known to the user as `shown`; ReproError where it is none."""
    try:
        return tomllib.loads(read_text(path, shown))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ReproError(f"{shown}: {error}") from None


def first_fault(error: "ValidationError", words: Mapping[str, str] | None = None) -> str:
    """Where data has another shape than declared, and what is wrong there; `words` for kinds of faults."""
    fault = error.errors()[0]
    where = ".".join(map(str, fault["loc"]))
    what = (words or {}).get(fault["type"], fault["msg"].removeprefix("Value error, "))
    return f"{where}: {what}" if where else what


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as a whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
