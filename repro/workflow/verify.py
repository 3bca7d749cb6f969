"""The comparator: results against a reference, number by number, and measurements against their bands.

One rule for `repro verify` and the regression tests: the numbers of a column agree to the relative and absolute
tolerance that the reference's record states for it, else to a relative 1e-6; text and counts agree exactly.
"""

import io
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from repro.workflow import claims, record
from repro.workflow.project import Project, ReproError

DEFAULT_TOLERANCE = (1e-6, 0.0)  # relative, absolute


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was, in one sentence."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Source(Protocol):
    """Where results are read from."""

    def read(self, name: str) -> bytes | None:
        """Content of one file of a result folder, None where there is none."""
        ...


@dataclass(frozen=True)
class Folder:
    """Results in a folder of the file system."""

    path: Path

    def read(self, name: str) -> bytes | None:
        """Content of the file, None where there is none."""
        path = self.path / name
        return path.read_bytes() if path.is_file() else None


@dataclass(frozen=True)
class Revision:
    """Results in a git revision."""

    project: Project
    revision: str
    path: str  # of the result folder, from the root of the checkout

    def read(self, name: str) -> bytes | None:
        """Content of the file in that revision, None where there is none."""
        command = ["git", "-C", str(self.project.root), "show", f"{self.revision}:{self.path}/{name}"]
        shown = subprocess.run(command, capture_output=True, check=False)
        return shown.stdout if shown.returncode == 0 else None


def source(project: Project, against: str, profile: str, notebook: str) -> Source:
    """The reference named by `against`: a folder laid out as figures/ is, or a git revision."""
    if Path(against).is_dir():
        return Folder(Path(against) / profile / notebook)
    known = subprocess.run(
        ["git", "-C", str(project.root), "rev-parse", "--verify", "--quiet", f"{against}^{{commit}}"],
        capture_output=True,
        check=False,
    )
    if known.returncode != 0:
        raise ReproError(f"--against {against}: neither a folder nor a git revision of this checkout")
    return Revision(project, against, f"figures/{profile}/{notebook}")


def compare(fresh: Source, reference: Source) -> list[Difference]:
    """Every number of `fresh` that left the tolerance which `reference` states for it."""
    new, old = _results(fresh), _results(reference)
    if old is None:
        return [Difference(record.RESULTS, "the reference holds no results")]
    if new is None:
        return [Difference(record.RESULTS, "there are no fresh results; run the notebook first")]
    differences = [
        Difference("parameters", f"{name} is {new['parameters'].get(name)!r}, was {value!r}")
        for name, value in old["parameters"].items()
        if new["parameters"].get(name) != value
    ]
    for figure in old["figures"]:
        csv = f"{figure['name']}.csv"
        ours, theirs = fresh.read(csv), reference.read(csv)
        if ours is None or theirs is None:
            differences.append(Difference(csv, "missing" if ours is None else "missing in the reference"))
        else:
            differences += compare_frames(_frame(ours), _frame(theirs), csv, figure["tolerance"])
    return differences


def compare_frames(
    fresh: pd.DataFrame, reference: pd.DataFrame, where: str, tolerance: Mapping[str, Sequence[float]]
) -> list[Difference]:
    """Differences of two tables, by column: the farthest number of each column that left its tolerance."""
    if list(fresh.columns) != list(reference.columns):
        return [Difference(where, f"columns are {list(fresh.columns)}, were {list(reference.columns)}")]
    if len(fresh) != len(reference):
        return [Difference(where, f"{len(fresh)} rows, were {len(reference)}")]
    found = (
        _compare_column(fresh[name], reference[name], *tolerance.get(name, DEFAULT_TOLERANCE)) for name in fresh.columns
    )
    return [
        Difference(f"{where}, column {name}", what) for name, what in zip(fresh.columns, found, strict=True) if what
    ]


def _compare_column(fresh: pd.Series, reference: pd.Series, rtol: float, atol: float) -> str:
    if not (pd.api.types.is_float_dtype(fresh) or pd.api.types.is_float_dtype(reference)):
        absent = fresh.isna() & reference.isna()  # an empty text reads as NaN, which differs from itself
        rows = np.flatnonzero(((fresh != reference) & ~absent).to_numpy())
        return f"row {rows[0]} is {fresh[rows[0]]!r}, was {reference[rows[0]]!r}" if len(rows) else ""
    new, old = fresh.to_numpy(float), reference.to_numpy(float)
    same = (new == old) | (np.isnan(new) & np.isnan(old))  # infinities among them
    with np.errstate(invalid="ignore"):
        excess = np.where(same, -1.0, np.abs(new - old) - (atol + rtol * np.abs(old)))
    excess = np.nan_to_num(excess, nan=np.inf)  # a number where there was none, or none where there was one
    if not len(excess) or excess.max() <= 0:
        return ""
    worst = int(excess.argmax())
    moved = f"moved by {abs(new[worst] - old[worst]):.3g}, tolerance {atol + rtol * abs(old[worst]):.3g}"
    return f"row {worst} is {new[worst]:.6g}, was {old[worst]:.6g}: {moved}"


def band_differences(project: Project, results: Mapping[str, Any]) -> list[Difference]:
    """Every number of a run that fell outside the band which the registry now states for it."""
    registry = claims.load(project)
    found = []
    for measured in results["measurements"]:
        if measured["claim"] not in registry:
            found.append(Difference(measured["claim"], "is not in the registry any more"))
            continue
        part = registry[measured["claim"]].find_part(measured["part"])
        numbers = {**measured["values"], "estimate": measured["estimate"]}
        known = {name: float("nan") if value is None else value for name, value in numbers.items()}
        where = f"{measured['claim']} {measured['part']}".strip()
        found += [Difference(where, str(miss)) for miss in claims.band_misses(part, results["profile"], known)]
    return found


def verify(project: Project, notebooks: Sequence[str], profile: str, against: str) -> dict[str, list[Difference]]:
    """Differences by notebook: the work tree's results against `against`, and against their bands."""
    names = list(notebooks) or [path.stem for path in project.all_notebooks()]
    report = {}
    for name in names:
        notebook = project.notebook(name).stem
        fresh = Folder(project.figures / profile / notebook)
        differences = compare(fresh, source(project, against, profile, notebook))
        results = _results(fresh)
        report[notebook] = differences + (band_differences(project, results) if results else [])
    return report


def _results(where: Source) -> dict[str, Any] | None:
    content = where.read(record.RESULTS)
    try:
        return None if content is None else dict(json.loads(content))
    except ValueError as error:
        raise ReproError(f"{record.RESULTS} is damaged: {error}") from None


def _frame(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content))
