"""Cells on the workers of a dask cluster: given to whoever is there, taken back from whoever goes.

Each worker gets as many cells as it has threads, so that one that joins late has work at once and one that is lost
costs only what it was computing. A worker whose code, versions or arithmetic are others is told by name and gets no
more. Nothing here waits without a word.
"""

import asyncio
import logging
import os
import queue
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from repro.workflow.cells import Cell, Config, Done, Proof, compute_by_name
from repro.workflow.code import name_of
from repro.workflow.progress import tell
from repro.workflow.project import ReproError

ADDRESS_VARIABLE = "REPRO_CLUSTER"  # address of a dask scheduler; set by `repro run --cluster`
PATIENCE_VARIABLE = "REPRO_CLUSTER_WAIT"  # seconds without a worker after which to give up; without it, never

LOOK_SECONDS = 1.0  # between two looks at who is there
WORD_SECONDS = 20.0  # between two words while there is no worker
ANSWER_SECONDS = 20.0  # in which a scheduler answers
ATTEMPTS = 3  # workers that may be lost with a cell before it counts as what ended them


def spread(address: str, cell: Cell, tasks: Sequence[tuple[int, Config]], proof: Proof) -> Iterator[Done]:
    """Each task as it finishes, computed by the workers of the scheduler at `address`, whoever they are at the time.

    Raises ReproError when no scheduler answers or it is lost, when every worker there is refused, and after the time
    of `--cluster-wait` without a worker.
    """
    with connect(address) as client:
        yield from _Spread(address, client, name_of(cell), deque(tasks), proof).results()


@contextmanager
def connect(address: str, seconds: float = 10) -> Iterator[Any]:
    """A dask client of the scheduler at `address`; ReproError says what to install or to check."""
    try:
        from distributed import Client, Security, comm
    except ImportError:
        raise ReproError(
            "--cluster needs dask: pip install --require-hashes --no-deps -r requirements/dev.lock"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other versions: what matters to the numbers is proved

        async def greet() -> None:  # the client would wait for ever for one that accepts and says nothing
            certificates = Security().get_connection_args("client")
            greeted = comm.connect(address, timeout=seconds, **certificates)
            await (await asyncio.wait_for(greeted, seconds + 1)).close()

        try:
            with ThreadPoolExecutor(1) as pool:  # in a notebook this thread has an event loop already
                pool.submit(asyncio.run, greet()).result()
            client = Client(address, timeout=seconds, set_as_default=False)
        except Exception as error:  # of whatever kind the transport has: each means that nobody can be talked to
            reason = " ".join(str(error).split()) or f"nothing that a scheduler would say within {seconds:g} s"
            if isinstance(error, MemoryError):  # the length of a message, read from something else
                reason = "what is there speaks another protocol"
            raise ReproError(
                f"no dask scheduler answers at {address!r} (for example tcp://head:8786): {reason}"
            ) from None
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)  # it tells of a lost scheduler by tracebacks, we by a sentence
    try:
        yield client
    finally:
        client.close(timeout=2)
        log.setLevel(level)


