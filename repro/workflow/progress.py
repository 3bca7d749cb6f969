"""How far a long piece of work is: told to the runner through small files in one folder, elsewhere by a progress bar.

Every name by which the two sides find one another is here.
"""

import os
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from repro.workflow.files import write_text

PROGRESS_VARIABLE = "REPRO_PROGRESS"  # the folder, set by the runner for the notebook it starts
STAGE = "stage"  # what the notebook is at
CELL = "cell"  # the number of the notebook cell that runs
NOTES = "notes"  # lines that it wanted said


def _folder() -> Path | None:
    folder = os.environ.get(PROGRESS_VARIABLE)
    return Path(folder) if folder else None


def tell(text: str) -> None:
    """Say something to whoever runs this: a line of the runner's, or of the console."""
    folder = _folder()
    if folder is None:
        tqdm.write(text, file=sys.stderr)  # beside a bar, not into it
        return
    with (folder / NOTES).open("a", encoding="utf-8") as notes:
        notes.write(text.replace("\n", "\n  ") + "\n")


def tell_cell(number: int, heading: str) -> None:
    """Tell the runner which cell of the notebook is running, under the heading above it."""
    folder = _folder()
    if folder is not None:
        write_text(folder / STAGE, f"cell {number}: {heading}" if heading else f"cell {number}")
        write_text(folder / CELL, str(number))


class Listener:
    """The runner's side."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes_read = folder, 0

    def _read(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def stage(self) -> str:
        """What the notebook is at, as it says itself."""
        return self._read(STAGE) or "starting the kernel"

    @property
    def cell(self) -> str:
        """The number of the cell that runs, nothing before the first."""
        return self._read(CELL)

    def notes(self) -> list[str]:
        """Lines that the notebook wanted said since the last call."""
        lines = self._read(NOTES).splitlines()
        new, self.notes_read = lines[self.notes_read :], len(lines)
        return new


@dataclass
class Progress(AbstractContextManager):
    """Cells done of those to do, and the time left as told by what they cost."""

    label: str
    costs: list[float]
    reused: int
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    paid: float = 0.0

    def __post_init__(self) -> None:
        self.folder = _folder()
        self.bar = None if self.folder else tqdm(total=len(self.costs), desc=self.label, disable=not self.costs)
        self.show()

    def advance(self, cost: float) -> None:
        """One more cell is done."""
        self.done += 1
        self.paid += cost
        if self.bar is not None:
            self.bar.set_postfix_str(self.text(), refresh=False)
            self.bar.update()
        self.show()

    def text(self) -> str:
        """What a reader wants to know besides the count."""
        if not self.done:
            return f"{self.reused} cells from the cache" if self.reused else ""
        left = (time.monotonic() - self.started) * (sum(self.costs) / self.paid - 1)
        return f"about {left:.0f} s left"

    def show(self) -> None:
        """Write it where the runner looks."""
        if self.folder and self.costs:
            write_text(self.folder / STAGE, f"{self.label} {self.done}/{len(self.costs)} {self.text()}".strip())

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()
