"""Every notebook: committed without outputs, and run at the smoke profile against its committed numbers.

`make baselines` writes new reference numbers after a change that is meant to move them.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from repro.workflow import claims, parameters, verify
from repro.workflow.project import PACKAGE, Project

PROJECT = Project(PACKAGE.parent)
NOTEBOOKS = [path.stem for path in PROJECT.all_notebooks()]
BASELINES = Path(__file__).parent / "baselines"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_committed_without_outputs_and_with_a_kernel(name):
    notebook = json.loads(PROJECT.notebook(name).read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["language_info"]["name"] == "python"  # plain papermill asks for it


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_judges_a_claim_and_explains_every_parameter(name):
    assert claims.of_notebook(claims.load(PROJECT), name)
    for parameter in parameters.read(PROJECT.notebook(name)).values():
        assert parameter.meaning, f"{parameter.name} has no comment"
        if parameter.annotation in ("int", "float", "list[int]", "list[float]"):
            assert parameter.bounds, f"{parameter.name} has no range"


@pytest.mark.parametrize("profile", parameters.PROFILES)
def test_profiles_fit_the_notebooks(profile):
    for name, values in parameters.profile_values(PROJECT, profile).items():
        parameters.resolve(parameters.read(PROJECT.notebook(name)), [(profile, values)], name)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_at_the_smoke_profile_with_the_committed_numbers(name, tmp_path):
    command = [
        sys.executable,
        "-m",
        "repro.workflow.cli",
        "run",
        name,
        "--profile",
        "smoke",
        "--force",
        "--out",
        str(tmp_path),
    ]
    run = subprocess.run(command, cwd=PROJECT.root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    fresh, committed = (verify.Folder(folder / "smoke" / name) for folder in (tmp_path, BASELINES))
    assert [str(difference) for difference in verify.compare(fresh, committed)] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_laptop_results_come_from_a_clean_commit_and_lie_in_their_bands(name):
    results = json.loads((PROJECT.figures / "laptop" / name / "results.json").read_text(encoding="utf-8"))
    assert results["provenance"]["git"]["dirty"] is False and results["own_parameters"] == []
    assert results["counts"]["failed"] == 0
    assert [str(difference) for difference in verify.band_differences(PROJECT, results)] == []
    resolved = {name: parameter.default for name, parameter in parameters.read(PROJECT.notebook(name)).items()}
    assert results["parameters"] == {k: v for k, v in resolved.items() if k not in parameters.PLUMBING}