@dataclass
class _Spread:
    """The tasks of one sweep, those that wait and those that some worker computes."""

    address: str
    client: Any
    cell: str
    waiting: deque[tuple[int, Config]]
    proof: Proof
    running: dict[Any, tuple[int, Config, str]] = field(default_factory=dict)  # by future
    finished: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)
    refused: dict[str, str] = field(default_factory=dict)  # why, by worker
    lost: Counter[int] = field(default_factory=Counter)  # workers that went with a task, by task
    present: Mapping[str, int] = field(default_factory=dict)  # threads, by worker
    alone_since: float = 0.0
    spoke: float = -WORD_SECONDS

    def results(self) -> Iterator[Done]:
        """See `spread`."""
        self.alone_since = time.monotonic()
        while self.waiting or self.running:
            self._look()
            yield from self._take_back()
            self._give_out()
            self._speak()
            yield from self._collect()

    def _look(self) -> None:
        """Who is there; ReproError when the scheduler is gone."""
        try:
            scheduler = self.client.scheduler
            present = self.client.sync(scheduler.ncores, callback_timeout=ANSWER_SECONDS)
        except Exception as error:  # of many kinds: closed, cancelled, timed out
            raise ReproError(
                f"the scheduler at {self.address} is lost ({type(error).__name__}): finished cells are kept; start it "
                "and its workers again, and the same command goes on from there"
            ) from None
        if set(present) != set(self.present):
            self.present = present
            if able := self._able():
                counts = ((len(able), "worker"), (sum(able.values()), "cell"))
                tell("cluster: " + ", ".join(f"{n} {what}{'s' * (n > 1)}" for n, what in counts) + " at a time")

    def _able(self) -> dict[str, int]:
        """Threads of the workers that may compute."""
        return {worker: threads for worker, threads in self.present.items() if worker not in self.refused}

    def _take_back(self) -> Iterator[Done]:
        """The tasks of workers that are gone, but for those whose rows had left in time."""
        gone = [future for future, (*_, worker) in self.running.items() if worker not in self.present]
        for future in (future for future in gone if future.status != "finished"):
            index, config, worker = self.running.pop(future)
            future.release()
            yield from self._lost(index, config, worker)

    def _lost(self, index: int, config: Config, worker: str) -> Iterator[Done]:
        """A task whose worker went with it waits again, unless too many did."""
        self.lost[index] += 1
        if self.lost[index] >= ATTEMPTS:
            why = "for want of memory or time, or of the package itself"
            yield Done(index, error=f"{ATTEMPTS} workers were lost with this cell: {why}")
        else:
            tell(f"cluster: the worker {worker} is lost; its cell goes to another")
            self.waiting.appendleft((index, config))

    def _give_out(self) -> None:
        """As many tasks to each worker as it has threads free."""
        busy = Counter(worker for *_, worker in self.running.values())
        for worker, threads in self._able().items():
            while self.waiting and busy[worker] < threads:
                index, config = self.waiting.popleft()
                future = self.client.submit(
                    compute_by_name, self.cell, index, config, self.proof, workers=[worker], pure=False, retries=0
                )
                self.running[future] = (index, config, worker)
                future.add_done_callback(self.finished.put)
                busy[worker] += 1

    def _collect(self) -> Iterator[Done]:
        """What has finished by the next look."""
        wait = LOOK_SECONDS
        while True:
            try:
                future = self.finished.get(timeout=wait)
            except queue.Empty:
                return
            wait = 0
            if future not in self.running:
                continue  # taken back meanwhile
            index, config, worker = self.running.pop(future)
            done = self._result(future, index)
            if done is None:
                yield from self._lost(index, config, worker)
            elif done.refused:
                self.waiting.appendleft((index, config))
                self._refuse(worker, done.refused)
            else:
                yield done

    def _result(self, future: Any, index: int) -> Done | None:
        """What a worker says, None where it went before it could; what it raises is that it cannot load the package."""
        from distributed import CancelledError, KilledWorker

        try:
            done: Done = future.result(timeout=ANSWER_SECONDS)
        except (CancelledError, KilledWorker, TimeoutError):
            return None
        except Exception as error:
            return Done(index, refused=" ".join(str(error).split()) or type(error).__name__)
        return done

    def _refuse(self, worker: str, reason: str) -> None:
        if worker in self.refused:
            return
        self.refused[worker] = reason
        tell(f"cluster: the worker {worker} gets no cells: {reason}")
        if not self._able():
            listed = "".join(f"\n  {name}: {why}" for name, why in self.refused.items() if name in self.present)
            raise ReproError(
                f"{len(self.present)} of {len(self.present)} workers compute other numbers than this machine, or "
                "cannot load the cell; start scheduler and workers from the same checkout and environment, with "
                "`repro exec dask worker ...`"
                f"{listed}"
            )

    def _speak(self) -> None:
        """While there is no worker, say so now and then, and give up after the time that was set."""
        now = time.monotonic()
        if self._able():
            self.alone_since, self.spoke = now, -WORD_SECONDS
            return
        alone, patience = now - self.alone_since, float(os.environ.get(PATIENCE_VARIABLE) or "inf")
        start = f"start one with `repro exec dask worker {self.address} --nthreads 1`"
        if alone >= patience:
            raise ReproError(
                f"no worker at {self.address} for {patience:g} s (--cluster-wait); finished cells are kept. To go on, "
                f"{start}"
            )
        if now - self.spoke >= WORD_SECONDS:
            self.spoke = now
            tell(f"cluster: no worker at {self.address} for {alone:.0f} s, waiting; {start}")
