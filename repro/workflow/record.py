"""What a run leaves behind: figures with the data they draw, measurements with verdicts, and where they came from.

    record = Record.start("compression_exponents", globals())
    rows = record.sweep(learning_curve_cell, grid)
    record.figure(plots.learning_curves, analysis.learning_curves(rows), caption="...")
    record.measure("beta_feature", "d = 5", analysis.exponent(rows, "feature", 5))
    record.finish()

Everything is written to a folder beside the target, which takes the target's place only when the run is whole.
"""

import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from repro.workflow import claims, figures, parameters, publish, sweep
from repro.workflow.cells import Cell
from repro.workflow.context import Context
from repro.workflow.forest import verdict_table, verdicts
from repro.workflow.project import RUN_VARIABLE, Project, ReproError
from repro.workflow.provenance import provenance
from repro.workflow.results import NOT_JUDGED, OWN_PROFILE, RESULTS, save_results


class Estimate(Protocol):
    """What `repro.stats.estimate.Estimate` has, as far as a record needs it."""

    @property
    def value(self) -> Any:
        """The statistic."""

    @property
    def lower(self) -> Any:
        """Lower end of its 95 % interval."""

    @property
    def upper(self) -> Any:
        """Upper end of its 95 % interval."""

    @property
    def n(self) -> int:
        """Units behind it."""

    @property
    def method(self) -> str:
        """How the interval was made."""


@dataclass(frozen=True)
class Measurement:
    """One judged statistic."""

    claim: str
    part: str
    estimate: float
    interval: tuple[float, float]
    n: int
    method: str  # of the interval
    values: dict[str, float]  # further numbers, which a band may guard
    criterion: str  # nothing where the registry has no such part
    verdict: str
    withheld: str  # why no verdict can be given, where a precondition failed
    band_misses: list[str]
    ends: tuple[float, float] = (-float("inf"), float("inf"))  # of the criterion's region

    def __str__(self) -> str:
        estimate, low, high = (claims.shown(number, self.ends) for number in (self.estimate, *self.interval))
        name = f"{self.claim} ({self.part})" if self.part else self.claim
        criterion = f"criterion {self.criterion}" if self.criterion else "no such part is declared"
        judged = f"{self.verdict.upper()}{f' ({self.withheld})' if self.withheld else ''}"
        text = f"{name}: {estimate} [{low}, {high}], n = {self.n}; {criterion}: {judged}"
        return "\n  ".join([text, *self.band_misses])

    __repr__ = __str__


