"""A cell is known by the code that was imported: rows are filed under the code that computed them, or not at all."""

import functools
import importlib
import json
import sys

import pytest
from conftest import ToyProject
from slow_cells import square
from test_faults import lines, wait_for

from repro.workflow import arithmetic, cells, code, sweep
from repro.workflow.cells import Proof
from repro.workflow.project import PACKAGE, ReproError

CELL = """
import pathlib

def cell(*, number, edit=""):
    if edit:
        file = pathlib.Path(__file__)
        file.write_text(file.read_text().replace("1 *", "1000 *"))
    return [{"value": 1 * number}]
"""
NUMBERS = sweep.grid(number=[1, 2, 3])


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user's, imported."""
    (tmp_path / "user_cells.py").write_text(CELL)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("user_cells")
    forget(tmp_path)


def edit(tmp_path):
    file = tmp_path / "user_cells.py"
    file.write_text(file.read_text().replace("1 *", "1000 *"))


def forget(tmp_path):
    """As in a new process."""
    sys.modules.pop("user_cells", None)
    code._imported.pop(tmp_path / "user_cells.py", None)
    importlib.invalidate_caches()


def values(cell, tmp_path):
    return list(sweep.run(cell, NUMBERS, cache=tmp_path / "cells").frame["value"])


def test_a_cell_edited_between_two_sweeps_is_refused_and_a_new_process_computes_it(module, tmp_path):
    assert values(module.cell, tmp_path) == [1, 2, 3]
    edit(tmp_path)
    with pytest.raises(ReproError, match=r"user_cells\.py has changed since it was imported.*restart it"):
        values(module.cell, tmp_path)
    forget(tmp_path)
    assert values(importlib.import_module("user_cells").cell, tmp_path) == [1000, 2000, 3000]


def test_a_cell_edited_between_its_import_and_the_first_sweep_is_refused(module, tmp_path):
    edit(tmp_path)
    with pytest.raises(ReproError, match=r"user_cells\.py has changed since it was imported"):
        values(module.cell, tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_rows_of_a_cell_that_was_edited_while_it_ran_are_not_kept(module, tmp_path):
    with pytest.raises(ReproError, match=r"user_cells\.py has changed since it was imported"):
        sweep.run(module.cell, sweep.grid(number=[1, 2], edit="now"), cache=tmp_path / "cells")
    assert not list(tmp_path.rglob("*.json"))


def test_a_file_that_was_touched_or_edited_back_is_the_same(module, tmp_path):
    assert values(module.cell, tmp_path) == [1, 2, 3]
    (tmp_path / "user_cells.py").write_text(CELL)
    assert sweep.run(module.cell, NUMBERS, cache=tmp_path / "cells").counts.reused == 3


def test_a_change_of_the_science_is_refused_and_one_of_a_plot_is_not(monkeypatch):
    before = code.identity(square)
    monkeypatch.setitem(code._imported, PACKAGE / "training" / "flow.py", "what it said at the import")
    with pytest.raises(ReproError, match=r"flow\.py has changed since it was imported"):
        code.identity(square)
    monkeypatch.setattr(code, "_digest", lambda path: code._imported[path])  # as if it had been imported
    assert code.identity(square) != before
    assert not [path for path in code._imported if path.is_relative_to(PACKAGE / "plots")]


def closure():
    def cell(*, number):
        return [{"value": number}]

    return cell


class Study:
    def cell(self, *, number):
        return [{"value": number}]


def replaced(*, number):
    return []


replaced_once = replaced


def replaced(*, number):
    return [{"value": number}]


def of_a_notebook(*, number):
    return []


of_a_notebook.__module__ = "__main__"

NAMELESS = {
    "lambda": lambda *, number: [],
    "closure": closure(),
    "bound method": Study().cell,
    "partial": functools.partial(square, log=""),
    "replaced": replaced_once,
    "notebook": of_a_notebook,
}


@pytest.mark.parametrize("kind", NAMELESS)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_without_an_importable_name_is_refused(kind, workers, tmp_path):
    with pytest.raises(ReproError, match="cannot be imported by name, so nothing tells when its code changes"):
        sweep.run(NAMELESS[kind], NUMBERS, workers=workers, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_cell_without_a_source_file_is_refused(tmp_path):
    with pytest.raises(ReproError, match=r"the cell math\.sqrt has no source file"):
        sweep.run(__import__("math").sqrt, NUMBERS, cache=tmp_path)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"code of slow_cells.square": "0a"}, "code of slow_cells.square is 0a, expected "),
        ({"numpy": "1.0"}, "numpy is 1.0, expected "),
        ({"python": "3.9"}, "python is 3.9, expected "),
    ],
)
def test_a_process_with_another_code_or_version_computes_nothing_and_says_why(monkeypatch, changed, says):
    expected = Proof.of(square)
    mine = code.identity(square) | changed
    monkeypatch.setattr(code, "identity", lambda cell: mine)
    done = cells.compute(square, 7, {"number": 3}, expected)
    assert (done.index, done.rows, done.error) == (7, [], "") and done.refused.startswith(says)


def test_a_process_with_another_arithmetic_computes_nothing_and_says_why(monkeypatch):
    expected = Proof.of(square)
    monkeypatch.setattr(arithmetic, "fingerprint", lambda names=None: {name: "another" for name in names})
    assert "arithmetic of numpy is another, expected" in cells.compute(square, 7, {"number": 3}, expected).refused


def test_code_replaced_while_a_run_goes_on_leaves_no_row_behind(toy: ToyProject):
    log, file = toy.root / "log", toy.root / "toy_cells.py"
    running = toy.start("run", TOY_LOG=str(log), TOY_SLEEP="0.2")
    wait_for(lambda: lines(log) > 2)
    file.write_text(file.read_text().replace("scale * size", "1000 * scale * size"))
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 1 and "toy_cells.py has changed since it was imported" in output
    assert "Traceback" not in output
    again = toy.repro("run")
    assert again.returncode == 0
    results = json.loads(toy.content()["results.json"])
    assert results["counts"]["reused"] == 0 and results["measurements"][0]["estimate"] > 900
