"""What is said of files that cannot be read, or not within the memory there is."""

import errno
import os
import socket
from types import SimpleNamespace

import numpy as np
import pytest

from pointadapt.core.errors import FileFormatError, PointAdaptError
from pointadapt.io import read_points
from pointadapt.io.limits import MOST_EXPANSION, ROOM, check_expansion, check_present

unix = pytest.mark.skipif(os.name == "nt", reason="pipes and links of Unix")


@unix
@pytest.mark.parametrize("name", ["a.ply", "a.xyz", "a.las", "a.glb"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, refused, name):
    os.mkfifo(tmp_path / name)
    assert "is no file but a pipe" in refused(tmp_path / name)


@unix
def test_devices_and_sockets_are_refused(tmp_path, refused, monkeypatch):
    (tmp_path / "zero.xyz").symlink_to("/dev/zero")
    assert "a device" in refused(tmp_path / "zero.xyz")
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.ply")
        assert "a socket" in refused(tmp_path / "s.ply")
    (tmp_path / "nowhere.ply").symlink_to(tmp_path / "none")
    assert refused(tmp_path / "nowhere.ply") == "does not exist"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_read_is_not_called_damaged(put, refused, monkeypatch, number):
    path = put("a.stl", b"solid\nendsolid\n")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pathlib.Path.read_bytes", fail)
    assert refused(path) == f"cannot be read: {os.strerror(number)}"


def test_too_little_memory_is_called_that(put, monkeypatch):
    path = put("a.npy", b"")
    np.save(path, np.eye(3))

    def fail(*_, **__):
        raise MemoryError("Unable to allocate 24. TiB")

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(PointAdaptError, match=r"a\.npy: not enough memory to read it") as caught:
        read_points(path)
    assert not isinstance(caught.value, FileFormatError)


def test_names_that_no_disk_has(tmp_path, refused):
    assert "File name too long" in refused(tmp_path / ("x" * 300 + ".ply"))
    with pytest.raises(FileFormatError, match="does not exist"):
        read_points("a\0b.ply")


def test_what_is_promised_is_compared_with_size_and_memory(monkeypatch):
    check_present(10, 10)
    with pytest.raises(FileFormatError, match=r"is cut short: 9 of 1,000 lines"):
        check_present(9, 1000, "lines")
    with pytest.raises(FileFormatError, match="damaged header"):
        check_present(9, -1)
    check_expansion(ROOM, 1)
    check_expansion(ROOM + MOST_EXPANSION, ROOM // MOST_EXPANSION + 2)
    with pytest.raises(FileFormatError, match="no points compress so well"):
        check_expansion(ROOM + 1, 10)
    free = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=ROOM))
    monkeypatch.setitem(__import__("sys").modules, "psutil", free)
    with pytest.raises(PointAdaptError, match=r"takes .* and 268.4 MB are free"):
        check_expansion(ROOM + 1, ROOM)
