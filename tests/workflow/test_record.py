"""Records: figures with their data byte for byte, judged measurements, provenance, and moves that lose nothing."""

import getpass
import json
import math
import os
import shutil
import socket
import subprocess
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from slow_cells import square

from repro import style
from repro.workflow import claims, provenance
from repro.workflow.context import Context
from repro.workflow.project import Project, ReproError
from repro.workflow.publish import publish, remove_stale_staging, restore
from repro.workflow.record import Record
from repro.workflow.results import check_results, intact, load_results
from repro.workflow.sweep import grid

FRAME = pd.DataFrame({"size": [1, 2, 4], "value": [math.pi, 1 / 3, 2e-300]})


@pytest.fixture
def record(toy, monkeypatch):
    """The record of a notebook run by hand."""
    monkeypatch.chdir(toy.root)
    namespace = {"seeds": 4, "sizes": [1], "scale": 1.0, "seed": 0, "device": "cpu", "workers": 1}
    return Record.start("toy", {**namespace, "output_dir": "runs/own/toy"})


@style.draws("size", "value")
def values(frame, label="data"):
    figure, (axis,) = style.panels(1)
    axis.plot(frame["size"], frame["value"], label=label)
    axis.legend()
    return figure


def measure(record, part="", withheld="", **changes):
    estimate = {"value": 1.0, "lower": 0.95, "upper": 1.05, "n": 4, "method": "made up", **changes}
    record.measure("slope", part, SimpleNamespace(**estimate), withheld=withheld)
    return record.measurements[-1]


def test_a_figure_is_saved_with_exactly_the_data_it_draws(record):
    record.figure(values, FRAME.assign(other=1), caption="Values.")
    pd.testing.assert_frame_equal(pd.read_csv(record.staging / "values.csv"), FRAME, check_exact=True)
    assert (record.staging / "values.png").read_bytes()[:4] == b"\x89PNG"


def saved(record):
    record.figures.clear()
    record.figure(values, FRAME, caption="", label="twice")
    return [(record.staging / f"values.{kind}").read_bytes() for kind in ("png", "svg", "csv")]


def test_a_figure_is_the_same_file_twice_whatever_a_users_matplotlibrc_says(record):
    first = saved(record)
    assert saved(record) == first
    user = {"axes.grid": True, "font.family": "serif", "savefig.facecolor": "red", "savefig.bbox": "tight"}
    with plt.rc_context(user | {"axes.prop_cycle": plt.cycler(color=["k"]), "savefig.dpi": 30, "svg.fonttype": "none"}):
        assert saved(record) == first


@style.draws("size", "value")
def signed(frame):
    SAID.append(values(frame))
    return SAID[-1]


SAID = []


def test_a_smoke_figure_says_so_on_its_face(record):
    record.context = Context(**{**vars(record.context), "profile": "smoke"})
    record.figure(signed, FRAME, caption="")
    assert [text.get_text() for text in SAID[-1].texts] == ["smoke run: not evidence"]
    measure(record)
    assert record.measurements[0].verdict == "not judged"


@pytest.mark.parametrize(
    ("draw", "options", "message"),
    [
        (lambda frame: None, {}, "is no function of a module|is not there"),
        (values, {"label": object()}, "its options are not numbers, words or lists"),
        (style.draws("width")(lambda frame: None), {}, "is no function of a module|is not there"),
    ],
)
def test_a_figure_that_could_not_be_drawn_again_is_refused(record, draw, options, message):
    with pytest.raises(ReproError, match=message):
        record.figure(draw, FRAME, caption="", **options)
    assert not list(record.staging.iterdir())


