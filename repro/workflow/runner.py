"""Run notebooks headlessly: validated first, one process each, and published only when whole.

A run whose inputs are those of the last finished run in the local cache is skipped. Committed results never
cause a skip, so a fresh clone always runs.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from repro.workflow import arithmetic, claims, parameters, record
from repro.workflow.progress import PROGRESS_VARIABLE
from repro.workflow.project import (
    LONGEST_REASON,
    PACKAGE,
    RUN_VARIABLE,
    WRONG_SHAPE,
    Project,
    ReproError,
    digest,
    write_text,
)
from repro.workflow.results import intact, load_results

KERNEL_MODULE = "repro.workflow.execute"
LONGEST_FOLDER = 70  # characters of a folder for temporary files; the names of sockets add about 30
FAMILY = "family"  # the file of a run that names the processes seen below its runner
# Seconds that a cell and a whole notebook may take, by profile.
LIMITS = {"smoke": (180, 300), "laptop": (1800, 3600), "paper": (48 * 3600, 96 * 3600)}


clock = time.monotonic  # what limits are measured by; the tests have one of their own


@dataclass(frozen=True)
class Plan:
    """One checked notebook run."""

    notebook: str
    path: Path
    profile: str
    parameters: dict[str, Any]
    overrides: list[str]
    target: Path
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The content key: equal keys mean equal results."""
        return digest([], *self.inputs.values())


@dataclass(frozen=True)
class Limits:
    """Seconds that a cell and a whole notebook may take."""

    cell: float
    notebook: float


@dataclass
class Outcome:
    """How a run ended: ran, skipped or failed, and why."""

    plan: Plan
    state: str
    reason: str
    seconds: float = 0.0


def make_plans(
    project: Project, names: Sequence[str], profile: str, settings: Mapping[str, Any], out: Path | None
) -> list[Plan]:
    """The runs asked for, everything about them checked; ReproError before anything is started.

    Results go to figures/<profile>/<notebook>; with `settings` of the user's own to runs/, so that an experiment
    never replaces a declared result; with `out` to that folder.
    """
    claims.load(project)  # a broken registry is told now, not after the run
    if PACKAGE.parent != project.root and (project.root / "repro" / "__init__.py").is_file():
        raise ReproError(
            f"this command belongs to the checkout {PACKAGE.parent}, but {project.root} has a package of its own, "
            "which its notebooks would load: run `python -m repro.workflow.cli` there, or install that checkout"
        )
    by_notebook = parameters.profile_values(project, profile)
    paths = [project.notebook(name) for name in dict.fromkeys(names)] or project.all_notebooks()
    overrides = sorted(set(settings) - set(parameters.PLUMBING))
    if "output_dir" in settings:
        raise ReproError("output_dir is set by the runner; choose the folder with --out DIR")
    home = out.resolve() if out else project.own_runs if overrides else project.figures
    if overrides and home == project.figures:
        raise ReproError(
            "figures/ is for declared runs, which judge claims; give runs with --set another folder by --out"
        )
    plans = []
    for path in paths:
        name = path.stem
        target = home / profile / name
        layers = [
            (f"profile {profile}", by_notebook.get(name, {})),
            ("--set", settings),
            (
                "runner",
                {"output_dir": str(target.relative_to(project.root if target.is_relative_to(project.root) else home))},
            ),
        ]
        values = parameters.resolve(parameters.read(path), layers, name)
        plans.append(Plan(name, path, profile, values, overrides, target, inputs(project, path, values)))
    return plans


def inputs(project: Project, path: Path, values: Mapping[str, Any]) -> dict[str, str]:
    """Digest of everything a result depends on, by kind."""
    code = [cell.text for cell in parameters.read_cells(path) if cell.cell_type == "code"]
    scientific = {name: value for name, value in values.items() if name not in parameters.PLUMBING}
    return {
        "code cells": digest([], *code),
        "parameters": digest([], json.dumps(scientific, sort_keys=True)),
        "repro/": digest(sorted(PACKAGE.rglob("*.py"))),
        "claims": digest([project.claims]),
        "locks": digest(project.locks),
        "arithmetic": digest([], json.dumps([platform.machine(), arithmetic.settings()])),
    }


