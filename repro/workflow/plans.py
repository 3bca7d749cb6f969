"""The runs asked for, everything about them checked before anything is started."""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import psutil

from repro.workflow import arithmetic, claims, code, parameters, results
from repro.workflow.files import digest
from repro.workflow.project import PACKAGE, Project, ReproError

NOTEBOOK_BYTES = 2 * 2**30  # that one run takes, with room to spare


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


def side_by_side(
    project: Project,
    names: Sequence[str],
    profile: str,
    settings: Mapping[str, Any],
    out: Path | None,
    jobs: int | None = None,
) -> tuple[list[Plan], int]:
    """The runs asked for, and how many of them at a time: by default as many as there are processors and memory.

    Several at a time overlap what a single one does on one processor only: start, analysis, plots. By default they
    share the processors, and the dearest start first, by what their last runs cost, so that none is left over.
    """
    planned = make_plans(project, names, profile, settings, out)
    cores, room = joblib.cpu_count(), psutil.virtual_memory().available // NOTEBOOK_BYTES
    together = max(1, min(len(planned), cores, room))
    if jobs or together == 1:
        return planned, jobs or 1
    shared = {"workers": cores // together} | dict(settings)
    planned = make_plans(project, names, profile, shared, out)
    return sorted(planned, key=lambda plan: -_last_cost(project, plan)), together


def _last_cost(project: Project, plan: Plan) -> float:
    """Seconds of all cells of the declared run whose results are there; a run that nobody knows comes first."""
    try:
        record = results.load_results(project.figures / plan.profile / plan.notebook)
    except ReproError:
        return math.inf
    return (record and record["cost"].get("cells_seconds")) or math.inf


def inputs(project: Project, path: Path, values: Mapping[str, Any]) -> dict[str, str]:
    """Digest of everything a result depends on, by kind."""
    cells = [cell.text for cell in parameters.read_cells(path) if cell.cell_type == "code"]
    scientific = {name: value for name, value in values.items() if name not in parameters.PLUMBING}
    own = [claim.model_dump_json() for claim in claims.of_notebook(claims.load(project), path.stem)]
    return {
        "code cells": digest([], *cells),
        "parameters": digest([], json.dumps(scientific, sort_keys=True)),
        "imported code": code.digest_of(code.closure_of_cells(cells, [path.parent, project.root])),
        "claims": digest([], *own),
        "locks": digest(project.locks),
        "arithmetic": digest([], json.dumps([platform.machine(), arithmetic.settings()])),
    }
