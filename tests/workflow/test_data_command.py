"""`repro data`: what it lists and fetches, with small sets in place of the real ones."""

import pytest
from click.testing import CliRunner
from small_sets import ARCHIVE, cifar, idx, mirror, pin, supply, zipped

from repro.data import images, sources
from repro.workflow.cli import main


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    pin(monkeypatch, tmp_path)
    return tmp_path


def command(*words):
    return CliRunner().invoke(main, ["data", *words])


def test_every_set_is_listed_with_its_place_or_the_ways_to_supply_it(small):
    supply(small / "system", idx("fashion-mnist"), compressed=True)
    result = command()
    assert result.exit_code == 0
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert list(lines) == list(images.NAMES)
    assert lines["fashion-mnist"] == f"{small / 'system'}, hashes agree"
    assert lines["fashion-mnist-footwear"].endswith("fashion_mnist_footwear.npz, hashes agree")
    for name in ("mnist", "cifar-10"):
        assert lines[name].startswith("not found. To supply it: set REPRO_DATA")
    assert not (small / "cache").exists()  # listing fetches nothing


def test_a_wrong_file_is_told_after_the_others(small):
    supply(small / "system", {**idx("fashion-mnist"), "t10k-labels-idx1-ubyte": b"wrong"})
    result = command()
    assert result.exit_code == 1
    assert "Error: " in result.stderr and "t10k-labels-idx1-ubyte has SHA-256" in result.stderr
    assert "mnist: not found" in result.stdout and "Traceback" not in result.output


def test_named_sets_are_fetched_once(small, monkeypatch):
    with mirror(zipped(idx("mnist"))) as (address, asked), mirror({ARCHIVE: cifar()}) as (other, _):
        monkeypatch.setitem(sources.MIRRORS, "mnist", (address,))
        monkeypatch.setitem(sources.MIRRORS, "cifar-10", (other,))
        result = command("mnist", "cifar-10")
        assert result.exit_code == 0
        for name in ("mnist", "cifar-10"):
            assert f"{name}: fetched into {small / 'cache' / 'repro' / name}, hashes agree" in result.stdout
        count = len(asked)
        again = command("mnist")
    assert again.stdout == f"mnist: nothing to do, {small / 'cache' / 'repro' / 'mnist'}, hashes agree\n"
    assert len(asked) == count


def test_a_failed_fetch_is_one_error_and_the_other_sets_are_fetched(small, monkeypatch):
    with mirror({}) as (empty, _), mirror({ARCHIVE: cifar()}) as (other, _):
        monkeypatch.setitem(sources.MIRRORS, "mnist", (empty,))
        monkeypatch.setitem(sources.MIRRORS, "cifar-10", (other,))
        result = command("mnist", "cifar-10")
    assert result.exit_code == 1 and result.stderr.count("Error: ") == 1
    assert "mnist was not found and could not be fetched" in result.stderr and "Traceback" not in result.output
    assert [path.name for path in (small / "cache" / "repro").iterdir()] == ["cifar-10"]


def test_an_unknown_set_is_one_error():
    result = command("imagenet", "mnist")
    assert result.exit_code == 1
    assert result.stderr == f"Error: no image set called imagenet; expected {', '.join(images.NAMES)}\n"


def test_help_shows_an_example():
    assert "repro data mnist fashion-mnist" in command("--help").output
