"""Bad days: each ends in one clear message, a non-zero exit, and the earlier results as they were."""

import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from conftest import FINISH, SETUP, SWEEP, ToyProject, write_notebook
from rich.console import Console

from repro.workflow import runner
from repro.workflow.plans import make_plans
from repro.workflow.project import PACKAGE, Project
from repro.workflow.runner import Limits

pytestmark = pytest.mark.kernel


def fails(project: ToyProject, *words: str, says: str, code: int = 1, **environment: str) -> str:
    """Run, and check what every bad day has in common."""
    before = project.content() if project.results.exists() else None
    unfinished = set(project.root.glob("figures/*/.*.new"))
    run = project.repro(*words, **environment)
    output = run.stdout + run.stderr
    assert run.returncode == code, output
    assert says in output, output
    assert "Traceback" not in output
    assert (project.content() if project.results.exists() else None) == before
    assert set(project.root.glob("figures/*/.*.new")) == unfinished
    return output


@pytest.mark.parametrize(
    ("words", "says", "code"),
    [
        (["--set", "sedes=3"], "toy has no parameter 'sedes' (--set); it has: seeds, sizes", 1),
        (["--set", "seeds=abc"], "parameter seeds: got 'abc', expected int [>= 1]: independent draws", 1),
        (["--set", "seeds=3.5"], "parameter seeds: got 3.5, expected int [>= 1]", 1),
        (["--set", "sizes=[4,0]"], "parameter sizes[1]: got 0, expected list[int] [>= 1]", 1),
        (["--set", "scale=-1e-6"], "parameter scale: got -1e-06, expected float [> 0]", 1),
        (["--set", "seeds"], "--set takes name=value, got 'seeds'", 1),
        (["--set", "output_dir=x"], "choose the folder with --out DIR", 1),
        (["tay"], "unknown notebook 'tay'; notebooks/ holds: toy", 1),
        (["--profile", "huge"], "'huge' is not one of 'smoke', 'laptop', 'paper'", 2),
        (["--jobs", "0"], "--jobs", 2),
    ],
)
def test_a_wrong_command_starts_no_kernel(toy, words, says, code):
    output = fails(toy, "run", "--force", *words, says=says, code=code)
    assert "runs:" not in output
    assert not (toy.root / ".repro").exists() and not (toy.root / "figures").exists()


def test_a_wrong_profile_file_is_named(toy):
    (toy.root / "notebooks" / "profiles" / "smoke.toml").write_text("[toy]\nseeds = 'two'\n")
    fails(toy, "run", "--profile", "smoke", says="toy: parameter seeds: got 'two', expected int [>= 1]")


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("1 / 0", "cell 5 raised ZeroDivisionError: division by zero"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the kernel died in cell 5"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("record.measure('slop', '', None)", "toy declares no claim 'slop'"),
        ("record.finish()", "toy.slope was not measured"),
    ],
)
def test_a_notebook_that_fails_leaves_the_earlier_results(done, cell, says):
    write_notebook(done.notebook, SETUP, cell, SWEEP, FINISH)
    fails(done, "run", says=says)
    assert (done.root / ".repro" / "failed" / "laptop-toy.ipynb").is_file()


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(cell=1e5, notebook=1e7), "cell 5 ran over its limit of 100000 s (--cell-timeout)"),
        (Limits(cell=1e7, notebook=1e5), "ran over its limit of 100000 s (--timeout) in cell 5: Values"),
    ],
)
def test_a_limit_ends_the_cell_that_passes_it_and_leaves_the_earlier_results(done, monkeypatch, limits, says):
    """Hours pass at every look at the clock once the cell says that it runs, and none before: no load can matter."""
    before, running, looks = done.content(), done.root / "running", itertools.count()
    write_notebook(done.notebook, SETUP, f"open({str(running)!r}, 'w').close(); import time; time.sleep(600)", FINISH)
    monkeypatch.setattr(runner, "clock", lambda: 1e4 * next(looks) if running.exists() else 0.0)
    monkeypatch.chdir(done.root)  # where the cells of the toy notebook are
    monkeypatch.delenv("REPRO_CACHE", raising=False)
    project = Project(done.root)
    planned = make_plans(project, ["toy"], "laptop", {}, None)
    (outcome,) = runner.run(project, planned, Console(quiet=True), force=True, limits=limits)
    assert outcome.state == "failed" and says in outcome.reason
    assert (done.root / ".repro" / "failed" / "laptop-toy.ipynb").is_file()
    assert done.content() == before


@pytest.mark.parametrize(
    ("option", "says"),
    [("--cell-timeout", r"cell \d+ ran over its limit of 0\.001 s \(--cell-timeout\)"),
     ("--timeout", r"ran over its limit of 0\.001 s \(--timeout\) in starting the kernel")],
)  # fmt: skip
def test_the_limits_of_the_command_line_apply(done, option, says):
    write_notebook(done.notebook, SETUP, "import time; time.sleep(600)", FINISH)
    assert re.search(says, fails(done, "run", option, "0.001", says="ran over its limit"))


