"""Map a pure function over a grid of plain dictionaries: cached cell by cell, resumable, local or on a cluster.

    nets = sweep.run(learning_curve_cell, grid, workers=2)
    nets.frame          # all rows, in the order of the grid
    nets.counts         # cells finished now and taken from the cache

Each finished cell is one file, named by the hash of the function, its parameters, and the code and arithmetic that can
change its result, written by rename: an interrupted sweep goes on where it stopped, and a change to a plot, a report or
a notebook's text recomputes nothing.
"""

import functools
import hashlib
import inspect
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from repro.workflow import arithmetic
from repro.workflow.project import PACKAGE, Project, ReproError, digest, end_with_parent, write_text

Rows = list[dict[str, Any]]
Cell = Callable[..., Rows]

# The folders whose code can change what a cell returns, and the libraries that do its arithmetic.
SCIENCE = ("data", "models", "geometry", "training", "experiments")
NUMERICS = ("numpy", "scipy", "scikit-learn", "torch", "numba", "pot")
CLUSTER_VARIABLE = "REPRO_CLUSTER"  # address of a dask scheduler; set by `repro run --cluster`
PROGRESS_VARIABLE = "REPRO_PROGRESS"  # file where the runner reads how far the sweep is


class Counts(NamedTuple):
    """Cells of a sweep: computed now and taken from the cache."""

    computed: int
    reused: int


class Sweep(NamedTuple):
    """All rows of a sweep in the order of its grid, and how they came about."""

    frame: pd.DataFrame
    counts: Counts


def grid(**axes: Any) -> list[dict[str, Any]]:
    """Every combination of the axes given as lists or ranges, other values held fixed; the last axis runs fastest.

    >>> grid(seed=range(2), width=300)
    [{'seed': 0, 'width': 300}, {'seed': 1, 'width': 300}]
    """
    cells: list[dict[str, Any]] = [{}]
    for name, values in axes.items():
        values = list(values) if isinstance(values, (list, tuple, range)) else [values]
        cells = [cell | {name: value} for cell in cells for value in values]
    return cells


def run(
    cell: Cell,
    configs: Sequence[Mapping[str, Any]],
    *,
    workers: int = 1,
    cost: Callable[[Mapping[str, Any]], float] = lambda config: 1.0,
    cache: Path | None = None,
) -> Sweep:
    """Call `cell(**config)` for every configuration and gather the rows.

    Arguments:
        cell: pure, importable function of plain keyword values, returning a list of flat dictionaries.
        configs: one dictionary of JSON values per cell.
        workers: local processes, one numerical thread each; results do not depend on their number.
        cost: relative cost of a configuration. The dearest start first, and the time left is told by it.
        cache: folder of finished cells (default: the checkout's `.repro/cells`).

    A cell that raises does not stop the others; at the end one ReproError names it, and a second run computes
    only what is missing.
    """
    if workers < 1:
        raise ReproError(f"workers: got {workers}, expected at least 1")
    store = _Store(cell, cache or Project.find().cache / "cells")
    found = {index: store.load(config) for index, config in enumerate(configs)}
    missing = sorted((i for i, rows in found.items() if rows is None), key=lambda i: -cost(configs[i]))
    progress = _Progress(cell.__name__, [cost(configs[i]) for i in missing], reused=len(configs) - len(missing))
    failures = []
    with progress:
        for index, rows, error in _compute(cell, [(i, dict(configs[i])) for i in missing], workers):
            if error:
                failures.append((configs[index], error))
            else:
                found[index] = store.save(configs[index], rows)
            progress.advance(cost(configs[index]))
    if failures:
        config, error = failures[0]
        raise ReproError(
            f"{len(failures)} of {len(configs)} cells of {cell.__name__} failed (the others are kept). "
            f"First: {config}\n{error}"
        )
    frame = pd.DataFrame([row for index in range(len(configs)) for row in found[index] or []])
    return Sweep(frame, Counts(computed=len(missing), reused=len(configs) - len(missing)))


def _compute(cell: Cell, tasks: Sequence[tuple[int, dict[str, Any]]], workers: int) -> Iterator[tuple[int, Rows, str]]:
    """(index, rows, error) of each task as it finishes."""
    address = os.environ.get(CLUSTER_VARIABLE, "")
    if not tasks:
        return
    if not address and (workers == 1 or len(tasks) == 1):
        yield from (_guarded(cell, index, config) for index, config in tasks)
        return
    owner = None if address else os.getpid()
    expected = arithmetic.fingerprint() if address else None  # a local worker inherits it
    with _backend(address, expected), warnings.catch_warnings():
        # joblib replaces a worker whose memory has grown: nothing is lost, and a notebook should not differ by it
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given to the executor")
        parallel = joblib.Parallel(n_jobs=-1 if address else workers, return_as="generator_unordered", batch_size=1)
        yield from parallel(joblib.delayed(_guarded)(cell, index, config, owner, expected) for index, config in tasks)


def _guarded(
    cell: Cell,
    index: int,
    config: dict[str, Any],
    owner: int | None = None,
    expected: Mapping[str, str] | None = None,
) -> tuple[int, Rows, str]:
    """One cell on one thread; what it raises comes back as text, so that the other cells go on.

    A local worker process ends with the process `owner` that started it; that of a cluster computes nothing unless
    its arithmetic is the `expected` one.
    """
    if owner:
        _end_once(owner)
    if expected and (differs := arithmetic.difference(expected, arithmetic.fingerprint(expected))):
        return index, [], f"a worker's {differs}"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with threadpool_limits(1):
        try:
            return index, cell(**config), ""
        except Exception as error:
            return index, [], "".join(traceback.format_exception(error))


