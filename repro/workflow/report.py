"""Results into one page, figures/index.html, and the tables between the README's markers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from repro.workflow import claims
from repro.workflow.arithmetic import UNPINNED
from repro.workflow.claims import Claim
from repro.workflow.files import read_text, write_text
from repro.workflow.parameters import DEFAULT_PROFILE
from repro.workflow.project import Project, ReproError
from repro.workflow.publish import restore_all
from repro.workflow.results import check_results, is_pinned, load_results
from repro.workflow.verify import Folder

NOT_RUN = "not run"
SHOWN_PROFILES = ("paper", DEFAULT_PROFILE)  # the fullest finished run judges a claim; smoke never does


@dataclass(frozen=True)
class Row:
    """One judged statistic, ready to be shown."""

    part: str
    estimate: str
    interval: str
    n: str
    criterion: str
    reason: str
    verdict: str
    withheld: str
    method: str  # of the interval
    bands: list[str]  # what lies outside its band, and why where the registry says so


@dataclass(frozen=True)
class Entry:
    """A claim and what its last run said."""

    claim: Claim
    profile: str
    verdict: str
    rows: list[Row]
    pinned: bool = True

    @property
    def scale(self) -> str:
        """The profile that judged the claim, whether other machines get its numbers to the last digit, and its size."""
        words = dict(self.claim.scale).get(self.profile, "")  # type: ignore[call-overload]
        return f"{self.profile}{'' if self.pinned else f', {UNPINNED}'}{f': {words}' if words else ''}"

    @property
    def withheld(self) -> str:
        """The parts that nothing can be said of, each with its reason."""
        return "; ".join(f"{row.part or 'this'} withheld: {row.withheld}" for row in self.rows if row.withheld)


@dataclass(frozen=True)
class Page:
    """One notebook's results at one profile."""

    notebook: str
    profile: str
    folder: str
    results: dict[str, Any]
    entries: list[Entry]

    @property
    def pinned(self) -> bool:
        """Whether any other machine gets the same numbers."""
        return is_pinned(self.results)


def results_of(project: Project, profile: str, notebook: str, registry: Mapping[str, Claim]) -> dict[str, Any] | None:
    """Results that may be shown, None where there are none; ReproError names a record that `check_results` refuses."""
    folder = project.figures / profile / notebook
    results = load_results(folder)
    if results is not None:
        try:
            check_results(results, Folder(folder).read, registry)
            _check_place(results, profile, notebook)
        except ReproError as error:
            raise ReproError(f"{project.shown(folder)} is refused: {error}; run its notebook again") from None
    return results


def _check_place(results: Mapping[str, Any], profile: str, notebook: str) -> None:
    """ReproError unless a record is that of the declared run whose folder it lies in."""
    said = (results["profile"], results["notebook"])
    if said != (profile, notebook):
        raise ReproError(f"it is the record of {said[1]} at the {said[0]} profile")
    if results["own_parameters"]:
        raise ReproError(f"it was run with own values of {', '.join(results['own_parameters'])}, which judge no claim")


def last_results(project: Project, notebook: str, registry: Mapping[str, Claim]) -> dict[str, Any] | None:
    """The results that judge a notebook's claims: those of the fullest profile that was run."""
    found = (results_of(project, profile, notebook, registry) for profile in SHOWN_PROFILES)
    return next((results for results in found if results is not None), None)


def entry(claim: Claim, results: dict[str, Any] | None) -> Entry:
    """A claim beside its results; without any it is `not run`."""
    if results is None:
        rows = [_row(claim, part.name, None) for part in claim.part if DEFAULT_PROFILE in part.profiles]
        return Entry(claim, "", NOT_RUN, rows)
    measured = {m["part"]: m for m in results["measurements"] if m["claim"] == claim.id}
    parts = [part.name for part in claim.part if part.name in measured]
    rows = [_row(claim, name, measured[name], results["profile"]) for name in parts]
    verdict = results["claims"].get(claim.id, NOT_RUN)
    return Entry(claim, results["profile"], verdict, rows, is_pinned(results))


