"""How a notebook was started: by the runner, or by hand."""

import json
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.workflow import publish
from repro.workflow.project import RUN_VARIABLE, Project
from repro.workflow.provenance import git_state, now
from repro.workflow.results import OWN_PROFILE


@dataclass(frozen=True)
class Context:
    """What a record says of its run beside what was computed."""

    notebook: str
    profile: str
    run_id: str
    key: str
    staging: str
    overrides: list[str] = field(default_factory=list)
    git: dict[str, Any] = field(default_factory=dict)
    started: str = ""

    @classmethod
    def current(cls, project: Project, notebook: str, target: Path) -> "Context":
        """The runner's context of this process, else a fresh one that stages beside `target`."""
        file = os.environ.get(RUN_VARIABLE)
        if file:
            known = json.loads(Path(file).read_text(encoding="utf-8"))["context"]
            return cls(**known)
        staging = publish.new_staging(target)
        return cls(notebook, OWN_PROFILE, uuid.uuid4().hex, "", str(staging), [], git_state(project), now())

    @property
    def own(self) -> bool:
        """Whether the run is the user's own, by hand or with other parameters, and judges no declared claim."""
        return bool(self.overrides) or self.profile == OWN_PROFILE
