"""Every file that the program reads, in every wrong shape: one sentence or the right answer, never a traceback.

A damaged record, table or finished cell is not believed; a registry, profile or notebook that is still one in form may
have been edited on purpose, and is taken for what it says.
"""

import json
import random
import shutil
from collections import Counter

import pytest
from click.testing import CliRunner
from conftest import ToyProject
from rich.console import Console
from slow_cells import square

from repro.workflow import cells, cli, parameters, progress, runner, sweep
from repro.workflow.cells import Proof, Store
from repro.workflow.display import Display
from repro.workflow.plans import make_plans
from repro.workflow.project import Project, ReproError
from repro.workflow.publish import refuse_to_replace

RESULTS = "figures/laptop/toy/results.json"
TABLE = "figures/laptop/toy/values.csv"
EDITABLE = (
    "repro/papers/toy/claims.toml",
    "notebooks/profiles/smoke.toml",
    "notebooks/toy.ipynb",
    "README.md",
)
COMMANDS = (("list",), ("report",), ("verify",), ("verify", "--against", "figures"))

TOML = ("claim = 3", "claim = []", "[claim]", "[[claim]]", "toy = 3", "[toy]\na = nan")
SHAPES = {
    "empty": b"",
    "not UTF-8": b"\xff\xfe caf\xe9",
    "latin-1": "# é".encode("latin-1"),
    "NUL": b"\0" * 100,
    **{f"JSON {text}": text.encode() for text in ("[]", "null", "3", '"x"', "{}", "true", "[[]]", "NaN", '{"a": {}}')},
    "deep": b"[" * 100_000,
    "deep TOML": b"a = " + b"[" * 10_000,
    **{f"TOML {text}": text.encode() for text in TOML},
    "CSV": b"a,b\n1,2,3\n",
    "cells of another kind": b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}',
}  # fmt: skip


def damages(content: bytes, seed: int = 0):
    """(name, damaged content): every shape, cut at several places, one bit flipped at several."""
    rng = random.Random(seed)
    yield from SHAPES.items()
    for part in (1, len(content) // 3, len(content) // 2, len(content) - 2):
        yield f"cut at {part}", content[:part]
    for place in sorted(rng.sample(range(len(content)), min(12, len(content)))):
        yield (
            f"bit of byte {place}",
            content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :],
        )
    yield "twice", content * 2


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    project = ToyProject(tmp_path_factory.mktemp("fuzz"))
    (project.root / "README.md").write_text(
        "<!-- papers -->\n<!-- /papers -->\n<!-- verdicts -->\n<!-- /verdicts -->\n"
    )
    (project.root / "requirements").mkdir()
    (project.root / "requirements" / "a.lock").write_text("a==1\n")
    project.commit("all")
    run = project.repro("run")
    assert run.returncode == 0, run.stdout + run.stderr
    project.commit("results")
    return project


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    root = shutil.copytree(finished.root, tmp_path / "toy")
    monkeypatch.chdir(root)
    monkeypatch.delenv("REPRO_CACHE", raising=False)
    return Project(root)


