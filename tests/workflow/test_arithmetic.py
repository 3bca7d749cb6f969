"""The pinned arithmetic: what a run is told, what a process proves, and the same bytes whatever a user has set."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import smoke_run
from slow_cells import square

from repro.workflow import arithmetic, sweep
from repro.workflow.project import PACKAGE

ROOT = PACKAGE.parent
BASELINES = Path(__file__).parents[1] / "baselines" / "smoke"
pinnable = pytest.mark.skipif(not arithmetic.can_be_pinned(), reason="this processor has no pinned arithmetic")

# Kernels for processors without AVX2, those pinned, and none, where OpenBLAS looks for itself; and those for AVX-512,
# which stop NumPy on any other processor before we are asked.
CORES = ["Prescott", "Haswell", None]
if Path("/proc/cpuinfo").is_file() and "avx512vl" in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
    CORES.append("SkylakeX")


def test_the_environment_of_a_run_overrides_the_users_and_says_so():
    user = {"OMP_NUM_THREADS": "4", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "HOME": "/home/ada"}
    assert arithmetic.environment(user) == {"HOME": "/home/ada"} | arithmetic.settings()
    assert arithmetic.overridden(user) == ["OMP_NUM_THREADS=4", "MKL_ENABLE_INSTRUCTIONS=SSE4_2"]
    assert "OMP_NUM_THREADS=4" in arithmetic.announcement(user)
    assert arithmetic.overridden(arithmetic.environment(user)) == []


def test_a_processor_without_the_kernels_is_told_so_and_has_one_thread(monkeypatch):
    monkeypatch.setattr(arithmetic, "can_be_pinned", lambda: False)
    assert arithmetic.settings() == arithmetic.ONE_THREAD
    assert "not pinned: results agree with the committed ones by interval and verdict" in arithmetic.announcement({})
    for name, value in arithmetic.KERNELS.items():
        monkeypatch.setenv(name, value)
    assert not arithmetic.is_pinned()


PROOF = "import json, numpy, scipy.linalg, torch; from repro.workflow import arithmetic as a; "
PROOF += "print(json.dumps([a.is_pinned(), a.fingerprint()]))"


def proof(*command: str, **settings: str) -> tuple[bool, dict[str, str]]:
    """Whether a new process has the pinned arithmetic, and its fingerprint, under a user's settings."""
    kept = {
        name: value for name, value in os.environ.items() if name not in {*arithmetic.settings(), *arithmetic.CLEARED}
    }
    run = subprocess.run([*command, sys.executable, "-c", PROOF], env=kept | settings, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    pinned, fingerprint = json.loads(run.stdout)
    return pinned, fingerprint


@pytest.mark.kernel
@pinnable
def test_every_setting_of_a_user_leads_to_the_same_fingerprint():
    pin = [sys.executable, "-m", "repro.workflow.cli", "exec"]
    users = [{"OPENBLAS_CORETYPE": core} if core else {} for core in CORES]
    users += [{"MKL_CBWR": "AVX2", "NPY_ENABLE_CPU_FEATURES": "AVX512_SPR", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}]
    found = [proof(*pin, **user) for user in users]
    assert all(each == found[0] for each in found)
    assert found[0][0] and {"numpy", "scipy", "torch"} == found[0][1].keys()
    pinned, fingerprint = proof(OPENBLAS_CORETYPE="Prescott")
    assert not pinned and "arithmetic of numpy is" in arithmetic.difference(found[0][1], fingerprint)


def test_exec_runs_a_command_with_its_options_and_reports_one_that_is_not_there(toy):
    run = toy.repro(
        "exec", sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])", OMP_NUM_THREADS="4"
    )
    assert (run.returncode, run.stdout) == (0, "1\n") and "OMP_NUM_THREADS=4" in run.stderr
    missing = toy.repro("exec", "no-such-command", "--help")
    assert missing.returncode == 1 and "cannot run 'no-such-command': No such file" in missing.stderr


def test_cells_of_another_arithmetic_are_not_taken_from_the_cache(tmp_path, monkeypatch):
    configs = sweep.grid(number=range(3))
    assert sweep.run(square, configs, cache=tmp_path).counts.computed == 3
    assert sweep.run(square, configs, cache=tmp_path).counts.reused == 3
    monkeypatch.setattr(arithmetic, "fingerprint", lambda names=None: {"numpy": "of another machine"})
    assert sweep.run(square, configs, cache=tmp_path).counts.computed == 3


def test_no_code_of_ours_leaves_to_torch_what_it_rounds_by_the_processors_maker():
    """These four go to a vector library that no setting governs; see `repro.geometry.roots`."""
    vendor = {"sqrt", "acos", "arccos", "asin", "arcsin", "atan", "arctan"}
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr.removesuffix("_") in vendor:
                owner = node.value.id if isinstance(node.value, ast.Name) else "a tensor"
                if owner not in ("np", "math"):
                    found.append(f"{path.relative_to(PACKAGE).as_posix()}: {owner}.{node.attr}")
    assert found == ["geometry/roots.py: values.sqrt_"]  # on devices other than the CPU


# --- the same bytes ---


def clone(folder: Path) -> Path:
    """A copy of the checkout, as far as a run reads it."""
    for name in ("notebooks", "repro", "requirements"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


SETTINGS = {
    "one": {"OPENBLAS_CORETYPE": "Prescott", "OMP_NUM_THREADS": "4", "LANG": "C", "LC_ALL": "C"},
    "another": {"OPENBLAS_CORETYPE": CORES[-1] or "Prescott", "MKL_CBWR": "AVX2"},
}


@pytest.mark.kernel
@pinnable
@pytest.mark.parametrize(("user", "name"), [("one", "ricci_training"), ("another", "compression_cylinder")])
def test_smoke_runs_give_the_committed_bytes_to_every_user(user, name, tmp_path):
    """One asks for other kernels and threads, in the C locale without a home; one lives in a folder with an umlaut."""
    environment = {key: value for key, value in os.environ.items() if key not in arithmetic.settings()}
    environment |= {"REPRO_CACHE": str(tmp_path / "cache")} | SETTINGS[user]
    root = ROOT
    if user == "another":
        root = clone(tmp_path / "über allem")
    else:
        environment.pop("HOME", None)
    results = smoke_run([name], tmp_path / "out", root, environment) / name
    fresh = {path.name: path.read_bytes() for path in results.glob("*.csv")}
    assert fresh and fresh == {path.name: path.read_bytes() for path in (BASELINES / name).glob("*.csv")}
    assert all(len(pd.read_csv(BASELINES / name / file)) for file in fresh)