def test_a_table_without_a_column_that_is_drawn_is_refused(record):
    with pytest.raises(ReproError, match="figure values: its table has no column 'value'; it has: size"):
        record.figure(values, FRAME[["size"]], caption="")
    assert not list(record.staging.iterdir())


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({}, "reproduced"), ({"lower": 1.2, "upper": 1.3}, "not reproduced"), ({"upper": 1.2}, "inconclusive"),
     ({"withheld": "3 of 4 nets did not fit"}, "withheld"), ({"lower": math.nan, "upper": math.nan}, "inconclusive")],
)  # fmt: skip
def test_a_measurement_is_judged_by_the_declared_criterion(record, changes, verdict):
    assert measure(record, **changes).verdict == verdict
    assert changes.get("withheld", "") in str(record.measurements[0])


def test_a_measurement_outside_its_band_says_so_whatever_the_verdict(record):
    record.context = Context(**{**vars(record.context), "profile": "laptop"})
    measured = measure(record, value=1.05)
    assert (measured.verdict, measured.band_misses) == (
        "reproduced", ["estimate = 1.05 lies outside its band [0.99, 1.01] by 0.04"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"part": "d = 5"}, "has no part 'd = 5'"), ({"lower": 2.0, "upper": 1.0}, "upside down")],
)
def test_a_wrong_measurement_of_a_declared_run_is_refused(record, changes, message):
    record.context = Context(**{**vars(record.context), "profile": "laptop"})
    with pytest.raises(ReproError, match=message):
        measure(record, **changes)


def test_a_part_that_is_not_declared_is_kept_unjudged_in_a_run_of_ones_own(record, toy, capsys):
    measure(record)
    assert measure(record, part="d = 5").verdict == "not judged"
    assert "toy.slope (d = 5): 1 [0.95, 1.05], n = 4; no such part is declared: NOT JUDGED" in capsys.readouterr().out
    record.finish()
    results = load_results(toy.root / "runs" / "own" / "toy")
    assert results["claims"] == {"toy.slope": "reproduced"} and len(results["measurements"]) == 2
    check_results(results, lambda name: (toy.root / "runs/own/toy" / name).read_bytes(), claims.load(record.project))


def test_a_bound_is_printed_so_that_its_side_of_the_region_is_seen(record):
    assert "[0.89997, 1.05]" in str(measure(record, lower=0.89997))
    assert "[0.9, 1.05]" in str(measure(record, lower=0.9))


def test_words_are_filled_with_the_numbers_of_the_record_and_say_whose_they_are(record):
    measure(record)
    record.measurements[0].values["top"] = 0.25  # noqa: PD011
    text = record.reading("It is {slope} and {slope: : top}, {slope: d = 5}, {slope: : none}, $\\frac{1}{2}$.").data
    assert text.endswith("It is 1 [0.95, 1.05] and 0.25, (not measured), (not measured), $\\frac{1}{2}$.")
    assert text.startswith("*These words were written for the laptop profile; this run is another.*")
    record.context = Context(**{**vars(record.context), "profile": "laptop"})
    assert record.reading("It is {slope}.").data == "It is 1 [0.95, 1.05]."


def test_a_figure_saved_twice_is_refused(record):
    record.figure(values, FRAME, caption="")
    with pytest.raises(ReproError, match="saved twice"):
        record.figure(values, FRAME, caption="")
    record.figure(values, FRAME, caption="", suffix="2")
    assert (record.staging / "values_2.png").is_file()


def test_a_further_file_is_kept_and_hashed(record, toy):
    measure(record)
    assert record.file("film.gif", b"GIF89a", caption="A film.").read_bytes() == b"GIF89a"
    record.finish()
    results = load_results(toy.root / "runs" / "own" / "toy")
    assert results["files"] == [{"name": "film.gif", "caption": "A film."}]
    assert "film.gif" in results["outputs"] and intact(toy.root / "runs" / "own" / "toy", results)


@pytest.mark.parametrize("name", ["results.json", "../film.gif", ".hidden"])
def test_a_file_that_would_leave_the_folder_or_replace_the_record_is_refused(record, name):
    with pytest.raises(ReproError, match="expected a plain file name"):
        record.file(name, b"", caption="")
    record.file("film.gif", b"", caption="")
    with pytest.raises(ReproError, match="saved twice"):
        record.file("film.gif", b"", caption="")


