"""Execute one notebook in this process: `python -m repro.workflow.execute run.json FD`, started by the runner.

papermill's own bookkeeping calls a run complete after a dead kernel, so success is judged here: no exception, every
code cell executed, and the results record of this very run in place. Exit status 0 or 1. The reason of a failure goes
to the file descriptor FD, as one message, for a full disk could not take it.
"""

import json
import os
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from repro.workflow.files import write_text
from repro.workflow.process import end_with_parent
from repro.workflow.progress import tell_cell
from repro.workflow.project import LONGEST_REASON, ReproError
from repro.workflow.results import load_results

NOTEBOOK = "notebook.ipynb"


class LocalKernelManager(AsyncKernelManager):  # type: ignore[misc]
    """A kernel of this very interpreter, on sockets of the file system.

    A kernelspec called python3 could be another environment's. TCP ports are open to the machine, and parallel kernels
    race for them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.transport = "ipc"
        folder = tempfile.gettempdir()  # the run's own, with a short path
        self.ip = f"{folder}/k"
        self.connection_file = f"{folder}/connection.json"  # has the key

    @property
    def kernel_spec(self) -> KernelSpec:
        """This interpreter, whatever kernels are installed."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def execute(run: dict[str, Any]) -> None:
    """Run the notebook that `run` describes; ReproError says what went wrong."""
    output = Path(run["context"]["staging"]) / NOTEBOOK
    stage = _Stage()
    try:
        notebook = papermill.execute_notebook(
            _literal(run["notebook"]),
            _literal(str(output)),
            parameters=run["parameters"],
            kernel_name="python3",
            language="python",
            cwd=run["root"],
            progress_bar=False,
            start_timeout=120,
            kernel_manager_class=LocalKernelManager,
            on_cell_start=stage.start,
        )
    except PapermillExecutionError as error:
        raise ReproError(f"cell {stage.cell} raised {error.ename}: {error.evalue}") from None
    except DeadKernelError:
        raise ReproError(f"the kernel died in cell {stage.cell}: it was killed, or ran out of memory") from None
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if any(cell.execution_count is None for cell in code):
        raise ReproError("not every cell was executed")
    results = load_results(output.parent)
    if results is None or results["run_id"] != run["context"]["run_id"]:
        raise ReproError("the notebook wrote no results record: does its last cell call record.finish()?")
    _strip(output, run)


def _literal(path: str) -> str:
    """A path as it is: papermill fills parameters into what stands in braces."""
    return path.replace("{", "{{").replace("}", "}}")


class _Stage:
    """Tells the runner which cell is running, under the heading above it."""

    def __init__(self) -> None:
        self.heading, self.cell = "", 0

    def start(self, cell: Any, cell_index: int) -> None:
        self.cell = cell_index + 1
        if cell.cell_type == "markdown":
            headings = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
            self.heading = headings[-1] if headings else self.heading
        else:
            tell_cell(self.cell, self.heading)


def _strip(path: Path, run: dict[str, Any]) -> None:
    """Take this machine's paths out of the executed notebook, and what differs between two equal runs."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"]["papermill"] = {
        "input_path": run["shown"],
        "parameters": run["parameters"],
        "version": papermill.__version__,
    }
    for cell in notebook["cells"]:
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["id"] = "injected-parameters"  # papermill draws a new one each time
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    folders = [run["context"]["staging"], run["root"], tempfile.gettempdir(), sys.prefix, sys.base_prefix]
    for folder in sorted(folders, key=len, reverse=True):  # a warning names the file it comes from
        text = text.replace(f"{folder}/", "")
    text = text.replace(f"{os.path.expanduser('~')}/", "~/")
    write_text(path, text + "\n")


def main() -> int:
    """Entry of the child process."""
    run = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    report = int(sys.argv[2])
    os.set_inheritable(report, False)
    end_with_parent(run["runner"])  # by its number: it may be gone already
    try:
        execute(run)
    except ReproError as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot write results: {error}"
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc()
        reason = f"its process failed by {type(error).__name__}: {error}"
    else:
        return 0
    os.write(report, reason.encode(errors="replace")[:LONGEST_REASON])
    return 1


if __name__ == "__main__":
    sys.exit(main())
