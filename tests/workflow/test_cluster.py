"""Clusters: cells go to workers as they come and go, nothing waits without a word, no foreign number gets in."""

import os
import re
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pandas as pd
import pytest
from slow_cells import deadly, mortal, sleepy, square, threads

from repro.workflow import arithmetic, cluster, sweep
from repro.workflow.cells import Done, Proof, compute_batch, compute_by_name
from repro.workflow.project import PACKAGE, ReproError
from repro.workflow.sweep import grid

pytestmark = pytest.mark.kernel

distributed = pytest.importorskip("distributed")
TESTS = Path(__file__).parents[1]


@pytest.fixture
def said(monkeypatch):
    """What was told, looks that follow one another quickly, and a proof for which no worker need load torch."""
    words = []
    for library in ("scipy", "torch"):
        monkeypatch.delitem(arithmetic._PROBES, library)
    monkeypatch.setattr(cluster, "tell", words.append)
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.2)
    return words


@contextmanager
def cluster_of(count):
    """A scheduler, and worker processes of this checkout."""
    settings = {"n_workers": count, "threads_per_worker": 1, "processes": True, "silence_logs": 60}
    with distributed.LocalCluster(**settings, dashboard_address=None) as local:
        yield local


@contextmanager
def workers(count, monkeypatch):
    """A cluster, and sweeps spread over it."""
    with cluster_of(count) as local:
        monkeypatch.setenv(cluster.ADDRESS_VARIABLE, local.scheduler_address)
        yield local


@pytest.fixture(scope="module")
def shared_cluster():
    with cluster_of(2) as local:
        yield local


@pytest.fixture
def pair(shared_cluster, monkeypatch):
    """Two workers that other tests have too, whole again where these have ended one; sweeps are spread over them."""
    wait_for_workers(shared_cluster, 2)
    monkeypatch.setenv(cluster.ADDRESS_VARIABLE, shared_cluster.scheduler_address)
    return shared_cluster


