"""What the README says to type can be typed: its Python runs, its make targets and repro commands exist."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from repro.workflow import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)  # (language, code)
SNIPPETS = [code for language, code in BLOCKS if language == "python"]
TYPED = [code for language, code in BLOCKS if language == "sh"] + re.findall(r"`([^`\n]+)`", README)


def words_after(program):
    return sorted({word for code in TYPED for word in re.findall(rf"(?<![\w-]){program} ([a-z]+)\b", code)})


def test_the_snippets_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for number, code in enumerate(SNIPPETS, start=1):
        exec(compile(code, f"README.md, Python block {number}", "exec"), names)


def test_make_has_the_targets():
    rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(words_after("make")) <= set(rules)


@pytest.mark.parametrize("command", words_after("repro"))
def test_repro_has_the_command(command):
    assert CliRunner().invoke(cli.main, [command, "--help"]).exit_code == 0


def test_the_readme_is_read():
    assert SNIPPETS and "figures" in words_after("make") and "run" in words_after("repro")
