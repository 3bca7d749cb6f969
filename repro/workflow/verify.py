"""The comparator: results against a reference, number by number, and measurements against their bands.

One rule for `repro verify` and the regression tests. Two runs on the pinned arithmetic compute the same bytes, and
their numbers are compared to 1e-9. A run on another arithmetic (another kind of processor, a GPU, a notebook run by
hand) trains other nets from the same seeds: every judged estimate must lie in the reference's interval and have its
verdict, a column that has 95 % intervals may leave one in twenty of them, and what has none is named as not compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from repro.workflow import arithmetic, claims
from repro.workflow.project import Project, ReproError
from repro.workflow.publish import restore_all
from repro.workflow.results import (
    RESULTS,
    check_results,
    full_name,
    interval_of,
    is_pinned,
    parse_results,
    parse_table,
)

NOT_COMPARED = "not compared"
TOLERANCE = 1e-9  # relative, between two runs on the pinned arithmetic
ROUNDING = 1e-12  # relative to the largest number of a column: what a difference of rounded numbers may be off
OUTSIDE = 0.05  # share of a column that may leave the reference's 95 % intervals, across arithmetics


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was, in one sentence."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Comparison:
    """How two results were compared, what differs, and which columns could not be compared."""

    how: str
    differences: list[Difference] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)


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
        shown = self.project.git("show", f"{self.revision}:./{self.path}/{name}")
        return shown.stdout if shown.returncode == 0 else None


def source(project: Project, against: str, profile: str, notebook: str) -> Source:
    """The reference named by `against`: a folder laid out as figures/ is, or a git revision."""
    if Path(against).is_dir():
        return Folder(Path(against) / profile / notebook)
    try:
        known = project.git("rev-parse", "--verify", "--quiet", f"{against}^{{commit}}")
    except OSError:
        raise ReproError(
            f"--against {against}: no such folder, and git is not installed to ask for a revision"
        ) from None
    if known.returncode != 0:
        raise ReproError(f"--against {against}: neither a folder nor a git revision of this checkout")
    return Revision(project, against, f"figures/{profile}/{notebook}")


def compare(fresh: Source, reference: Source) -> Comparison:
    """The results in `fresh` against those in `reference`: parameters, measurements and the data of every figure."""
    new = _results(fresh)
    try:
        old = _results(reference)
    except ReproError as error:  # damaged, or written in another form by an older version
        return Comparison(NOT_COMPARED, [Difference("the reference", str(error))])
    if new is None or old is None:
        missing = "are no fresh results; run the notebook first" if new is None else "are no results to compare with"
        return Comparison(NOT_COMPARED, [Difference(RESULTS, f"there {missing}")])
    why = other_arithmetic(new, old)
    not_compared: list[str] = []
    differences = _changes(new["parameters"], old["parameters"], "parameter")
    differences += compare_measurements(new["measurements"], old["measurements"], by_interval=bool(why))
    names = [[figure["name"] for figure in results["figures"]] for results in (new, old)]
    differences += [Difference(name, "is not in the reference") for name in names[0] if name not in names[1]]
    for csv in (f"{name}.csv" for name in names[1]):
        ours, theirs = fresh.read(csv), reference.read(csv)
        if ours is None or theirs is None:
            differences.append(Difference(csv, "missing" if ours is None else "missing in the reference"))
            continue
        try:
            tables = (parse_table(ours, csv), parse_table(theirs, f"{csv} of the reference"))
        except ReproError as error:
            differences.append(Difference(csv, str(error)))
            continue
        if why:
            found = compare_by_interval(*tables, csv)
            differences += found.differences
            not_compared += found.not_compared
        else:
            differences += compare_frames(*tables, csv)
    how = f"by interval and verdict ({why})" if why else f"to {TOLERANCE:g}"
    return Comparison(how, differences, not_compared)


def other_arithmetic(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """Why two results need not be the same numbers; nothing where both have the same pinned arithmetic."""
    for results, whose in ((new, "these results are"), (old, "the reference is")):
        if not is_pinned(results):
            return f"{whose} {arithmetic.UNPINNED}"
    return arithmetic.difference(old["provenance"]["arithmetic"], new["provenance"]["arithmetic"])


def compare_measurements(
    fresh: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]], *, by_interval: bool
) -> list[Difference]:
    """Differences of judged statistics, by claim and part: every field, or the estimate by interval and the verdict."""
    ours, theirs = ({full_name(m): m for m in measured} for measured in (fresh, reference))
    differences = [Difference(name, "is not in the reference") for name in ours if name not in theirs]
    for name, old in theirs.items():
        new = ours.get(name)
        if new is None:
            differences.append(Difference(name, "was not measured"))
        elif by_interval:
            differences += _changes({"verdict": new["verdict"]}, {"verdict": old["verdict"]}, name)
            low, high = interval_of(old)
            if new["estimate"] is not None and not math.isnan(low) and not low <= new["estimate"] <= high:
                outside = f"estimate is {new['estimate']:.6g}, outside the reference's interval [{low:.6g}, {high:.6g}]"
                differences.append(Difference(name, outside))
        else:
            differences += _changes(_numbers(new), _numbers(old), name)
    return differences


def compare_frames(fresh: pd.DataFrame, reference: pd.DataFrame, where: str) -> list[Difference]:
    """Differences of two tables on the pinned arithmetic, by column: the number that moved farthest."""
    shape = _shape_difference(fresh, reference, where)
    if shape:
        return [shape]
    found = {name: _compare_column(fresh[name], reference[name]) for name in reference.columns}
    return [Difference(f"{where}, column {name}", what) for name, what in found.items() if what]


def compare_by_interval(fresh: pd.DataFrame, reference: pd.DataFrame, where: str) -> Comparison:
    """Two tables across arithmetics: texts are equal, and values in the intervals of the reference but one in twenty.

    A column has intervals if columns of their lower and upper ends follow it. Where these are as wide as the column's
    whole range they could not fail, and the column is not compared.
    """
    shape = _shape_difference(fresh, reference, where)
    if shape:
        return Comparison("by interval", [shape])
    texts = [name for name in reference.columns if not pd.api.types.is_numeric_dtype(reference[name])]
    differences = compare_frames(fresh[texts], reference[texts], where)
    compared = set(texts)
    for name, lower, upper in _with_interval(list(reference.columns)):
        value, low, high = (reference[column].to_numpy(float) for column in (name, lower, upper))
        known = np.isfinite(value) & np.isfinite(low) & np.isfinite(high)
        if not known.any() or np.median((high - low)[known]) >= np.ptp(value[known]):
            continue
        compared |= {name, lower, upper}
        ours = fresh[name].to_numpy(float)
        outside = np.flatnonzero(known & ~((ours >= low) & (ours <= high)))  # NaN is outside
        if len(outside) > OUTSIDE * known.sum():
            row = outside[0]
            what = (
                f"{len(outside)} of {known.sum()} values lie outside the reference's own intervals; "
                f"row {row} is {ours[row]:.6g}, was {value[row]:.6g} [{low[row]:.6g}, {high[row]:.6g}]"
            )
            differences.append(Difference(f"{where}, column {name}", what))
    left = [name for name in reference.columns if name not in compared]
    return Comparison("by interval", differences, [f"{where} ({', '.join(left)})"] if left else [])


def _with_interval(columns: Sequence[str]) -> list[tuple[str, str, str]]:
    """(value, lower, upper) where a column is followed by those of its ends, named `lower` or `<value>_lower`."""
    triples = zip(columns, columns[1:], columns[2:], strict=False)
    return [
        (name, lower, upper)
        for name, lower, upper in triples
        if (lower, upper) in (("lower", "upper"), (f"{name}_lower", f"{name}_upper"))
    ]


def _shape_difference(fresh: pd.DataFrame, reference: pd.DataFrame, where: str) -> Difference | None:
    if list(fresh.columns) != list(reference.columns):
        return Difference(where, f"columns are {list(fresh.columns)}, were {list(reference.columns)}")
    if len(fresh) != len(reference):
        return Difference(where, f"{len(fresh)} rows, were {len(reference)}")
    return None


def tolerance(reference: np.ndarray) -> np.ndarray:
    """How far each number of a column may be from the reference's on the pinned arithmetic."""
    scale = np.abs(reference[np.isfinite(reference)]).max(initial=0.0)
    allowed: np.ndarray = ROUNDING * scale + TOLERANCE * np.abs(reference)
    return allowed


