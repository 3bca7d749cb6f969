"""A cell is known by the code that was imported: rows are filed under the code that computed them, or not at all."""

import functools
import importlib
import json
import pathlib
import subprocess
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
    for name in [path for path in code._imported if path.parent == tmp_path]:
        code._imported.pop(name)
    code._reached_by.cache_clear()
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


def changed(path, old, new):
    """What the package says with a word of one file replaced."""
    source = code._imported[path].decode()
    assert old in source
    return {**code._imported, path: source.replace(old, new, 1).encode()}


def keys(sources):
    """The code of every cell of the papers, if their files said that."""
    return {
        file.stem: code.digest_of(code.closure([file], code.ROOTS, sources), sources)
        for file in (PACKAGE / "papers" / f"{name}.py" for name in CELLS)
    }


CELLS = [f"compression/{name}" for name in ("exponents", "amplification", "kernels", "images")]
CELLS += [f"ricci/{name}" for name in ("nets", "training")]
NOW = keys(code._imported)


@pytest.mark.parametrize(
    ("file", "old", "new", "invalidated"),
    [
        ("papers/compression/exponents_plots.py", "figure", "picture", []),
        ("papers/ricci/grid.py", "0.003", "0.004", []),  # what cells cost
        ("workflow/runner.py", "jobs", "tasks", []),
        ("training/flow.py", '"""', '"""Other words. ', []),
        ("training/flow.py", "import math", "import math  # a comment", []),
        ("papers/ricci/study.py", "ARCHITECTURES", "WIDTHS", ["nets", "training"]),
        ("papers/compression/stripe.py", "spawn", "children", ["exponents", "amplification", "kernels", "images"]),
        ("training/svm.py", "import", "import os, ", ["exponents", "kernels", "images"]),
        ("geometry/arrays.py", "as_array", "as_numbers", list(NOW)),  # two imports away from a cell, or three
    ],
)
def test_a_change_invalidates_the_cells_that_can_reach_it_and_no_other(file, old, new, invalidated):
    after = keys(changed(PACKAGE / file, old, new))
    assert [name for name in NOW if after[name] != NOW[name]] == invalidated


LOADED = """
import importlib, json, os, sys
import numba, sklearn.svm, torch  # once for all
for name, cell, config in json.loads(sys.argv[1]):
    if os.fork() == 0:
        getattr(importlib.import_module(name), cell)(**config)
        files = [m.__file__ for n, m in list(sys.modules.items()) if n.split(".")[0] == "repro"]
        print(json.dumps([name, files]), flush=True)
        os._exit(0)
    os.wait()
"""
STRIPE = {"dimension": 2, "train_size": 20, "seed": 0, "width": 20, "device": "cpu"}
NETS = {"dataset": "A", "architecture": "narrow", "depth": 3, "nets": 1, "epochs": 1, "train_size": 40}
RUNS = [
    ("compression.exponents", "learning_curve_cell", {"regime": regime, **STRIPE, "test_size": 10})
    for regime in ("feature", "lazy")
]
RUNS += [
    ("compression.amplification", "one_neuron_cell", STRIPE),
    ("compression.kernels", "kernel_cell", {**STRIPE, "test_size": 10, "permutations": 1}),
    ("compression.images", "image_cell", {"dataset": "fashion-mnist-sample", "train_size": 20, "seed": 0, "width": 1}),
    (
        "ricci.nets",
        "ensemble_cell",
        {**NETS, "condition": "trained", "first_net": 0, "neighbours": [5], "test_size": 30},
    ),
    (
        "ricci.training",
        "training_cell",
        {**NETS, "k": 5, "checkpoints": 1, "points": 20, "few_points": 10, "test_size": 20},
    ),
]


@pytest.mark.kernel
def test_the_code_of_a_cell_holds_every_module_that_a_fresh_process_loads_to_run_it():
    runs = [[f"repro.papers.{name}", *rest] for name, *rest in RUNS]
    command = [sys.executable, "-c", LOADED, json.dumps(runs)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    loaded = [json.loads(line) for line in run.stdout.splitlines()]
    assert [name for name, _ in loaded] == [name for name, *_ in runs]
    for name, files in loaded:
        reached = code.closure([PACKAGE.parent / f"{name.replace('.', '/')}.py"], code.ROOTS).values()
        assert set(map(pathlib.Path, files)) <= set(reached), name


def test_imports_are_followed_in_functions_in_packages_and_beside_the_cell(tmp_path):
    files = {
        "cells.py": "def cell():\n    from helpers import one\n    import torch\n",
        "helpers/__init__.py": "from . import two",
        "helpers/one.py": "from .three import x",
        "helpers/two.py": "",
        "helpers/three.py": "import repro.style",
        "helpers/four.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    reached = set(code.closure([tmp_path / "cells.py"], {tmp_path: "", **code.ROOTS}))
    mine = {"cells.py", *(f"helpers/{name}.py" for name in ("__init__", "one", "two", "three"))}
    assert reached == mine | {"repro/__init__.py", "repro/style.py"}


def test_the_code_of_a_notebook_is_what_its_cells_can_reach_magics_or_not(tmp_path):
    (tmp_path / "helper.py").write_text("import other\n")
    (tmp_path / "other.py").write_text("")
    cells = ["%matplotlib inline\nif True:\n    !ls\nimport helper", "from repro import style", "not python"]
    assert set(code.closure_of_cells(cells, [tmp_path])) == {
        "helper.py", "other.py", "repro/__init__.py", "repro/style.py",
    }  # fmt: skip


def test_a_helper_of_a_users_that_changes_is_refused(module, tmp_path):
    (tmp_path / "user_helper.py").write_text("FACTOR = 1\n")
    (tmp_path / "user_cells.py").write_text(CELL + "\nfrom user_helper import FACTOR\n")
    forget(tmp_path)
    cell = importlib.import_module("user_cells").cell
    assert values(cell, tmp_path) == [1, 2, 3]
    (tmp_path / "user_helper.py").write_text('"""Words."""\nFACTOR = 1  # and more words\n')
    assert values(cell, tmp_path) == [1, 2, 3]
    (tmp_path / "user_helper.py").write_text("FACTOR = 2\n")
    with pytest.raises(ReproError, match=r"user_helper\.py has changed since it was imported"):
        values(cell, tmp_path)
    sys.modules.pop("user_helper")


def test_a_change_of_the_science_is_refused(monkeypatch):
    from repro.papers.compression.exponents import learning_curve_cell

    flow = PACKAGE / "training" / "flow.py"
    monkeypatch.setitem(code._imported, flow, code._imported[flow] + b"\nX = 1\n")
    with pytest.raises(ReproError, match=r"flow\.py has changed since it was imported"):
        code.identity(learning_curve_cell)


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


@pytest.mark.kernel
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
