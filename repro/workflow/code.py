"""The code of a cell: its own module and every module that this one can reach by its imports, as this process has them.

A process goes on with the code that it has loaded. Its rows must not be filed under a file that was edited since, nor
those of the old file be taken for the new one's: a cell is known by what was imported, and refused once a file of it
means something else. Nothing is imported to find out what imports what, and a docstring or comment means nothing, so a
change to a plot, to words, or to another paper leaves a cell as it is. A cell without a name that another process could
import is refused, for nothing tells its code.
"""

import ast
import functools
import hashlib
import importlib.util
import inspect
import json
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from importlib.metadata import version
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import repro
from repro.workflow.project import PACKAGE, ReproError

# The libraries that do the arithmetic of cells.
NUMERICS = ("numpy", "scipy", "scikit-learn", "torch", "numba", "pot")

Sources = Mapping[Path, bytes]  # what files say
Files = dict[str, Path]  # by their paths below the root that they were found in
Roots = Mapping[Path, str]  # folders to look for modules in, and the only package to look for there, if not for all
ROOTS = {PACKAGE.parent: PACKAGE.name}

# What the files of the package, and of modules elsewhere once they are asked for, said when they were imported. The
# package's __init__ is not run where a folder of its name without one hides it: then they are read now.
_imported: dict[Path, bytes] = dict(
    getattr(repro, "_SOURCES", None) or {p: p.read_bytes() for p in PACKAGE.rglob("*.py")}
)
_CHANGED = b"edited before it was asked for"


def identity(cell: Callable[..., Any]) -> dict[str, str]:
    """What can change a result of a cell, by name: its code as imported, the interpreter and the numerical libraries.

    Raises ReproError for a cell that cannot be imported by name, or one of whose files means something else than what
    was imported.
    """
    refuse_changed(cell)
    return {f"code of {name_of(cell)}": digest_of(_files(cell), _imported), **_versions()}


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
    """ReproError if a file of a cell means something else than what this process has imported."""
    for path in _files(cell).values():
        now = _read(path)
        if now != _imported[path] and _meaning(now) != _meaning(_imported[path]):
            raise ReproError(
                f"{path.name} has changed since it was imported, and this process still has the old code: restart it "
                "(in Jupyter, the kernel) and run again; what was finished before the change is kept"
            )


def _files(cell: Callable[..., Any]) -> Files:
    """The cell's module and all that it can reach; what files outside the package say is noted at the first call."""
    module = sys.modules[name_of(cell).rpartition(".")[0]]
    own = Path(module.__file__ or "").resolve() if getattr(module, "__file__", None) else None
    if own is None or own.suffix != ".py":
        raise ReproError(f"the cell {name_of(cell)} has no source file, so nothing tells when its code changes")
    return _reached_by(own, module.__name__)


@functools.cache
def _reached_by(own: Path, name: str) -> Files:
    top, *rest = name.split(".")
    place = own.parent if own.name == "__init__.py" else own
    roots = {place.parents[len(rest)]: top if "site-packages" in own.parts else "", **ROOTS}
    for path in (path for path in closure([own], roots, _imported).values() if path not in _imported):
        _imported[path] = _CHANGED if _differs(path) else _read(path)
    return closure([own], roots, _imported)


def closure(files: Iterable[Path], roots: Roots, sources: Sources | None = None) -> Files:
    """These files and all that they reach by their imports, also those inside functions, and every package's __init__.

    Arguments:
        files: where to start.
        roots: where modules are looked for; what is in none of these folders, such as a library, is not followed.
        sources: what files say that are not read from the disk.

    Returns them by their paths below the root that they were found in, in order.
    """
    found: dict[Path, str] = {}
    noted, waiting = sources or {}, list(files)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        root = max(
            (root for root in roots if path.is_relative_to(root)), key=lambda r: len(r.parts), default=path.parent
        )
        found[path] = path.relative_to(root).as_posix()
        package = ".".join(path.relative_to(root).parent.parts)
        names = _names(noted[path] if path in noted else _read(path), package)
        outer = [package.rsplit(".", n)[0] for n in range(package.count(".") + 1)] if package else []
        waiting += [file for name in (*names, *outer) for file in _located(name, roots)]
    return {name: path for path, name in sorted(found.items(), key=lambda item: item[1])}


def closure_of_cells(sources: Iterable[str], folders: Iterable[Path]) -> Files:
    """All that the code cells of a notebook reach by their imports, in the package and beside them in some folders."""
    roots = {folder.resolve(): "" for folder in folders} | ROOTS
    python = (re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.M) for source in sources)  # magics are none
    names = [name for source in python for name in _names(source.encode(), "")]
    return closure([file for name in names for file in _located(name, roots)], roots)


def digest_of(files: Files, sources: Sources | None = None) -> str:
    """SHA-256 of what files mean, each known by its path below its root, wherever that is."""
    noted = sources or {}
    known = [(name, _meaning(noted[path] if path in noted else _read(path))) for name, path in files.items()]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


@functools.cache
def _meaning(source: bytes) -> str:
    """SHA-256 of a file's code without its comments and docstrings; of its bytes where it is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return hashlib.sha256(source).hexdigest()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@functools.cache
def _names(source: bytes, package: str) -> list[str]:
    """Full names of the modules that a file may import, and of what it takes from them, which may be modules too."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            origin = importlib.util.resolve_name(relative, package) if node.level and package else node.module or ""
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return names


def _located(name: str, roots: Roots) -> Iterator[Path]:
    """The file of a module, where it is below one of the roots."""
    for root, only in roots.items():
        place = root.joinpath(*name.split("."))
        if name and only in ("", name.partition(".")[0]):
            yield from (
                file.resolve()
                for file in (place.with_name(f"{place.name}.py"), place / "__init__.py")
                if file.is_file()
            )


def _read(path: Path) -> bytes:
    """What a file says, nothing where there is none."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _differs(path: Path) -> bool:
    """Whether a loaded function of a file's module is not among those of the file: it was edited meanwhile."""
    module = next((m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(path)), None)
    if not isinstance(module, ModuleType) or type(module.__loader__) is not SourceFileLoader:
        return False  # it was not loaded yet, or its loader compiles what it pleases, as pytest does with tests
    try:
        known = set(_code_objects(compile(path.read_bytes(), str(path), "exec", dont_inherit=True)))
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
