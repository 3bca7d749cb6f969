"""The parameters cell: what is read, and what is refused before any kernel starts."""

import math

import pytest

from repro.workflow import parameters
from repro.workflow.project import Project, ReproError


@pytest.fixture
def declared(toy):
    return parameters.read(toy.notebook)


def test_reads_names_types_defaults_and_comments_in_order(declared):
    assert list(declared) == ["seeds", "sizes", "scale", "seed", "device", "workers", "output_dir"]
    assert (declared["sizes"].annotation, declared["sizes"].default) == ("list[int]", [1, 2, 4])
    assert (declared["seeds"].meaning, declared["seeds"].bounds) == ("independent draws", ">= 1")


@pytest.mark.parametrize(
    ("name", "value"),
    [("seeds", 7), ("sizes", [8]), ("scale", 2), ("scale", 1e-12), ("device", "cpu"), ("output_dir", "x")],
)
def test_accepts(declared, name, value):
    assert declared[name].check(value) == value


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("seeds", "abc", "seeds"),
        ("seeds", 3.5, "seeds"),
        ("seeds", 3.0, "seeds"),
        ("seeds", True, "seeds"),
        ("seeds", 0, "seeds"),
        ("sizes", 3, "sizes"),
        ("sizes", [], "sizes"),
        ("sizes", [4, 0], r"sizes\[1\]"),
        ("sizes", [4, "x"], r"sizes\[1\]"),
        ("scale", 0.0, "scale"),
        ("scale", -1e-6, "scale"),
        ("scale", math.nan, "scale"),
        ("scale", math.inf, "scale"),
        ("scale", "1e-3", "scale"),
        ("device", "gpu", "device"),
    ],
)
def test_refuses_naming_the_value_and_what_was_expected(declared, name, value, where):
    with pytest.raises(ReproError, match=rf"^parameter {where}: got .*, expected "):
        declared[name].check(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4), ("1e-3", 1e-3), ("[64, 256]", [64, 256]), ("true", True), ("True", True), ('"a b"', "a b"),
        ("cpu", "cpu"), ("{'a': 1}", {"a": 1}), ("", ""), ("a=b", "a=b"),
    ],
)  # fmt: skip
def test_settings_are_json_then_python_then_text(text, value):
    assert parameters.parse_settings([f"name={text}"]) == {"name": value}


@pytest.mark.parametrize("setting", ["seeds", "=3", "a b=3"])
def test_a_setting_without_a_name_is_refused(setting):
    with pytest.raises(ReproError, match="name=value"):
        parameters.parse_settings([setting])


def test_later_layers_win_and_unknown_names_are_refused(declared):
    layers = [("profile smoke", {"seeds": 2}), ("--set", {"seeds": 3})]
    assert parameters.resolve(declared, layers, "toy")["seeds"] == 3
    with pytest.raises(ReproError, match=r"toy has no parameter 'sedes' \(--set\); it has: seeds, sizes"):
        parameters.resolve(declared, [("--set", {"sedes": 3})], "toy")


OTHERS = "\nseed: int = 0\ndevice: str = 'cpu'\noutput_dir: str = ''\nworkers: int = 1"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("seeds = 4", "not an annotated literal"),
        ("seeds: int = 2 + 2 * len('a')", "not an annotated literal"),
        ("seeds: complex = 4" + OTHERS, "'complex' is not int, float, str, bool"),
        ("seeds: int = 4", "lacks `seed: int`"),
        ("seeds: int = 0  # draws [>= 1]" + OTHERS, "parameter seeds: got 0"),
        ("seeds: int", "not an annotated literal"),
        ("seeds: int = = 4", "line 1 of the parameters cell is not Python"),
        ("seeds: int = 4\n%matplotlib inline", "line 2 of the parameters cell is not Python"),
        *(
            (f"seeds: int = 4  # draws [{range_}]" + OTHERS, "the range .* is not read")
            for range_ in ("2..10", "≥ 2", ">= two", ">= 1, up to 9", "=> 2", ">= 1.5")
        ),
    ],
)
def test_a_wrong_parameters_cell_is_refused(toy, rewrite, cell, message):
    rewrite(toy.notebook, "pass", parameters=cell)
    with pytest.raises(ReproError, match=message):
        parameters.read(toy.notebook)


@pytest.mark.parametrize(("range_", "value"), [(">= 1, < 5", 5.0), ("> -1e-3 and <= 4.5", 5.0), (">.5,<5.", 0.5)])
def test_every_end_of_a_range_is_enforced(toy, rewrite, range_, value):
    rewrite(toy.notebook, "pass", parameters=f"seeds: float = 4.0  # draws [{range_}]" + OTHERS)
    with pytest.raises(ReproError, match=f"got {value}, expected float"):
        parameters.read(toy.notebook)["seeds"].check(value)


def test_a_value_given_twice_in_a_list_is_refused(toy, declared):
    with pytest.raises(ReproError, match="parameter sizes: 4 is given twice"):
        declared["sizes"].check([4, 2, 4])
    run = toy.repro("run", "--set", "sizes=[2,2]")
    assert run.returncode == 1 and "toy: parameter sizes: 2 is given twice: sizes (--set)" in run.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"paper\.toml is not there: it says what the paper profile changes"),
        ("seeds = 2", "stands under no notebook"),
        ("[toy", r"paper\.toml: "),
        ("# \xe9", r"paper\.toml: "),
    ],
)
def test_a_profile_without_its_file_or_of_another_shape_runs_nothing(toy, content, message):
    if content is not None:
        (toy.root / "notebooks" / "profiles" / "paper.toml").write_text(content, encoding="latin-1")
    with pytest.raises(ReproError, match=message):
        parameters.profile_values(Project(toy.root), "paper")


def test_profiles_name_notebooks_that_exist(toy):
    project = Project(toy.root)
    assert parameters.profile_values(project, "smoke") == {"toy": {"seeds": 2}}
    assert parameters.profile_values(project, "laptop") == {}
    (project.notebooks / "profiles" / "paper.toml").write_text("[tay]\nseeds = 2\n")
    with pytest.raises(
        ReproError, match=r"notebooks/profiles/paper\.toml: unknown notebook 'tay'; notebooks/ holds: toy"
    ):
        parameters.profile_values(project, "paper")
