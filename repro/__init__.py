"""Geometry of deep networks, measured: four papers replicated as notebooks that run."""

from repro.workflow import code as _code  # noqa: F401  it notes what the files say before any of them is loaded
