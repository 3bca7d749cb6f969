"""How results take the place of earlier ones: written beside them, moved by one rename, never over anything else."""

import json
import re
import shutil
import uuid
from pathlib import Path

from filelock import FileLock, Timeout

from repro.workflow.files import WRONG_SHAPE
from repro.workflow.project import Project, ReproError
from repro.workflow.results import RESULTS


def new_staging(target: Path) -> Path:
    """An empty folder beside `target`, on the same file system, where a run writes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{target.name}-{uuid.uuid4().hex[:8]}.new"
    folder.mkdir()
    return folder


def remove_stale_staging(target: Path) -> None:
    """Remove the staging folders of runs into `target` that were killed; those of other notebooks are left alone."""
    pattern = re.compile(rf"\.{re.escape(target.name)}-[0-9a-f]{{8}}\.new")
    for path in target.parent.iterdir():
        if pattern.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def refuse_to_replace(target: Path) -> None:
    """ReproError unless results may take the place of `target`, for what is replaced is deleted.

    It must be absent, an empty folder, or a folder with no other files than those that its own record lists.
    """
    link = next((path for path in (target, target.parent) if path.is_symlink()), None)
    if link is not None:
        raise ReproError(f"{link} is a symbolic link; results are not written through one, name the folder itself")
    if not target.exists():
        return
    if not target.is_dir():
        raise ReproError(f"{target} is a file; results need a folder of their own")
    found = {path.name for path in target.iterdir()}
    if not found:
        return
    listed = _listed(target)
    if listed is None and RESULTS in found:
        raise ReproError(
            f"{target / RESULTS} is damaged and does not tell which files are a run's; delete {target} if all are"
        )
    foreign = sorted(found - {RESULTS, *(listed or ())})
    if foreign:
        what = f"{target} holds {foreign[0]!r}, which no run left there"
        raise ReproError(f"{what}; results would replace the whole folder, name another one")


def _listed(folder: Path) -> list[str] | None:
    """Names of the files that the record of a folder lists; None without a record of that kind."""
    try:
        outputs = json.loads((folder / RESULTS).read_bytes())["outputs"]
    except (OSError, *WRONG_SHAPE):
        return None
    return list(outputs) if isinstance(outputs, dict) else None


def publish(staging: Path, target: Path) -> None:
    """Put a finished folder in the place of `target`: the old one steps aside, and comes back if anything fails.

    Raises ReproError, and moves nothing, when `target` holds anything but earlier results.
    """
    old = target.parent / f".{target.name}.old"
    restore(target)
    refuse_to_replace(target)
    if target.exists():
        target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        restore(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def restore(target: Path) -> None:
    """Undo a replacement of `target` that was cut short."""
    old = target.parent / f".{target.name}.old"
    if old.exists() and not target.exists():
        old.rename(target)
    elif old.exists():
        refuse_to_replace(old)
        shutil.rmtree(old)


def lock_of(target: Path) -> FileLock:
    """The lock that whoever writes results to `target` holds."""
    return FileLock(target.parent / f".{target.name}.lock")


def restore_all(project: Project) -> None:
    """Undo every replacement below figures/ that was cut short by a kill, so that no reader finds results missing."""
    for old in project.figures.glob("*/.*.old"):
        target = old.parent / old.name.removeprefix(".").removesuffix(".old")
        try:
            with lock_of(target).acquire(timeout=0):
                restore(target)
        except (Timeout, OSError):
            continue  # a run is replacing it just now, or nothing can be written here