@functools.cache
def _end_once(owner: int) -> None:
    end_with_parent(owner)


def _backend(address: str, expected: Mapping[str, str] | None) -> AbstractContextManager[Any]:
    if expected is None:
        return nullcontext()
    client = connect(address)
    try:
        refuse_other_arithmetic(client, expected)
    except ReproError:
        client.close()
        raise
    backend: AbstractContextManager[Any] = joblib.parallel_config(backend="dask", wait_for_workers_timeout=60)
    return backend


def connect(address: str, seconds: float = 10) -> Any:
    """A dask client of the scheduler at `address`; ReproError says what to install or to check."""
    try:
        from distributed import Client
    except ImportError:
        raise ReproError(
            "--cluster needs dask: pip install --require-hashes --no-deps -r requirements/dev.lock"
        ) from None
    try:
        return Client(address, timeout=seconds)
    except (OSError, TimeoutError, ValueError) as error:
        raise ReproError(f"no dask scheduler answers at {address!r}: {error}") from None


def refuse_other_arithmetic(client: Any, expected: Mapping[str, str]) -> None:
    """ReproError that names every worker of a dask cluster whose numbers would differ, and how to start it instead."""
    try:
        found = client.run(arithmetic.fingerprint, list(expected))
    except Exception as error:  # whatever a worker could not import, it says itself
        raise ReproError(f"a worker of the cluster cannot tell its arithmetic: {error}") from None
    differing = {worker: arithmetic.difference(expected, proof) for worker, proof in sorted(found.items())}
    refused = [f"{worker}: {differs}" for worker, differs in differing.items() if differs]
    if refused:
        raise ReproError(
            f"{len(refused)} of {len(found)} workers compute other numbers than this machine; start them with "
            "`repro exec dask worker ...`, from the same checkout and environment\n  " + "\n  ".join(refused)
        )


def tell(text: str) -> None:
    """Say something to whoever runs this: a line of the runner's, or of the console."""
    progress = os.environ.get(PROGRESS_VARIABLE)
    if not progress:
        print(text, file=sys.stderr, flush=True)
        return
    with Path(progress).with_suffix(".notes").open("a", encoding="utf-8") as notes:
        notes.write(text + "\n")


class _Store:
    """Finished cells of one function, one file each; a damaged file is reported and counts as missing."""

    def __init__(self, cell: Cell, folder: Path) -> None:
        self.folder = folder / cell.__name__
        self.identity = f"{cell.__module__}.{cell.__qualname__}"
        self.code = code_hash(cell)
        self.arithmetic = arithmetic.fingerprint()

    def path(self, config: Mapping[str, Any]) -> Path:
        text = json.dumps([self.identity, self.code, self.arithmetic, config], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"

    def load(self, config: Mapping[str, Any]) -> Rows | None:
        """The rows of this very cell, None where it was not finished; ReproError where a folder is in its place."""
        path = self.path(config)
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            rows: Rows = stored.pop("rows")
            if stored == self._label(config, rows):
                return rows
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            raise ReproError(f"{path} is a folder where a finished cell belongs; remove it") from None
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            pass
        tell(f"cache: {path.name} of {self.identity} is damaged; this cell is computed again")
        return None

    def save(self, config: Mapping[str, Any], rows: Rows) -> Rows:
        """Store the rows and return them as a later run would read them."""
        write_text(self.path(config), json.dumps(self._label(config, rows) | {"rows": rows}))
        plain: Rows = json.loads(json.dumps(rows))
        return plain

    def _label(self, config: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
        """What a finished cell says of itself: a file that was copied from another, or edited, says otherwise."""
        asked = json.loads(json.dumps(dict(config)))
        text = json.dumps([self.identity, asked, rows], sort_keys=True)
        return {"cell": self.identity, "config": asked, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def code_hash(cell: Cell) -> str:
    """SHA-256 of what can change a result: the science code, the cell's own module, the numerical libraries."""
    files = [path for folder in SCIENCE for path in sorted((PACKAGE / folder).rglob("*.py"))]
    own = Path(inspect.getsourcefile(cell) or "")
    if own.is_file() and own not in files:
        files.append(own)
    return digest(files, *(f"{name}=={version(name)}" for name in NUMERICS))


@dataclass
class _Progress(AbstractContextManager):
    """How far a sweep is: for the runner a small file, elsewhere a progress bar."""

    label: str
    costs: list[float]
    reused: int
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    paid: float = 0.0

    def __post_init__(self) -> None:
        self.file = os.environ.get(PROGRESS_VARIABLE)
        self.bar = None if self.file else tqdm(total=len(self.costs), desc=self.label, disable=not self.costs)
        self.tell()

    def advance(self, cost: float) -> None:
        self.done += 1
        self.paid += cost
        if self.bar is not None:
            self.bar.set_postfix_str(self.text(), refresh=False)
            self.bar.update()
        self.tell()

    def text(self) -> str:
        if not self.done:
            return f"{self.reused} cells from the cache" if self.reused else ""
        left = (time.monotonic() - self.started) * (sum(self.costs) / self.paid - 1)
        return f"about {left:.0f} s left"

    def tell(self) -> None:
        if self.file and self.costs:
            write_text(Path(self.file), f"{self.label} {self.done}/{len(self.costs)} {self.text()}".strip())

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()
