"""Map a pure function over a grid of plain dictionaries: cached cell by cell, resumable, local or on a cluster.

    nets = sweep.run(learning_curve_cell, grid, workers=2)
    nets.frame          # all rows, in the order of the grid
    nets.counts         # cells finished now and taken from the cache, and what they cost

Each row holds the scalars of its configuration too. Each finished cell is one file, named by the hash of the function,
its parameters, and the code and arithmetic that can change its result, written by rename: an interrupted sweep goes on
where it stopped, and a change to a plot, a report or a notebook's text recomputes nothing. Runs at the same time on the
same cache share the work: each takes cells that no other has taken.
"""

import inspect
import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from repro.workflow import cluster
from repro.workflow.cells import Cell, Config, Done, Finished, Proof, Store, compute, plain_config
from repro.workflow.progress import Progress
from repro.workflow.project import Project, ReproError

OTHERS_SECONDS = 0.2  # between two looks at cells that another run computes


class Counts(NamedTuple):
    """Cells of a sweep: computed now, taken from the cache, and the seconds that all of them took when they were."""

    computed: int
    reused: int
    seconds: float

    def __add__(self, other: "Counts") -> "Counts":  # type: ignore[override]
        return Counts(self.computed + other.computed, self.reused + other.reused, self.seconds + other.seconds)


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
        values = list(values) if isinstance(values, (list, tuple, range, np.ndarray)) else [values]
        cells = [cell | {name: value} for cell in cells for value in values]
    return cells


def run(
    cell: Cell,
    configs: Iterable[Mapping[str, Any]],
    *,
    workers: int = 1,
    cost: Callable[[Mapping[str, Any]], float] = lambda config: 1.0,
    cache: Path | None = None,
) -> Sweep:
    """Call `cell(**config)` for every configuration and gather the rows.

    Arguments:
        cell: pure function of a module, of plain keyword values, returning a list of flat dictionaries.
        configs: one dictionary of JSON values per cell.
        workers: local processes, one numerical thread each; results do not depend on their number.
        cost: relative cost of a configuration. The dearest start first, and the time left is told by it.
        cache: folder of finished cells (default: the checkout's `.repro/cells`).

    A cell that raises does not stop the others; at the end one ReproError names it, and a second run computes
    only what is missing. ReproError also for a cell that cannot be imported by name, and where its code has changed
    on the disk since it was imported: nothing is filed under a code that did not compute it.
    """
    if workers < 1:
        raise ReproError(f"workers: got {workers}, expected at least 1")
    plain = [_on_device(cell, plain_config(config)) for config in configs]
    proof = Proof.of(cell)
    store = Store(cell, cache or Project.find().cache / "cells", proof)
    found = {index: store.load(config) for index, config in enumerate(plain)}
    missing = sorted((i for i, finished in found.items() if finished is None), key=lambda i: -cost(plain[i]))
    progress = Progress(cell.__name__, [cost(plain[i]) for i in missing], reused=len(plain) - len(missing))
    failures, elsewhere = [], 0
    with progress, _Claims(store, [(i, plain[i]) for i in missing]) as claims:
        while claims.waiting:
            for done in _compute(cell, claims.taken(), proof, workers):
                if done.refused:
                    raise ReproError(done.refused)
                if done.error:
                    failures.append((plain[done.index], done.error))
                else:
                    found[done.index] = finished = Finished(done.rows, done.seconds, done.machine)
                    store.save(plain[done.index], finished)
                claims.release(done.index)
                progress.advance(cost(plain[done.index]))
            for index, finished in claims.finished_elsewhere():
                found[index], elsewhere = finished, elsewhere + 1
                progress.advance(cost(plain[index]))
    if failures:
        config, error = failures[0]
        raise ReproError(
            f"{len(failures)} of {len(plain)} cells of {cell.__name__} failed (the others are kept). "
            f"First: {config}\n{error}"
        )
    finished_cells = [(_scalars(cell, plain[index]), kept) for index, kept in sorted(found.items()) if kept]
    frame = pd.DataFrame([given | row for given, kept in finished_cells for row in kept.rows])
    seconds = sum(kept.seconds for _, kept in finished_cells)
    computed = len(missing) - elsewhere
    return Sweep(frame, Counts(computed, len(plain) - computed, seconds))


