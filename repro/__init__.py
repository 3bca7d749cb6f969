"""Geometry of deep networks, measured: four papers replicated as notebooks that run."""

from pathlib import Path as _Path

# What the files of the package say before any of them is loaded: a process goes on with the code that it has imported,
# whatever is edited meanwhile (see `repro.workflow.code`).
_SOURCES = {path: path.read_bytes() for path in sorted(_Path(__file__).resolve().parent.rglob("*.py"))}
