"""One cell of a sweep: computed by a process that has proved what it computes with, and kept in a file of its own."""

import functools
import hashlib
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from repro.workflow import arithmetic, code
from repro.workflow.files import WRONG_SHAPE, write_text
from repro.workflow.process import end_with_parent
from repro.workflow.progress import tell
from repro.workflow.project import ReproError
from repro.workflow.provenance import cpu_model

Rows = list[dict[str, Any]]
Cell = Callable[..., Rows]
Config = dict[str, Any]


class Proof(NamedTuple):
    """What a process computes with. Processes of equal proofs compute equal rows of a cell."""

    code: dict[str, str]  # see `code.identity`
    arithmetic: dict[str, str]  # see `arithmetic.fingerprint`

    @classmethod
    def of(cls, cell: Cell, libraries: Sequence[str] | None = None) -> "Proof":
        """That of this process; ReproError where none can be given, see `code.identity`."""
        return cls(code.identity(cell), arithmetic.fingerprint(libraries))

    def difference(self, found: "Proof") -> str:
        """How another proof differs from this one, in words; nothing where they agree."""
        differences = [
            arithmetic.difference(self.code, found.code, what=""),
            arithmetic.difference(self.arithmetic, found.arithmetic),
        ]
        return "; ".join(filter(None, differences))


@dataclass(frozen=True)
class Done:
    """What became of one cell: its rows, or what it raised, or why this process may not compute it."""

    index: int
    rows: Rows = field(default_factory=list)
    seconds: float = 0.0  # that they took, on one thread
    machine: str = ""  # its processor
    error: str = ""
    refused: str = ""


def compute(cell: Cell, index: int, config: Config, expected: Proof, owner: int | None = None) -> Done:
    """One cell on one thread, if this process has the expected proof before and after.

    What the cell raises comes back as text, so that the others go on. A local worker process ends with the process
    `owner` that started it.
    """
    if owner:
        _end_once(owner)
    refused = _refused(cell, expected)
    if refused:
        return Done(index, refused=refused)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    started = time.perf_counter()
    try:
        with threadpool_limits(1):
            rows = plain_rows(cell(**config))
    except Exception as error:
        return Done(index, error="".join(traceback.format_exception(error)))
    seconds = round(time.perf_counter() - started, 3)
    return Done(index, rows, seconds, cpu_model(), refused=_refused(cell, expected))


def compute_by_name(name: str, index: int, config: Config, expected: Proof) -> Done:
    """`compute` of the cell called `name`, for a process that may not be able to import it and shall say so."""
    module, _, function = name.rpartition(".")
    try:
        cell = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        return Done(index, refused=f"it cannot import {name}: {error}")
    return compute(cell, index, config, expected)


def compute_batch(name: str, tasks: Sequence[tuple[int, Config]], expected: Proof, seconds: float) -> list[Done]:
    """`compute_by_name` of one task after the other: of the first, and of others until `seconds` have passed.

    A task for which this process is refused is the last. So what comes back may be shorter than what was asked for.
    """
    done: list[Done] = []
    end = time.perf_counter() + seconds
    for index, config in tasks:
        done.append(compute_by_name(name, index, config, expected))
        if done[-1].refused or time.perf_counter() >= end:
            break
    return done


def _refused(cell: Cell, expected: Proof) -> str:
    try:
        return expected.difference(Proof.of(cell, list(expected.arithmetic)))
    except (ReproError, ImportError) as error:
        return str(error)


@functools.cache
def _end_once(owner: int) -> None:
    end_with_parent(owner)


def plain_rows(rows: Any) -> Rows:
    """Rows as JSON reads them back; TypeError for anything but a list of dictionaries of numbers, words, None, lists.

    >>> plain_rows([{"size": np.int64(3), "error": np.float32(0.5)}])
    [{'size': 3, 'error': 0.5}]
    """
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"a cell returns a list of dictionaries, one for each row, not {_shown(rows)}")
    return [_plain_values(row) for row in rows]


def plain_config(config: Mapping[str, Any]) -> Config:
    """A configuration as JSON reads it back; ReproError names a value that JSON does not know."""
    try:
        return _plain_values(config)
    except TypeError as error:
        raise ReproError(f"a configuration of a sweep: {error}") from None


def _plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): _plain(value, name) for name, value in values.items()}


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, name) for item in value]
    raise TypeError(f"{name} is {_shown(value)}, expected a number, a word, None or a list of these")


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


class Finished(NamedTuple):
    """A cell that was computed at some time: its rows, the seconds that they took, and on what processor."""

    rows: Rows
    seconds: float
    machine: str


class Store:
    """Finished cells of one function, one file each; a damaged file is reported and counts as missing."""

    def __init__(self, cell: Cell, folder: Path, proof: Proof) -> None:
        self.folder = folder / cell.__name__
        self.name = code.name_of(cell)
        self.proof = proof

    def path(self, config: Config) -> Path:
        """Where the rows of a configuration lie: the name is the hash of all that can change them."""
        text = json.dumps([self.name, self.proof, config, _gpu(config)], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"

    def load(self, config: Config) -> Finished | None:
        """This very cell, None where it was not finished; ReproError where a folder is in its place."""
        path = self.path(config)
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            finished = Finished(*(stored[name] for name in Finished._fields))
            if stored == self._label(config, finished):
                return finished
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            raise ReproError(f"{path} is a folder where a finished cell belongs; remove it") from None
        except (OSError, *WRONG_SHAPE):
            pass
        tell(f"cache: {path.name} of {self.name} is damaged; this cell is computed again")
        return None

    def save(self, config: Config, finished: Finished) -> None:
        """Store a finished cell; ReproError where it cannot be written."""
        try:
            write_text(self.path(config), json.dumps(self._label(config, finished)))
        except OSError as error:
            raise ReproError(
                f"a finished cell cannot be kept in {self.folder} ({error.strerror}); the cells kept so far are: make "
                "room, or set REPRO_CACHE to a folder that has it, and run again"
            ) from None

    def _label(self, config: Config, finished: Finished) -> dict[str, Any]:
        """A finished cell and what it says of itself: a file copied from another, or edited, says otherwise."""
        said = {"cell": self.name, "config": config, **finished._asdict()}
        return {"sha256": hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(), **said}


def _gpu(config: Config) -> str:
    """Name of the graphics processor that a configuration asks for: another one computes other digits."""
    device = str(config.get("device", ""))
    return str(sys.modules["torch"].cuda.get_device_name(device)) if device.startswith("cuda") else ""