def _row(claim: Claim, part: str, measured: dict[str, Any] | None, profile: str = DEFAULT_PROFILE) -> Row:
    declared = claim.find_part(part)
    criterion = declared.criterion
    if measured is None:
        return Row(part, "", "", "", str(criterion), criterion.reason, NOT_RUN, "", "", [])
    estimate, low, high = (number.replace("-", "−") for number in claims.shown_with_interval(claim, measured))
    reasons = [reason for missed, reason in declared.band_missed.items() if missed == profile]
    return Row(
        part,
        estimate,
        f"[{low}, {high}]",
        str(measured["n"]),
        measured["criterion"],
        criterion.reason,
        measured["verdict"],
        measured["withheld"],
        measured["method"],
        [*measured["band_misses"], *reasons],
    )


def entries(project: Project) -> list[Entry]:
    """Every claim of the registry beside its last results."""
    restore_all(project)
    registry = claims.load(project)
    notebooks = {claim.notebook for claim in registry.values()}
    results = {name: last_results(project, name, registry) for name in notebooks}
    return [entry(claim, results[claim.notebook]) for claim in registry.values()]


def pages(project: Project) -> list[Page]:
    """Every finished run under figures/, laptop before paper; smoke runs are no evidence and are left out."""
    found = []
    registry = claims.load(project)
    for profile in reversed(SHOWN_PROFILES):
        for notebook in project.all_notebooks():
            folder = project.figures / profile / notebook.stem
            results = results_of(project, profile, notebook.stem, registry)
            if results:
                shown = [entry(claim, results) for claim in claims.of_notebook(registry, notebook.stem)]
                found.append(
                    Page(notebook.stem, profile, folder.relative_to(project.figures).as_posix(), results, shown)
                )
    return found


def verdict_table(entries: Iterable[Entry]) -> str:
    """The README's table in Markdown: one line per judged part."""
    lines = [
        "| claim | part | estimate [95 % interval] | n | reproduced if | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for shown in entries:
        for number, row in enumerate(shown.rows):
            name = f"`{shown.claim.id}` ({shown.scale or NOT_RUN})" if number == 0 else ""
            estimate = f"{row.estimate} {row.interval}".strip()
            verdict = f"{row.verdict}: {row.withheld}" if row.withheld else row.verdict
            if number == 0 and len(shown.rows) > 1:
                name += f" **{shown.verdict}**"
            cells = (name, row.part, estimate, row.n, row.criterion, verdict)
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def paper_table(project: Project) -> str:
    """The README's list of papers in Markdown: what each is, what of it was read and what is replicated."""
    lines = ["| key | paper | what of it was read | replicated here |", "|---|---|---|---|"]
    for paper in claims.papers(project):
        others = "".join(f"; arXiv {number}" for number in paper.also)
        cited = f"{paper.authors}, *{paper.title}*, arXiv {paper.arxiv}{others}"
        lines.append(f"| {paper.key} | {cited} | {paper.read} | {paper.here} |")
    return "\n".join(lines)


def write(project: Project) -> list[Path]:
    """Write figures/index.html and the README's tables; returns what was written."""
    environment = Environment(
        loader=PackageLoader("repro.workflow", "."),
        autoescape=select_autoescape(["html", "j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    judged = entries(project)
    page = environment.get_template("report.html.j2").render(
        entries=judged, pages=pages(project), papers=claims.papers(project)
    )
    written = {project.figures / "index.html": page}
    readme = project.root / "README.md"
    if readme.is_file():
        text = between_markers(read_text(readme, readme.name), "papers", paper_table(project))
        written[readme] = between_markers(text, "verdicts", verdict_table(judged))
    for path, text in written.items():
        write_text(path, text)
    return list(written)


def between_markers(text: str, name: str, content: str) -> str:
    """`text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced by `content`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ReproError(f"no markers <!-- {name} --> ... <!-- /{name} --> to write between")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)
