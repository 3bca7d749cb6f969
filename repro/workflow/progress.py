"""How far a long piece of work is: for the runner a small file beside its description, elsewhere a progress bar."""

import os
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from repro.workflow.project import write_text

PROGRESS_VARIABLE = "REPRO_PROGRESS"  # file where the runner reads how far the sweep is


def tell(text: str) -> None:
    """Say something to whoever runs this: a line of the runner's, or of the console."""
    progress = os.environ.get(PROGRESS_VARIABLE)
    if not progress:
        tqdm.write(text, file=sys.stderr)  # beside a bar, not into it
        return
    with Path(progress).with_suffix(".notes").open("a", encoding="utf-8") as notes:
        notes.write(text.replace("\n", "\n  ") + "\n")


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
        self.file = os.environ.get(PROGRESS_VARIABLE)
        self.bar = None if self.file else tqdm(total=len(self.costs), desc=self.label, disable=not self.costs)
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
        if self.file and self.costs:
            write_text(Path(self.file), f"{self.label} {self.done}/{len(self.costs)} {self.text()}".strip())

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()
