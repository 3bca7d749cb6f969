"""The comparator says which number moved and by how much; the report shows every claim with its state."""

import math
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from repro.workflow import arithmetic, report, verify
from repro.workflow.project import Project, ReproError
from repro.workflow.report import between_markers
from repro.workflow.results import load_results, save_results

OLD = pd.DataFrame({"p": [64, 128], "error": [0.1, 0.01], "regime": ["lazy", "feature"]})


def compare(new, old=OLD):
    return [str(difference) for difference in verify.compare_frames(new, old, "t.csv")]


def test_equal_frames_agree():
    assert compare(OLD.copy()) == []
    for missing in (OLD.assign(error=[0.1, math.nan]), OLD.assign(regime=["lazy", math.nan])):
        assert compare(missing.copy(), missing) == []


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (OLD.assign(error=[0.1, 0.01 * (1 + 9e-10)]), []),
        (OLD.assign(error=[0.1 * (1 + 2e-9), 0.01]),
         ["t.csv, column error: row 0 is 0.1000000002, was 0.1: moved by 2e-10"]),
        (OLD.assign(error=[0.1, math.nan]), ["t.csv, column error: row 1 is nan, was 0.01: moved by nan"]),
        (OLD.assign(error=["a", "b"]), ["t.csv, column error: is str, was float64"]),
        (OLD.assign(p=[64, 129]), ["t.csv, column p: row 1 is np.int64(129), was np.int64(128)"]),
        (OLD.assign(regime=["lazy", "lazy"]), ["t.csv, column regime: row 1 is 'lazy', was 'feature'"]),
        (OLD.iloc[:1], ["t.csv: 1 rows, were 2"]),
        (OLD.rename(columns={"p": "size"}),
         ["t.csv: columns are ['size', 'error', 'regime'], were ['p', 'error', 'regime']"]),
    ],
)  # fmt: skip
def test_says_which_number_moved_and_by_how_much(new, found):
    assert compare(new) == found


WITH_INTERVAL = pd.DataFrame(
    {"regime": ["lazy", "feature", "lazy"], "mean": [0.3, 0.2, 0.1], "lower": [0.28, 0.18, math.nan],
     "upper": [0.33, 0.22, math.nan], "t": [-2.0, 2.0, 1.0], "t_lower": [-9.0, -9.0, -9.0], "t_upper": [9.0, 9.0, 9.0],
     "nets": [4, 4, 3]}
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"mean": [0.329, 0.181, 7.0], "nets": [3, 3, 3]}, []),  # where the reference has no interval nothing is asked
        ({"mean": [0.3, 0.17, 0.1]}, ["1 of 2 values lie outside the reference's own intervals; row 1 is 0.17"]),
        ({"mean": [-0.3, -0.2, 0.1]}, ["2 of 2 values lie outside the reference's own intervals; row 0 is -0.3"]),
        ({"mean": [0.3, math.nan, 0.1]}, ["1 of 2 values lie outside the reference's own intervals; row 1 is nan"]),
        ({"regime": ["lazy", "lazy", "lazy"]}, ["column regime: row 1 is 'lazy', was 'feature'"]),
    ],
)
def test_across_arithmetics_a_value_may_move_within_the_intervals_of_the_reference(changes, found):
    compared = verify.compare_by_interval(WITH_INTERVAL.assign(**changes), WITH_INTERVAL, "t.csv")
    assert len(compared.differences) == len(found)
    assert all(text in str(difference) for text, difference in zip(found, compared.differences, strict=True))
    # intervals as wide as the range of t could not fail, and counts have none
    assert compared.not_compared == ["t.csv (t, t_lower, t_upper, nets)"]


@pytest.mark.parametrize(("outside", "differences"), [(2, 0), (3, 1)])
def test_across_arithmetics_one_value_in_twenty_may_leave_its_interval(outside, differences):
    values = np.arange(40.0)
    old = pd.DataFrame({"mean": values, "lower": values - 1, "upper": values + 1})
    new = old.assign(mean=values + np.where(values < outside, 1.5, 0.5))
    assert len(verify.compare_by_interval(new, old, "t.csv").differences) == differences


@pytest.fixture
def done(done):
    """A project whose laptop results are committed."""
    (done.root / "README.md").write_text(
        "# Toy\n\n<!-- papers -->\n<!-- /papers -->\n<!-- verdicts -->\n<!-- /verdicts -->\n\nend\n"
    )
    done.commit("results")
    return done


@pytest.mark.skipif(not arithmetic.can_be_pinned(), reason="this processor has no pinned arithmetic")
def test_verify_against_the_commit_a_folder_and_the_bands(done):
    shutil.copytree(done.root / "figures", done.root / "kept")
    for against in ("HEAD", "kept"):
        assert verify.verify(
            Project(done.root), ["toy"], "laptop", against if against == "HEAD" else str(done.root / "kept")
        ) == {"toy": verify.Comparison("to 1e-09")}
    agreed = done.repro("verify")
    assert (agreed.returncode, agreed.stdout) == (0, "toy (laptop), compared to 1e-09: agrees\n")

    csv = done.results / "values.csv"
    first, second, *rest = csv.read_text().splitlines()
    size, seed, value = second.split(",")
    csv.write_text("\n".join([first, f"{size},{seed},{float(value) * 1.5}", *rest]) + "\n")
    moved = done.repro("verify", "toy")
    assert moved.returncode == 1
    assert "values.csv, column value: row 0 is 1.5" in moved.stdout and "moved by 0.5" in moved.stdout

    done.claims.write_text(done.claims.read_text().replace("[0.99, 1.01]", "[1.5, 1.6]"))
    assert "toy.slope: estimate = 1 lies outside its band [1.5, 1.6] by 0.5" in done.repro("verify").stdout