@contextmanager
def worker(local, path=(PACKAGE.parent, TESTS), **environment):
    """One more worker, started by hand with a path and an environment of its own."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", local.scheduler_address]
    command += ["--nthreads", "1", "--no-dashboard", "--no-nanny", "--name", "by-hand"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))} | environment
    process = subprocess.Popen(command, env=environment, cwd=path[0], stderr=subprocess.DEVNULL)  # -m adds it
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_workers(local, count):
    with distributed.Client(local.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=120)


def pids(frame):
    return set(frame["pid"])


def test_a_cluster_gives_the_numbers_of_a_local_run(tmp_path, monkeypatch, pair):
    remote = sweep.run(threads, grid(number=range(6)), cache=tmp_path / "remote").frame
    again = sweep.run(square, grid(number=[3, 1, 4]), cache=tmp_path / "remote").frame
    monkeypatch.delenv(cluster.ADDRESS_VARIABLE)
    local = sweep.run(threads, grid(number=range(6)), cache=tmp_path / "local").frame
    squares = sweep.run(square, grid(number=[3, 1, 4]), cache=tmp_path / "local").frame
    pd.testing.assert_frame_equal(remote.drop(columns="pid"), local.drop(columns="pid"), check_exact=True)
    assert len(pids(remote)) == 2 and os.getpid() not in pids(remote)
    pd.testing.assert_frame_equal(again, squares, check_exact=True)


def test_cells_go_to_workers_as_they_come(tmp_path, monkeypatch, said):
    """None at the start, then one, then three: the later ones get cells of the same sweep."""
    with workers(0, monkeypatch) as local:
        for seconds, count in ((0.5, 1), (2.5, 3)):
            Timer(seconds, local.scale, [count]).start()
        frame = sweep.run(sleepy, grid(number=range(50), seconds=0.15), cache=tmp_path).frame
    assert list(frame["number"]) == list(range(50)) and len(pids(frame)) == 3
    assert "no worker at " in said[0] and "start one with `repro exec dask worker" in said[0]
    assert said[1] == "cluster: 1 worker, 1 cell at a time" and said[-1] == "cluster: 3 workers, 3 cells at a time"


def test_without_a_worker_it_says_so_and_gives_up_after_the_time_that_was_set(tmp_path, monkeypatch, said):
    monkeypatch.setenv(cluster.PATIENCE_VARIABLE, "1")
    monkeypatch.setattr(cluster, "WORD_SECONDS", 0.3)
    with workers(0, monkeypatch), pytest.raises(ReproError, match=r"no worker at .* for 1 s \(--cluster-wait\)"):
        sweep.run(square, grid(number=[1]), cache=tmp_path)
    assert len(said) >= 3


def test_a_cell_that_ends_its_workers_is_named_and_the_others_are_kept(tmp_path, said, pair):
    with pytest.raises(ReproError, match="3 workers were lost with this cell") as error:
        sweep.run(deadly, grid(number=range(5), seconds=0.0), cache=tmp_path)
    assert "1 of 5 cells of deadly failed (the others are kept). First: {'number': 2" in str(error.value)
    assert len(list(tmp_path.rglob("*.json"))) == 4
    assert sum("is lost; its cell goes to another" in words for words in said) == 2


def test_quick_cells_go_out_in_batches_and_a_worker_lost_with_one_loses_nothing(tmp_path, monkeypatch, said, pair):
    submitted, submit = [], distributed.Client.submit
    monkeypatch.setattr(
        distributed.Client, "submit", lambda *words, **rest: submitted.append(1) or submit(*words, **rest)
    )
    monkeypatch.setattr(cluster, "BATCH_SECONDS", 5.0)  # none ends for want of time, whatever the load
    configs = grid(number=range(60), mark=str(tmp_path / "mark"))
    remote = sweep.run(mortal, configs, cache=tmp_path / "remote").frame
    monkeypatch.delenv(cluster.ADDRESS_VARIABLE)
    pd.testing.assert_frame_equal(remote, sweep.run(mortal, configs, cache=tmp_path / "local").frame, check_exact=True)
    assert any(re.search(r"is lost; its \d+ cells go to others, one by one", words) for words in said), said
    assert len(submitted) < 50


def test_one_client_serves_all_sweeps_of_a_process_and_is_made_again_once_closed(tmp_path, monkeypatch, said, pair):
    made, client, address = [], distributed.Client, pair.scheduler_address
    cluster.connect(address).close()  # that of another test
    monkeypatch.setattr(distributed, "Client", lambda *words, **rest: made.append(1) or client(*words, **rest))
    for number in range(2):
        sweep.run(square, grid(number=number), cache=tmp_path)
    assert len(made) == 1
    cluster.connect(address).close()
    sweep.run(square, grid(number=3), cache=tmp_path)
    with cluster.connect(address) as last:
        assert len(made) == 2 and last.status == "running"
        with monkeypatch.context() as forked:  # the child of a fork, to which the client of its parent says nothing
            forked.setattr(os, "getpid", lambda: 0)
            cluster.connect(address).close()
        assert len(made) == 3
    assert last.status == "closed"


SWEEPS = """
from pathlib import Path
from slow_cells import square
from repro.workflow.sweep import grid, run

for number in range(2):
    run(square, grid(number=range(9)), cache=Path(f"cells-{number}"))
