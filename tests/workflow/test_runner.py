"""The runner: what is run, what is skipped and why, and what a finished run leaves."""

import json
import math
import shutil
import subprocess
import sys

import nbformat
import pytest
from conftest import CLAIMS, FINISH, PLOTS, SETUP, SWEEP, ToyProject, write_notebook

from repro.workflow import execute as kernel
from repro.workflow import parameters, plans, runner
from repro.workflow.plans import make_plans
from repro.workflow.project import Project, ReproError

pytestmark = pytest.mark.kernel


def test_a_run_leaves_figures_data_record_and_executed_notebook(toy):
    run = toy.repro("run")
    assert run.returncode == 0, run.stdout
    drawn = [f"{name}.{kind}" for name in ("values", "verdicts") for kind in ("csv", "png", "svg")]
    assert sorted(toy.content()) == ["notebook.ipynb", "results.json", *drawn]
    results = json.loads(toy.content()["results.json"])
    assert (results["profile"], results["own_parameters"]) == ("laptop", [])
    assert results["counts"] == {"computed": 12, "reused": 0}
    assert results["cost"]["cpu_seconds"] > 0 and results["cost"]["peak_memory_bytes"] > 2**24
    notebook = nbformat.reads(toy.content()["notebook.ipynb"].decode(), as_version=4)
    nbformat.validate(notebook)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert "reproduced" in run.stdout and "toy.slope" in run.stdout


def test_nothing_written_carries_a_path_of_this_machine(toy):
    said = "'{sys.prefix}/lib and {sys.base_prefix}/bin, {os.getcwd()}/notebooks, {tempfile.gettempdir()}/x, {home}/y'"
    warn = f"import os, sys, tempfile, warnings; home = os.path.expanduser('~'); warnings.warn(f{said})"
    write_notebook(toy.notebook, SETUP, SWEEP, warn, FINISH)
    home = "/home/ada.lovelace"
    assert toy.repro("run", HOME=home).returncode == 0
    assert b"lib and bin, notebooks, x, ~/y" in toy.content()["notebook.ipynb"]
    for name, content in toy.content().items():
        for place in (str(toy.root), sys.prefix, sys.base_prefix, home):
            assert place.encode() not in content, (name, place)


def test_the_place_of_the_environment_changes_no_byte(tmp_path, monkeypatch):
    def stripped(prefix):
        warning = nbformat.v4.new_output("stream", name="stderr", text=f"{prefix}/lib/x.py:1: Warning\n")
        cell = nbformat.v4.new_code_cell("pass", outputs=[warning], id="cell")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebook.ipynb")
        monkeypatch.setattr(sys, "prefix", prefix)
        run = {"context": {"staging": "/checkout/.new"}, "root": "/checkout", "shown": "x", "parameters": {}}
        kernel._strip(tmp_path / "notebook.ipynb", run)
        return (tmp_path / "notebook.ipynb").read_text()

    assert '"lib/x.py:1: Warning' in stripped("/opt/environment")
    assert stripped("/checkout/.venv") == stripped("/opt/environment")


def test_a_run_that_is_up_to_date_is_skipped_and_every_reason_is_told(toy, monkeypatch):
    def says(*words):
        run = toy.repro("run", *words)
        assert run.returncode == 0, run.stdout
        return run.stdout.splitlines()[0]

    def would(settings=None):
        (plan,) = make_plans(Project(toy.root), ["toy"], "laptop", settings or {}, None)
        return runner._last_run(Project(toy.root), plan)

    assert says() == "toy: runs: no finished run in the local cache"
    assert says().startswith("toy: skipped: nothing changed since the run of ")
    assert says("--force") == "toy: runs: forced"
    monkeypatch.delenv("REPRO_CACHE", raising=False)
    same = [
        lambda: (toy.root / "toy_plots.py").write_text(PLOTS + "# a comment\n"),
        lambda: toy.claims.write_text(CLAIMS + "# a comment\n"),
        lambda: (toy.root / "unrelated.py").write_text("1"),
    ]
    for change in same:
        change()
        assert would()[0]
    assert would({"workers": 2})[0]  # how many workers changes no number
    toy.claims.write_text(CLAIMS.replace("within = 0.1", "within = 0.2"))
    assert would() == (False, "changed since the last run: claims")
    toy.claims.write_text(CLAIMS)
    (toy.root / "toy_plots.py").write_text(PLOTS.replace('"o"', '"x"'))
    assert would() == (False, "changed since the last run: imported code")
    (toy.root / "toy_plots.py").write_text(PLOTS)
    (toy.results / "values.png").unlink()
    assert would() == (False, "figures/laptop/toy is not what the last run left there")
    write_notebook(toy.notebook, SETUP, SWEEP, "1 + 1", FINISH)
    assert would() == (False, "changed since the last run: code cells")


