"""The verdict rule on both sides of every boundary, and one clear error for every fault of the registry."""

import math

import pytest
from conftest import CLAIMS

from repro.workflow import claims
from repro.workflow.claims import Criterion, Part, Verdict, band_misses, combine
from repro.workflow.project import PACKAGE, Project, ReproError

STEP = 1e-9  # to either side of a boundary
YES, NO, OPEN = Verdict.REPRODUCED, Verdict.NOT_REPRODUCED, Verdict.INCONCLUSIVE
WITHHELD = Verdict.WITHHELD


def criterion(**region: float) -> Criterion:
    return Criterion(reason="test", **region)


@pytest.mark.parametrize(
    ("region", "interval", "verdict"),
    [
        ({"value": 1.0, "within": 0.25}, (0.75, 1.25), YES),  # closed: the ends belong to the region
        ({"value": 1.0, "within": 0.25}, (0.75 - STEP, 1.0), OPEN),
        ({"value": 1.0, "within": 0.25}, (1.0, 1.25 + STEP), OPEN),
        ({"value": 1.0, "within": 0.25}, (0.5, 0.75), OPEN),
        ({"value": 1.0, "within": 0.25}, (0.5, 0.75 - STEP), NO),
        ({"value": 1.0, "within": 0.25}, (1.25, 2.0), OPEN),
        ({"value": 1.0, "within": 0.25}, (1.25 + STEP, 2.0), NO),
        ({"value": 1.0, "within": 0.25}, (0.0, 2.0), OPEN),  # the interval covers the region
        ({"above": 0.0}, (STEP, 1.0), YES),  # open: the end does not belong to it
        ({"above": 0.0}, (0.0, 1.0), OPEN),
        ({"above": 0.0}, (-1.0, STEP), OPEN),
        ({"above": 0.0}, (-1.0, 0.0), NO),
        ({"below": 0.0}, (-1.0, -STEP), YES),
        ({"below": 0.0}, (-1.0, 0.0), OPEN),
        ({"below": 0.0}, (0.0, 1.0), NO),
        ({"below": 0.0}, (-STEP, 1.0), OPEN),
        ({"at_least": 2.0}, (2.0, 3.0), YES),
        ({"at_least": 2.0}, (2.0 - STEP, 3.0), OPEN),
        ({"at_least": 2.0}, (1.0, 2.0), OPEN),
        ({"at_least": 2.0}, (1.0, 2.0 - STEP), NO),
        ({"at_most": 2.0}, (1.0, 2.0), YES),
        ({"at_most": 2.0}, (1.0, 2.0 + STEP), OPEN),
        ({"at_most": 2.0}, (2.0, 3.0), OPEN),
        ({"at_most": 2.0}, (2.0 + STEP, 3.0), NO),
        ({"above": 0.4, "at_most": 0.6}, (0.4 + STEP, 0.6), YES),
        ({"above": 0.4, "at_most": 0.6}, (0.4, 0.6), OPEN),
        ({"at_least": 3.0, "at_most": 3.0}, (3.0, 3.0), YES),  # an identity
        ({"above": 0.0}, (math.nan, 1.0), OPEN),
        ({"above": 0.0}, (1.0, math.nan), OPEN),
        ({"above": 0.0}, (1.0, math.inf), YES),
        ({"value": 1.0, "within": 0.25}, (1.0, math.inf), OPEN),
    ],
)
def test_verdict_at_every_boundary(region, interval, verdict):
    assert criterion(**region).judge(interval) is verdict


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([YES, YES], YES),
        ([NO, NO], NO),
        ([OPEN, OPEN], OPEN),
        ([YES, NO], Verdict.PARTIAL),
        ([YES, OPEN], OPEN),
        ([NO, OPEN], NO),
        ([YES, NO, OPEN], Verdict.PARTIAL),
        ([YES, WITHHELD], YES),
        ([NO, WITHHELD], NO),
        ([OPEN, WITHHELD], OPEN),
        ([WITHHELD, WITHHELD], WITHHELD),
        ([], OPEN),
    ],
)
def test_verdict_of_parts(parts, verdict):
    assert combine(parts) is verdict