print("done", flush=True)
input()
"""


def test_a_process_ends_without_a_word_of_its_client(tmp_path, monkeypatch):
    environment = {"PYTHONPATH": os.pathsep.join(map(str, (PACKAGE.parent, TESTS))), "REPRO_PROGRESS": str(tmp_path)}
    command, pipes = [sys.executable, "-c", SWEEPS], dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with workers(1, monkeypatch):
        of_before, of_after = (
            subprocess.Popen(command, env=os.environ | environment, cwd=tmp_path, text=True, **pipes) for _ in range(2)
        )
        assert of_before.stdout.readline() == of_after.stdout.readline() == "done\n"
        assert of_before.communicate("\n", timeout=60) == ("", "") and of_before.returncode == 0
    assert of_after.communicate("\n", timeout=60) == ("", "") and of_after.returncode == 0  # its scheduler is gone


def test_a_lost_scheduler_is_told_and_what_was_finished_is_kept(tmp_path, monkeypatch, said):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen([*command, "--scheduler-file", str(file)], stderr=subprocess.DEVNULL)
    try:
        while not file.exists() or not file.read_text().endswith("}"):
            time.sleep(0.1)
        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            address = client.scheduler.address
        monkeypatch.setenv(cluster.ADDRESS_VARIABLE, address)
        Timer(1, scheduler.kill).start()
        with pytest.raises(ReproError, match=rf"the scheduler at {address} is lost .*: finished cells are kept"):
            sweep.run(square, grid(number=[1]), cache=tmp_path)
    finally:
        scheduler.kill()
        scheduler.wait()


def other_checkout(folder):
    """A copy of the cells in which one number is another."""
    text = (TESTS / "slow_cells.py").read_text()
    assert "number**2" in text
    (folder / "slow_cells.py").write_text(text.replace("number**2", "number**3"))
    return folder


@pytest.mark.parametrize(
    ("kind", "says"),
    [("code", "code of slow_cells.sleepy is "), ("arithmetic", "arithmetic of numpy is ")],
)
def test_a_foreign_worker_gets_no_cells_and_is_named(kind, says, tmp_path, monkeypatch, said):
    other = "Prescott" if os.environ.get("OPENBLAS_CORETYPE") != "Prescott" else "Haswell"
    path = {"code": (PACKAGE.parent, tmp_path), "arithmetic": (PACKAGE.parent, TESTS)}[kind]
    environment = {"OPENBLAS_CORETYPE": other} if kind == "arithmetic" else {}
    if kind == "code":
        other_checkout(tmp_path)
    elif kind == "arithmetic" and not arithmetic.can_be_pinned():
        pytest.skip("this processor has no other kernels to choose")
    configs = grid(number=range(4), seconds=0.1)
    with workers(0, monkeypatch) as local, worker(local, path, **environment):
        wait_for_workers(local, 1)
        with pytest.raises(ReproError, match="1 of 1 workers compute other numbers than this machine, or cannot load"):
            sweep.run(sleepy, configs, cache=tmp_path / "cells")
        assert not list((tmp_path / "cells").rglob("*.json"))
        assert any("gets no cells: " in words and says in words for words in said), said
        local.scale(1)
        wait_for_workers(local, 2)
        frame = sweep.run(sleepy, configs, cache=tmp_path / "cells").frame
        assert list(frame["number"]) == list(range(4)) and len(pids(frame)) == 1


class Fake:
    """A client whose futures end at once as they are told, one after the other."""

    def __init__(self, *ends):
        self.ends, self.scheduler, self.present = list(ends), self, {"tcp://one": 1}

    def sync(self, asked, callback_timeout):
        return self.present

    ncores = None

    def submit(self, *words, **options):
        end = self.ends.pop(0)

        class Future:
            status = "finished"

            def result(self, timeout):
                if isinstance(end, Exception):
                    raise end
                return end if isinstance(end, list) else [end]

            def add_done_callback(self, call):
                call(self)

        return Future()


def spread(client, count=1):
    tasks = deque((index, {}) for index in range(count))
    return list(cluster._Spread("tcp://head:1", client, "slow_cells.square", tasks, None).results())


def test_a_batch_ends_with_its_time_and_with_a_refusal():
    tasks, proof = [(index, {"number": index, "seconds": 0.02}) for index in range(3)], Proof.of(sleepy)
    assert [done.index for done in compute_batch("slow_cells.sleepy", tasks, proof, seconds=60.0)] == [0, 1, 2]
    assert [done.index for done in compute_batch("slow_cells.sleepy", tasks, proof, seconds=0.01)] == [0]
    (done,) = compute_batch("slow_cells.sleepy", tasks, proof._replace(code={"code": "another"}), seconds=60.0)
    assert done.refused and not done.rows


def test_what_a_worker_had_no_time_for_or_was_lost_with_goes_out_again(said):
    """Batches of 1, 2, which is left half done, 1, 2, which is lost, and then one by one."""
    client, size = Fake(), []

    def submit(function, cell, batch, proof, seconds, **options):
        size.append(len(batch))
        lost = len(size) == 4
        client.ends = [distributed.CancelledError() if lost else [Done(index) for index, _ in batch[:1]]]
        return Fake.submit(client)

    client.submit = submit
    assert [done.index for done in spread(client, 6)] == [0, 1, 2, 3, 4, 5]
    assert size == [1, 2, 1, 2, 1, 1, 1]
    assert "its 2 cells go to others, one by one" in said[-1]


def test_a_worker_that_comes_back_under_its_address_counts_as_lost_too(said):
    killed = [distributed.KilledWorker("cell", None, 3), distributed.CancelledError(), TimeoutError()]
    assert "3 workers were lost with this cell" in spread(Fake(*killed))[0].error
    assert spread(Fake(*killed[:2], Done(0, [{"a": 1}]))) == [Done(0, [{"a": 1}])]


def test_a_worker_that_cannot_import_the_cell_says_so(said):
    refused = compute_by_name("no_such_module.cell", 0, {}, None).refused
    assert refused == "it cannot import no_such_module.cell: No module named 'no_such_module'"
    with pytest.raises(ReproError, match=f"1 of 1 workers compute other numbers .*\n  tcp://one: {refused}"):
        spread(Fake(Done(0, refused=refused)))


class Silent:
    """A future of a worker that is gone: it never ends."""

    status = "pending"

    def add_done_callback(self, call):
        pass

    def release(self):
        pass


def test_when_all_workers_go_the_sweep_says_so_and_waits_for_others(said):
    client = Fake(Done(0, [{"a": 1}]))
    looks = iter([{"tcp://one": 1}, {}, {}])
    client.sync = lambda asked, callback_timeout: next(looks, {"tcp://two": 1})
    submit = client.submit
    client.submit = lambda *words, workers, **rest: Silent() if workers == ["tcp://one"] else submit(*words)
    assert spread(client) == [Done(0, [{"a": 1}])]
    lost, alone, back = said[1:]
    assert lost == "cluster: the worker tcp://one is lost; its cell goes to another"
    assert alone.startswith("cluster: no worker at tcp://head:1") and back == "cluster: 1 worker, 1 cell at a time"


def test_a_refused_worker_that_stays_alone_is_no_worker(said, monkeypatch):
    monkeypatch.setenv(cluster.PATIENCE_VARIABLE, "0.5")
    client = Fake(Done(0, refused="another code"))
    looks = iter([{"tcp://bad": 1, "tcp://good": 1}])
    client.sync = lambda asked, callback_timeout: next(looks, {"tcp://bad": 1})
    with pytest.raises(ReproError, match=r"no worker at tcp://head:1 for 0\.5 s \(--cluster-wait\)"):
        spread(client)
    assert any("the worker tcp://bad gets no cells: another code" in words for words in said)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("tcp://127.0.0.1:1", "Timed out|refused"),
        ("http://127.0.0.1:1", "unknown address scheme 'http'"),
        ("tls://127.0.0.1:1", "TLS expects"),
        ("ucx://127.0.0.1:1", "UCX|ucx"),
        ("head", "missing port number"),
        ("tcp://head:x", "invalid literal"),
    ],
)
def test_an_address_without_a_scheduler_is_one_sentence(address, says):
    with pytest.raises(ReproError, match=rf"no dask scheduler answers at '{address}' .*({says})") as error:
        cluster.connect(address, seconds=0.5).__enter__()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("answer", "says"),
    [(None, "nothing that a scheduler would say within 0.5 s"), (b"HTTP/1.1 400 Bad", "another protocol")],
)
def test_what_accepts_but_is_no_scheduler_is_told_in_time(answer, says):
    accepted = []

    def reply():
        accepted.append(server.accept()[0])
        accepted[0].sendall(answer + bytes(100))

    with socket.create_server(("127.0.0.1", 0)) as server:
        if answer:
            Timer(0.1, reply).start()
        with pytest.raises(ReproError, match=says):
            cluster.connect(f"tcp://127.0.0.1:{server.getsockname()[1]}", seconds=0.5).__enter__()
