"""Figures are drawn again from the tables beside them, and verdicts from the record and the registry; no cell runs."""

import base64
import json

import pytest
from conftest import CLAIMS, PLOTS

from repro.workflow import claims
from repro.workflow.project import Project
from repro.workflow.results import check_results, load_results


def kept(done):
    check_results(
        load_results(done.results), lambda name: (done.results / name).read_bytes(), claims.load(Project(done.root))
    )
    return done.content()


def test_nothing_changes_where_nothing_did(done):
    before = done.content()
    assert done.repro("redraw").stdout == "toy (laptop): nothing changed\n"
    assert kept(done) == before


def test_a_new_look_changes_the_pictures_and_no_number_and_runs_no_cell(done):
    before = done.content()
    (done.root / "toy_plots.py").write_text(PLOTS.replace('"o"', '"x"'))
    log = done.root / "log"
    assert done.repro("redraw", "toy", TOY_LOG=str(log)).stdout == "toy (laptop): values\n"
    after = kept(done)
    assert not log.exists() and after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"values.png", "values.svg", "notebook.ipynb", "results.json"}
    assert base64.b64encode(after["values.png"]) in after["notebook.ipynb"]
    record, old = (json.loads(content["results.json"]) for content in (after, before))
    assert record["measurements"] == old["measurements"] and record["provenance"] == old["provenance"]
    assert record["redrawn"]["git"]["dirty"] is True


def test_a_new_criterion_judges_again_and_says_what_changed(done):
    done.claims.write_text(CLAIMS.replace("value = 1.0, within = 0.1", "above = 1.2"))
    said = done.repro("redraw").stdout
    assert "toy.slope: reproduced → not reproduced" in said and "verdicts" in said
    assert b"not reproduced" in kept(done)["verdicts.csv"]
    assert json.loads(done.content()["results.json"])["claims"] == {"toy.slope": "not reproduced"}


@pytest.mark.parametrize(
    ("plots", "says"),
    [
        (PLOTS.replace('("size", "seed", "value")', '("size", "value")'), "toy_plots.values now draws size, value"),
        (PLOTS.replace('("size", "seed", "value")', '("size", "seed", "error")'), "run the notebook again"),
        (PLOTS.replace("values", "numbers"), "toy_plots.values is not there"),
        ("", "toy_plots.values is not there"),
    ],
)
def test_a_figure_that_cannot_be_drawn_again_is_refused_and_nothing_is_written(done, plots, says):
    before = done.content()
    (done.root / "toy_plots.py").write_text(plots)
    run = done.repro("redraw")
    assert (run.returncode, "Traceback" in run.stderr) == (1, False) and says in run.stderr
    assert done.content() == before and not list(done.results.parent.glob(".*.new"))


@pytest.mark.parametrize("name", ["values.csv", "results.json"])
def test_results_that_were_edited_are_not_drawn_again(done, name):
    file = done.results / name
    file.write_text(file.read_text().replace("1", "2"))
    before = done.content()
    run = done.repro("redraw")
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert done.content() == before


def test_a_notebook_that_was_not_run_is_told(toy):
    run = toy.repro("redraw", "toy", "--profile", "paper")
    assert "there are no results of toy at the paper profile to draw again" in run.stderr
    assert "there are no results at the laptop profile to draw again" in toy.repro("redraw").stdout