@pytest.mark.skipif(not arithmetic.can_be_pinned(), reason="this processor has no pinned arithmetic")
def test_results_of_another_arithmetic_are_compared_by_interval_and_verdict_and_marked(done):
    results = load_results(done.results)
    del results["provenance"]["arithmetic"]  # as records were written before arithmetic was pinned
    csv = done.results / "values.csv"
    csv.write_text(csv.read_text().replace(".", ".0"))  # no interval, so not compared
    save_results(done.results, results)
    agreed = done.repro("verify")
    assert agreed.returncode == 0, agreed.stdout
    assert "toy (laptop), compared by interval and verdict (these results are unpinned): agrees" in agreed.stdout
    assert "not compared, having no telling interval: values.csv (size, seed, value)" in agreed.stdout
    done.repro("report")
    assert "| `toy.slope` (laptop, unpinned) |" in (done.root / "README.md").read_text()
    assert "Unpinned arithmetic" in (done.root / "figures" / "index.html").read_text()

    results["measurements"][0] |= {"estimate": 1.06, "verdict": "inconclusive"}
    save_results(done.results, results)
    moved = done.repro("verify").stdout
    assert "toy.slope verdict: is 'inconclusive', was 'reproduced'" in moved
    assert "toy.slope: estimate is 1.06, outside the reference's interval [0.9" in moved


def test_a_band_that_is_declared_as_missed_is_said_with_its_reason_and_no_difference(done):
    missed = done.claims.read_text().replace("[0.99, 1.01]", "[1.5, 1.6]") + 'band_missed.laptop = "set too high"\n'
    done.claims.write_text(missed)
    assert done.repro("verify").returncode == 0
    assert done.repro("run", "--force").returncode == 0
    done.repro("report")
    page = (done.root / "figures" / "index.html").read_text()
    assert "lies outside its band [1.5, 1.6]" in page and "set too high" in page
    done.claims.write_text(missed.replace("[1.5, 1.6]", "[0.99, 1.01]"))
    assert "is declared to miss its band, and lies in it" in done.repro("verify").stdout


def test_a_copy_inside_a_larger_repository_is_verified_there(done, tmp_path_factory):
    larger = tmp_path_factory.mktemp("larger")
    copy = shutil.copytree(done.root, larger / "papers" / "toy", ignore=shutil.ignore_patterns(".git", ".repro"))
    git = ["git", "-C", str(larger), "-c", "user.name=t", "-c", "user.email=t"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True)
    assert not any(found.differences for found in verify.verify(Project(copy), ["toy"], "laptop", "HEAD").values())


def test_a_revision_without_git_is_one_clear_error(done, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ReproError, match="--against HEAD: no such folder, and git is not installed"):
        verify.verify(Project(done.root), ["toy"], "laptop", "HEAD")


def test_verify_says_what_is_missing(done):
    shutil.rmtree(done.results)
    assert "there are no fresh results; run the notebook first" in done.repro("verify").stdout
    unknown = done.repro("verify", "--against", "v9")
    assert unknown.returncode == 1 and "--against v9: neither a folder nor a git revision" in unknown.stderr


def test_the_report_shows_verdict_numbers_figures_and_where_they_came_from(done):
    said = done.repro("report")
    assert said.stdout == "wrote figures/index.html\nwrote README.md\n"
    page = (done.root / "figures" / "index.html").read_text()
    results = ("values.png", "values.csv", "values.svg", "notebook.ipynb", "results.json")
    for expected in (
        "toy.slope",
        "reproduced",
        "1 ± 0.1",
        "by construction",
        *(f"laptop/toy/{name}" for name in results),
    ):
        assert expected in page
    assert 'src="http' not in page and "<link" not in page and "<script" not in page  # it shows without a network
    readme = (done.root / "README.md").read_text()
    assert "| `toy.slope` (laptop) |  | 1 [0.95, 1.05] | 4 | 1 ± 0.1 | reproduced |" in readme
    assert readme.startswith("# Toy\n") and readme.endswith("\nend\n")


def test_the_report_is_the_same_twice(done):
    done.repro("report")
    first = [(done.root / name).read_bytes() for name in ("figures/index.html", "README.md")]
    done.repro("report")
    assert [(done.root / name).read_bytes() for name in ("figures/index.html", "README.md")] == first


def test_a_claim_that_was_not_run_is_listed_as_such(toy):
    (entry,) = report.entries(Project(toy.root))
    assert entry.verdict == "not run"
    listed = toy.repro("list")
    assert listed.returncode == 0
    assert listed.stdout.splitlines()[1].split("\t") == ["toy.slope", "ours", "toy", "not run", "-"]


def test_smoke_results_judge_nothing(toy):
    assert toy.repro("run", "--profile", "smoke").returncode == 0
    (entry,) = report.entries(Project(toy.root))
    assert entry.verdict == "not run" and report.pages(Project(toy.root)) == []


def test_text_between_markers_is_replaced_and_their_absence_told():
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert between_markers(text, "x", "new \\1") == "a\n<!-- x -->\nnew \\1\n<!-- /x -->\nb\n"
    with pytest.raises(ReproError, match="no markers <!-- y -->"):
        between_markers(text, "y", "new")
