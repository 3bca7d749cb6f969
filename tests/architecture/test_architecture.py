"""A paper's room: one topic per notebook, and what belongs to a topic bears its name. The rest `make lint` checks."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAPERS = sorted(folder.parent.name for folder in ROOT.glob("repro/papers/*/__init__.py"))
NOTEBOOKS = sorted(notebook.stem for notebook in ROOT.glob("notebooks/*.ipynb"))
SUFFIXES = ("", "_analysis", "_plots")  # cells, their numbers, their figures
SHARED = {  # words of several topics
    *("coefficients", "grid", "looks", "nets", "stripe", "study"),
    *("pictures", "planar", "planes", "segments", "segments_analysis"),
}


def topics(paper):
    return {name.removeprefix(f"{paper}_") for name in NOTEBOOKS if name.startswith(f"{paper}_")}


def modules(paper):
    return {module.stem for module in (ROOT / "repro" / "papers" / paper).glob("*.py")} - {"__init__"}


def test_every_notebook_belongs_to_a_paper():
    assert {name.split("_")[0] for name in NOTEBOOKS} == set(PAPERS)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_module_is_called_after_a_notebook_or_shared(paper):
    assert modules(paper) <= {topic + suffix for topic in topics(paper) for suffix in SUFFIXES} | SHARED


@pytest.mark.parametrize("paper", PAPERS)
def test_every_notebook_has_modules_of_its_name(paper):
    assert [topic for topic in topics(paper) if not modules(paper) & {topic + suffix for suffix in SUFFIXES}] == []


def test_every_shared_word_is_a_module():
    assert SHARED.issubset(word for paper in PAPERS for word in modules(paper))