def _compare_column(fresh: pd.Series, reference: pd.Series) -> str:
    if not (pd.api.types.is_float_dtype(fresh) or pd.api.types.is_float_dtype(reference)):
        absent = fresh.isna() & reference.isna()  # an empty text reads as NaN, which differs from itself
        rows = np.flatnonzero(((fresh != reference) & ~absent).to_numpy())
        return f"row {rows[0]} is {fresh[rows[0]]!r}, was {reference[rows[0]]!r}" if len(rows) else ""
    if not (pd.api.types.is_numeric_dtype(fresh) and pd.api.types.is_numeric_dtype(reference)):
        return f"is {fresh.dtype}, was {reference.dtype}"
    new, old = fresh.to_numpy(float), reference.to_numpy(float)
    same = (new == old) | (np.isnan(new) & np.isnan(old))  # infinities among them
    with np.errstate(invalid="ignore"):
        excess = np.where(same, -1.0, np.abs(new - old) - tolerance(old))
    excess = np.nan_to_num(excess, nan=np.inf)  # a number where there was none, or none where there was one
    if not len(excess) or excess.max() <= 0:
        return ""
    worst = int(excess.argmax())
    return f"row {worst} is {new[worst]:.12g}, was {old[worst]:.12g}: moved by {abs(new[worst] - old[worst]):.3g}"


