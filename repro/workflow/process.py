"""Processes of a run: watched, measured and ended, with all that they started."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from repro.workflow.project import ReproError

LONGEST_FOLDER = 70  # characters of a folder for temporary files; the names of sockets add about 30


def _clears_up(process: psutil.Process) -> bool:
    """Whether it is a resource tracker of Python's or joblib's."""
    try:
        return any("resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False


def end_all(family: Sequence[psutil.Process], child: subprocess.Popen) -> None:
    """End a child and its family.

    Those that clear up after worker processes, such as their semaphores, end by themselves when these are gone.
    """
    clearing = [process for process in family if _clears_up(process)]
    for process in reversed([process for process in family if process not in clearing]):
        _end(process)
    child.wait()
    _, late = psutil.wait_procs(family, timeout=5)
    for process in late:
        _end(process)


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def temporary_folder() -> Path:
    """A folder for temporary files with a short path: that of a socket, by which kernels talk, has 107 characters."""
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if len(os.fsencode(folder)) <= LONGEST_FOLDER and os.access(folder, os.W_OK):
            return Path(folder)
    raise ReproError(
        f"a run needs a folder for temporary files whose path has at most {LONGEST_FOLDER} characters and that can be "
        f"written; {tempfile.gettempdir()} is none: set TMPDIR"
    )


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number that has not ended."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OverflowError):
        return False


class Meter:
    """CPU seconds and peak memory of a process and all below it, sampled while it runs."""

    def __init__(self) -> None:
        self.cpu: dict[int, float] = {}
        self.family: dict[psutil.Process, None] = {}  # every process seen, in order
        self.peak = 0
        self.last = 0.0

    def look(self, pid: int) -> list[psutil.Process]:
        """Every process that is or was seen below another, and that one."""
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(pid)
            self.family |= dict.fromkeys([top, *top.children(recursive=True)])
        return list(self.family)

    def sample(self, pid: int) -> bool:
        """Look once, at most twice a second; whether there are processes that were not there before."""
        if time.monotonic() - self.last < 0.5:
            return False
        self.last = time.monotonic()
        total, known = 0, len(self.family)
        for process in self.look(pid):
            try:
                times = process.cpu_times()
                self.cpu[process.pid] = times.user + times.system
                total += process.memory_info().rss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        self.peak = max(self.peak, total)
        return len(self.family) > known

    def cost(self) -> dict[str, float]:
        """For the record; the memory of all processes together, pages they share counted in each."""
        return {"cpu_seconds": round(sum(self.cpu.values()), 1), "peak_memory_bytes": self.peak}


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C, or the SIGTERM of a scheduler, has come.

    A flag instead of an exception: one raised inside a destructor would be printed and lost.
    """
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: came.append(got)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent(parent: int) -> None:
    """Make this process leave when its parent is gone, however it went; a killed run leaves nothing running."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name=f"ends with {parent}", daemon=True).start()