def test_a_run_by_hand_is_published_whole(record, toy):
    record.figure(values, FRAME, caption="Values.")
    measure(record)
    for numbers in ([1, 2], [1, 2, 3]):
        assert sorted(set(record.sweep(square, grid(number=numbers))["number"])) == numbers
    assert not (toy.root / "runs" / "own" / "toy").exists()
    record.finish()
    results = load_results(toy.root / "runs" / "own" / "toy")
    assert results["profile"] == "own" and results["claims"] == {"toy.slope": "reproduced"}
    assert results["counts"] == {"computed": 3, "reused": 2} and results["cost"]["cells_seconds"] >= 0
    assert [figure["name"] for figure in results["figures"]] == ["values", "verdicts"]
    assert intact(toy.root / "runs" / "own" / "toy", results)
    assert not list((toy.root / "runs" / "own").glob(".*"))


def test_the_provenance_is_whole_and_names_nobody(record, toy):
    measure(record)
    record.finish()
    text = (toy.root / "runs" / "own" / "toy" / "results.json").read_text()
    where = json.loads(text)["provenance"]
    assert len(where["git"]["commit"]) == 40 and where["git"]["dirty"] is False
    assert {"started", "python", "versions", "locks_sha256", "cpu", "cores", "workers"} <= where.keys()
    assert all(where["versions"].values())
    assert {"pinned", "device", "numpy"} <= where["arithmetic"].keys()
    cost = json.loads(text)["cost"]
    assert cost["wall_seconds"] >= 0 and cost["peak_memory_bytes"] > 2**20
    assert str(toy.root) not in text and socket.gethostname() not in text and os.path.expanduser("~") not in text
    assert getpass.getuser() not in json.dumps(where)


def test_the_tree_is_dirty_when_code_changed_but_not_when_results_did(toy):
    project = Project(toy.root)
    (toy.root / "figures").mkdir()
    (toy.root / "figures" / "index.html").write_text("x")
    (toy.root / "README.md").write_text("x")
    assert provenance.git_state(project)["dirty"] is False
    (toy.root / "toy_cells.py").write_text("x")
    assert provenance.git_state(project)["dirty"] is True


