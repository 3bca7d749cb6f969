"""The runs asked for, everything about them checked before anything is started."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.workflow import arithmetic, claims, code, parameters
from repro.workflow.files import digest
from repro.workflow.project import PACKAGE, Project, ReproError


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