def test_committed_results_never_cause_a_skip(done, tmp_path_factory):
    done.commit("results")
    clone = tmp_path_factory.mktemp("clone") / "toy"
    subprocess.run(["git", "clone", "-q", str(done.root), str(clone)], check=True)
    run = subprocess.run(
        done.command("run"), cwd=clone, env=done.environment, capture_output=True, text=True, check=False
    )
    assert "toy: runs: no finished run in the local cache" in run.stdout


def test_a_change_of_text_alone_runs_nothing(done):
    notebook = nbformat.read(done.notebook, as_version=4)
    notebook.cells[1].source = "# Another title"
    nbformat.write(notebook, done.notebook)
    assert "skipped" in done.repro("run").stdout


def test_own_parameters_go_to_a_folder_of_their_own(toy):
    run = toy.repro("run", "--set", "seeds=2", "--set", "sizes=[1,8]")
    assert run.returncode == 0, run.stdout
    assert not (toy.root / "figures").exists()
    results = json.loads((toy.root / "runs" / "laptop" / "toy" / "results.json").read_text())
    assert results["own_parameters"] == ["seeds", "sizes"]
    assert (results["parameters"]["seeds"], results["parameters"]["sizes"]) == (2, [1, 8])
    assert toy.repro("run", "--set", "seeds=2", "--out", "elsewhere").returncode == 0
    assert (toy.root / "elsewhere" / "laptop" / "toy" / "results.json").is_file()


def test_a_profile_changes_what_it_names_and_no_more(toy):
    assert toy.repro("run", "--profile", "smoke").returncode == 0
    results = json.loads((toy.root / "figures" / "smoke" / "toy" / "results.json").read_text())
    assert (results["parameters"]["seeds"], results["parameters"]["sizes"]) == (2, [1, 2, 4])
    assert results["claims"] == {} and results["measurements"][0]["verdict"] == "not judged"


def test_two_runs_give_the_same_bytes_but_for_the_record(done):
    first = done.content()
    done.repro("run", "--force")
    second = done.content()
    assert [name for name in first if first[name] != second[name]] == ["results.json"]


def test_notebooks_side_by_side(toy):
    for name in ("one", "two"):
        body = (source.replace('"toy"', f'"{name}"') for source in (SETUP, SWEEP, "record.finish()"))
        write_notebook(toy.root / "notebooks" / f"{name}.ipynb", *body)
    run = toy.repro("run", "--jobs", "3")
    assert run.returncode == 0, run.stdout
    assert run.stdout.count(": ran after") == 3


def test_notebooks_share_the_processors_and_the_dearest_start_first(toy, monkeypatch):
    for name in ("one", "two"):
        body = (source.replace('"toy"', f'"{name}"') for source in (SETUP, SWEEP, "record.finish()"))
        write_notebook(toy.root / "notebooks" / f"{name}.ipynb", *body)
    monkeypatch.setattr(plans.joblib, "cpu_count", lambda: 7)
    monkeypatch.setattr(plans, "NOTEBOOK_BYTES", 1)
    monkeypatch.setattr(plans, "_last_cost", lambda project, plan: {"one": 1, "two": 5}.get(plan.notebook, math.inf))
    project = Project(toy.root)

    def planned(names, settings, jobs=None):
        chosen, together = plans.side_by_side(project, names, "laptop", settings, None, jobs)
        return [(plan.notebook, plan.parameters["workers"]) for plan in chosen], together

    assert planned([], {}) == ([("toy", 2), ("two", 2), ("one", 2)], 3)
    assert planned([], {"workers": 3}) == ([("toy", 3), ("two", 3), ("one", 3)], 3)
    own = parameters.read(project.notebook("one"))["workers"].default
    assert planned(["one", "two"], {}, jobs=1) == ([("one", own), ("two", own)], 1)
    assert planned(["one"], {}) == ([("one", own)], 1)


def test_another_checkout_than_the_commands_own_is_refused(toy):
    (toy.root / "repro" / "__init__.py").touch()
    with pytest.raises(ReproError, match=r"this command belongs to the checkout .*, but .* has a package of its own"):
        make_plans(Project(toy.root), ["toy"], "laptop", {}, None)


def test_the_kernel_is_this_interpreter_whatever_kernels_are_installed(toy, tmp_path_factory):
    data = tmp_path_factory.mktemp("jupyter")
    spec = data / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        json.dumps({"argv": ["/bin/false", "{connection_file}"], "display_name": "x", "language": "python"})
    )
    run = toy.repro("run", JUPYTER_PATH=str(data), JUPYTER_PREFER_ENV_PATH="0")
    assert run.returncode == 0, run.stdout


def test_lock_files_of_editors_are_no_notebooks(toy):
    (toy.root / "notebooks" / ".#toy.ipynb").symlink_to("ada@laptop.1234")
    (toy.root / "notebooks" / "folder.ipynb").mkdir()
    assert [path.name for path in Project(toy.root).all_notebooks()] == ["toy.ipynb"]


