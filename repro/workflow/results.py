"""Records of finished runs: read, whatever a file holds, and believed as far as they follow from themselves."""

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repro.workflow import claims
from repro.workflow.files import file_hash, first_fault, write_text
from repro.workflow.project import ReproError

if TYPE_CHECKING:
    import pandas as pd

RESULTS = "results.json"
NOT_JUDGED = "not judged"  # what a smoke run says of every claim
OWN_PROFILE = "own"  # a notebook run by hand: no profile was asked for
FileName = Annotated[str, Field(pattern=r"^[^/\x00]+$")]  # of a file beside the record


class _Shape(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Measured(_Shape):
    claim: str
    part: str
    estimate: float | None
    interval: tuple[float | None, float | None]
    n: int
    method: str
    values: dict[str, float | None]
    criterion: str
    verdict: str
    withheld: str
    band_misses: list[str]


class _File(_Shape):
    name: FileName
    caption: str


class _Figure(_File):
    draw: str
    options: dict[str, Any]


class _Counts(_Shape):
    computed: int
    reused: int


class _Cost(_Shape):
    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: float
    cells_seconds: float | None


class _Git(_Shape):
    commit: str | None
    dirty: bool | None


class _Provenance(_Shape):
    git: _Git
    arithmetic: dict[str, Any] = {}


class _Record(_Shape):
    """What every reader of a record relies on."""

    notebook: str
    profile: str
    own_parameters: list[str]
    run_id: str
    parameters: dict[str, Any]
    claims: dict[str, str]
    measurements: list[_Measured]
    figures: list[_Figure]
    files: list[_File] = []
    counts: _Counts
    provenance: _Provenance
    cost: _Cost
    outputs: dict[FileName, str]
    seal: str


def parse_results(content: bytes) -> dict[str, Any]:
    """A results record; ReproError says in which place it is none."""
    try:
        _Record.model_validate_json(content)
        results: dict[str, Any] = json.loads(content)
    except ValidationError as error:
        raise ReproError(f"{RESULTS} is damaged: {first_fault(error)}") from None
    except (ValueError, RecursionError) as error:
        raise ReproError(f"{RESULTS} is damaged: {error}") from None
    return results


def seal_of(results: Mapping[str, Any]) -> str:
    """SHA-256 of all that a record says, by which one that was edited or damaged anywhere differs from its seal."""
    said = {name: value for name, value in results.items() if name != "seal"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def parse_table(content: bytes, name: str) -> "pd.DataFrame":
    """The table of a CSV file; ReproError where it is none."""
    import pandas as pd  # which few readers of a record need, and which takes long to load

    try:
        return pd.read_csv(io.BytesIO(content))
    except ValueError as error:  # what pandas raises of a file is one
        raise ReproError(f"{name} is damaged: {error}") from None


def full_name(measured: Mapping[str, Any]) -> str:
    """Claim and part of a recorded measurement."""
    return f"{measured['claim']} {measured['part']}".strip()


def is_pinned(results: Mapping[str, Any]) -> bool:
    """Whether a run says that its arithmetic was the pinned one, by which any other machine gets the same numbers."""
    return bool(results["provenance"].get("arithmetic", {}).get("pinned", False))


def load_results(folder: Path) -> dict[str, Any] | None:
    """The results record of a run, None where there is none; ReproError when it cannot be read."""
    path = folder / RESULTS
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ReproError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return parse_results(content)
    except ReproError as error:
        raise ReproError(f"{folder}: {error}; delete the folder and run the notebook again") from None


def check_results(
    results: Mapping[str, Any], read: Callable[[str], bytes | None], registry: Mapping[str, claims.Claim]
) -> None:
    """ReproError unless a record says what follows from it: nobody types a verdict.

    Every file has the recorded hash. Every measurement was judged by the criterion that the registry now states, its
    verdict follows from its interval, and the numbers are those of the verdict tables beside it. No claim of the
    notebook is left out, unless the run had parameters of its own. Nothing else was edited either: the seal holds.

    Arguments:
        results: the record.
        read: content of a file beside it, None where there is none.
        registry: every claim by id.
    """
    check_files(results, read)
    smoke, judged = results["profile"] == "smoke", []
    own = bool(results["own_parameters"]) or results["profile"] == OWN_PROFILE
    for measured in results["measurements"]:
        verdict = _judge_again(measured, registry, own)
        if measured["verdict"] != (NOT_JUDGED if smoke or verdict is None else verdict):
            said = f"{full_name(measured)} is recorded as {measured['verdict']!r}"
            raise ReproError(f"{said}, from its interval follows {str(verdict or NOT_JUDGED)!r}")
        if verdict is not None:
            judged.append((measured["claim"], verdict))
    follows = {} if smoke else claims.combine_parts(registry, judged)
    if results["claims"] != follows:
        raise ReproError(f"its verdicts are {results['claims']}, from its measurements follow {follows}")
    if not own:
        parts = {(measured["claim"], measured["part"]) for measured in results["measurements"]}
        declared = claims.of_notebook(registry, results["notebook"])
        for identity, absent in claims.unmeasured(declared, results["profile"], parts).items():
            raise ReproError(f"{identity} {absent[0]}".strip() + " is not measured in it")
    _check_verdict_tables(results, read)
    check_seal(results)


def check_seal(results: Mapping[str, Any]) -> None:
    """ReproError if a record was edited."""
    if results["seal"] != seal_of(results):
        raise ReproError(f"{RESULTS} was edited after the run")


def check_files(results: Mapping[str, Any], read: Callable[[str], bytes | None]) -> None:
    """ReproError unless every file of a record is there as recorded."""
    for name, sha in results["outputs"].items():
        content = read(name)
        if content is None or hashlib.sha256(content).hexdigest() != sha:
            raise ReproError(f"{name} is {'missing' if content is None else 'not the file that was recorded'}")


def _judge_again(measured: Mapping[str, Any], registry: Mapping[str, claims.Claim], own: bool) -> claims.Verdict | None:
    """What follows from a recorded interval by the criterion of the registry, which must be the recorded one.

    None for a part that no criterion is declared for, in a run with parameters of the user's own.
    """
    if measured["claim"] not in registry:
        raise ReproError(f"{measured['claim']} is not in the registry any more")
    if own and not measured["criterion"] and registry[measured["claim"]].part_or_none(measured["part"]) is None:
        return None
    criterion, verdict = judge(measured, registry)
    if measured["criterion"] != criterion:
        raise ReproError(
            f"{full_name(measured)} was judged by {measured['criterion']}, the registry now says {criterion}"
        )
    return verdict


def judge(measured: Mapping[str, Any], registry: Mapping[str, claims.Claim]) -> tuple[str, claims.Verdict]:
    """The criterion that the registry states for a recorded measurement, and what follows from its interval."""
    criterion = registry[measured["claim"]].find_part(measured["part"]).criterion
    return str(criterion), criterion.judge(interval_of(measured), measured["withheld"])


def interval_of(measured: Mapping[str, Any]) -> tuple[float, float]:
    """Both ends as numbers: JSON has no NaN, and a record says null."""
    low, high = (math.nan if end is None else end for end in measured["interval"])
    return low, high


def _check_verdict_tables(results: Mapping[str, Any], read: Callable[[str], bytes | None]) -> None:
    """The tables that the forests draw hold the measurements a second time."""
    measured = {(m["claim"], m["part"]): m for m in results["measurements"]}
    for name in (name for name in results["outputs"] if name.startswith("verdicts") and name.endswith(".csv")):
        table = parse_table(read(name) or b"", name)
        lacking = {"claim", "part", "estimate", "lower", "upper", "n", "verdict"} - set(table.columns)
        if lacking:
            raise ReproError(f"{name} has no column {min(lacking)}")
        table["part"] = table["part"].astype(object).fillna("")  # an empty text reads as NaN
        for row in table.itertuples(index=False):
            m = measured.get((row.claim, row.part))
            said = [m["estimate"], *m["interval"], m["n"], m["verdict"]] if m else [""] * 5
            drawn: list[Any] = [row.estimate, row.lower, row.upper, row.n, row.verdict]
            same = [a == b if b is not None else not math.isfinite(a) for a, b in zip(drawn, said, strict=True)]
            if not all(same):
                raise ReproError(f"{row.claim} {row.part}".strip() + f" is not what {name} says of it")


def intact(folder: Path, results: Mapping[str, Any]) -> bool:
    """Whether every file of a finished run is there, unchanged."""
    return all(
        (folder / name).is_file() and file_hash(folder / name) == sha for name, sha in results["outputs"].items()
    )


def save_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Write results.json with the SHA-256 of every other file in the folder, and its own seal."""
    outputs = {
        p.name: file_hash(p) for p in sorted(folder.iterdir()) if p.name != RESULTS and not p.name.startswith(".")
    }
    said = _finite({**results, "outputs": outputs})
    text = json.dumps(said | {"seal": seal_of(said)}, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(folder / RESULTS, text + "\n")


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