def test_a_notebook_without_a_record_has_reproduced_nothing(done):
    write_notebook(done.notebook, "print('all went well')")
    fails(done, "run", says="the notebook wrote no results record")


def test_code_that_changes_during_a_run_voids_it(done):
    change = "open('toy_plots.py', 'a').write('changed = 1\\n')"
    write_notebook(done.notebook, SETUP, SWEEP, change, FINISH)
    fails(done, "run", says="code, claims or locks changed while it ran")


def test_one_failing_notebook_does_not_stop_the_others(done):
    write_notebook(done.root / "notebooks" / "broken.ipynb", "1 / 0")
    run = done.repro("run", "--force")
    assert run.returncode == 1
    assert "broken: failed" in run.stdout and "toy: ran" in run.stdout


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def lines(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize(
    ("how", "code", "after_cells", "workers"),
    [(signal.SIGINT, 130, 2, 2), (signal.SIGTERM, 130, 6, 1), (signal.SIGKILL, -9, 1, 1), (signal.SIGKILL, -9, 9, 2)],
)
def test_a_killed_run_goes_on_where_it_stopped(toy, finished, how, code, after_cells, workers):
    log = toy.root / "log"
    temporary = Path(tempfile.mkdtemp(prefix="t-"))  # of a short name, for the sockets in it
    environment = {"TOY_LOG": str(log), "TOY_SLEEP": "0.2", "TMPDIR": str(temporary)}
    words = ["run", "--set", f"workers={workers}"]
    running = toy.start(*words, **environment)
    wait_for(lambda: lines(log) > after_cells)
    family = descendants(running)
    assert len(family) >= 2  # papermill's process and the kernel
    running.send_signal(how)
    output, _ = running.communicate(timeout=30)
    assert running.returncode == code
    assert "Traceback" not in output
    if how != signal.SIGKILL:
        assert "interrupted: earlier results stand, finished cells are kept" in output
    assert not toy.results.exists()
    wait_for(lambda: not any(process.is_running() and process.status() != "zombie" for process in family), seconds=15)

    saved = len(list((toy.root / ".repro" / "cells" / "row").glob("*.json")))
    assert saved >= after_cells - workers
    log.unlink()
    again = toy.repro(*words, TOY_LOG=str(log), TMPDIR=str(temporary))
    assert again.returncode == 0, again.stdout
    assert not list((toy.root / ".repro" / "active").iterdir()) and not list(temporary.glob("repro-*"))
    shutil.rmtree(temporary)
    assert lines(log) == 12 - saved  # no finished cell was computed twice
    for name in ("values.csv", "values.png", "values.svg"):
        assert toy.content()[name] == finished.content()[name]
    assert not list(toy.root.glob("figures/*/.*.new"))


def test_a_runner_killed_before_its_child_looks_for_it_leaves_nothing_running(toy):
    running = toy.start("run", TOY_SLEEP="5")
    wait_for(lambda: len(descendants(running)) > 0)
    family = descendants(running)
    running.kill()
    running.wait()
    wait_for(lambda: not any(process.is_running() and process.status() != "zombie" for process in family), seconds=60)


def test_what_another_machine_or_a_living_run_has_in_the_cache_is_left_alone(toy):
    def described(name, **run):
        folder = toy.root / ".repro" / "active" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(run))

    me = psutil.Process()
    described("elsewhere", machine="another", runner=1, since=0.0)
    described("alive", machine=platform.node(), runner=me.pid, since=me.create_time())
    described("dead", machine=platform.node(), runner=me.pid, since=0.0)
    described("damaged")
    assert toy.repro("run").returncode == 0
    assert sorted(path.name for path in (toy.root / ".repro" / "active").iterdir()) == ["alive", "elsewhere"]


def test_a_kill_between_the_two_renames_of_publishing_loses_nothing(done):
    before = done.content()
    done.results.rename(done.results.parent / ".toy.old")  # as a run killed just there leaves it
    run = done.repro("run")
    assert "skipped: nothing changed" in run.stdout
    assert done.content() == before


def test_readers_put_back_what_a_killed_publication_took_aside(done):
    before, old = done.content(), done.results.parent / ".toy.old"
    for command in ("list", "verify", "report"):
        done.results.rename(old)
        assert "not run" not in done.repro(command).stdout
        assert done.content() == before and not old.exists()


def test_a_damaged_cell_of_the_cache_is_told_and_computed_again(done):
    before = done.content()["values.csv"]
    files = sorted((done.root / ".repro" / "cells" / "row").glob("*.json"))
    files[0].write_text(files[0].read_text()[:20])
    files[1].write_bytes(b"\x00\xff")
    run = done.repro("run", "--force")
    assert run.returncode == 0
    assert run.stdout.count("is damaged; this cell is computed again") == 2
    assert done.content()["values.csv"] == before


