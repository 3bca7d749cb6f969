"""A small project of its own for the workflow tests: one notebook, one claim, cells that take no time."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nbformat
import pytest
import torch
from filelock import FileLock

from repro.workflow import arithmetic, runner
from repro.workflow.plans import make_plans
from repro.workflow.project import PACKAGE, Project

torch.set_num_threads(
    1
)  # as in every worker: the number of threads changes results, and two test processes share two cores

CLAIMS = """
[paper]
title = "Toys"
authors = "Ada"
arxiv = "0000.00000"
read = "all of it"
here = "the slope"

[[claim]]
id = "toy.slope"
statement = "The slope is one."
source = "ours"
notebook = "toy"
kind = "exponent"
statistic = "slope"
unit = "seed"
axis = "slope"
declared = 2026-11-21
criterion = { value = 1.0, within = 0.1, reason = "by construction" }
band.laptop = { estimate = [0.99, 1.01] }
"""

PARAMETERS = """
seeds: int = 4  # independent draws [>= 1]
sizes: list[int] = [1, 2, 4]  # sizes [>= 1]
scale: float = 1.0  # factor [> 0]
seed: int = 0  # of everything random [>= 0]
device: str = "auto"  # where to compute [auto | cpu | cuda]
workers: int = 1  # local processes [>= 1]
output_dir: str = "runs/own/toy"  # where the results go
"""

SETUP = """
from repro.workflow.record import Record
from repro.workflow.sweep import grid
from toy_cells import row
from toy_plots import slope, values

record = Record.start("toy", globals())
"""

SWEEP = """
rows = record.sweep(row, grid(size=sizes, seed=range(seed, seed + seeds), scale=scale))
"""

FINISH = """
display(record.figure(values, rows, caption="Values."))
record.measure("slope", "", slope(rows))
record.finish()
"""

PLOTS = """
from types import SimpleNamespace

import matplotlib.pyplot as plt


def values(frame):
    figure, axis = plt.subplots()
    axis.plot(frame["size"], frame["value"], "o")
    plt.close(figure)
    return figure


values.columns = ("size", "seed", "value")


def slope(rows):
    mean = (rows["value"] / rows["size"]).mean()
    return SimpleNamespace(value=mean, lower=mean - 0.05, upper=mean + 0.05, n=rows["seed"].nunique(), method="made up")
"""

CELLS = """
import os
import pathlib
import time

import numpy as np


def row(*, size, seed, scale):
    log = os.environ.get("TOY_LOG")
    if log:
        with open(log, "a") as file:
            file.write(f"{size} {seed}\\n")
    time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
    while os.path.exists(os.environ.get("TOY_HOLD", "")):
        time.sleep(0.02)
    noise = np.random.default_rng([seed, size]).normal()
    return [{"size": size, "seed": seed, "value": scale * size * (1 + 1e-3 * noise)}]
"""


def smoke_run(names: Sequence[str], out: Path, root: Path, environment: Mapping[str, str], jobs: int = 1) -> Path:
    """The folder of results of notebooks of the checkout `root`, run at the smoke profile by a process of its own."""
    words = ["run", *names, "--profile", "smoke", "--force", "--out", str(out), "--jobs", str(jobs)]
    command = [sys.executable, "-m", "repro.workflow.cli", *words]
    run = subprocess.run(command, cwd=root, env=dict(environment), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return out / "smoke"


def write_notebook(path: Path, *cells: str, parameters: str = PARAMETERS) -> None:
    """A notebook of code cells under a heading, its parameters cell tagged: the same file every time."""
    tagged = nbformat.v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]}, id="parameters")
    body = [nbformat.v4.new_code_cell(source.strip(), id=f"cell-{number}") for number, source in enumerate(cells)]
    heading = nbformat.v4.new_markdown_cell("# Toy\n\n## Values", id="heading")
    notebook = nbformat.v4.new_notebook(cells=[tagged, heading, *body])
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


class ToyProject:
    """A checkout in a temporary folder, and the command run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notebook = root / "notebooks" / "toy.ipynb"
        self.claims = root / "repro" / "papers" / "toy" / "claims.toml"
        self.results = root / "figures" / "laptop" / "toy"
        write_notebook(self.notebook, SETUP, SWEEP, FINISH)
        self.claims.parent.mkdir(parents=True)
        self.claims.write_text(CLAIMS)
        (root / "toy_cells.py").write_text(CELLS)
        (root / "toy_plots.py").write_text(PLOTS)
        (root / ".gitignore").write_text(".repro/\n__pycache__/\n")
        profiles = root / "notebooks" / "profiles"
        profiles.mkdir()
        (profiles / "smoke.toml").write_text("[toy]\nseeds = 2\n")
        self.commit("first")

    def commit(self, message: str) -> None:
        git = ["git", "-C", str(self.root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True)

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without what a user could have set of ours or of the arithmetic."""
        settings = {*arithmetic.settings(), *arithmetic.KERNELS, *arithmetic.CLEARED}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("REPRO_")}
        return {name: value for name, value in kept.items() if name not in settings}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "repro.workflow.cli", *words]

    def repro(self, *words: str, **environment: str) -> subprocess.CompletedProcess:
        """`repro WORDS...` in this project, with its output as text."""
        return subprocess.run(
            self.command(*words), cwd=self.root, env=self.environment | environment, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    def start(self, *words: str, **environment: str) -> subprocess.Popen:
        """The same, not waited for."""
        return subprocess.Popen(
            self.command(*words), cwd=self.root, env=self.environment | environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def content(self) -> dict[str, bytes]:
        """Every file of the laptop results."""
        return {path.name: path.read_bytes() for path in sorted(self.results.iterdir())}


@pytest.fixture
def toy(tmp_path: Path) -> ToyProject:
    return ToyProject(tmp_path)


@pytest.fixture
def rewrite() -> Callable[..., None]:
    return write_notebook


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The smoke results of every notebook, run once by one command, whichever process of the tests needs them first.

    ricci_correlation comes first and ricci_profiles last, which finds half of its nets trained.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent  # of all processes of this run of the tests
    with FileLock(shared / "smoke.lock"):
        if not (shared / "smoke").is_dir():
            names = [path.stem for path in Project(PACKAGE.parent).all_notebooks()]
            names.sort(key=lambda name: (name == "ricci_profiles") - (name == "ricci_correlation"))
            smoke_run(names, shared, PACKAGE.parent, os.environ, jobs=2)
    return shared / "smoke"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    """A project that was run once; not to be changed."""
    project = ToyProject(tmp_path_factory.mktemp("finished"))
    run = project.repro("run")
    assert run.returncode == 0, run.stdout + run.stderr
    return project


@pytest.fixture
def done(toy: ToyProject, finished: ToyProject) -> ToyProject:
    """A project with laptop results, finished cells, and the note that its last run stands."""
    for folder in ("figures", ".repro"):
        shutil.copytree(finished.root / folder, toy.root / folder)
    (note,) = (toy.root / ".repro" / "finished").iterdir()  # named by the place of the results
    (plan,) = make_plans(Project(toy.root), ["toy"], "laptop", {}, None)
    note.rename(note.with_name(runner._finished_file(Project(toy.root), plan).name))
    return toy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`-m "not kernel"` leaves out what starts Jupyter kernels: a module can say so, and these fixtures always do."""
    for item in items:
        if {"smoke", "finished", "done"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("kernel")
