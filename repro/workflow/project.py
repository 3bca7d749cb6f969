"""Where things are: the checkout, its notebooks, results and caches."""

import hashlib
import os
import re
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError  # which would take longer to load than all of this

PACKAGE = Path(__file__).resolve().parents[1]
RUN_VARIABLE = "REPRO_RUN"  # set by the runner for the notebook it starts: the JSON file that describes the run
LONGEST_REASON = 2**15  # bytes of what a child says of its failure; a pipe takes them without a reader

# Variables by which git takes another repository than that of the folder.
OTHER_REPOSITORY = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
)


# What reading JSON of another shape than expected raises, of a file that may be damaged.
WRONG_SHAPE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


class ReproError(Exception):
    """An error to be shown to the user as one message, without a traceback."""


@dataclass(frozen=True)
class Project:
    """A checkout: the folder that holds `notebooks/` and `repro/claims.toml`."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """The checkout around `start` (default: the working folder), else the one the package was installed from."""
        start = (start or Path.cwd()).resolve()
        for folder in [start, *start.parents, PACKAGE.parent]:
            if (folder / "notebooks").is_dir() and (folder / "repro" / "claims.toml").is_file():
                return cls(folder)
        raise ReproError(
            f"no checkout of the project around {start}: no folder there holds notebooks/ and repro/claims.toml. "
            "Clone the repository and run the command inside it."
        )

    @property
    def notebooks(self) -> Path:
        """The notebooks, without outputs."""
        return self.root / "notebooks"

    @property
    def figures(self) -> Path:
        """Results of declared profiles, <profile>/<notebook>/."""
        return self.root / "figures"

    @property
    def own_runs(self) -> Path:
        """Results of runs with parameters of the user's own (untracked)."""
        return self.root / "runs"

    @property
    def claims(self) -> Path:
        """The claims registry."""
        return self.root / "repro" / "claims.toml"

    @property
    def cache(self) -> Path:
        """The local, untracked cache: finished sweep cells, keys of finished runs, failed notebooks."""
        return Path(os.environ.get("REPRO_CACHE") or self.root / ".repro").resolve()

    @property
    def locks(self) -> list[Path]:
        """The lock files that fix every version."""
        return sorted((self.root / "requirements").glob("*.lock"))

    def notebook(self, name: str) -> Path:
        """Path of the notebook called `name` (with or without folder and suffix); ReproError names the known ones."""
        asked = Path(name)
        path = self.notebooks / f"{asked.name.removesuffix('.ipynb')}.ipynb"
        elsewhere = asked.name != name and asked.with_suffix(".ipynb").resolve() != path.resolve()
        if elsewhere or not path.is_file():
            known = ", ".join(p.stem for p in self.all_notebooks()) or "none"
            raise ReproError(f"unknown notebook {name!r}; notebooks/ holds: {known}")
        return path

    def all_notebooks(self) -> list[Path]:
        """Every notebook, by name; an editor's lock file is none."""
        return sorted(path for path in self.notebooks.glob("[!.]*.ipynb") if path.is_file())

    def git(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """A git command in this checkout, in no other repository that the environment may name."""
        environment = {name: value for name, value in os.environ.items() if name not in OTHER_REPOSITORY}
        return subprocess.run(["git", "-C", str(self.root), *words], env=environment, capture_output=True, check=False)

    def shown(self, path: Path) -> str:
        """`path` as records and messages show it: relative to the checkout where it lies inside."""
        path = path.resolve()
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


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


def between_markers(text: str, name: str, content: str) -> str:
    """`text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced by `content`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ReproError(f"no markers <!-- {name} --> ... <!-- /{name} --> to write between")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def end_with_parent(parent: int) -> None:
    """Make this process leave when its parent is gone, however it went; a killed run leaves nothing running."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name=f"ends with {parent}", daemon=True).start()


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