def test_damaged_results_are_run_again(done):
    before = done.content()["values.csv"]
    (done.results / "values.csv").write_text("size,seed\n")
    run = done.repro("run")
    assert "runs: figures/laptop/toy is not what the last run left there" in run.stdout
    assert done.content()["values.csv"] == before
    (done.results / "results.json").write_text("{")
    fails(done, "run", says="results.json is damaged")  # which of its files are ours cannot be told any more
    shutil.rmtree(done.results)
    assert done.repro("run").returncode == 0 and done.content()["values.csv"] == before


def test_a_users_files_where_results_would_go_are_told_before_anything_runs(done):
    (done.results / "note.txt").write_text("mine")
    output = fails(done, "run", "--force", says="holds 'note.txt', which no run left there")
    assert "runs:" not in output
    (done.root / "res" / "laptop" / "toy").mkdir(parents=True)
    (done.root / "res" / "laptop" / "toy" / "thesis.tex").write_text("mine")
    assert "runs:" not in fails(done, "run", "--out", "res", says="holds 'thesis.tex', which no run left there")
    assert (done.root / "res" / "laptop" / "toy" / "thesis.tex").read_text() == "mine"


def test_a_damaged_note_of_the_last_run_is_told_and_it_runs_again(done, monkeypatch):
    monkeypatch.delenv("REPRO_CACHE", raising=False)
    project = Project(done.root)
    (plan,) = make_plans(project, ["toy"], "laptop", {}, None)
    note = runner._finished_file(project, plan)
    assert runner._last_run(project, plan)[0]
    for damage in ('{"run_id"', "[]", "null", "3", '"x"', "{}", '{"run_id": 1, "inputs": 3, "ended": 0}'):
        note.write_text(damage)
        assert runner._last_run(project, plan) == (False, "the note of the last run is damaged")
    assert "toy: runs: the note of the last run is damaged" in done.repro("run").stdout
    assert runner._last_run(project, plan)[0]


def unprivileged(command: list[str]) -> list[str]:
    """Root may write anywhere; take that right away."""
    if os.geteuid() != 0:
        return command
    if not shutil.which("setpriv"):
        pytest.skip("as root, a read-only folder needs setpriv to be one")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]


def test_a_read_only_folder_is_told_before_anything_runs(done):
    before = done.content()
    folder = done.results.parent
    folder.chmod(0o555)
    try:
        command = unprivileged(done.command("run", "--force"))
        run = subprocess.run(command, cwd=done.root, env=done.environment, capture_output=True, text=True, check=False)
    finally:
        folder.chmod(0o755)
    assert run.returncode == 1
    assert "toy: failed: cannot write to figures/laptop: " in run.stdout and "Traceback" not in run.stdout + run.stderr
    assert done.content() == before


def test_a_cache_that_cannot_be_written_is_told_before_anything_runs(done):
    fails(done, "run", "--force", says="toy: failed: cannot write to /dev/full", REPRO_CACHE="/dev/full/cache")


@pytest.mark.parametrize("blocks", [1, 16, 25])
def test_a_full_disk_leaves_the_earlier_results(done, blocks):
    """A limit on the size of files stands in for a full disk: writing fails in the same places."""
    before = done.content()
    command = ["bash", "-c", f'ulimit -f {blocks}; exec "$@"', "bash", *done.command("run", "--force")]
    run = subprocess.run(command, cwd=done.root, env=done.environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout
    assert "File too large" in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert done.content() == before


def test_a_checkout_and_a_home_that_cannot_be_written_compile_anew(tmp_path):
    """numba finds no folder for its cache."""
    package = shutil.copytree(PACKAGE, tmp_path / "repro", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (tmp_path, package, *filter(Path.is_dir, package.rglob("*"))):
        folder.chmod(0o555)
    home = tmp_path / "home"
    script = "import numpy as np; from repro.geometry.graph import hop_sum; print(hop_sum(np.array([[0, 1], [1, 0]])))"
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(home)}
    command = unprivileged([sys.executable, "-c", script])
    run = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and run.stdout == "2\n", run.stderr
    assert not list(package.rglob("*.nbi"))


def test_two_runs_at_once_do_not_mix(done):
    before = done.content()["values.csv"]
    shutil.rmtree(done.root / ".repro")
    log = done.root / "log"
    hold = done.root / "hold"
    hold.touch()
    first = done.start("run", TOY_LOG=str(log), TOY_HOLD=str(hold))
    wait_for(lambda: lines(log) > 0)
    fails(done, "run", says="another run is writing figures/laptop/toy; wait for it, or choose another --out")
    hold.unlink()
    output, _ = first.communicate(timeout=60)
    assert first.returncode == 0, output
    assert done.content()["values.csv"] == before
