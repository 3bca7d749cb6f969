"""Figures, drawn from the table that lies beside them: once by the run, and again by `repro redraw`."""

import base64
import importlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure

from repro.workflow import claims, publish
from repro.workflow.files import WRONG_SHAPE, write_text
from repro.workflow.forest import verdict_table, verdicts
from repro.workflow.project import Project, ReproError
from repro.workflow.provenance import git_state, now
from repro.workflow.results import (
    NOT_JUDGED,
    check_files,
    check_seal,
    interval_of,
    judge,
    load_results,
    parse_table,
    save_results,
)

NOTEBOOK = "notebook.ipynb"
KINDS = ("csv", "png", "svg")  # the files of a figure


def describe(name: str, draw: Callable[..., Figure], caption: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a record keeps of a figure; ReproError for a function that cannot be found again, or options not in JSON."""
    place = f"{draw.__module__}.{draw.__qualname__}"
    if _found(place) is not draw or not _columns(draw):
        raise ReproError(f"figure {name}: {place} is no function of a module that says by `style.draws` what it draws")
    try:
        kept = json.loads(json.dumps(options))
    except (TypeError, ValueError) as error:
        raise ReproError(f"figure {name}: its options are not numbers, words or lists: {error}") from None
    return {"name": name, "caption": caption, "draw": place, "options": kept}


def save(folder: Path, figure: Mapping[str, Any], table: pd.DataFrame, profile: str) -> None:
    """Write the columns that a figure draws as CSV, and the picture of what is read from there as PNG and SVG."""
    name, draw = figure["name"], _found(figure["draw"])
    lacking = [column for column in _columns(draw) if column not in table.columns]
    if lacking:
        raise ReproError(f"figure {name}: its table has no column {lacking[0]!r}; it has: {', '.join(table.columns)}")
    path, drawn = folder / f"{name}.csv", [*_columns(draw), *_optional(draw, table)]
    table[drawn].to_csv(path, index=False, lineterminator="\n")
    _draw(folder, figure, draw, parse_table(path.read_bytes(), path.name), profile)


def _draw(
    folder: Path, figure: Mapping[str, Any], draw: Callable[..., Figure], table: pd.DataFrame, profile: str
) -> None:
    picture = draw(table, **figure["options"])
    if profile == "smoke":
        picture.text(0.5, 0.5, "smoke run: not evidence", color="0.5", alpha=0.5, fontsize=16, rotation=20,
                     ha="center", va="center")  # fmt: skip
    # A user's matplotlibrc has no say: fonts, savefig.* and the like are matplotlib's own.
    salt: dict[Any, Any] = {"svg.hashsalt": figure["name"], "svg.fonttype": "path"}
    with matplotlib.style.context("default"), matplotlib.rc_context(salt):
        picture.savefig(folder / f"{figure['name']}.png", dpi=150)
        picture.savefig(folder / f"{figure['name']}.svg", metadata={"Date": None})


def _columns(draw: Callable[..., Figure]) -> tuple[str, ...]:
    return tuple(getattr(draw, "columns", ()))


def _optional(draw: Callable[..., Figure], table: pd.DataFrame) -> list[str]:
    return [column for column in getattr(draw, "optional", ()) if column in table.columns]


def _found(place: str) -> Callable[..., Figure]:
    """The function of that name; ReproError where there is none."""
    module, _, name = place.rpartition(".")
    try:
        draw: Callable[..., Figure] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ReproError(f"{place} is not there: a figure is drawn by a function of a module") from None
    return draw


def redraw(project: Project, notebooks: Sequence[str], profile: str) -> dict[str, list[str]]:
    """Draw the figures of finished runs again from their tables, and judge again by the registry; no cell is run.

    No estimate and no interval changes. Returns by notebook what changed: verdicts, and pictures by name.

    Raises ReproError for results that are damaged, a figure whose function is gone or draws other columns than its
    table has, and a measurement whose part is not in the registry any more; that notebook's results stay.
    """
    registry = claims.load(project)
    names = [project.notebook(name).stem for name in notebooks] or [path.stem for path in project.all_notebooks()]
    folders = {name: project.figures / profile / name for name in names}
    found = {name: load_results(folder) for name, folder in folders.items()}
    missing = [name for name in notebooks if found[project.notebook(name).stem] is None]
    if missing:
        raise ReproError(f"there are no results of {missing[0]} at the {profile} profile to draw again")
    return {
        name: _redraw(project, folders[name], results, registry)
        for name, results in found.items()
        if results is not None
    }


def _redraw(project: Project, folder: Path, results: dict[str, Any], registry: Mapping[str, claims.Claim]) -> list[str]:
    with publish.lock_of(folder).acquire(timeout=0):
        staging = publish.new_staging(folder)
        try:
            check_files(results, lambda name: (folder / name).read_bytes() if (folder / name).is_file() else None)
            check_seal(results)
            for path in folder.iterdir():
                shutil.copyfile(path, staging / path.name)
            changes = _judge(results, registry)
            names = list(_draw_all(staging, results, registry))
            changes += [name for name in names if any(_changed(folder, staging, f"{name}.{kind}") for kind in KINDS)]
            _replace_pictures(staging, {name: (folder / f"{name}.png").read_bytes() for name in names})
            if changes:
                results["redrawn"] = {"when": now(), "git": git_state(project)}
                save_results(staging, results)
                publish.publish(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return changes


def _changed(folder: Path, staging: Path, name: str) -> bool:
    return (folder / name).read_bytes() != (staging / name).read_bytes()


def _judge(results: dict[str, Any], registry: Mapping[str, claims.Claim]) -> list[str]:
    """Verdicts by the registry as it stands; what changed, in words."""
    if results["profile"] == "smoke":
        return []
    changes, judged = [], []
    for measured in (m for m in results["measurements"] if m["verdict"] != NOT_JUDGED):
        if measured["claim"] not in registry:
            raise ReproError(f"{measured['claim']} is not in the registry any more")
        criterion, verdict = judge(measured, registry)
        if verdict != measured["verdict"]:
            changes.append(f"{measured['claim']} {measured['part']}".strip() + f": {measured['verdict']} → {verdict}")
        measured |= {"criterion": criterion, "verdict": verdict}
        judged.append((measured["claim"], verdict))
    combined = claims.combine_parts(registry, judged)
    before = results["claims"]
    changes += [f"{name}: {before.get(name)} → {v}" for name, v in combined.items() if before.get(name) != v]
    results["claims"] = combined
    return changes


def _draw_all(staging: Path, results: Mapping[str, Any], registry: Mapping[str, claims.Claim]) -> Iterable[str]:
    """Every figure again; the verdicts' from the measurements."""
    for figure in results["figures"]:
        name, draw = figure["name"], _found(figure["draw"])
        path = staging / f"{name}.csv"
        if draw is verdicts:
            measured = [{**m, "interval": interval_of(m)} for m in results["measurements"]]
            save(staging, figure, verdict_table(registry, measured), results["profile"])
        else:
            table = parse_table(path.read_bytes(), path.name)
            if list(table.columns) != [*_columns(draw), *_optional(draw, table)]:
                raise ReproError(
                    f"{path.name} has the columns {', '.join(table.columns)}; {figure['draw']} now draws "
                    f"{', '.join(_columns(draw))}: run the notebook again"
                )
            _draw(staging, figure, draw, table, results["profile"])
        yield name


def _replace_pictures(staging: Path, drawn: Mapping[str, bytes]) -> None:
    """The new pictures in the executed notebook, where the old ones were shown."""
    path = staging / NOTEBOOK
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, *WRONG_SHAPE):
        return
    for name, before in drawn.items():
        old, new = (base64.b64encode(picture).decode() for picture in (before, (staging / f"{name}.png").read_bytes()))
        text = text.replace(old, new)
    write_text(path, text)
