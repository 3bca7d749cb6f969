"""The claims registry and the rule that turns an interval into a verdict.

A criterion judges the paper: it is written before the run and never loosened. A band guards our code: it is
where our own estimate fell at a profile. The two are checked apart and shown side by side.
"""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from repro.workflow.files import first_fault, read_toml
from repro.workflow.project import Project, ReproError

Profile = Literal["smoke", "laptop", "paper"]
Bounds = tuple[float, float]
Checked = TypeVar("Checked", bound=BaseModel)


class Verdict(StrEnum):
    """What a measurement says of a claim; operational states (not run, failed) are no verdicts."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    PARTIAL = "partial"
    WITHHELD = "withheld"  # a precondition failed, so that nothing can be said


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Criterion(_Strict):
    """The acceptance region of a statistic, open (`above`, `below`) or closed (`at_least`, `at_most`) at each end.

    `value` and `within` state the closed region value ± within.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    reason: str
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    value: float | None = None
    within: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_region(self) -> Self:
        if (self.value is None) != (self.within is None):
            raise ValueError("`value` and `within` go together")
        ends = (self.above, self.at_least, self.below, self.at_most)
        if self.value is None and all(end is None for end in ends):
            raise ValueError("states no region: give above, at_least, below, at_most, or value and within")
        if self.value is not None and any(end is not None for end in ends):
            raise ValueError("states two regions: value and within, or bounds")
        if (self.above is not None and self.at_least is not None) or (
            self.below is not None and self.at_most is not None
        ):
            raise ValueError("states one end twice")
        if self.lower > self.upper or (self.lower == self.upper and (self.above, self.below) != (None, None)):
            raise ValueError(f"the region {self} is empty")
        return self

    @property
    def lower(self) -> float:
        """Lower end of the region, -inf where there is none."""
        if self.value is not None and self.within is not None:
            return self.value - self.within
        return next((end for end in (self.above, self.at_least) if end is not None), -math.inf)

    @property
    def upper(self) -> float:
        """Upper end of the region, inf where there is none."""
        if self.value is not None and self.within is not None:
            return self.value + self.within
        return next((end for end in (self.below, self.at_most) if end is not None), math.inf)

    def __str__(self) -> str:
        if self.value is not None:
            return f"{self.value:.4g} ± {self.within:.4g}"
        signs = ((">", self.above), ("≥", self.at_least), ("<", self.below), ("≤", self.at_most))
        return " and ".join(f"{sign} {end:.4g}" for sign, end in signs if end is not None)

    def judge(self, interval: Bounds, withheld: str = "") -> Verdict:
        """Reproduced if the whole interval lies inside the region, not reproduced if disjoint, else inconclusive.

        An interval with a NaN end (one unit, or a statistic that could not be formed) is inconclusive. A part whose
        precondition failed is withheld.
        """
        low, high = interval
        if withheld:
            return Verdict.WITHHELD
        if math.isnan(low) or math.isnan(high):
            return Verdict.INCONCLUSIVE
        above_lower = low > self.lower if self.above is not None else low >= self.lower
        below_upper = high < self.upper if self.below is not None else high <= self.upper
        if above_lower and below_upper:
            return Verdict.REPRODUCED
        short = high <= self.lower if self.above is not None else high < self.lower
        beyond = low >= self.upper if self.below is not None else low > self.upper
        return Verdict.NOT_REPRODUCED if short or beyond else Verdict.INCONCLUSIVE


def shown(value: float | None, ends: Sequence[float] = ()) -> str:
    """A number in three digits, or in as many more as it takes to show on which side of each end it lies.

    >>> shown(1.0004, [1.0])
    '1.0004'
    """
    if value is None or math.isnan(value):
        return "undefined"
    texts = (f"{value:.{digits}g}" for digits in range(3, 18))
    return next(t for t in texts if all((float(t) > end, float(t) < end) == (value > end, value < end) for end in ends))


def shown_with_interval(claim: "Claim", measured: Mapping[str, Any]) -> tuple[str, str, str]:
    """Estimate and ends of the interval of a recorded measurement, so that their sides of the region can be seen."""
    part = claim.part_or_none(measured["part"])
    ends = [end for end in (part.criterion.lower, part.criterion.upper) if math.isfinite(end)] if part else []
    estimate, low, high = (shown(value, ends) for value in (measured["estimate"], *measured["interval"]))
    return estimate, low, high


