"""One environment, named the same everywhere: pyproject, requirements, Makefile, environment.yml, README, this venv."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = ["torch", "main", "dev", "lab"]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = yaml.safe_load(text("environment.yml"))["dependencies"]
PYTHONS = re.search(r"^VERSIONS := (.+)$", text("Makefile"), re.M)[1].split()  # newest first


def named(name):
    """Names that a requirements/*.in file lists itself."""
    lines = [line.split("#")[0].strip() for line in text(f"requirements/{name}.in").splitlines()]
    return {canonicalize_name(Requirement(line).name) for line in lines if line and not line.startswith("-r")}


def entries(name):
    """Entries of a lock, as (requirement, hashes)."""
    lines = [line for line in text(f"requirements/{name}.lock").splitlines() if not line.lstrip().startswith("#")]
    blocks = [block.split() for block in re.split(r"\n(?=\S)", "\n".join(lines)) if block.strip()]
    words = [[word for word in block if word != "\\"] for block in blocks]
    return [
        (Requirement(" ".join(w for w in block if not w.startswith("--"))), [w for w in block if w.startswith("--")])
        for block in words
    ]


def pins(name, environment=None):
    """Versions that a lock gives to this interpreter and system, or to another `environment`, by package."""
    here = [entry for entry, _ in entries(name) if entry.marker is None or entry.marker.evaluate(environment)]
    return {canonicalize_name(entry.name): str(entry.specifier).removeprefix("==") for entry in here}


def torch_versions():
    return {str(entry.specifier).removeprefix("==") for entry, _ in entries("torch")}


# --- Python ---


def test_the_supported_pythons_are_the_same_everywhere():
    newest, oldest = PYTHONS[0], PYTHONS[-1]
    numbers = sorted(int(version.removeprefix("3.")) for version in PYTHONS)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert PROJECT["requires-python"] == f">={oldest},<3.{numbers[-1] + 1}"
    assert f"python={newest}" in CONDA
    config = tomllib.loads(text("pyproject.toml"))["tool"]
    assert config["mypy"]["python_version"] == oldest
    assert config["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert "{}.{}".format(*sys.version_info) in PYTHONS
    assert f"Python {oldest} to {newest}" in text("README.md")


def test_make_takes_the_newest_python_that_runs(tmp_path):
    """One that is named but does not run, as version managers leave them, is passed over."""
    for name, version in (("python3.13", ""), ("python3.12", "3.12"), ("python3.11", "3.11"), ("python3", "3.14")):
        answers = f"sys.version_info = ({version.replace('.', ', ')}, 0)" if version else "sys.exit(1)"
        script = f"#!{sys.executable}\nimport sys\n{answers}\nexec(sys.argv[2])\n"
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "Makefile").write_text("include Makefile\nshow: ; @echo $(PYTHON)\n")
    show = ["make", "-s", "-f", str(tmp_path / "Makefile"), "show"]
    chosen = subprocess.run(show, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert chosen.stdout.strip() == str(tmp_path / "python3.12")


# --- what is depended on, and why ---


def test_every_dependency_is_asked_for_and_locked():
    direct = set(map(canonicalize_name, PROJECT["dependencies"]))
    assert direct - {"torch"} <= named("main") <= pins("main").keys()
    assert "torch" in pins("torch")
    assert "torch" not in pins("main").keys() | pins("dev").keys() | pins("lab").keys()


def test_every_extra_is_asked_for_and_locked():
    assert set(map(canonicalize_name, EXTRAS["dev"] + EXTRAS["cluster"])) == named("dev") <= pins("dev").keys()
    assert set(map(canonicalize_name, EXTRAS["lab"])) == named("lab") <= pins("lab").keys()
    for name in ["dev", "lab"]:
        assert "-r main.in" in text(f"requirements/{name}.in").splitlines()


def test_every_dependency_says_why():
    for name in [*PROJECT["dependencies"], *EXTRAS["cluster"], *EXTRAS["lab"], *EXTRAS["dev"]]:
        assert re.search(rf'^    "{re.escape(name)}", +# \S+', text("pyproject.toml"), re.M), f"{name}: no reason"


def test_torch_needs_nothing_outside_the_lock():
    # torch is installed without its dependencies, so main.in has to name them.
    needs = [Requirement(line) for line in metadata.requires("torch") or []]
    needs = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    assert all(need.specifier.contains(pins("main").get(canonicalize_name(need.name), "0")) for need in needs)


# --- the locks ---


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_and_hashes_every_entry(name):
    assert entries(name)
    for entry, hashes in entries(name):
        assert re.fullmatch(r"==[^*,]+", str(entry.specifier)), f"{entry}: not pinned"
        assert hashes, f"{entry}: no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", found) for found in hashes), f"{entry}: {hashes}"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_names_no_address_and_no_place_on_a_disk(name):
    assert not re.search(r"://|file:|@ |^-|(^|\s)\.{0,2}/", text(f"requirements/{name}.lock"), re.M)


@pytest.mark.parametrize("name", ["dev", "lab"])
def test_locks_agree_where_they_share(name):
    main, other = pins("main"), pins(name)
    assert main.keys() <= other.keys()
    assert {key: other[key] for key in main} == main


@pytest.mark.parametrize("python", PYTHONS)
def test_locks_are_whole_for_every_python(python):
    """What an installed package needs there, by its own metadata, the locks have, in a version that fits."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    there = pins("dev", environment) | pins("torch", environment)
    wanting = [
        f"{name} needs {need}"
        for name in sorted(there.keys() & pins("dev").keys())
        for need in map(Requirement, metadata.requires(name) or [])
        if need.marker is None or need.marker.evaluate({"extra": ""} | environment)
        if not need.specifier.contains(there.get(canonicalize_name(need.name), "0"), prereleases=True)
    ]
    assert wanting == []


def test_numbers_come_from_the_same_versions_under_every_python():
    for name in ("numpy", "scipy", "pandas", "scikit-learn", "numba", "llvmlite", "pot", "matplotlib"):
        assert len({pins("main", {"python_full_version": f"{python}.0"})[name] for python in PYTHONS}) == 1


# --- torch ---


def test_torch_has_the_hash_of_a_wheel_for_every_python():
    for entry, hashes in entries("torch"):
        assert len(set(hashes)) == len(PYTHONS), entry


def test_torch_is_one_version_and_the_cpu_build_on_linux():
    assert len({Version(version).base_version for version in torch_versions()}) == 1
    for entry, _ in entries("torch"):
        linux = entry.marker.evaluate({"sys_platform": "linux", "platform_machine": "x86_64"})
        assert str(entry.specifier).endswith("+cpu") == linux


@pytest.mark.parametrize("name", ["README.md", "Makefile", "environment.yml", "pyproject.toml"])
def test_any_torch_version_named_elsewhere_is_the_pin(name):
    (pin,) = {Version(version).base_version for version in torch_versions()}
    assert set(re.findall(r"(?i)torch[ =]+(\d+\.\d+\.\d+)", text(name))) <= {pin}


# --- the ways to install ---


def test_conda_and_make_install_the_same_locks_from_the_same_index():
    (pip,) = [item["pip"] for item in CONDA if isinstance(item, dict)]
    index = re.search(r"^TORCH_INDEX \?= (\S+)$", text("Makefile"), re.M)[1]
    installed = re.findall(r"^\.venv/\.(\w+): requirements/(\w+)\.lock", text("Makefile"), re.M)
    assert installed == [(name, name) for name in LOCKS]
    assert pip == [f"--extra-index-url {index}", "-r requirements/torch.lock", "-r requirements/main.lock"]
    assert [item for item in CONDA if isinstance(item, str)] == [f"python={PYTHONS[0]}", "pip"]


def test_conda_and_make_install_the_package_alike():
    for name in ["Makefile", "postBuild"]:
        assert "--no-build-isolation -e ." in text(name)
    assert "./postBuild" in text("environment.yml")


def test_readme_names_the_two_commands():
    for command in ["make figures", "make test"]:
        assert command in text("README.md")


def test_ci_runs_the_readmes_commands():
    assert {"step make lint", "step make test"} <= set(text(".ci/run").splitlines())


# --- this environment ---


def test_installed_versions_are_the_locked_ones():
    locked = pins("dev")
    installed = {name: metadata.version(name) for name in locked}
    assert installed == locked, "stale environment: run `make clean`, then `make test`"


def test_installed_torch_is_the_locked_one():
    # Without the +cpu, since the README's line for a GPU installs another build of the same version.
    assert Version(metadata.version("torch")).public == Version(pins("torch")["torch"]).public


def test_installed_package_is_this_one():
    assert metadata.version(PROJECT["name"]) == PROJECT["version"]
    assert f"\nversion: {PROJECT['version']}\n" in text("CITATION.cff")