def test_the_commit_is_that_of_the_checkout_and_of_no_other_repository(toy, tmp_path_factory, monkeypatch):
    commit = provenance.git_state(Project(toy.root))["commit"]
    other = tmp_path_factory.mktemp("other")
    for words in (
        ["init", "-q"],
        ["-c", "user.name=t", "-c", "user.email=t", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(other), *words], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert provenance.git_state(Project(toy.root))["commit"] == commit
    unpacked = shutil.copytree(toy.root, other / "unpacked", ignore=shutil.ignore_patterns(".git"))
    assert provenance.git_state(Project(unpacked)) == {"commit": None, "dirty": None}


def test_wrong_parameters_are_refused_by_hand_too(toy, monkeypatch):
    monkeypatch.chdir(toy.root / "notebooks")  # where a notebook opened by hand runs
    namespace = {"seeds": 0, "sizes": [1], "scale": 1.0, "seed": 0, "device": "cpu", "workers": 1, "output_dir": "x"}
    with pytest.raises(ReproError, match=r"toy: parameter seeds: got 0, expected int \[>= 1\]"):
        Record.start("toy", namespace)


def folder(path, content):
    """Results of a run, with one file."""
    path.mkdir(parents=True)
    (path / "file").write_text(content)
    (path / "results.json").write_text('{"outputs": {"file": ""}}')
    return path


def test_publishing_replaces_a_folder_as_a_whole(tmp_path):
    target = folder(tmp_path / "target", "old")
    publish(folder(tmp_path / "new", "new"), target)
    assert (target / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_failed_publication_brings_the_old_folder_back(tmp_path):
    target = folder(tmp_path / "target", "old")
    with pytest.raises(OSError):
        publish(tmp_path / "missing", target)
    assert (target / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def thesis(path):
    """A folder that is none of ours, with one of its own inside."""
    (path / "figures").mkdir(parents=True)
    (path / "chapter.tex").write_text("years of work")
    return path


def with_a_note(path):
    folder(path, "old")
    (path / "note.txt").write_text("mine")
    return path


def with_a_folder(path):
    folder(path, "old")
    (path / "mine").mkdir()
    return path


def with_a_record_of_another_kind(path):
    path.mkdir(parents=True)
    (path / "results.json").write_text("[1, 2]")
    return path


def with_a_damaged_record(path):
    path.mkdir(parents=True)
    (path / "results.json").write_text("{")
    return path


def a_file(path):
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    return path


def a_link(path):
    path.parent.mkdir(parents=True)
    path.symlink_to(folder(path.parent.parent / "elsewhere", "old"), target_is_directory=True)
    return path


def below_a_link(path):
    (path.parent.parent / "disk").mkdir()
    path.parent.symlink_to(path.parent.parent / "disk", target_is_directory=True)
    return folder(path, "old")


FOREIGN = [thesis, with_a_note, with_a_folder, with_a_record_of_another_kind, with_a_damaged_record, a_file, a_link,
           below_a_link]  # fmt: skip


def everything(root):
    """Every path below a folder, with the content of files; links are not followed."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


@pytest.mark.parametrize("make", FOREIGN)
def test_results_replace_nothing_that_no_run_left_there(tmp_path, make):
    target, staging = make(tmp_path / "place" / "target"), folder(tmp_path / "new", "new")
    before = everything(tmp_path)
    with pytest.raises(ReproError, match=r"symbolic link|is a file|no run left there|is damaged"):
        publish(staging, target)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("place", ["thesis", ".", "..", "notebooks", "thesis/figures/..", "linked"])
def test_a_notebook_by_hand_is_refused_a_foreign_folder_before_it_computes(toy, monkeypatch, place):
    monkeypatch.chdir(toy.root)
    thesis(toy.root / "thesis")
    (toy.root / "linked").symlink_to(toy.root / "thesis", target_is_directory=True)
    before = everything(toy.root)
    namespace = {"seeds": 4, "sizes": [1], "scale": 1.0, "seed": 0, "device": "cpu", "workers": 1, "output_dir": place}
    with pytest.raises(ReproError, match=r"no run left there|symbolic link"):
        Record.start("toy", namespace)
    assert everything(toy.root) == before


def test_an_empty_folder_and_earlier_results_are_replaced(tmp_path):
    (tmp_path / "empty").mkdir()
    publish(folder(tmp_path / "one", "new"), tmp_path / "empty")
    (tmp_path / "empty" / "file").unlink()  # what is gone does no harm
    publish(folder(tmp_path / "two", "newer"), tmp_path / "empty")
    assert (tmp_path / "empty" / "file").read_text() == "newer"


def test_only_the_staging_folders_of_the_same_notebook_are_cleared(tmp_path):
    for name in (".toy-0123abcd.new", ".toy-two-0123abcd.new", ".toy-notes.new", "toy-0123abcd.new"):
        (tmp_path / name).mkdir()
    remove_stale_staging(tmp_path / "toy")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".toy-notes.new", ".toy-two-0123abcd.new", "toy-0123abcd.new",
    ]  # fmt: skip


def test_a_publication_cut_short_is_undone_or_completed(tmp_path):
    target = tmp_path / "target"
    folder(tmp_path / ".target.old", "old")
    restore(target)  # cut between the renames: the old results come back
    assert (target / "file").read_text() == "old"
    folder(tmp_path / ".target.old", "older")
    restore(target)  # cut after them: the remains go
    assert (target / "file").read_text() == "old" and not (tmp_path / ".target.old").exists()


def test_a_damaged_record_is_one_clear_error(tmp_path):
    assert load_results(tmp_path) is None
    (tmp_path / "results.json").write_text('{"notebook": ')
    with pytest.raises(ReproError, match=r"results\.json is damaged: .* run the notebook again"):
        load_results(tmp_path)
