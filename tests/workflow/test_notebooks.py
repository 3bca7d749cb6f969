"""Every notebook: committed without outputs, and run at the smoke profile against its committed numbers.

`make baselines` writes new reference numbers after a change that is meant to move them.
"""

import json
import re
from pathlib import Path

import pytest

from repro.workflow import arithmetic, claims, parameters, verify
from repro.workflow.project import PACKAGE, Project
from repro.workflow.results import is_pinned, load_results

PROJECT = Project(PACKAGE.parent)
NOTEBOOKS = [path.stem for path in PROJECT.all_notebooks()]
BASELINES = Path(__file__).parents[1] / "baselines"


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


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_a_short_story_that_judges_under_its_headings(name):
    cells = parameters.read_cells(PROJECT.notebook(name))
    code = [[line for line in cell.text.splitlines() if line.strip()] for cell in cells if cell.cell_type == "code"]
    assert max(map(len, code)) <= 25
    judging = [number for number, lines in enumerate(code) if any("record.measure(" in line for line in lines)]
    assert judging and all(len(code[number]) <= 6 for number in judging)
    assert any("record.figure(" in "".join(lines) for lines in code[: judging[0]])
    assert "*Found (" in cells[0].text and code[-1] == ["record.finish()"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_numbers_in_the_committed_reading_are_those_of_the_record(name):
    """Words name numbers by claim and part; what was not measured would say so."""
    folder = PROJECT.figures / "laptop" / name
    notebook = json.loads((folder / "notebook.ipynb").read_text(encoding="utf-8"))
    (cell,) = [cell for cell in notebook["cells"] if "record.reading(" in "".join(cell["source"])]
    (shown,) = ["".join(output["data"]["text/markdown"]) for output in cell["outputs"]]
    named = re.findall(r"\{([a-z0-9_]+)(?:: ([^{}:]*))?(?:: \w+)?\}", "".join(cell["source"]))
    declared = {(claim.name, part.name) for claim in claims.load(PROJECT).values() for part in claim.part}
    assert named and set(named) <= declared
    assert "not measured" not in shown and "These words were written for" not in shown


@pytest.mark.parametrize("profile", parameters.PROFILES)
def test_profiles_fit_the_notebooks(profile):
    for name, values in parameters.profile_values(PROJECT, profile).items():
        parameters.resolve(parameters.read(PROJECT.notebook(name)), [(profile, values)], name)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_at_the_smoke_profile_with_the_committed_numbers(name, smoke):
    fresh = verify.Folder(smoke / name)
    committed = verify.Folder(BASELINES / "smoke" / name)
    compared = verify.compare(fresh, committed)
    assert [str(difference) for difference in compared.differences] == []
    assert compared.how == "to 1e-09" or not arithmetic.can_be_pinned()


def committed(profile):
    return [name for name in NOTEBOOKS if (PROJECT.figures / profile / name / "results.json").is_file()]


RUNS = [(profile, name) for profile in ("laptop", "paper") for name in committed(profile)]


@pytest.mark.parametrize(("profile", "name"), RUNS)
def test_committed_results_come_from_a_clean_commit_and_lie_in_their_bands(profile, name):
    results = json.loads((PROJECT.figures / profile / name / "results.json").read_text(encoding="utf-8"))
    assert results["provenance"]["git"]["dirty"] is False and results["own_parameters"] == []
    assert [str(difference) for difference in verify.band_differences(claims.load(PROJECT), results)] == []
    layers = [(profile, parameters.profile_values(PROJECT, profile).get(name, {}))]
    resolved = parameters.resolve(parameters.read(PROJECT.notebook(name)), layers, name)
    assert results["parameters"] == {k: v for k, v in resolved.items() if k not in parameters.PLUMBING}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_laptop_results_are_those_of_the_pinned_arithmetic(name):
    """Paper results are older; the pages mark them as unpinned until they are run again."""
    assert is_pinned(load_results(PROJECT.figures / "laptop" / name))
    assert is_pinned(load_results(BASELINES / "smoke" / name))