def command(*words):
    """Exit code and output; whatever is raised and is no clear error fails the test."""
    result = CliRunner().invoke(cli.main, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def plan(project):
    """What `repro run` looks at before it starts anything: (0, why it runs or not), or (1, the clear error)."""
    try:
        make_plans(project, ["toy"], "smoke", {}, None)
        (laptop,) = make_plans(project, ["toy"], "laptop", {}, None)
        refuse_to_replace(laptop.target)
        return 0, runner._last_run(project, laptop)[1]
    except ReproError as error:
        return 1, f"Error: {error}"


def tried(project, file, contents):
    """Every command on every damage of a file: (damage, command, exit code, output)."""
    path = project.root / file
    whole = path.read_bytes()
    for name, content in contents:
        if content == whole:
            continue
        path.write_bytes(content)
        before = {kept: (project.root / kept).read_bytes() for kept in ("README.md", "figures/index.html")
                  if (project.root / kept).is_file()}  # fmt: skip
        for words in COMMANDS:
            code, output = command(*words)
            yield name, words, code, output
            if code and words == ("report",):  # nothing half written
                assert before == {kept: (project.root / kept).read_bytes() for kept in before}
        yield name, ("run",), *plan(project)
        path.write_bytes(whole)


def one_sentence(code, output):
    errors = [line for line in output.splitlines() if line.startswith("Error: ")]
    return code == 0 or (code == 1 and (len(errors) == 1 or "differences" in output))


@pytest.mark.parametrize("file", [RESULTS, TABLE, *EDITABLE])
def test_a_file_of_any_shape_is_one_sentence_to_every_command(project, file):
    command("report")
    count, said = Counter(), {words: command(*words) for words in COMMANDS}
    for name, words, code, output in tried(project, file, damages((project.root / file).read_bytes())):
        assert one_sentence(code, output), (name, words, output)
        count["refused" if code else "taken"] += 1
        if file in (RESULTS, TABLE) and words in said and words != ("verify", "--against", "figures"):
            assert code == 1, f"{name} of {file} was taken by {words}: {output}"
    print(f"{file}: {dict(count)}")
    assert count["refused"] + count["taken"] == sum(count.values()) > 100
    assert count["refused"] or file == "README.md"  # of which almost any bytes will do


def test_a_note_of_the_last_run_or_a_description_of_another_run_of_any_shape_harms_nothing(project):
    (note,) = (project.cache / "finished").iterdir()
    whole, count = note.read_bytes(), 0
    for name, content in damages(whole):
        note.write_bytes(content)
        code, why = plan(project)
        assert code == 0 and not (why.startswith("nothing changed") and content != whole and name in SHAPES), name
        count += 1
    for _, content in damages(json.dumps({"machine": "x", "runner": 1, "since": 0.0}).encode()):
        folder = project.cache / "active" / f"run {count}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes(content)
        (folder / "family").write_bytes(content)
        runner.clear_remains(project)
        count += 1
    assert count > 60


def test_no_byte_of_a_finished_cell_can_be_damaged_unseen(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "tell", lambda text: None)
    config = {"number": 2, "log": ""}
    rows = sweep.run(square, [config], cache=tmp_path).frame.astype(object)
    store = Store(square, tmp_path, Proof.of(square))
    path = store.path(config)
    whole, right = path.read_bytes(), store.load(config)
    assert len(rows) == len(right.rows) == 2
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert store.load(config) in (None, right)
    for _, content in damages(whole):
        path.write_bytes(content)
        assert store.load(config) in (None, right)


def test_what_a_child_writes_while_it_runs_may_be_damaged(project, monkeypatch):
    """Stage, notes, cell and reason are read while a run goes on: bytes of any kind end no run."""
    (one,) = make_plans(project, ["toy"], "smoke", {}, None)
    running = runner._start(project, one, True, runner.Limits(60, 60), {})
    try:
        for content in SHAPES.values():
            for name in (progress.STAGE, progress.NOTES, progress.CELL):
                (running.folder / name).write_bytes(content)
            assert isinstance(running.listener.stage, str) and isinstance(running.listener.notes(), list)
            assert isinstance(running._over_limit(), str)
    finally:
        running.stop()
    assert not list((project.cache / "active").iterdir())


def test_a_plain_console_shows_any_stage(project):
    shown = Display(Console(quiet=True))
    for stage in ("", " ", "[/b] [lazy]", "x" * 10_000):
        shown.show([("toy", 1.0, stage)])


def test_the_shapes_of_a_parameters_cell(project):
    for source in (
        "x: int = 1\x00",
        "(" * 1000,
        "x: int = " + "-" * 5000 + "1",
        "\ud800",
        "x: list[int] = [1] * 10**9",
        "x: int",
    ):
        notebook = json.loads((project.root / "notebooks/toy.ipynb").read_text())
        notebook["cells"][0]["source"] = source
        (project.root / "notebooks/toy.ipynb").write_text(json.dumps(notebook))
        with pytest.raises(ReproError):
            parameters.read(project.root / "notebooks/toy.ipynb")
