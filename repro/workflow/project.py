"""Where things are: the checkout, its notebooks, results and caches."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
REGISTRIES = "repro/papers/*/claims.toml"
RUN_VARIABLE = "REPRO_RUN"  # set by the runner for the notebook it starts: the JSON file that describes the run
LONGEST_REASON = 2**15  # bytes of what a child says of its failure; a pipe takes them without a reader

# Variables by which git takes another repository than that of the folder.
OTHER_REPOSITORY = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
)


class ReproError(Exception):
    """An error to be shown to the user as one message, without a traceback."""


@dataclass(frozen=True)
class Project:
    """A checkout: the folder that holds `notebooks/` and the claims, `repro/papers/<paper>/claims.toml`."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """The checkout around `start` (default: the working folder), else the one the package was installed from."""
        start = (start or Path.cwd()).resolve()
        for folder in [start, *start.parents, PACKAGE.parent]:
            if (folder / "notebooks").is_dir() and any(folder.glob(REGISTRIES)):
                return cls(folder)
        raise ReproError(
            f"no checkout of the project around {start}: no folder there holds notebooks/ and {REGISTRIES}. "
            "Clone the repository and run the command inside it."
        )

    @property
    def notebooks(self) -> Path:
        """The notebooks, without outputs."""
        return self.root / "notebooks"

    @property
    def figures(self) -> Path:
        """Results of declared profiles, <profile>/<notebook>/."""
        return self.root / "figures"

    @property
    def own_runs(self) -> Path:
        """Results of runs with parameters of the user's own (untracked)."""
        return self.root / "runs"

    @property
    def registries(self) -> list[Path]:
        """The claims registry, a file for each paper; at least one."""
        return sorted(self.root.glob(REGISTRIES))

    @property
    def cache(self) -> Path:
        """The local, untracked cache: finished sweep cells, keys of finished runs, failed notebooks."""
        return Path(os.environ.get("REPRO_CACHE") or self.root / ".repro").resolve()

    @property
    def locks(self) -> list[Path]:
        """The lock files that fix every version."""
        return sorted((self.root / "requirements").glob("*.lock"))

    def notebook(self, name: str) -> Path:
        """Path of the notebook called `name` (with or without folder and suffix); ReproError names the known ones."""
        asked = Path(name)
        path = self.notebooks / f"{asked.name.removesuffix('.ipynb')}.ipynb"
        elsewhere = asked.name != name and asked.with_suffix(".ipynb").resolve() != path.resolve()
        if elsewhere or not path.is_file():
            known = ", ".join(p.stem for p in self.all_notebooks()) or "none"
            raise ReproError(f"unknown notebook {name!r}; notebooks/ holds: {known}")
        return path

    def all_notebooks(self) -> list[Path]:
        """Every notebook, by name; an editor's lock file is none."""
        return sorted(path for path in self.notebooks.glob("[!.]*.ipynb") if path.is_file())

    def git(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """A git command in this checkout, in no other repository that the environment may name."""
        environment = {name: value for name, value in os.environ.items() if name not in OTHER_REPOSITORY}
        return subprocess.run(["git", "-C", str(self.root), *words], env=environment, capture_output=True, check=False)

    def shown(self, path: Path) -> str:
        """`path` as records and messages show it: relative to the checkout where it lies inside."""
        path = path.resolve()
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