def run(
    project: Project,
    plans: Sequence[Plan],
    console: Console,
    *,
    jobs: int = 1,
    force: bool = False,
    limits: Limits | None = None,
    cluster: Mapping[str, str] | None = None,
) -> list[Outcome]:
    """Carry out the plans, `jobs` at a time; one outcome each, in order of the plans.

    `cluster` holds the variables of `repro.workflow.cluster` by which sweeps find their workers elsewhere.

    Ctrl-C or SIGTERM ends what runs, keeps what is finished, and raises KeyboardInterrupt.
    """
    clear_remains(project)
    waiting = list(plans)
    active: list[_Run] = []
    outcomes: dict[str, Outcome] = {}
    with _interruption() as interrupted, _Display(console) as display:
        if announcement := arithmetic.announcement(os.environ):
            display.say("all notebooks", announcement)
        try:
            while waiting or active:
                if interrupted():
                    raise KeyboardInterrupt
                while waiting and len(active) < jobs:
                    plan = waiting.pop(0)
                    started = _start(project, plan, force, limits or Limits(*LIMITS[plan.profile]), cluster or {})
                    if isinstance(started, Outcome):
                        outcomes[plan.notebook] = started
                        display.say(plan.notebook, f"{started.state}: {started.reason}")
                    else:
                        active.append(started)
                        display.say(plan.notebook, f"runs: {started.why}")
                for running in list(active):
                    for note in running.notes():
                        display.say(running.plan.notebook, note)
                    outcome = running.poll()
                    if outcome:
                        active.remove(running)
                        outcomes[running.plan.notebook] = outcome
                        display.say(
                            outcome.plan.notebook, f"{outcome.state} after {outcome.seconds:.0f} s: {outcome.reason}"
                        )
                display.show(active)
                time.sleep(0.1)
        finally:
            for running in active:
                running.stop()
    return [outcomes[plan.notebook] for plan in plans]


def _start(project: Project, plan: Plan, force: bool, limits: Limits, cluster: Mapping[str, str]) -> "_Run | Outcome":
    """Start a run, or say at once why not."""
    try:
        plan.target.parent.mkdir(parents=True, exist_ok=True)
        lock = record.lock_of(plan.target)
        lock.acquire(timeout=0)
    except Timeout:
        where = project.shown(plan.target)
        return Outcome(plan, "failed", f"another run is writing {where}; wait for it, or choose another --out")
    except OSError as error:
        return Outcome(plan, "failed", f"cannot write to {_place(project, error, plan.target)}: {error.strerror}")
    try:
        record.restore(plan.target)
        record.refuse_to_replace(plan.target)
        skip, why = _last_run(project, plan)
        if skip and not force:
            lock.release()
            return Outcome(plan, "skipped", why)
        return _Run(project, plan, lock, limits, cluster, "forced" if force else why)
    except ReproError as error:
        lock.release()
        return Outcome(plan, "failed", str(error))
    except OSError as error:
        lock.release()
        return Outcome(plan, "failed", f"cannot write to {_place(project, error, plan.target)}: {error.strerror}")


def _place(project: Project, error: OSError, target: Path) -> str:
    """The folder that could not be written."""
    return project.shown(Path(error.filename or target).parent)


def _finished_file(project: Project, plan: Plan) -> Path:
    return project.cache / "finished" / f"{digest([], str(plan.target))[:16]}.json"


