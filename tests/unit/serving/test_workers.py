"""``pointadapt serve --workers``: real processes on one port, killed for real."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

pytest.importorskip("fastapi")

from pointadapt.serving.client import AT_ONCE, predict_at


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(3).uniform(-1, 1, (90, 3)))
    return tmp_path / "a.npy"


@pytest.fixture
def workers(start_server, served, tmp_path):
    """Two processes behind one address."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef-token")
    flags = (served / "adapters" / "shapes", "--workers", "2", "--token-file", token)
    server = start_server(tmp_path / "temp", *flags)
    yield server
    if server.process.poll() is None:
        server.process.kill()
    server.process.wait(30)


def children(server):
    found = psutil.Process(server.process.pid).children()
    return [p for p in found if "spawn_main" in " ".join(p.cmdline())]


def counted(server, name):
    lines = server.ask("/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"pointadapt_{name}"))


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_worker_is_replaced_and_every_request_answered(workers, server, file):
    want = server.send("shapes", file).told
    assert counted(workers, "workers") == 2
    assert workers.ask("/adapters", token="wrong-wrong-wrong").status == 401
    old = children(workers)

    def kill(_, done, __):
        if done == 5:
            old[0].kill()

    rows, _ = predict_at(workers.address, [file] * 40, token=workers.token, on_progress=kill)
    assert len(rows) == 40
    for row in rows:
        assert row.error is None and row.label == want["label"]
        assert row.confidence == pytest.approx(want["confidence"], abs=1e-5)
    until(lambda: counted(workers, "workers") == 2)
    assert counted(workers, "worker_starts_total") == 3
    assert (
        counted(workers, "requests_total") >= 40 - AT_ONCE
    )  # what a killed one had in hand is gone
    assert {p.pid for p in old[1:]} < {p.pid for p in children(workers)}
    gone = children(workers)
    workers.process.send_signal(signal.SIGTERM)
    assert workers.process.wait(60) == 0
    assert workers.errors.read_text() == ""
    assert not any(p.is_running() for p in gone)
    assert not list(workers.temp.iterdir())
    with socket.socket() as line:
        assert line.connect_ex(("127.0.0.1", int(workers.address.rpartition(":")[2])))


@pytest.mark.slow
def test_sigterm_lets_all_end_what_is_under_way(start_server, served, file, tmp_path):
    flags = ("--workers", "2", "--wait", "1500")
    server = start_server(tmp_path / "temp", served / "adapters" / "shapes", *flags)
    server.token = ""
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(server.send, "shapes", file) for _ in range(4)]
        threading.Event().wait(0.7)
        server.process.send_signal(signal.SIGTERM)
        assert [answer.result().status for answer in answers] == [200] * 4
    assert server.process.wait(60) == 0
    assert not list(server.temp.iterdir())


@pytest.mark.slow
def test_workers_end_when_who_watches_over_them_is_killed(workers, file):
    gone = children(workers)
    assert workers.send("shapes", file).status == 200
    os.kill(workers.process.pid, signal.SIGKILL)
    until(lambda: not any(p.is_running() and p.status() != "zombie" for p in gone))
    assert not list(workers.temp.iterdir())


def test_workers_that_cannot_start_end_the_server_with_one_line(monkeypatch, served, tmp_path):
    from pointadapt.core.errors import PointAdaptError
    from pointadapt.serving import workers
    from pointadapt.serving.listen import listening_on
    from pointadapt.serving.plan import Plan

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(workers.tempfile, "tempdir", None)
    monkeypatch.setattr(workers, "EARLY", 1)
    with listening_on("127.0.0.1", 0) as listening:
        plan = Plan((tmp_path / "nothing",))
        running = workers.Workers(plan, 1, listening, lambda: pytest.fail("it answers"))
        with pytest.raises(PointAdaptError, match="end before they answer"):
            running.run()
    assert not list(tmp_path.glob("pointadapt-serve-*"))
