"""The comparator says which number moved and by how much; the report shows every claim with its state."""

import math
import shutil

import pandas as pd
import pytest

from repro.workflow import report, verify
from repro.workflow.project import Project, ReproError, between_markers

OLD = pd.DataFrame({"p": [64, 128], "error": [0.1, 0.01], "regime": ["lazy", "feature"]})


def compare(new, tolerance=None):
    return [str(difference) for difference in verify.compare_frames(new, OLD, "t.csv", tolerance or {})]


def test_equal_frames_agree():
    assert compare(OLD.copy()) == []
    for missing in (OLD.assign(error=[0.1, math.nan]), OLD.assign(regime=["lazy", math.nan])):
        assert verify.compare_frames(missing, missing.copy(), "t.csv", {}) == []


@pytest.mark.parametrize(
    ("new", "tolerance", "found"),
    [
        (OLD.assign(error=[0.1, 0.0101]), {"error": (0.02, 0)}, []),
        (OLD.assign(error=[0.1, 0.0103]), {"error": (0.02, 0)},
         ["t.csv, column error: row 1 is 0.0103, was 0.01: moved by 0.0003, tolerance 0.0002"]),
        (OLD.assign(error=[0.1, 0.0103]), {"error": (0, 0.0004)}, []),
        (OLD.assign(error=[0.1, 0.01 * (1 + 1e-7)]), {}, []),
        (OLD.assign(error=[0.1 * (1 + 1e-5), 0.01]), {},
         ["t.csv, column error: row 0 is 0.100001, was 0.1: moved by 1e-06, tolerance 1e-07"]),
        (OLD.assign(error=[0.1, math.nan]), {"error": (9, 9)},
         ["t.csv, column error: row 1 is nan, was 0.01: moved by nan, tolerance 9.09"]),
        (OLD.assign(regime=["lazy", "lazy"]), {}, ["t.csv, column regime: row 1 is 'lazy', was 'feature'"]),
        (OLD.iloc[:1], {}, ["t.csv: 1 rows, were 2"]),
        (OLD.rename(columns={"p": "size"}), {},
         ["t.csv: columns are ['size', 'error', 'regime'], were ['p', 'error', 'regime']"]),
    ],
)  # fmt: skip
def test_says_which_number_moved_and_by_how_much(new, tolerance, found):
    assert compare(new, tolerance) == found


@pytest.fixture
def done(toy):
    """A project whose laptop results are committed."""
    assert toy.repro("run").returncode == 0
    (toy.root / "README.md").write_text("# Toy\n\n<!-- verdicts -->\n<!-- /verdicts -->\n\nend\n")
    toy.commit("results")
    return toy


def test_verify_against_the_commit_a_folder_and_the_bands(done):
    shutil.copytree(done.root / "figures", done.root / "kept")
    for against in ("HEAD", "kept"):
        assert verify.verify(
            Project(done.root), ["toy"], "laptop", against if against == "HEAD" else str(done.root / "kept")
        ) == {"toy": []}
    agreed = done.repro("verify")
    assert (agreed.returncode, agreed.stdout) == (0, "toy (laptop): agrees\n")

    csv = done.results / "values.csv"
    first, second, *rest = csv.read_text().splitlines()
    size, seed, value = second.split(",")
    csv.write_text("\n".join([first, f"{size},{seed},{float(value) * 1.5}", *rest]) + "\n")
    moved = done.repro("verify", "toy")
    assert moved.returncode == 1
    assert "values.csv, column value: row 0 is 1.5" in moved.stdout and "tolerance 0.1" in moved.stdout

    done.claims.write_text(done.claims.read_text().replace("[0.99, 1.01]", "[1.5, 1.6]"))
    assert "toy.slope: estimate = 1 lies outside its band [1.5, 1.6] by 0.5" in done.repro("verify").stdout


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
    assert "http://" not in page and "https://" not in page  # it shows without a network
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