def test_a_users_start_up_files_do_not_run_in_a_notebook(toy, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    startup = home / "profile_default" / "startup" / "00.py"
    startup.parent.mkdir(parents=True)
    startup.write_text(f"open({str(home / 'ran')!r}, 'w').close()")
    assert toy.repro("run", IPYTHONDIR=str(home)).returncode == 0
    assert not (home / "ran").exists()


def test_a_terminal_that_prints_no_symbols_loses_no_run(toy):
    run = toy.repro("run", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert run.returncode == 0 and "Traceback" not in run.stderr
    assert toy.repro("list", PYTHONIOENCODING="ascii").returncode == 0


@pytest.mark.parametrize("name", ["toy", "toy.ipynb", "notebooks/toy.ipynb", "./notebooks/toy"])
def test_a_notebook_goes_by_its_name_or_its_path(toy, name, monkeypatch):
    monkeypatch.chdir(toy.root)
    assert [plan.notebook for plan in make_plans(Project(toy.root), [name], "laptop", {}, None)] == ["toy"]


def test_a_path_elsewhere_is_not_the_notebook_of_that_name(toy):
    run = toy.repro("run", "/no/such/dir/toy.ipynb")
    assert run.returncode == 1 and "unknown notebook '/no/such/dir/toy.ipynb'" in run.stderr


def test_paths_and_names_are_words_and_nothing_else(tmp_path_factory):
    """Braces are no parameters, square brackets no styles, and a socket fits into no long temporary folder."""
    toy = ToyProject(tmp_path_factory.mktemp("{x} [b] 100%"))
    toy.claims.write_text(toy.claims.read_text() + 'part = [{ name = "[/b] [lazy]", criterion = CRITERION }]\n')
    text = toy.claims.read_text().replace("criterion = {", "CRITERION = {", 1)
    criterion = text.partition("CRITERION = ")[2].splitlines()[0]
    kept = [line for line in text.splitlines() if not line.startswith(("CRITERION", "band"))]
    toy.claims.write_text("\n".join(kept).replace("= CRITERION", f"= {criterion}") + "\n")
    undefined = (
        'found = slope(rows); found.lower = found.upper = float("nan"); record.measure("slope", "[/b] [lazy]", found)'
    )
    write_notebook(toy.notebook, SETUP, SWEEP, FINISH.replace('record.measure("slope", "", slope(rows))', undefined))
    long = tmp_path_factory.mktemp("t" * 90)
    run = toy.repro("run", TMPDIR=str(long))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "[/b] [lazy]" in run.stdout and "[undefined, undefined]" in run.stdout
    assert "[/b] [lazy]" in toy.repro("report").stdout + (toy.root / "figures" / "index.html").read_text()


def test_runs_with_own_parameters_do_not_go_where_declared_ones_are(toy):
    run = toy.repro("run", "--set", "seeds=2", "--out", "figures")
    assert run.returncode == 1 and "figures/ is for declared runs, which judge claims" in run.stderr
    assert toy.repro("run", "--set", "seeds=2").returncode == 0
    (toy.root / "figures" / "laptop").mkdir(parents=True)
    shutil.copytree(toy.root / "runs" / "laptop" / "toy", toy.results)
    refused = toy.repro("list")
    assert refused.returncode == 1 and "it was run with own values of seeds, which judge no claim" in refused.stderr
    shutil.rmtree(toy.results)
    assert toy.repro("run").returncode == 0
    shutil.copytree(toy.results, toy.root / "figures" / "paper" / "toy")
    refused = toy.repro("report")
    assert refused.returncode == 1 and "it is the record of toy at the laptop profile" in refused.stderr


def test_plain_papermill_works_and_is_checked_too(toy):
    def papermill(*words):
        command = [sys.executable, "-m", "papermill", "notebooks/toy.ipynb", "out.ipynb", "-k", "python3", *words]
        return subprocess.run(command, cwd=toy.root, env=toy.environment, capture_output=True, text=True, check=False)

    assert papermill("-p", "seeds", "2", "--language", "python").returncode == 0
    results = json.loads((toy.root / "runs" / "own" / "toy" / "results.json").read_text())
    assert (results["profile"], results["parameters"]["seeds"]) == ("own", 2)
    wrong = papermill("-p", "seeds", "abc", "--language", "python")
    assert wrong.returncode == 1 and "parameter seeds: got 'abc', expected int" in wrong.stderr


@pytest.mark.parametrize("command", ["", "list", "run", "verify", "report"])
def test_every_help_text_shows_a_true_example(toy, command):
    run = toy.repro(*[command] if command else [], "--help")
    assert run.returncode == 0
    assert f"repro {command}".strip() in run.stdout.split("Options:")[0].split("\n", 1)[1]
