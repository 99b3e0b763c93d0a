"""A run's own folder: held by one, free after a kill, swept, and with room."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from pointadapt.core import folders
from pointadapt.core.errors import PointAdaptError
from pointadapt.core.files import atomic, check_target
from pointadapt.core.folders import half_written, only_run_in, reserve, sweep

HOLDER = """
import sys, time
from pathlib import Path
from pointadapt.core.folders import only_run_in
with only_run_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which holds ``tmp_path / "run"``."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_told_in_one_line(holder, tmp_path):
    line = rf"run is in use by another run \(process {holder.pid}\): wait .* another --out"
    with pytest.raises(PointAdaptError, match=line) as caught, only_run_in(tmp_path / "run"):
        pass
    assert "\n" not in str(caught.value)
    assert (tmp_path / "run").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / folders.LOCK).exists()
    with only_run_in(tmp_path / "run"):
        pass
    assert not list((tmp_path / "run").iterdir())


def test_who_is_about_to_end_is_waited_for(holder, tmp_path):
    os.set_blocking(holder.stdout.fileno(), False)
    began = time.monotonic()
    with pytest.raises(PointAdaptError), only_run_in(tmp_path / "run", patience=0.3):
        pass
    assert time.monotonic() - began > 0.25
    holder.kill()
    with only_run_in(tmp_path / "run", patience=30):
        pass


def test_one_process_is_no_exception(tmp_path):
    with only_run_in(tmp_path), pytest.raises(PointAdaptError, match="in use"):  # noqa: SIM117
        with only_run_in(tmp_path):
            pass


def test_a_forked_helper_does_not_go_on_holding(tmp_path):
    """As processes that load data do, which live some seconds longer than a killed run."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    code = HOLDER.replace(
        "    time.sleep", "    import os; os.fork() and os._exit(0)\n    time.sleep"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    parent.wait()
    try:
        with only_run_in(tmp_path / "run", patience=20):  # the other process sleeps for ten minutes
            pass
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.stdout.close()


def test_folders_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(PointAdaptError, match="file is a file, not a folder"):  # noqa: SIM117
            with only_run_in(place):
                pass
    with only_run_in(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / folders.LOCK).exists()
    assert not (tmp_path / "a").exists()


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / "runs" / "1").mkdir(parents=True)
    left = [tmp_path / ".a.json.12.part", tmp_path / "runs" / "1" / ".b.json.12.part"]
    for path in left:
        path.write_text("")
    (tmp_path / "runs" / "1" / "kept").write_text("")
    with only_run_in(tmp_path):
        assert not left[0].exists() and left[1].exists()
    with only_run_in(tmp_path, "runs/*", "nothing"):
        assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "1", "kept", "runs"]


def dead():
    """The number of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_what_is_swept(tmp_path):
    here = folders._here()
    names = {
        "gone": f".a.txt.{here}-{dead()}.part",
        "alive": f".b.txt.{here}-{os.getpid()}.part",
        "elsewhere": f".c.txt.0000aaaa-{dead()}.part",
        "old": ".d.txt.0000aaaa-1.part",
        "before": ".e.txt.77.part",
        "other": ".f.part",
    }
    for name in names.values():
        (tmp_path / name).write_text("half")
    os.utime(tmp_path / names["old"], (0, 0))
    os.utime(tmp_path / names["other"], (0, 0))
    sweep(tmp_path, name="b.txt")
    assert len(list(tmp_path.iterdir())) == 6
    sweep(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {names[key] for key in ("alive", "elsewhere", "before", "other")}
    sweep(tmp_path, ours=True)
    assert [path.name for path in tmp_path.iterdir()] == [names["other"]]
    sweep(tmp_path / "nowhere", ours=True)


def test_a_target_is_swept_before_the_work(tmp_path):
    with atomic(tmp_path / "a.csv") as own:
        own.write_text("a")
        assert own == half_written(tmp_path / "a.csv") and own.parent == tmp_path
    left = own.with_name(own.name.replace(str(os.getpid()), str(dead())))
    left.write_text("")
    check_target(tmp_path / "b.csv")
    assert left.exists()
    check_target(tmp_path / "a.csv")
    assert not left.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_room_is_asked_for(tmp_path, monkeypatch, number):
    asked = []
    monkeypatch.setattr(os, "posix_fallocate", lambda *a: asked.append(a[1:]), raising=False)
    reserve(tmp_path, 1000, "checkpoints")
    assert asked == [(0, 1000)] and not list(tmp_path.iterdir())
    with pytest.raises(PointAdaptError, match=r"1000\.00 TB|1000000\.00 GB are needed for x, and "):
        reserve(tmp_path, 10**15, "x")

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(PointAdaptError, match=f"needed for x: {os.strerror(number)}: make room"):
        reserve(tmp_path, 1000, "x")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_be_asked(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    reserve(tmp_path, 1000, "x")
    monkeypatch.delattr(os, "posix_fallocate")
    reserve(tmp_path, 1000, "x")
    assert not list(tmp_path.iterdir())