@pytest.mark.parametrize(
    "region",
    [
        {},
        {"value": 1.0},
        {"within": 1.0},
        {"value": 1.0, "within": -0.1},
        {"value": 1.0, "within": 0.1, "above": 0.0},
        {"above": 0.0, "at_least": 0.0},
        {"below": 0.0, "at_most": 0.0},
        {"above": 1.0, "below": 0.0},
        {"above": 1.0, "at_most": 1.0},
    ],
)
def test_a_region_that_is_none_is_refused(region):
    with pytest.raises(ValueError):
        criterion(**region)


def test_band_names_the_number_that_left_it():
    part = Part(criterion=criterion(above=0.0), band={"laptop": {"estimate": (0.4, 0.6), "other": (1.0, math.inf)}})
    assert band_misses(part, "laptop", {"estimate": 0.4, "other": 1.0}) == []
    assert band_misses(part, "paper", {"estimate": 9.0}) == []
    misses = band_misses(part, "laptop", {"estimate": 0.65, "other": 1.0})
    assert [str(miss) for miss in misses] == ["estimate = 0.65 lies outside its band [0.4, 0.6] by 0.05"]
    assert [miss.name for miss in band_misses(part, "laptop", {"estimate": 0.5})] == ["other"]


def test_the_registry_of_this_project_loads():
    registry = claims.load(Project(PACKAGE.parent))
    assert "compression.beta_feature" in registry
    for claim in registry.values():
        assert all(part.criterion.reason for part in claim.part)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unit = ", "sort = 1\nunit = ", "claim toy.slope: sort: unknown field"),
        ("statement = ", "# ", "claim toy.slope: statement: missing field"),
        ("criterion = ", "# ", "claim toy.slope: no criterion"),
        ("value = 1.0, within = 0.1", "value = 1.0", "part.0.criterion: `value` and `within` go together"),
        ('kind = "exponent"', 'kind = "guess"', "claim toy.slope: kind: "),
        ('notebook = "toy"', 'notebook = "tay"', "claim toy.slope: notebook 'tay' is not in notebooks/"),
        ("[0.99, 1.01]", "[1.01, 0.99]", "claim toy.slope: part.0: band.laptop.estimate: [1.01, 0.99] is empty"),
        ("[[claim]]", "[[claim", "repro/papers/toy/claims.toml: "),
        ("toy.slope", "tay.slope", "claim tay.slope: an id in this file begins with toy."),
        ("unit = ", "looks = [16, 8]\nunit = ", "looks: expected increasing numbers of units, got [16, 8]"),
        ("[paper]", "[report]", "found report"),
        ("authors = ", "# ", "paper: authors: missing field"),
    ],
)  # fmt: skip
def test_a_fault_of_the_registry_is_one_clear_error(toy, old, new, message):
    toy.claims.write_text(toy.claims.read_text().replace(old, new))
    with pytest.raises(ReproError) as error:
        claims.load(Project(toy.root))
    assert str(error.value).startswith("repro/papers/toy/claims.toml: ") and message in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"[[clam]]", b"claim = 3", b"claim = ['a']", b"claim = { id = 'toy.slope' }", b"# \xe9\n"]
)
def test_a_registry_of_another_shape_is_one_clear_error(toy, content):
    toy.claims.write_bytes(content)
    with pytest.raises(ReproError, match=r"^repro/papers/toy/claims\.toml: "):
        claims.load(Project(toy.root))


def test_an_id_declared_twice_is_refused(toy):
    toy.claims.write_text(CLAIMS + CLAIMS[CLAIMS.index("[[claim]]") :])
    with pytest.raises(ReproError, match=r"claim toy\.slope: this id is declared twice"):
        claims.load(Project(toy.root))


def test_the_command_shows_the_error_and_starts_nothing(toy):
    toy.claims.write_text(toy.claims.read_text().replace("criterion = ", "# "))
    run = toy.repro("run")
    assert run.returncode == 1
    assert run.stderr.startswith("Error: repro/papers/toy/claims.toml: claim toy.slope: no criterion")
    assert "Traceback" not in run.stderr and not toy.results.exists()
