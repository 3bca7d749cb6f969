"""Parameters of a notebook: read from its tagged cell, checked before any kernel starts.

A parameters cell holds annotated literals, one per line, each with a comment. A range in square brackets
at the end of the comment is enforced, on every element of a list:

    train_sizes: list[int] = [64, 128]  # training points p [>= 2]
    output_scale: float = 1e-6  # alpha; below about 1e-4 the net learns features [> 0]
"""

import ast
import json
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from repro.workflow.files import first_fault, read_toml
from repro.workflow.project import Project, ReproError

PROFILES = ("smoke", "laptop", "paper")
DEFAULT_PROFILE = "laptop"  # its values stand in the notebooks themselves
REQUIRED = {"seed": int, "device": str, "output_dir": str, "workers": int}
# How a run is carried out, not what it computes: no part of the content key, never an "own parameter".
PLUMBING = ("output_dir", "workers")

_BOUNDS = {">=": "ge", ">": "gt", "<=": "le", "<": "lt"}  # as pydantic calls them
_BRACKETS = re.compile(r"\[([^\[\]]*)\]\s*$")
_RANGE = re.compile(r"(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
_RANGES = re.compile(rf"\s*{_RANGE.pattern}(?:\s*(?:,|and)\s*{_RANGE.pattern})*\s*")


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell."""

    name: str
    annotation: str
    default: Any
    help: str

    @property
    def meaning(self) -> str:
        """The comment without its range."""
        return _BRACKETS.sub("", self.help).strip()

    @property
    def bounds(self) -> str:
        """The range in square brackets that ends the comment, or nothing."""
        match = _BRACKETS.search(self.help)
        return match[1] if match else ""

    def check(self, value: Any) -> Any:
        """`value` as the declared type; ReproError names the parameter, the value and what was expected.

        A list spans a grid, in which a value given twice would count the same cells as more evidence: that is refused.
        """
        try:
            checked = TypeAdapter(self._type()).validate_python(value, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"[{index}]" for index in first["loc"] if isinstance(index, int))
            expected = f"{self.annotation} [{self.bounds}]" if self.bounds else self.annotation
            raise ReproError(
                f"parameter {self.name}{where}: got {first['input']!r}, expected {expected}: {self.meaning}"
            ) from None
        twice = [item for item in checked if checked.count(item) > 1] if isinstance(checked, list) else []
        if twice:
            raise ReproError(f"parameter {self.name}: {twice[0]!r} is given twice: {self.meaning}")
        return checked

    def _type(self) -> Any:
        match = re.fullmatch(r"list\[(\w+)\]", self.annotation)
        kinds: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool}
        kind = kinds.get(match[1] if match else self.annotation)
        if kind is None:
            raise ReproError(
                f"parameter {self.name}: {self.annotation!r} is not int, float, str, bool or a list of one of them"
            )
        if kind is str and self.bounds:  # [auto | cpu | cuda]: one of the named words
            kind = Literal[tuple(word.strip() for word in self.bounds.split("|"))]
        elif kind in (int, float):
            whole = kind is float or all(float(number).is_integer() for _, number in _RANGE.findall(self.bounds))
            if self.bounds and not (_RANGES.fullmatch(self.bounds) and whole):
                raise ReproError(f"parameter {self.name}: the range [{self.bounds}] is not read; write [>= 2, < 10]")
            limits: dict[str, Any] = {_BOUNDS[sign]: float(number) for sign, number in _RANGE.findall(self.bounds)}
            if kind is float:
                limits["allow_inf_nan"] = False
            kind = Annotated[kind, Field(**limits)]
        return Annotated[list[kind], Field(min_length=1)] if match else kind  # type: ignore[valid-type]


class _Metadata(BaseModel):
    tags: list[str] = []


class NotebookCell(BaseModel):
    """One cell of a notebook file, as far as it is read here."""

    cell_type: str
    source: str | list[str]
    metadata: _Metadata = _Metadata()

    @property
    def text(self) -> str:
        """Its source in one piece."""
        return "".join(self.source)

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        return self.metadata.tags


class _Notebook(BaseModel):
    nbformat: Literal[4]
    cells: list[NotebookCell]


def read_cells(path: Path) -> list[NotebookCell]:
    """The cells of a notebook file; ReproError says in which place it is none."""
    try:
        return _Notebook.model_validate_json(path.read_bytes()).cells
    except ValidationError as error:
        raise ReproError(f"{path.name} is not a notebook: {first_fault(error)}") from None
    except OSError as error:
        raise ReproError(f"{path.name} cannot be read: {error.strerror}") from None


def read(path: Path) -> dict[str, Parameter]:
    """The declared parameters of a notebook, in order.

    Raises ReproError when there is no tagged cell, when a line of it is not an annotated literal, or when one
    of the four parameters that every notebook has is missing.
    """
    tagged = [cell for cell in read_cells(path) if "parameters" in cell.tags]
    if len(tagged) != 1:
        raise ReproError(f"{path.name} has {len(tagged)} cells tagged 'parameters'; it needs exactly one")
    parameters = _parse(tagged[0].text, path.name)
    for name, kind in REQUIRED.items():
        if name not in parameters or parameters[name].annotation != kind.__name__:
            raise ReproError(f"{path.name}: the parameters cell lacks `{name}: {kind.__name__}`")
    for parameter in parameters.values():
        parameter.check(parameter.default)
    return parameters


def _parse(source: str, where: str) -> dict[str, Parameter]:
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:  # a magic is one too
        raise ReproError(f"{where}: line {error.lineno} of the parameters cell is not Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ReproError(f"{where}: the parameters cell is not Python: {error or type(error).__name__}") from None
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    parameters = {}
    for statement in statements:
        try:
            if not (
                isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value
            ):
                raise ValueError
            default = ast.literal_eval(statement.value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            line = ast.get_source_segment(source, statement)
            raise ReproError(f"{where}: not an annotated literal in the parameters cell: {line}") from None
        name = statement.target.id
        parameters[name] = Parameter(
            name, ast.unparse(statement.annotation), default, comments.get(statement.end_lineno or 0, "")
        )
    return parameters


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """`name=value` words as a dictionary; a value is JSON, else a Python literal, else the bare text."""
    values = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.isidentifier():
            raise ReproError(f"--set takes name=value, got {setting!r}; for example --set seeds=4")
        values[name] = _literal(text)
    return values


def _literal(text: str) -> Any:
    for read_value in (json.loads, ast.literal_eval):
        try:
            return read_value(text)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def profile_values(project: Project, profile: str) -> dict[str, dict[str, Any]]:
    """What a profile changes, by notebook; the laptop values stand in the notebooks and change nothing."""
    if profile not in PROFILES:
        raise ReproError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    path = project.notebooks / "profiles" / f"{profile}.toml"
    if profile == DEFAULT_PROFILE:
        return {}
    if not path.is_file():  # without it, laptop values would be filed under this profile's name
        raise ReproError(f"{project.shown(path)} is not there: it says what the {profile} profile changes")
    values = read_toml(path, project.shown(path))
    for name, changes in values.items():
        if not isinstance(changes, dict):
            raise ReproError(f"{project.shown(path)}: {name} = {changes!r} stands under no notebook's name, [notebook]")
        try:
            project.notebook(name)
        except ReproError as error:
            raise ReproError(f"{project.shown(path)}: {error}") from None
    return values


def resolve(
    parameters: Mapping[str, Parameter], layers: Sequence[tuple[str, Mapping[str, Any]]], notebook: str
) -> dict[str, Any]:
    """Defaults overlaid by each (origin, values) layer in turn, all checked.

    Raises ReproError for a name the notebook does not declare or a value of the wrong type or range.
    """
    resolved = {name: parameter.default for name, parameter in parameters.items()}
    for origin, values in layers:
        for name, value in values.items():
            if name not in parameters:
                raise ReproError(f"{notebook} has no parameter {name!r} ({origin}); it has: {', '.join(parameters)}")
            try:
                resolved[name] = parameters[name].check(value)
            except ReproError as error:
                raise ReproError(f"{notebook}: {error} ({origin})") from None
    return resolved
