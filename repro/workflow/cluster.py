"""Cells on the workers of a dask cluster: given to whoever is there, taken back from whoever goes.

Each worker gets as many cells as it has threads, so that one that joins late has work at once and one that is lost
costs only what it was computing. Cells that take no time go out several at once, for a while that is long beside a
message and short beside a reader's patience. A worker whose code, versions or arithmetic are others is told by name
and gets no more. Nothing here waits without a word.
"""

import asyncio
import atexit
import logging
import os
import queue
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from repro.workflow.cells import Cell, Config, Done, Proof, compute_batch
from repro.workflow.code import name_of
from repro.workflow.progress import tell
from repro.workflow.project import ReproError

ADDRESS_VARIABLE = "REPRO_CLUSTER"  # address of a dask scheduler; set by `repro run --cluster`
PATIENCE_VARIABLE = "REPRO_CLUSTER_WAIT"  # seconds without a worker after which to give up; without it, never

LOOK_SECONDS = 1.0  # between two looks at who is there
WORD_SECONDS = 20.0  # between two words while there is no worker
ANSWER_SECONDS = 20.0  # in which a scheduler answers
BATCH_SECONDS = 0.05  # for which a worker goes on with the cells that it was given at once
ATTEMPTS = 3  # workers that may be lost with a cell before it counts as what ended them

Task = tuple[int, Config]  # a cell by its index in the sweep, and its parameters

_clients: dict[tuple[int, str], Any] = {}  # by process, for a forked one cannot use its parent's, and address


def spread(address: str, cell: Cell, tasks: Sequence[Task], proof: Proof) -> Iterator[Done]:
    """Each task as it finishes, computed by the workers of the scheduler at `address`, whoever they are at the time.

    Raises ReproError when no scheduler answers or it is lost, when every worker there is refused, and after the time
    of `--cluster-wait` without a worker.
    """
    sweep = _Spread(address, connect(address), name_of(cell), deque(tasks), proof)
    try:
        yield from sweep.results()
    finally:
        for future in sweep.running:
            future.release()  # the client goes on, and would keep what nobody waits for


def connect(address: str, seconds: float = 10) -> Any:
    """The dask client of the scheduler at `address`: this process's, which its end closes, as a `with` block does.

    ReproError says what to install or to check.
    """
    known = os.getpid(), address
    client = _clients.get(known)
    if client is None or client.status != "running":
        if client is not None:
            _close(client, os.getpid())
        _clients[known] = client = _new_client(address, seconds)
        atexit.register(_close, client, os.getpid())
    return client


def _close(client: Any, owner: int) -> None:
    if os.getpid() == owner:
        with suppress(Exception):  # of many kinds where the scheduler is lost, and there is nobody to tell
            client.close(timeout=2)


def _new_client(address: str, seconds: float) -> Any:
    try:
        from distributed import Client, Security, comm
    except ImportError:
        raise ReproError(
            "--cluster needs dask: pip install --require-hashes --no-deps -r requirements/dev.lock"
        ) from None
    for part in ("client", "batched"):  # these tell of a closed connection by tracebacks, at any time; we by a sentence
        logging.getLogger(f"distributed.{part}").setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other versions: what matters to the numbers is proved

        async def greet() -> None:  # the client would wait for ever for one that accepts and says nothing
            certificates = Security().get_connection_args("client")
            greeted = comm.connect(address, timeout=seconds, **certificates)
            await (await asyncio.wait_for(greeted, seconds + 1)).close()

        try:
            with ThreadPoolExecutor(1) as pool:  # in a notebook this thread has an event loop already
                pool.submit(asyncio.run, greet()).result()
            return Client(address, timeout=seconds, set_as_default=False)
        except Exception as error:  # of whatever kind the transport has: each means that nobody can be talked to
            reason = " ".join(str(error).split()) or f"nothing that a scheduler would say within {seconds:g} s"
            if isinstance(error, MemoryError):  # the length of a message, read from something else
                reason = "what is there speaks another protocol"
            raise ReproError(
                f"no dask scheduler answers at {address!r} (for example tcp://head:8786): {reason}"
            ) from None


