"""Run notebooks headlessly: validated first, one process each, and published only when whole.

A run whose inputs are those of the last finished run in the local cache is skipped. Committed results never
cause a skip, so a fresh clone always runs.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout
from rich.console import Console

from repro.workflow import arithmetic, process, progress, publish
from repro.workflow.context import Context
from repro.workflow.display import Display, Outcome
from repro.workflow.files import WRONG_SHAPE, digest, write_text
from repro.workflow.plans import Plan, inputs
from repro.workflow.project import LONGEST_REASON, RUN_VARIABLE, Project, ReproError
from repro.workflow.provenance import git_state, now
from repro.workflow.results import intact, load_results, save_results

CHILD = "repro.workflow.execute"
DESCRIPTION = "run.json"  # the file of a run that describes it
FAMILY = "family"  # the file of a run that names the processes seen below its runner
# Seconds that a cell and a whole notebook may take, by profile.
LIMITS = {"smoke": (180, 300), "laptop": (1800, 3600), "paper": (48 * 3600, 96 * 3600)}
clock = time.monotonic  # what limits are measured by; the tests have one of their own


@dataclass(frozen=True)
class Limits:
    """Seconds that a cell and a whole notebook may take."""

    cell: float
    notebook: float


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
    waiting, active = list(plans), list["Running"]()
    outcomes: dict[str, Outcome] = {}

    def ended(outcome: Outcome) -> None:
        outcomes[outcome.plan.notebook] = outcome
        after = f" after {outcome.seconds:.0f} s" if outcome.seconds else ""
        display.say(outcome.plan.notebook, f"{outcome.state}{after}: {outcome.reason}")

    with process.interruption() as interrupted, Display(console) as display:
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
                        ended(started)
                    else:
                        active.append(started)
                        display.say(plan.notebook, f"runs: {started.why}")
                for running in list(active):
                    for note in running.listener.notes():
                        display.say(running.plan.notebook, note)
                    if outcome := running.poll():
                        active.remove(running)
                        ended(outcome)
                display.show([(r.plan.notebook, r.seconds, r.listener.stage) for r in active])
                time.sleep(0.1)
        finally:
            for running in active:
                running.stop()
    return [outcomes[plan.notebook] for plan in plans]


def _start(
    project: Project, plan: Plan, force: bool, limits: Limits, cluster: Mapping[str, str]
) -> "Running | Outcome":
    """Start a run, or say at once why not."""
    try:
        plan.target.parent.mkdir(parents=True, exist_ok=True)
        lock = publish.lock_of(plan.target)
        lock.acquire(timeout=0)
    except Timeout:
        where = project.shown(plan.target)
        return Outcome(plan, "failed", f"another run is writing {where}; wait for it, or choose another --out")
    except OSError as error:
        return Outcome(plan, "failed", _unwritable(project, error, plan))
    try:
        publish.restore(plan.target)
        publish.refuse_to_replace(plan.target)
        skip, why = _last_run(project, plan)
        if skip and not force:
            lock.release()
            return Outcome(plan, "skipped", why)
        running = Running(project, plan, lock, limits, "forced" if force else why)
        running.start(cluster)
        return running
    except ReproError as error:
        lock.release()
        return Outcome(plan, "failed", str(error))
    except OSError as error:
        lock.release()
        return Outcome(plan, "failed", _unwritable(project, error, plan))


def _unwritable(project: Project, error: OSError, plan: Plan) -> str:
    """The folder that could not be written, and why."""
    return f"cannot write to {project.shown(Path(error.filename or plan.target).parent)}: {error.strerror}"


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


class Running:
    """A notebook that a child process executes, from its start to its outcome."""

    def __init__(self, project: Project, plan: Plan, lock: FileLock, limits: Limits, why: str) -> None:
        self.project, self.plan, self.lock, self.limits, self.why = project, plan, lock, limits, why
        self.folder = project.cache / "active" / uuid.uuid4().hex
        self.temporary = process.temporary_folder() / f"repro-{self.folder.name[:12]}"
        self.listener, self.meter = progress.Listener(self.folder), process.Meter()
        self.started = clock()
        self.cell, self.cell_started = "", self.started

    def start(self, cluster: Mapping[str, str]) -> None:
        """Make the folders of the run and start the child; an OSError leaves nothing behind."""
        publish.remove_stale_staging(self.plan.target)
        self.staging = publish.new_staging(self.plan.target)
        try:
            self.folder.mkdir(parents=True)
            self.temporary.mkdir(mode=0o700)
            write_text(self.folder / DESCRIPTION, json.dumps(self._description()))
            self._launch(self._environment(cluster))
        except OSError:
            self._remove_folders()
            raise

    def _description(self) -> dict[str, Any]:
        self.context = Context(
            self.plan.notebook, self.plan.profile, self.folder.name, self.plan.key, str(self.staging),
            self.plan.overrides, git_state(self.project), now(),
        )  # fmt: skip
        return {
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

    def _environment(self, cluster: Mapping[str, str]) -> dict[str, str]:
        return arithmetic.environment(os.environ) | {
            "MPLBACKEND": "agg",
            "PYTHONHASHSEED": "0",
            "PYTHONUTF8": "1",
            RUN_VARIABLE: str(self.folder / DESCRIPTION),
            progress.PROGRESS_VARIABLE: str(self.folder),
            "REPRO_CACHE": str(self.project.cache),
            "IPYTHONDIR": str(self.folder / "ipython"),  # a user's start-up files do not run in it
            "JUPYTER_RUNTIME_DIR": str(self.folder / "jupyter"),  # nor are keys of connections left in the home
            "TMPDIR": str(self.temporary),
            "JOBLIB_TEMP_FOLDER": str(self.temporary),  # not shared memory
            **cluster,
        }

    def _launch(self, environment: Mapping[str, str]) -> None:
        self.reason, report = os.pipe()
        with (self.folder / "log").open("wb") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", CHILD, str(self.folder / DESCRIPTION), str(report)],
                cwd=self.project.root, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(report,),
            )  # fmt: skip
        os.close(report)

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return clock() - self.started

    def poll(self) -> Outcome | None:
        """The outcome once the run has ended, None while it goes on."""
        if self.meter.sample(self.child.pid):
            with suppress(OSError):  # for who clears up after us
                write_text(self.folder / FAMILY, " ".join(str(process.pid) for process in self.meter.family))
        over = self._over_limit() if self.child.poll() is None else ""
        if self.child.poll() is None and not over:
            return None
        self._end()
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
        cell, moment = self.listener.cell, clock()
        if cell != self.cell:
            self.cell, self.cell_started = cell, moment
        if cell and moment - self.cell_started >= self.limits.cell:
            return f"cell {cell} ran over its limit of {self.limits.cell:g} s (--cell-timeout)"
        if moment - self.started >= self.limits.notebook:
            return f"ran over its limit of {self.limits.notebook:g} s (--timeout) in {self.listener.stage}"
        return ""

    def stop(self) -> None:
        """End the run; what was there before stays, and its finished sweep cells are kept."""
        self._end()
        self._clean()

    def _publish(self) -> Outcome:
        try:
            if inputs(self.project, self.plan.path, self.plan.parameters) != self.plan.inputs:
                changed = "code, claims or locks changed while it ran, so its results belong to neither version"
                raise ReproError(f"{changed}; run it again")
            results = load_results(self.staging) or {}
            results["cost"] |= {"wall_seconds": round(self.seconds, 1), **self.meter.cost()}
            save_results(self.staging, results)
            publish.publish(self.staging, self.plan.target)
            note = {"run_id": self.context.run_id, "inputs": self.plan.inputs, "ended": now()}
            write_text(_finished_file(self.project, self.plan), json.dumps(note))
        except ReproError as error:
            return Outcome(self.plan, "failed", str(error), self.seconds)
        except OSError as error:
            return Outcome(self.plan, "failed", _unwritable(self.project, error, self.plan), self.seconds)
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

    def _end(self) -> None:
        """End the child and everything that was ever seen below it; a kernel outlives a child that is killed."""
        process.end_all(self.meter.look(self.child.pid), self.child)

    def _clean(self) -> None:
        os.close(self.reason)
        self._remove_folders()
        self.lock.release()

    def _remove_folders(self) -> None:
        shutil.rmtree(self.staging, ignore_errors=True)
        _remove(self.folder)


def _remove(active: Path) -> None:
    """Remove the folder of a run that has ended, its temporary files, and semaphores that its workers have left."""
    with suppress(OSError, *WRONG_SHAPE):
        temporary = Path(json.loads((active / DESCRIPTION).read_bytes())["temporary"])
        if temporary.name == f"repro-{active.name[:12]}":
            shutil.rmtree(temporary, ignore_errors=True)
    with suppress(OSError, ValueError):
        for pid in (active / FAMILY).read_text(encoding="utf-8").split():
            if pid.isdecimal() and not process.is_alive(int(pid)):
                for left in Path("/dev/shm").glob(f"sem.loky-{pid}-*"):  # named by the process that made them
                    left.unlink(missing_ok=True)
    shutil.rmtree(active, ignore_errors=True)


def clear_remains(project: Project) -> None:
    """Remove what runs of this machine left behind whose runner was killed; those that still run are left alone."""
    for file in (project.cache / "active").glob(f"*/{DESCRIPTION}"):
        try:
            run = json.loads(file.read_text(encoding="utf-8"))
            if run["machine"] != platform.node() or psutil.Process(run["runner"]).create_time() == run["since"]:
                continue
        except psutil.AccessDenied:
            continue  # another user's, and alive
        except (OSError, psutil.NoSuchProcess, *WRONG_SHAPE):
            pass
        _remove(file.parent)