def _changes(new: Mapping[str, Any], old: Mapping[str, Any], what: str) -> list[Difference]:
    """Every entry that was there and is not the same now, numbers to the tolerance; and every one that is new."""
    moved = [name for name, value in old.items() if name not in new or not _same(new[name], value)]
    return [Difference(f"{what} {name}", f"is {new.get(name)!r}, was {old[name]!r}") for name in moved] + [
        Difference(f"{what} {name}", f"is {new[name]!r}, was not there") for name in new if name not in old
    ]


def _same(new: Any, old: Any) -> bool:
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (new, old))
    return math.isclose(new, old, rel_tol=TOLERANCE, abs_tol=ROUNDING) if numbers else bool(new == old)


def _numbers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """What a measurement says, flat; bands are compared apart, since the registry may have moved them."""
    ends = dict(zip(("lower", "upper"), measured["interval"], strict=True))
    fields = {name: measured[name] for name in ("estimate", "n", "verdict", "withheld")}
    return fields | ends | {f"value {name}": value for name, value in measured["values"].items()}


def band_differences(registry: Mapping[str, claims.Claim], results: Mapping[str, Any]) -> list[Difference]:
    """Every number of a run outside the band that the registry now states for it, unless the registry says why."""
    found = []
    for measured in results["measurements"]:
        if measured["claim"] not in registry:
            found.append(Difference(measured["claim"], "is not in the registry any more"))
            continue
        part = registry[measured["claim"]].find_part(measured["part"])
        numbers = {**measured["values"], "estimate": measured["estimate"]}
        known = {name: math.nan if value is None else value for name, value in numbers.items()}
        misses = claims.band_misses(part, results["profile"], known)
        if results["profile"] not in part.band_missed:
            found += [Difference(full_name(measured), str(miss)) for miss in misses]
        elif not misses:
            met = "is declared to miss its band, and lies in it: remove band_missed"
            found.append(Difference(full_name(measured), met))
    return found


def verify(project: Project, notebooks: Sequence[str], profile: str, against: str) -> dict[str, Comparison]:
    """Comparisons by notebook: the work tree's results with `against`, and with their bands."""
    restore_all(project)
    names = list(notebooks) or [path.stem for path in project.all_notebooks()]
    registry = claims.load(project)
    report = {}
    for name in names:
        notebook = project.notebook(name).stem
        fresh = Folder(project.figures / profile / notebook)
        comparison = compare(fresh, source(project, against, profile, notebook))
        results = _results(fresh)
        own = [*_refused(fresh, results, registry), *band_differences(registry, results)] if results else []
        report[notebook] = replace(comparison, differences=comparison.differences + own)
    return report


def _refused(fresh: Source, results: Mapping[str, Any], registry: Mapping[str, claims.Claim]) -> list[Difference]:
    try:
        check_results(results, fresh.read, registry)
    except ReproError as error:
        return [Difference(RESULTS, f"is refused: {error}")]
    return []


def _results(where: Source) -> dict[str, Any] | None:
    content = where.read(RESULTS)
    return None if content is None else parse_results(content)