@dataclass
class _Spread:
    """The tasks of one sweep, those that wait and those that some worker computes."""

    address: str
    client: Any
    cell: str
    waiting: deque[Task]
    proof: Proof
    running: dict[Any, tuple[list[Task], str]] = field(default_factory=dict)  # what is computed, and by whom, by future
    sizes: dict[str, int] = field(default_factory=dict)  # how many tasks to give at once, by worker
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
            _close(self.client, os.getpid())
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
        gone = [future for future, (_, worker) in self.running.items() if worker not in self.present]
        for future in (future for future in gone if future.status != "finished"):
            batch, worker = self.running.pop(future)
            future.release()
            yield from self._lost(batch, worker)

    def _lost(self, batch: list[Task], worker: str) -> Iterator[Done]:
        """Tasks whose worker went with them wait again, unless too many did; which of them ended it, nobody knows."""
        self.lost.update(index for index, _ in batch)
        again = [(index, config) for index, config in batch if self.lost[index] < ATTEMPTS]
        for index in (index for index, _ in batch if self.lost[index] >= ATTEMPTS):
            why = "for want of memory or time, or of the package itself"
            yield Done(index, error=f"{ATTEMPTS} workers were lost with this cell: {why}")
        if again:
            what = "its cell goes to another" if len(again) == 1 else f"its {len(again)} cells go to others, one by one"
            tell(f"cluster: the worker {worker} is lost; {what}")
            self.waiting.extendleft(reversed(again))

    def _give_out(self) -> None:
        """As many batches to each worker as it has threads free."""
        busy = Counter(worker for _, worker in self.running.values())
        for worker, threads in self._able().items():
            while self.waiting and busy[worker] < threads:
                batch = self._batch(worker)
                future = self.client.submit(
                    compute_batch, self.cell, batch, self.proof, BATCH_SECONDS, workers=[worker], pure=False, retries=0
                )
                self.running[future] = (batch, worker)
                future.add_done_callback(self.finished.put)
                busy[worker] += 1

    def _batch(self, worker: str) -> list[Task]:
        """The next tasks for a worker: no more than its share of those left, and alone what was lost before."""
        size = min(self.sizes.get(worker, 1), len(self.waiting) // sum(self._able().values()))
        batch = [self.waiting.popleft()]
        while len(batch) < size and not (self.lost[batch[0][0]] or self.lost[self.waiting[0][0]]):
            batch.append(self.waiting.popleft())
        return batch

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
            batch, worker = self.running.pop(future)
            done = self._result(future, batch)
            yield from self._lost(batch, worker) if done is None else self._accept(batch, worker, done)

    def _result(self, future: Any, batch: list[Task]) -> list[Done] | None:
        """What a worker says, None where it went before it could; what it raises is that it cannot load the package."""
        from distributed import CancelledError, KilledWorker

        try:
            done: list[Done] = future.result(timeout=ANSWER_SECONDS)
        except (CancelledError, KilledWorker, TimeoutError):
            return None
        except Exception as error:
            return [Done(batch[0][0], refused=" ".join(str(error).split()) or type(error).__name__)]
        return done

    def _accept(self, batch: list[Task], worker: str, done: list[Done]) -> Iterator[Done]:
        """What a worker has finished of a batch; what it had no time for, or may not compute, waits again."""
        finished = [cell for cell in done if not cell.refused]
        quick = len(finished) == len(batch) and sum(cell.seconds for cell in finished) < BATCH_SECONDS
        self.sizes[worker] = len(finished) * (2 if quick else 1)
        self.waiting.extendleft(reversed(batch[len(finished) :]))
        if len(finished) == len(done):
            self._give_out()  # so that the worker need not wait until these are kept
        yield from finished
        for cell in done[len(finished) :]:
            self._refuse(worker, cell.refused)

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