def _last_run(project: Project, plan: Plan) -> tuple[bool, str]:
    """Whether the last finished run stands for this one, and the reason either way."""
    file = _finished_file(project, plan)
    try:
        last = json.loads(file.read_text(encoding="utf-8"))
        run_id, known, ended = last["run_id"], dict(last["inputs"]), last["ended"]
    except FileNotFoundError:
        return False, "no finished run in the local cache"
    except (OSError, *WRONG_SHAPE):
        return False, "the note of the last run is damaged"
    changed = [kind for kind, value in plan.inputs.items() if known.get(kind) != value]
    if changed:
        return False, f"changed since the last run: {', '.join(changed)}"
    try:
        results = load_results(plan.target)
    except ReproError:
        results = None
    if results is None or results["run_id"] != run_id or not intact(plan.target, results):
        return False, f"{project.shown(plan.target)} is not what the last run left there"
    return True, f"nothing changed since the run of {ended} (--force runs it all the same)"


class _Run:
    """A notebook being executed by a child process."""

    def __init__(
        self, project: Project, plan: Plan, lock: FileLock, limits: Limits, cluster: Mapping[str, str], why: str
    ) -> None:
        self.project, self.plan, self.lock, self.limits, self.why = project, plan, lock, limits, why
        self.started = clock()
        self.cell, self.cell_started = "", self.started
        record.remove_stale_staging(plan.target)
        self.staging = record.new_staging(plan.target)
        self.folder = project.cache / "active" / uuid.uuid4().hex
        self.temporary = _temporary_folder() / f"repro-{self.folder.name[:12]}"
        self.progress = self.folder / "stage"
        self.notes_read = 0
        self.meter = _Meter()
        self.context = record.Context(
            plan.notebook, plan.profile, self.folder.name, plan.key, str(self.staging),
            plan.overrides, record.git_state(project), record.now(),
        )  # fmt: skip
        try:
            self._launch(cluster)
        except OSError:
            self._remove_folders()
            raise

    def _launch(self, cluster: Mapping[str, str]) -> None:
        self.folder.mkdir(parents=True)
        description = {
            "notebook": str(self.plan.path),
            "shown": self.project.shown(self.plan.path),
            "root": str(self.project.root),
            "machine": platform.node(),
            "runner": os.getpid(),
            "since": psutil.Process().create_time(),
            "temporary": str(self.temporary),
            "parameters": self.plan.parameters,
            "context": asdict(self.context),
        }
        file = self.folder / "run.json"
        write_text(file, json.dumps(description))
        self.temporary.mkdir(mode=0o700)
        environment = arithmetic.environment(os.environ) | {
            "MPLBACKEND": "agg",
            "PYTHONHASHSEED": "0",
            "PYTHONUTF8": "1",
            RUN_VARIABLE: str(file),
            PROGRESS_VARIABLE: str(self.progress),
            "REPRO_CACHE": str(self.project.cache),
            "IPYTHONDIR": str(self.folder / "ipython"),  # a user's start-up files do not run in it
            "JUPYTER_RUNTIME_DIR": str(self.folder / "jupyter"),  # nor are keys of connections left in the home
            "TMPDIR": str(self.temporary),
            "JOBLIB_TEMP_FOLDER": str(self.temporary),  # not shared memory
            **cluster,
        }  # fmt: skip
        self.reason, report = os.pipe()
        with (self.folder / "log").open("wb") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", KERNEL_MODULE, str(file), str(report)],
                cwd=self.project.root, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(report,),
            )  # fmt: skip
        os.close(report)

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return clock() - self.started

    @property
    def stage(self) -> str:
        """What the notebook is at, as it says itself."""
        try:
            return self.progress.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "starting the kernel"

    def notes(self) -> list[str]:
        """Lines that the notebook wanted said since the last call."""
        try:
            lines = self.progress.with_suffix(".notes").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        new, self.notes_read = lines[self.notes_read :], len(lines)
        return new

    def poll(self) -> Outcome | None:
        """The outcome once the run has ended, None while it goes on."""
        if self.meter.sample(self.child.pid):
            with suppress(OSError):  # for who clears up after us
                write_text(self.folder / FAMILY, " ".join(str(process.pid) for process in self.meter.family))
        over = self._over_limit() if self.child.poll() is None else ""
        if self.child.poll() is None and not over:
            return None
        self._kill()
        try:
            if over:
                return Outcome(self.plan, "failed", over + self._keep_failed(), self.seconds)
            if self.child.returncode != 0:
                return Outcome(self.plan, "failed", self._failure() + self._keep_failed(), self.seconds)
            return self._publish()
        finally:
            self._clean()

    def _over_limit(self) -> str:
        """Which limit the run has passed, nothing before; a cell's time starts when it is seen to run."""
        try:
            cell = self.folder.joinpath("cell").read_text(encoding="utf-8", errors="replace")
        except OSError:
            cell = ""
        now = clock()
        if cell != self.cell:
            self.cell, self.cell_started = cell, now
        if cell and now - self.cell_started >= self.limits.cell:
            return f"cell {cell} ran over its limit of {self.limits.cell:g} s (--cell-timeout)"
        if now - self.started >= self.limits.notebook:
            return f"ran over its limit of {self.limits.notebook:g} s (--timeout) in {self.stage}"
        return ""

    def stop(self) -> None:
        """End the run; what was there before stays, and its finished sweep cells are kept."""
        self._kill()
        self._clean()

    def _publish(self) -> Outcome:
        try:
            if inputs(self.project, self.plan.path, self.plan.parameters) != self.plan.inputs:
                changed = "code, claims or locks changed while it ran, so its results belong to neither version"
                raise ReproError(f"{changed}; run it again")
            results = load_results(self.staging) or {}
            results["cost"] = {"wall_seconds": round(self.seconds, 1), **self.meter.cost()}
            record.save_results(self.staging, results)
            record.publish(self.staging, self.plan.target)
            note = {"run_id": self.context.run_id, "inputs": self.plan.inputs, "ended": record.now()}
            write_text(_finished_file(self.project, self.plan), json.dumps(note))
        except ReproError as error:
            return Outcome(self.plan, "failed", str(error), self.seconds)
        except OSError as error:
            where = _place(self.project, error, self.plan.target)
            return Outcome(self.plan, "failed", f"cannot write to {where}: {error.strerror}", self.seconds)
        return Outcome(self.plan, "ran", f"results in {self.project.shown(self.plan.target)}", self.seconds)

    def _failure(self) -> str:
        """What the child said of its end, else how it ended."""
        reason = os.read(self.reason, LONGEST_REASON).decode(errors="replace")
        if reason:
            return reason
        tail = (self.folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
        return f"its process ended with status {self.child.returncode}: {' '.join(tail) or 'it said nothing'}"

    def _keep_failed(self) -> str:
        """Keep the notebook as far as it came, and say where."""
        kept = self.project.cache / "failed" / f"{self.plan.profile}-{self.plan.notebook}.ipynb"
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.staging / "notebook.ipynb", kept)
        except OSError:
            return ""
        return f"\n  the notebook as far as it came: {self.project.shown(kept)}"

    def _kill(self) -> None:
        """End the child and everything that was ever seen below it; a kernel outlives a child that is killed.

        Those that clear up after worker processes, such as their semaphores, end by themselves when these are gone.
        """
        family = self.meter.look(self.child.pid)
        clearing = [process for process in family if _clears_up(process)]
        for process in reversed([process for process in family if process not in clearing]):
            _end(process)
        self.child.wait()
        _, late = psutil.wait_procs(family, timeout=5)
        for process in late:
            _end(process)

    def _clean(self) -> None:
        os.close(self.reason)
        self._remove_folders()
        self.lock.release()

    def _remove_folders(self) -> None:
        shutil.rmtree(self.staging, ignore_errors=True)
        _remove(self.folder)