class _Claims:
    """The cells that are missing, of which a run computes those that no other run on the same cache is computing."""

    def __init__(self, store: Store, tasks: Sequence[tuple[int, Config]]) -> None:
        self.store = store
        self.waiting = list(tasks)
        self.damaged = {index for index, config in tasks if store.path(config).exists()}
        self.locks: dict[int, FileLock] = {}
        self.finished: list[tuple[int, Finished]] = []

    def __enter__(self) -> "_Claims":
        return self

    def __exit__(self, *error: object) -> None:
        for index in list(self.locks):
            self.release(index)

    def taken(self) -> Iterator[tuple[int, Config]]:
        """Those of the waiting cells that are free, each claimed as it is asked for; the others go on waiting."""
        passed = []
        for index, config in self.waiting:
            lock = FileLock(self.store.path(config).with_suffix(".lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                passed.append((index, config))
                continue
            except (OSError, NotImplementedError):  # no locks there; a wrong folder is told when a cell is kept
                yield index, config
                continue
            self.locks[index] = lock
            finished = None if index in self.damaged else self.store.load(config)
            if finished:
                self.finished.append((index, finished))
            else:
                yield index, config
        self.waiting = passed

    def finished_elsewhere(self) -> Iterator[tuple[int, Finished]]:
        """What other runs have finished meanwhile; where all that waits is theirs, a moment to let them go on."""
        for index, finished in self.finished:
            self.release(index)
            yield index, finished
        self.finished = []
        if self.waiting:
            time.sleep(OTHERS_SECONDS)

    def release(self, index: int) -> None:
        if lock := self.locks.pop(index, None):
            Path(lock.lock_file).unlink(missing_ok=True)  # whoever opened it before may compute the cell too, in vain
            lock.release()


def _on_device(cell: Cell, config: Config) -> Config:
    """A configuration that says where it is computed, for one device computes other digits than another."""
    parameter = inspect.signature(cell).parameters.get("device")
    if parameter is None or config.get("device", parameter.default) != "auto":
        return config
    from repro.device import resolve_device

    return config | {"device": str(resolve_device("auto"))}


def _scalars(cell: Cell, config: Config) -> Config:
    """What a cell was called with, its defaults included, but for lists: columns that its rows need not repeat."""
    declared = inspect.signature(cell).parameters
    given = {name: parameter.default for name, parameter in declared.items()} | config
    kinds = (bool, int, float, str, type(None))
    return {name: value for name, value in given.items() if isinstance(value, kinds)}


def _compute(cell: Cell, tasks: Iterator[tuple[int, Config]], proof: Proof, workers: int) -> Iterator[Done]:
    """Each task as it finishes: on the cluster where there is one, else in local processes."""
    address = os.environ.get(cluster.ADDRESS_VARIABLE, "")
    first = list(itertools.islice(tasks, workers))
    if not first:
        return
    tasks, workers = itertools.chain(first, tasks), len(first)
    if address:
        yield from cluster.spread(address, cell, list(tasks), proof)
    elif workers == 1:
        yield from (compute(cell, index, config, proof) for index, config in tasks)
    else:
        yield from _in_processes(cell, tasks, proof, workers)


def _in_processes(cell: Cell, tasks: Iterator[tuple[int, Config]], proof: Proof, workers: int) -> Iterator[Done]:
    with warnings.catch_warnings():
        # joblib replaces a worker whose memory has grown: nothing is lost, and a notebook should not differ by it
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given to the executor")
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        owner, local = os.getpid(), proof._replace(arithmetic={})  # which these processes inherit
        try:
            yield from parallel(joblib.delayed(compute)(cell, index, config, local, owner) for index, config in tasks)
        except BrokenProcessPool as error:
            reason = next(filter(None, str(error).splitlines()), "")
            raise ReproError(
                f"a worker process of {cell.__name__} ended: it was killed, as for want of memory (then take fewer "
                f"workers), or cannot load the cell. Finished cells are kept. {reason}"
            ) from None