class Part(_Strict):
    """One judged statistic of a claim."""

    name: str = ""
    criterion: Criterion
    profiles: tuple[Profile, ...] = ("smoke", "laptop", "paper")
    band: dict[Profile, dict[str, Bounds]] = {}
    band_missed: dict[Profile, str] = {}  # why the committed run of a profile lies outside its band

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for profile, numbers in self.band.items():
            for name, (low, high) in numbers.items():
                if not low <= high:
                    raise ValueError(f"band.{profile}.{name}: [{low}, {high}] is empty")
        return self


class Claim(_Strict):
    """One testable sentence of a paper (or ours), with the rule that judges it."""

    id: Annotated[str, Field(pattern=r"^[a-z]+\.[a-z0-9_]+$")]
    statement: str
    source: str
    notebook: str
    kind: Literal["value", "exponent", "ordering", "trend", "identity"]
    statistic: str
    unit: str
    axis: str  # the statistic in a few words, as a figure writes it at its axis
    declared: date
    deviations: tuple[str, ...] = ()
    history: tuple[str, ...] = ()  # earlier criteria and verdicts, and why they changed
    scale: dict[Profile, str] = {}  # how far below the paper's scale each profile is
    pilot: str = ""  # what of this was seen before the criterion was written, and where
    looks: tuple[Annotated[int, Field(ge=2)], ...] = ()  # units at which it may be measured
    budget: Annotated[float, Field(gt=0)] | None = None  # CPU hours, after which it stays inconclusive
    second_look: str = ""  # of what did not reproduce: unit check, positive control, second implementation
    part: tuple[Part, ...]

    @model_validator(mode="before")
    @classmethod
    def _single_part(cls, data: dict) -> dict:
        """A claim with one statistic states its criterion and band itself."""
        if "part" in data or "criterion" not in data:
            return data
        own = {key: data[key] for key in ("criterion", "band", "band_missed", "profiles") if key in data}
        return {key: value for key, value in data.items() if key not in own} | {"part": [own]}

    @model_validator(mode="after")
    def _named_parts(self) -> Self:
        names = [part.name for part in self.part]
        if not names:
            raise ValueError("has no part")
        if len(set(names)) < len(names) or (len(names) > 1 and "" in names):
            raise ValueError(f"its parts need different names, got {names}")
        if list(self.looks) != sorted(set(self.looks)):
            raise ValueError(f"looks: expected increasing numbers of units, got {list(self.looks)}")
        return self

    @property
    def paper(self) -> str:
        """Key of the paper that it is about."""
        return self.id.partition(".")[0]

    @property
    def name(self) -> str:
        """Its name within the paper."""
        return self.id.partition(".")[2]

    def part_or_none(self, name: str) -> Part | None:
        """The part called `name`, None where there is none."""
        return next((part for part in self.part if part.name == name), None)

    def find_part(self, name: str) -> Part:
        """The part called `name`; ReproError lists the parts there are."""
        part = self.part_or_none(name)
        if part is not None:
            return part
        raise ReproError(f"claim {self.id} has no part {name!r}; it has: {[part.name for part in self.part]}")

    def expected_parts(self, profile: str) -> list[str]:
        """Names of the parts that a run of this profile measures."""
        return [part.name for part in self.part if profile in part.profiles]


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """Verdict of a claim, a conjunction of its parts.

    All reproduced: reproduced. Any not reproduced: not reproduced, or partial where others are reproduced. Else
    inconclusive. Parts that are withheld say nothing, and are shown beside the verdict.
    """
    judged = {verdict for verdict in verdicts if verdict is not Verdict.WITHHELD}
    if not judged:
        return Verdict.WITHHELD if verdicts else Verdict.INCONCLUSIVE
    if judged == {Verdict.REPRODUCED}:
        return Verdict.REPRODUCED
    if Verdict.NOT_REPRODUCED in judged:
        return Verdict.PARTIAL if Verdict.REPRODUCED in judged else Verdict.NOT_REPRODUCED
    return Verdict.INCONCLUSIVE


def combine_parts(registry: Iterable[str], parts: Sequence[tuple[str, Verdict]]) -> dict[str, Verdict]:
    """Verdicts of the claims that have measured parts, given as (claim, verdict), in the order of the registry."""
    by_claim = {identity: [verdict for claim, verdict in parts if claim == identity] for identity in registry}
    return {identity: combine(verdicts) for identity, verdicts in by_claim.items() if verdicts}


