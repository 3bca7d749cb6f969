"""Sweeps: same rows however they are computed, every finished cell kept, no damaged cell believed."""

import errno
import json
import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
import torch
from slow_cells import deadly, fragile, placed, returning, sleepy, square, threads

from repro.workflow import cells, provenance, sweep
from repro.workflow.project import ReproError
from repro.workflow.sweep import grid


def test_grid_is_the_product_of_its_axes_last_fastest():
    configs = grid(size=[1, 2], seed=range(2), width=300)
    assert configs == [
        {"size": 1, "seed": 0, "width": 300}, {"size": 1, "seed": 1, "width": 300},
        {"size": 2, "seed": 0, "width": 300}, {"size": 2, "seed": 1, "width": 300},
    ]  # fmt: skip


def test_rows_come_in_the_order_of_the_grid_whatever_the_workers_and_costs(tmp_path):
    configs = grid(number=[3, 1, 4, 1, 5])
    frames = [
        sweep.run(square, configs, workers=workers, cost=cost, cache=tmp_path / str(index)).frame
        for index, (workers, cost) in enumerate(
            [(1, lambda config: 1.0), (2, lambda config: 1.0), (2, lambda config: config["number"])]
        )
    ]
    assert list(frames[0]["number"]) == [3, 3, 1, 1, 4, 4, 1, 1, 5, 5]
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0], check_exact=True)


def test_a_second_run_computes_nothing_and_reads_the_same(tmp_path):
    log = tmp_path / "log"
    configs = grid(number=[1, 2, 3], log=str(log))
    first = sweep.run(square, configs, cache=tmp_path / "cells")
    second = sweep.run(square, configs, cache=tmp_path / "cells")
    assert (first.counts[:2], second.counts[:2]) == ((3, 0), (0, 3))
    assert len(log.read_text().splitlines()) == 3
    pd.testing.assert_frame_equal(first.frame, second.frame, check_exact=True)


def test_runs_at_the_same_time_compute_each_cell_once(tmp_path):
    configs, both = grid(number=range(20), seconds=0.05), Barrier(2)

    def run(_):
        both.wait()
        return sweep.run(sleepy, configs, cache=tmp_path)

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(run, range(2)))
    assert [run.counts.computed + run.counts.reused for run in runs] == [20, 20]
    assert sum(run.counts.computed for run in runs) == 20 and min(run.counts.computed for run in runs) > 0
    pd.testing.assert_frame_equal(runs[0].frame, runs[1].frame, check_exact=True)
    assert not list(tmp_path.rglob("*.lock"))


def test_a_cell_whose_run_was_killed_is_computed_by_the_next(tmp_path):
    store = cells.Store(square, tmp_path, cells.Proof.of(square))
    left = store.path({"number": 1}).with_suffix(".lock")
    left.parent.mkdir()
    left.touch()
    assert sweep.run(square, grid(number=[1, 2]), cache=tmp_path).counts.computed == 2
    assert not left.exists()


def test_a_longer_grid_computes_only_what_is_new(tmp_path):
    sweep.run(square, grid(number=[1, 2]), cache=tmp_path)
    assert sweep.run(square, grid(number=[0, 1, 2, 3]), cache=tmp_path).counts[:2] == (2, 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "\x00\xff garbage",
        *(lambda text, shape=shape: shape for shape in ("[]", "null", "3", '"x"', "{}", '{"rows": 3}')),
        lambda text: json.dumps(json.loads(text) | {"rows": []}),
        lambda text: text.replace('{"number": 2}', '{"number": 3}'),  # the configuration
        lambda text: text.replace("slow_cells.square", "slow_cells.cube"),
        lambda text: json.dumps({"rows": [{"number": 2, "square": 5, "third": 0.0}], "sha256": "0"}),
        lambda text: text.replace('"square": 4', '"square": 5'),
    ],
)
def test_a_damaged_cell_is_told_and_computed_again(tmp_path, capsys, damage):
    first = sweep.run(square, grid(number=[1, 2]), cache=tmp_path)
    file = next(path for path in (tmp_path / "square").iterdir() if '"square": 4' in path.read_text())
    damaged = damage(file.read_text())
    assert damaged != file.read_text()
    file.write_text(damaged)
    again = sweep.run(square, grid(number=[1, 2]), cache=tmp_path)
    assert again.counts[:2] == (1, 1)
    pd.testing.assert_frame_equal(again.frame, first.frame, check_exact=True)
    assert f"{file.name} of slow_cells.square is damaged; this cell is computed again" in capsys.readouterr().err
    assert sweep.run(square, grid(number=[1, 2]), cache=tmp_path).counts[:2] == (0, 2)


def test_a_cell_in_the_place_of_another_is_told_and_computed_again(tmp_path, capsys):
    first = sweep.run(square, grid(number=[1, 2, 3]), cache=tmp_path)
    one, two, _ = (tmp_path / "square").iterdir()
    content = one.read_bytes(), two.read_bytes()
    one.write_bytes(content[1])
    two.write_bytes(content[0])
    again = sweep.run(square, grid(number=[1, 2, 3]), cache=tmp_path)
    assert again.counts[:2] == (2, 1) and capsys.readouterr().err.count("is damaged") == 2
    pd.testing.assert_frame_equal(again.frame, first.frame, check_exact=True)