class Record:
    """Collects the figures and measurements of one run of one notebook."""

    def __init__(self, project: Project, context: Context, target: Path, values: Mapping[str, Any]) -> None:
        self.project, self.context, self.target = project, context, target
        self.parameters = dict(values)
        self.claims = {claim.id: claim for claim in claims.of_notebook(claims.load(project), context.notebook)}
        self.measurements: list[Measurement] = []
        self.figures: list[dict[str, Any]] = []
        self.files: list[dict[str, str]] = []
        self.counts = sweep.Counts(0, 0, 0.0)
        self.clock = (time.monotonic(), time.process_time())
        self.staging = Path(context.staging)
        self.staging.mkdir(parents=True, exist_ok=True)

    @classmethod
    def start(cls, notebook: str, namespace: Mapping[str, Any]) -> "Record":
        """Open the record of `notebook`; `namespace` is the notebook's `globals()`, where its parameters stand.

        Checks the parameters once more, for a run by hand or by plain papermill: ReproError names a wrong one.
        """
        project = Project.find()
        declared = parameters.read(project.notebook(notebook))
        values = {name: namespace[name] for name in declared}
        parameters.resolve(declared, [("in the notebook", values)], notebook)
        target = Path(os.path.normpath(project.root / values["output_dir"]))  # a link is not followed
        if RUN_VARIABLE not in os.environ:  # the runner has seen to its own
            publish.refuse_to_replace(target)
        return cls(project, Context.current(project, notebook, target), target, values)

    @property
    def profile(self) -> str:
        """smoke, laptop, paper, or own for a notebook run by hand."""
        return self.context.profile

    def sweep(
        self,
        cell: Cell,
        configs: Iterable[Mapping[str, Any]],
        *,
        cost: Callable[[Mapping[str, Any]], float] = lambda config: 1.0,
    ) -> pd.DataFrame:
        """All rows of `cell` over the configurations, see `repro.workflow.sweep.run`, on the notebook's workers."""
        swept = sweep.run(cell, configs, workers=self.parameters["workers"], cost=cost)
        self.counts += swept.counts
        return swept.frame

    def figure(
        self, draw: Callable[..., Figure], table: pd.DataFrame, *, caption: str, suffix: str = "", **options: Any
    ) -> Image:
        """Draw a table, and save the picture as PNG and SVG and what it draws as CSV; returns the picture for display.

        The name is that of `draw`, with `suffix` where one function draws several; `draw` and the options are kept, by
        which `repro redraw` draws the same table again.
        """
        name = f"{draw.__name__}_{suffix}" if suffix else draw.__name__
        if any(known["name"] == name for known in self.figures):
            raise ReproError(f"figure {name}: saved twice")
        figure = figures.describe(name, draw, caption, options)
        figures.save(self.staging, figure, table, self.profile)
        self.figures.append(figure)
        return Image(filename=str(self.staging / f"{name}.png"))

    def file(self, name: str, content: bytes, *, caption: str) -> Path:
        """Save one more file beside the figures, such as an animation; the report links it by its caption.

        Its hash is recorded with the others, but only figures' numbers are compared between runs.
        """
        path = self.staging / name
        if Path(name).name != name or name.startswith(".") or name == RESULTS or path.exists():
            raise ReproError(f"file {name}: {'saved twice' if path.exists() else 'expected a plain file name'}")
        path.write_bytes(content)
        self.files.append({"name": name, "caption": caption})
        return path

    def measure(
        self,
        claim: str,
        part: str,
        estimate: Estimate,
        values: Mapping[str, float] | None = None,
        withheld: str = "",
    ) -> None:
        """Judge one statistic against its declared criterion and band; print what follows, and keep it.

        Arguments:
            claim: its name in the registry, without the paper.
            part: as declared there, empty for a claim of one part.
            estimate: the statistic with its 95 % interval.
            values: further named numbers, which a band may guard.
            withheld: why no verdict can be given, where a precondition failed.

        Raises ReproError for a claim of another notebook, or for a part that is not declared; a run with parameters of
        the user's own keeps such a part and does not judge it.
        """
        declared = next((known for known in self.claims.values() if known.name == claim), None)
        if declared is None:
            names = ", ".join(known.name for known in self.claims.values())
            raise ReproError(f"{self.context.notebook} declares no claim {claim!r}; it has: {names}")
        found = declared.part_or_none(part) if self.context.own else declared.find_part(part)
        bounds = (float(estimate.lower), float(estimate.upper))
        if bounds[0] > bounds[1]:
            raise ReproError(f"{declared.id} {part}: the interval {bounds} is upside down")
        if declared.looks and estimate.n not in declared.looks and not self.context.own and self.profile != "smoke":
            raise ReproError(f"{declared.id} {part}: {estimate.n} units are not among its looks {list(declared.looks)}")
        numbers = {name: float(value) for name, value in (values or {}).items()}
        measurement = _judged(declared.id, part, found, self.profile, estimate, bounds, numbers, withheld)
        self.measurements = [m for m in self.measurements if (m.claim, m.part) != (declared.id, part)] + [measurement]
        print(measurement)

    def reading(self, text: str, written_for: str = "laptop") -> Markdown:
        """What the run says in words, shown with the numbers that it names filled in.

        `{beta_feature: d = 5}` becomes estimate and interval of that part, `{beta_feature: d = 5: top_local}` the value
        kept beside it. A run at another profile, or with own parameters, says that the words were written for another.
        """
        measured = {(m.claim.partition(".")[2], m.part): m for m in self.measurements}

        def number(match: re.Match[str]) -> str:
            name, part, value = match.groups(default="")
            m = measured.get((name, part))
            if m is None:
                return "(not measured)" if name in {claim.name for claim in self.claims.values()} else match[0]
            if value and value not in m.values:  # noqa: PD011
                return "(not measured)"
            numbers = [m.values[value]] if value else [m.estimate, *m.interval]  # noqa: PD011
            first, *ends = (claims.shown(number, [] if value else m.ends).replace("-", "−") for number in numbers)
            return f"{first} [{', '.join(ends)}]" if ends else first

        filled = re.sub(r"\{([a-z0-9_]+)(?:: ([^{}:]*))?(?:: (\w+))?\}", number, text)
        if self.profile != written_for or self.context.own:
            filled = f"*These words were written for the {written_for} profile; this run is another.*\n\n{filled}"
        return Markdown(filled)

    def verdicts(self) -> dict[str, claims.Verdict]:
        """Verdicts of the claims so far; none of a smoke run."""
        if self.profile == "smoke":
            return {}
        judged = [(m.claim, claims.Verdict(m.verdict)) for m in self.measurements if m.verdict != NOT_JUDGED]
        return claims.combine_parts(self.claims, judged)

    def finish(self) -> None:
        """Draw every measurement over its region and write results.json, the last thing a notebook does.

        By hand, it also moves everything into place. Raises ReproError when a claim of this notebook was not measured.
        """
        if not self.context.own:
            measured = {(m.claim, m.part) for m in self.measurements}
            for identity, absent in claims.unmeasured(self.claims.values(), self.profile, measured).items():
                raise ReproError(f"{identity} was not measured: {absent}")
        if self.measurements:
            table = verdict_table(self.claims, [asdict(m) for m in self.measurements])
            caption = "Every judged statistic with its 95 % interval, over the region declared for it in advance."
            display(self.figure(verdicts, table, caption=caption))
        for identity, verdict in self.verdicts().items():
            print(f"{identity}: {verdict}")
        wall, cpu = (
            now_ - then for now_, then in zip((time.monotonic(), time.process_time()), self.clock, strict=True)
        )
        results = {
            "schema": 2,
            "notebook": self.context.notebook,
            "profile": self.profile,
            "own_parameters": self.context.overrides,
            "run_id": self.context.run_id,
            "key": self.context.key,
            "parameters": {k: v for k, v in self.parameters.items() if k not in parameters.PLUMBING},
            "claims": self.verdicts(),
            "measurements": [_plain(m) for m in self.measurements],
            "figures": self.figures,
            "files": self.files,
            "counts": {"computed": self.counts.computed, "reused": self.counts.reused},
            "provenance": provenance(self.project, self.context.git, self.context.started, self.parameters),
            "cost": {
                "wall_seconds": round(wall, 1),
                "cpu_seconds": round(cpu, 1),
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT,
                "cells_seconds": round(self.counts.seconds, 1),  # of all cells, whenever they were computed
            },
        }
        save_results(self.staging, results)
        if self.profile == OWN_PROFILE:
            publish.publish(self.staging, self.target)


def _judged(
    claim: str,
    part: str,
    declared: claims.Part | None,
    profile: str,
    estimate: Estimate,
    bounds: tuple[float, float],
    values: dict[str, float],
    withheld: str,
) -> Measurement:
    common = (claim, part, float(estimate.value), bounds, int(estimate.n), estimate.method, values)
    if declared is None:
        return Measurement(*common, "", NOT_JUDGED, withheld, [])
    criterion = declared.criterion
    verdict = NOT_JUDGED if profile == "smoke" else str(criterion.judge(bounds, withheld))
    misses = claims.band_misses(declared, profile, {**values, "estimate": float(estimate.value)})
    ends = (criterion.lower, criterion.upper)
    return Measurement(*common, str(criterion), verdict, withheld, [str(miss) for miss in misses], ends)


def _plain(measurement: Measurement) -> dict[str, Any]:
    return {name: value for name, value in asdict(measurement).items() if name != "ends"}


_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in kibibytes elsewhere