def unmeasured(declared: Iterable[Claim], profile: str, parts: Container[tuple[str, str]]) -> dict[str, list[str]]:
    """Parts that a run of this profile has to measure and that are not among the (claim, part) measured, by claim."""
    absent = {
        claim.id: [part for part in claim.expected_parts(profile) if (claim.id, part) not in parts]
        for claim in declared
    }
    return {identity: names for identity, names in absent.items() if names}


@dataclass(frozen=True)
class BandMiss:
    """A number outside its regression band."""

    name: str
    value: float
    band: Bounds

    def __str__(self) -> str:
        low, high = self.band
        missed_by = low - self.value if self.value < low else self.value - high
        return f"{self.name} = {self.value:.4g} lies outside its band [{low:g}, {high:g}] by {missed_by:.2g}"


def band_misses(part: Part, profile: str, numbers: Mapping[str, float]) -> list[BandMiss]:
    """The numbers of a measurement outside their bands; one that the band names but nobody measured counts as NaN."""
    band = part.band.get(profile, {})  # type: ignore[call-overload]
    return [
        BandMiss(name, numbers.get(name, math.nan), (low, high))
        for name, (low, high) in band.items()
        if not low <= numbers.get(name, math.nan) <= high
    ]


class Paper(_Strict):
    """The head of a registry: what a folder of claims is about."""

    key: str
    title: str
    authors: str
    arxiv: str
    also: tuple[str, ...] = ()  # further papers that it draws on
    read: str  # what of it was read
    here: str  # what of it is replicated, in a few words
    pilot: str = ""  # what had been seen when the criteria were written
    deviations: tuple[str, ...] = ()  # common to all its claims
    scale: dict[str, dict[Profile, str]] = {}  # by notebook: how far below the paper's scale each profile is


def load(project: Project) -> dict[str, Claim]:
    """The registry, checked: claims by id, in the order of the files.

    Raises ReproError that names the file, the claim and the field on an unknown or missing field, a criterion
    without a region, a duplicate id, an id of another paper, or a notebook that does not exist.
    """
    claims: dict[str, Claim] = {}
    for path in project.registries:
        paper, entries = _read(project, path)
        for number, entry in enumerate(entries, start=1):
            where = f"{project.shown(path)}: claim {entry.get('id', f'number {number}')}"
            common = {"scale": paper.scale.get(str(entry.get("notebook")), {}), "pilot": paper.pilot}
            claim = _validated(Claim, common | entry, where)
            if claim.id in claims:
                raise ReproError(f"{where}: this id is declared twice")
            if claim.paper != paper.key:
                raise ReproError(f"{where}: an id in this file begins with {paper.key}.")
            if not (project.notebooks / f"{claim.notebook}.ipynb").is_file():
                raise ReproError(f"{where}: notebook {claim.notebook!r} is not in {project.shown(project.notebooks)}/")
            claims[claim.id] = claim
    return claims


def papers(project: Project) -> list[Paper]:
    """The papers of the registry, in the order of their folders."""
    return [_read(project, path)[0] for path in project.registries]


def _read(project: Project, path: Path) -> tuple[Paper, list[dict]]:
    """Head and claims of one paper's registry; the claims not checked yet."""
    where = project.shown(path)
    registry = read_toml(path, where)
    head, entries = registry.pop("paper", None), registry.pop("claim", None)
    if registry or not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        found = ", ".join(registry) or f"claim = {str(entries)[:40]}"
        raise ReproError(f"{where}: expected claims, each under a line [[claim]], found {found}")
    if not isinstance(head, dict):
        raise ReproError(f"{where}: expected the paper's title and the like under a line [paper]")
    return _validated(Paper, {"key": path.parent.name} | head, f"{where}: paper"), entries


def _validated(kind: type[Checked], entry: dict, where: str) -> Checked:
    if kind is Claim and "criterion" not in entry and "part" not in entry:
        raise ReproError(f"{where}: no criterion; a claim states what would count as reproduced before it is run")
    if kind is Claim and "part" in entry and "criterion" in entry:
        raise ReproError(f"{where}: a claim with parts states its criteria in them")
    try:
        return kind.model_validate(entry)
    except ValidationError as error:
        words = {"extra_forbidden": "unknown field", "missing": "missing field"}
        raise ReproError(f"{where}: {first_fault(error, words)}") from None


def of_notebook(claims: Mapping[str, Claim], notebook: str) -> list[Claim]:
    """The claims that a notebook judges."""
    return [claim for claim in claims.values() if claim.notebook == notebook]