def _clears_up(process: psutil.Process) -> bool:
    """Whether it is a resource tracker of Python's or joblib's."""
    try:
        return any("resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _temporary_folder() -> Path:
    """A folder for temporary files with a short path: that of a socket, by which kernels talk, has 107 characters."""
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if len(os.fsencode(folder)) <= LONGEST_FOLDER and os.access(folder, os.W_OK):
            return Path(folder)
    raise ReproError(
        f"a run needs a folder for temporary files whose path has at most {LONGEST_FOLDER} characters and that can be "
        f"written; {tempfile.gettempdir()} is none: set TMPDIR"
    )


def _remove(active: Path) -> None:
    """Remove the folder of a run that has ended, its temporary files, and semaphores that its workers have left."""
    with suppress(OSError, *WRONG_SHAPE):
        temporary = Path(json.loads((active / "run.json").read_bytes())["temporary"])
        if temporary.name == f"repro-{active.name[:12]}":
            shutil.rmtree(temporary, ignore_errors=True)
    with suppress(OSError, ValueError):
        for pid in (active / FAMILY).read_text(encoding="utf-8").split():
            if pid.isdecimal() and not _is_alive(int(pid)):
                for left in Path("/dev/shm").glob(f"sem.loky-{pid}-*"):  # named by the process that made them
                    left.unlink(missing_ok=True)
    shutil.rmtree(active, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OverflowError):
        return False


def clear_remains(project: Project) -> None:
    """Remove what runs of this machine left behind whose runner was killed; those that still run are left alone."""
    for file in (project.cache / "active").glob("*/run.json"):
        try:
            run = json.loads(file.read_text(encoding="utf-8"))
            if run["machine"] != platform.node() or psutil.Process(run["runner"]).create_time() == run["since"]:
                continue
        except psutil.AccessDenied:
            continue  # another user's, and alive
        except (OSError, psutil.NoSuchProcess, *WRONG_SHAPE):
            pass
        _remove(file.parent)


class _Meter:
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


class _Display:
    """A live line per running notebook on a terminal; elsewhere a plain line when the stage changes."""

    QUIET_SECONDS = 15.0  # between plain lines of one stage

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self.said: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> "_Display":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, notebook: str, text: str) -> None:
        """One lasting line."""
        self.console.print(f"{notebook}: {text}", markup=False, highlight=False, soft_wrap=True)

    def show(self, active: Sequence[_Run]) -> None:
        """Where every running notebook is."""
        if self.live:
            table = Table.grid(padding=(0, 2))
            for running in active:
                add_row(table, running.plan.notebook, f"{running.seconds:.0f} s", running.stage)
            self.live.update(table)
            return
        for running in active:
            stage, (last, when) = running.stage, self.said.get(running.plan.notebook, ("", -self.QUIET_SECONDS))
            if stage != last and (
                stage.split(" ")[0] != last.split(" ")[0] or time.monotonic() - when > self.QUIET_SECONDS
            ):
                self.said[running.plan.notebook] = (stage, time.monotonic())
                self.say(running.plan.notebook, f"{running.seconds:.0f} s, {stage}")


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
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