def test_a_folder_in_the_place_of_a_cell_is_named(tmp_path):
    sweep.run(square, grid(number=[1]), cache=tmp_path)
    (file,) = (tmp_path / "square").iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(ReproError, match="is a folder where a finished cell belongs; remove it"):
        sweep.run(square, grid(number=[1]), cache=tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_that_fails_is_named_and_the_others_are_kept(tmp_path, workers):
    configs = [{"number": n, "broken": [2]} for n in (1, 2, 3)]
    with pytest.raises(ReproError, match="1 of 3 cells of fragile failed") as error:
        sweep.run(fragile, configs, workers=workers, cache=tmp_path)
    assert "{'number': 2, 'broken': [2]}" in str(error.value) and "cannot take 2" in str(error.value)
    assert len(list((tmp_path / "fragile").glob("*.json"))) == 2


def test_every_worker_has_one_numerical_thread(tmp_path):
    frame = sweep.run(threads, grid(number=range(4)), workers=2, cache=tmp_path).frame
    assert set(frame["threads"]) == {1}


def test_numbers_survive_the_cache_bit_for_bit(tmp_path):
    numbers = [math.pi * 10.0**k for k in (-150, -3, 0, 3, 150)]
    frame = sweep.run(square, grid(number=numbers), cache=tmp_path).frame
    assert list(frame["number"][::2]) == numbers


def test_workers_must_be_positive(tmp_path):
    with pytest.raises(ReproError, match="workers: got 0"):
        sweep.run(square, grid(number=[1]), workers=0, cache=tmp_path)


def test_no_more_processes_are_started_than_there_are_cells(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(sweep.joblib, "Parallel", lambda n_jobs, **options: asked.append(n_jobs) or (lambda tasks: ()))
    sweep.run(square, grid(number=[1, 2]), workers=8, cache=tmp_path)
    assert asked == [2]


def test_a_killed_worker_process_is_told_and_what_was_finished_is_kept(tmp_path):
    with pytest.raises(ReproError, match=r"a worker process of deadly ended: .* take fewer workers"):
        sweep.run(deadly, grid(number=[0, 1, 2], seconds=0.0), workers=2, cache=tmp_path)
    assert sweep.run(deadly, grid(number=[0, 1, 3], seconds=0.0), workers=2, cache=tmp_path).counts.computed < 4


@pytest.mark.parametrize(
    ("returned", "rows"),
    [
        ([{"a": np.float32(0.1), "b": np.int64(3)}], [{"a": float(np.float32(0.1)), "b": 3}]),
        ([{"a": np.bool_(True), "b": np.arange(2)}], [{"a": True, "b": [0, 1]}]),
        (({"a": None, "b": "x"},), [{"a": None, "b": "x"}]),
        ([], []),
    ],
)
def test_rows_of_numpys_numbers_are_plain_numbers(returned, rows):
    assert cells.plain_rows(returned) == json.loads(json.dumps(rows)) == rows


@pytest.mark.parametrize("returned", [None, 3, "x", {"a": 1}, [1, 2], [{"a": {"b": 1}}], [{"a": {1}}], [{"a": 1j}]])
def test_other_rows_are_refused_by_what_they_are(returned):
    with pytest.raises(TypeError, match=r"a cell returns a list of dictionaries, one for each row, not|a is "):
        cells.plain_rows(returned)


def test_what_a_cell_returned_is_named_in_the_error(tmp_path):
    with pytest.raises(ReproError, match=r"1 of 2 cells of returning failed (.|\n)*one for each row, not dict"):
        sweep.run(returning, [{"what": "rows"}, {"what": "a dictionary"}], cache=tmp_path)


def test_a_configuration_that_json_does_not_know_is_named(tmp_path):
    with pytest.raises(ReproError, match="a configuration of a sweep: number is complex 1j"):
        sweep.run(square, [{"number": 1j}], cache=tmp_path)


def test_configurations_may_be_a_generator_of_numpys_numbers(tmp_path):
    frame = sweep.run(square, ({"number": number} for number in np.arange(3)), cache=tmp_path).frame
    assert list(frame["number"]) == [0, 0, 1, 1, 2, 2]
    assert grid(number=np.arange(3)) == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_a_cell_that_cannot_be_kept_says_why(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cells, "write_text", full)
    with pytest.raises(ReproError, match=r"cannot be kept in .*square \(No space left on device\).*REPRO_CACHE"):
        sweep.run(square, grid(number=[1]), cache=tmp_path)


def test_rows_hold_their_configuration_with_the_cells_own_defaults_but_no_list(tmp_path):
    frame = sweep.run(square, grid(number=[2]), cache=tmp_path).frame
    assert list(frame.columns) == ["number", "log", "square", "third"] and set(frame["log"]) == {""}
    broken = sweep.run(fragile, [{"number": 1, "broken": [3]}], cache=tmp_path).frame
    assert "broken" not in broken.columns and list(broken["number"]) == [1]


def test_a_device_is_resolved_before_the_key_and_two_devices_share_no_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    auto = sweep.run(placed, grid(number=[1]), cache=tmp_path)
    named = sweep.run(placed, grid(number=[1], device="cpu"), cache=tmp_path)
    assert (auto.counts[:2], named.counts[:2]) == ((1, 0), (0, 1)) and list(auto.frame["device"]) == ["cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    store, places = cells.Store(placed, tmp_path, cells.Proof.of(placed)), set()
    for gpu in ("one", "another"):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, gpu=gpu: gpu)
        assert sweep.run(placed, grid(number=[1]), cache=tmp_path).counts[:2] == (1, 0)
        places.add(store.path({"number": 1, "device": "cuda"}))
    assert len(places) == 2 and all(path.is_file() for path in places)


def test_a_finished_cell_keeps_its_seconds_and_its_machine(tmp_path):
    slow = sweep.run(sleepy, grid(number=[1], seconds=0.2), cache=tmp_path)
    again = sweep.run(sleepy, grid(number=[1], seconds=0.2), cache=tmp_path)
    assert 0.2 <= slow.counts.seconds == again.counts.seconds and again.counts.reused == 1
    (file,) = tmp_path.rglob("*.json")
    assert json.loads(file.read_text())["machine"] == provenance.cpu_model()
