"""A record says what follows from it, or is refused by name: verdicts typed by hand, numbers moved, files exchanged."""

import copy
import functools
import hashlib
import json

import pytest

from repro.workflow import claims
from repro.workflow.project import PACKAGE, Project, ReproError
from repro.workflow.results import check_results, load_results, seal_of

PROJECT = Project(PACKAGE.parent)
REGISTRY = claims.load(PROJECT)
FOLDERS = [path.parent for profile in ("laptop", "paper") for path in PROJECT.figures.glob(f"{profile}/*/results.json")]


@pytest.fixture(autouse=True)
def hashed_once(monkeypatch):
    """The same bytes have the same hash: a file needs no new one for every forgery of its record."""
    monkeypatch.setattr(hashlib, "sha256", functools.cache(hashlib.sha256))


def check(results, read):
    check_results(results, read, REGISTRY)


def files(folder):
    """What the files of a folder say, read once."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}.get


def forgeries(results):
    """(what, forged record)"""

    def forged(change, what):
        edited = copy.deepcopy(results)
        change(edited)
        return what, edited | {"seal": seal_of(edited)}  # by someone who knows how

    for i, measured in enumerate(results["measurements"]):
        for verdict in {
            "reproduced",
            "not reproduced",
            "inconclusive",
            "partial",
            "withheld",
            "not judged",
            "splendid",
        } - {measured["verdict"]}:
            yield forged(lambda r, i=i, v=verdict: r["measurements"][i].update(verdict=v), "verdict")
        yield forged(lambda r, i=i: r["measurements"][i].update(estimate=0.123), "estimate")
        yield forged(lambda r, i=i: r["measurements"][i].update(interval=[1e6, 2e6]), "interval")
        yield forged(lambda r, i=i: r["measurements"][i].update(n=10**6), "n")
        yield forged(lambda r, i=i: r["measurements"][i].update(criterion="> 0.001"), "criterion")
        yield forged(lambda r, i=i: r["measurements"].pop(i), "measurement")
    for claim, verdict in results["claims"].items():
        other = "inconclusive" if verdict == "reproduced" else "reproduced"
        yield forged(lambda r, c=claim, v=other: r["claims"].update({c: v}), "claim")
    for name in results["outputs"]:
        yield forged(lambda r, n=name: r["outputs"].update({n: "0" * 64}), "hash")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_committed_records_hold_and_every_forgery_of_them_is_refused(folder):
    results = load_results(folder)
    read = files(folder)
    check(results, read)
    tried = 0
    for what, edited in forgeries(results):
        tried += 1
        try:
            check(edited, read)
        except ReproError:
            continue
        pytest.fail(f"{what} of {edited['notebook']} passed: {edited['measurements']}")
    assert tried > 5 * len(results["measurements"])
    print(f"{folder.parent.name} {folder.name}: {tried} forgeries, {tried} refused")


def places(value, path=()):
    """Every number and word of a record, as the path to it."""
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))
    else:
        yield path


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_no_word_or_number_of_a_record_can_be_edited(folder):
    """Without the seal, the commit, a version or a caption would pass."""
    results, read = load_results(folder), files(folder)
    for *path, last in list(places(results)):
        place = results
        for step in path:
            place = place[step]
        said = place[last]
        place[last] = "another" if isinstance(said, (str, type(None))) else not said
        with pytest.raises((ReproError, TypeError)):
            check(results, read)
        place[last] = said
    check(results, read)  # everything was put back


def test_a_missing_file_is_named():
    results = load_results(FOLDERS[0])
    with pytest.raises(ReproError, match=r"\.\w+ is missing"):
        check(results, lambda name: None)


@pytest.mark.parametrize("verdict", ["not reproduced", "splendid"])
def test_a_typed_verdict_is_refused_wherever_it_would_be_shown(done, verdict):
    (done.root / "README.md").write_text("<!-- papers -->\n<!-- /papers -->\n<!-- verdicts -->\n<!-- /verdicts -->\n")
    done.commit("results")
    file = done.results / "results.json"
    results = json.loads(file.read_text())
    results["measurements"][0]["verdict"] = results["claims"]["toy.slope"] = verdict
    file.write_text(json.dumps(results))
    for command in ("verify", "list", "report"):
        run = done.repro(command)
        assert run.returncode == 1 and "Traceback" not in run.stderr
        assert (
            f"toy.slope is recorded as '{verdict}', from its interval follows 'reproduced'" in run.stdout + run.stderr
        )
    assert verdict not in (done.root / "README.md").read_text()


def test_a_criterion_that_changed_after_the_run_does_not_keep_its_verdict(done):
    done.claims.write_text(done.claims.read_text().replace("value = 1.0, within = 0.1", "value = 1.0, within = 0.01"))
    refused = done.repro("list")
    assert refused.returncode == 1
    assert (
        "figures/laptop/toy is refused: toy.slope was judged by 1 ± 0.1, the registry now says 1 ± 0.01"
        in refused.stderr
    )