def summary(outcomes: Sequence[Outcome]) -> Iterator[Table | Text]:
    """Tables of what was run and of what it says of each claim, and the numbers that left their bands."""
    misses: list[str] = []
    runs = Table("notebook", "profile", "state", "seconds", box=None, pad_edge=False)
    judged = Table("claim", "part", "estimate", "95 % interval", "criterion", "verdict", box=None, pad_edge=False)
    for outcome in outcomes:
        plan = outcome.plan
        seconds = f"{outcome.seconds:.1f}" if outcome.seconds else "-"
        add_row(runs, plan.notebook, plan.profile, outcome.state, seconds)
        results = load_results(plan.target) if outcome.state != "failed" else None
        measured = results["measurements"] if results else []
        for m in measured:
            interval = "[{:.3g}, {:.3g}]".format(*(float("nan") if end is None else end for end in m["interval"]))
            estimate = "undefined" if m["estimate"] is None else f"{m['estimate']:.3g}"
            add_row(judged, m["claim"], m["part"], estimate, interval, m["criterion"], m["verdict"])
        misses += [f"{m['claim']} {m['part']}: {miss}" for m in measured for miss in m["band_misses"]]
    yield runs
    if judged.row_count:
        yield judged
    yield from map(Text, misses)


def add_row(table: Table, *cells: str) -> None:
    """A row of words as they are: in a plain string, rich takes what stands in square brackets for a style."""
    table.add_row(*map(Text, cells))
