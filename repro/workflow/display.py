"""What a run shows: how far it is while it goes on, and what came of it."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from repro.workflow import claims
from repro.workflow.plans import Plan
from repro.workflow.project import Project
from repro.workflow.results import load_results


@dataclass
class Outcome:
    """How a run ended: ran, skipped or failed, and why."""

    plan: Plan
    state: str
    reason: str
    seconds: float = 0.0


class Display:
    """A live line per running notebook on a terminal; elsewhere a plain line when the stage changes."""

    QUIET_SECONDS = 15.0  # between plain lines of one stage

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self.said: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> "Display":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, notebook: str, text: str) -> None:
        """One lasting line."""
        self.console.print(f"{notebook}: {text}", markup=False, highlight=False, soft_wrap=True)

    def show(self, active: Sequence[tuple[str, float, str]]) -> None:
        """Where every running notebook is: its name, the seconds so far, and what it is at."""
        if self.live:
            table = Table.grid(padding=(0, 2))
            for notebook, seconds, stage in active:
                add_row(table, notebook, f"{seconds:.0f} s", stage)
            self.live.update(table)
            return
        for notebook, seconds, stage in active:
            last, when = self.said.get(notebook, ("", -self.QUIET_SECONDS))
            if stage != last and (
                stage.split(" ")[0] != last.split(" ")[0] or time.monotonic() - when > self.QUIET_SECONDS
            ):
                self.said[notebook] = (stage, time.monotonic())
                self.say(notebook, f"{seconds:.0f} s, {stage}")


def summary(project: Project, outcomes: Sequence[Outcome]) -> Iterator[Table | Text]:
    """Tables of what was run and of what it says of each claim, and the numbers that left their bands."""
    registry, misses = claims.load(project), list[str]()
    runs = Table("notebook", "profile", "state", "seconds", box=None, pad_edge=False)
    judged = Table("claim", "part", "estimate", "95 % interval", "criterion", "verdict", box=None, pad_edge=False)
    for outcome in outcomes:
        plan = outcome.plan
        seconds = f"{outcome.seconds:.1f}" if outcome.seconds else "-"
        add_row(runs, plan.notebook, plan.profile, outcome.state, seconds)
        results = load_results(plan.target) if outcome.state != "failed" else None
        for m in results["measurements"] if results else []:
            estimate, low, high = claims.shown_with_interval(registry[m["claim"]], m)
            verdict = f"{m['verdict']}: {m['withheld']}" if m["withheld"] else m["verdict"]
            add_row(judged, m["claim"], m["part"], estimate, f"[{low}, {high}]", m["criterion"], verdict)
            misses += [f"{m['claim']} {m['part']}: {miss}" for miss in m["band_misses"]]
    yield runs
    if judged.row_count:
        yield judged
    yield from map(Text, misses)


def add_row(table: Table, *cells: str) -> None:
    """A row of words as they are: in a plain string, rich takes what stands in square brackets for a style."""
    table.add_row(*map(Text, cells))
