"""The code of a cell as this process has imported it, which may not be what its files say by now.

A process goes on with the code that it has loaded. Its rows must not be filed under a file that was edited since, nor
those of the old file be taken for the new one's: a cell is known by what was imported, and refused once a file of it
says something else. A cell without a name that another process could import is refused too, for nothing tells its code.
"""

import functools
import hashlib
import inspect
import json
import platform
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from importlib.metadata import version
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from repro.workflow.project import PACKAGE, ReproError

# The folders whose code can change what a cell returns, and the libraries that do its arithmetic.
SCIENCE = ("data", "models", "geometry", "training", "papers")
NUMERICS = ("numpy", "scipy", "scikit-learn", "torch", "numba", "pot")


def _digest(path: Path) -> str:
    """SHA-256 of a file, empty where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


# What the files say: of the package before a module of it is loaded (its __init__ loads this one first), of a cell's
# module elsewhere when it is first asked for.
_science = sorted(path for folder in SCIENCE for path in (PACKAGE / folder).rglob("*.py"))
_imported = {path: _digest(path) for path in _science}


def identity(cell: Callable[..., Any]) -> dict[str, str]:
    """What can change a result of a cell, by name: its code as imported, the interpreter and the numerical libraries.

    Raises ReproError for a cell that cannot be imported by name, or one of whose files says something else than what
    was imported.
    """
    refuse_changed(cell)
    known = json.dumps([(path.name, _imported[path]) for path in _files(cell)])
    code = hashlib.sha256(known.encode()).hexdigest()
    return {f"code of {name_of(cell)}": code, **_versions()}


def name_of(cell: Callable[..., Any]) -> str:
    """Module and name by which any process can import a cell; ReproError where there is none."""
    module, name = getattr(cell, "__module__", None), getattr(cell, "__qualname__", None)
    if module == "__main__" or getattr(sys.modules.get(module or ""), name or "", None) is not cell:
        raise ReproError(
            f"the cell {name or repr(cell)} cannot be imported by name, so nothing tells when its code changes: a "
            "sweep takes a function of a module, not of a notebook or script, and no lambda, closure, method or partial"
        )
    return f"{module}.{name}"


def refuse_changed(cell: Callable[..., Any]) -> None:
    """ReproError if a file of a cell says something else than what this process has imported."""
    for path in _files(cell):
        if _imported[path] != _digest(path):
            raise ReproError(
                f"{path.name} has changed since it was imported, and this process still has the old code: restart it "
                "(in Jupyter, the kernel) and run again; what was finished before the change is kept"
            )


def _files(cell: Callable[..., Any]) -> list[Path]:
    """The science of the package and the cell's own module, whose content is noted when it is first asked for."""
    module = sys.modules[name_of(cell).rpartition(".")[0]]
    own = Path(module.__file__ or "").resolve() if getattr(module, "__file__", None) else None
    if own is None or own.suffix != ".py":
        raise ReproError(f"the cell {name_of(cell)} has no source file, so nothing tells when its code changes")
    if own not in _imported:
        _imported[own] = "edited before it was asked for" if _differs(module, own) else _digest(own)
    return _science if own in _science else [*_science, own]


def _differs(module: ModuleType, file: Path) -> bool:
    """Whether a loaded function of a module is not among those of its file: the file was edited meanwhile."""
    if type(module.__loader__) is not SourceFileLoader:
        return False  # it compiles what it pleases, as pytest does with tests
    try:
        known = set(_code_objects(compile(file.read_bytes(), str(file), "exec", dont_inherit=True)))
    except (SyntaxError, ValueError, OSError):
        return True
    functions = [inspect.unwrap(value) for value in vars(module).values() if inspect.isfunction(value)]
    return any(f.__code__ not in known for f in functions if f.__module__ == module.__name__)


def _code_objects(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_objects(constant)


@functools.cache
def _versions() -> dict[str, str]:
    """Of the interpreter and the numerical libraries; builds of torch compute the same on the CPU."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: version(name).partition("+")[0] for name in NUMERICS}}
