"""Writing that leaves nothing half-written, and reading that runs nothing."""

import errno
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pointadapt.core.errors import CheckpointError, PointAdaptError
from pointadapt.core.files import (
    MOST_JSON,
    append_line,
    atomic,
    load_state,
    read_json,
    restoring,
    save_state,
    write_json,
)


def test_atomic_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a/b/c.txt"
    for text in ("one", "two"):
        with atomic(path) as temporary:
            temporary.write_text(text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_atomic_passes_other_errors_on_and_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "c.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("when", ["writing", "renaming"])
def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path, monkeypatch, when):
    path = tmp_path / "c.txt"
    path.write_text("old")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*_):
        raise full

    if when == "renaming":
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PointAdaptError) as caught, atomic(path) as temporary:
        temporary.write_text("half")
        if when == "writing":
            raise full
    assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["file/c.txt", "file/more/c.txt"])
def test_a_file_in_the_way_of_a_folder(tmp_path, name):
    (tmp_path / "file").write_text("x")
    for write in (lambda p: write_json(p, 1), lambda p: append_line(p, "x")):
        with pytest.raises(PointAdaptError, match="cannot write"):
            write(tmp_path / name)


def test_a_folder_in_the_way_of_a_file(tmp_path):
    (tmp_path / "c.txt").mkdir()
    with pytest.raises(PointAdaptError, match="cannot write"):
        write_json(tmp_path / "c.txt", 1)
    assert [p.name for p in tmp_path.iterdir()] == ["c.txt"]


LIMITED = """
import resource, signal, sys
from pathlib import Path
import torch
from pointadapt.core.tensors import write_safetensors
from pointadapt.core.errors import PointAdaptError
from pointadapt.core.files import save_state, write_json

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # as a disk that is full after 4 KiB
folder = Path(sys.argv[1])
writes = {
    "state.pt": lambda p: save_state(p, {"a": torch.ones(4000)}),
    "model.safetensors": lambda p: write_safetensors(p, {"a": torch.ones(4000)}),
    "values.json": lambda p: write_json(p, ["x" * 5000]),
}
for name, write in writes.items():
    (folder / name).write_text("old")
    try:
        write(folder / name)
    except PointAdaptError as error:
        print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file size limits are Linux's")
def test_writes_that_really_fail(tmp_path):
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stdout
    names = ["state.pt", "model.safetensors", "values.json"]
    for line, name in zip(lines, names, strict=True):
        assert line.startswith(f"cannot write {tmp_path / name}: ")
        assert (tmp_path / name).read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)


def test_json_round_trip_in_any_locale(tmp_path):
    values = {"name": "Stühle 椅子", "list": [1, 2.5, None, True]}
    code = (
        "import sys; from pointadapt.core.files import read_json, write_json; "
        "write_json(sys.argv[2], read_json(sys.argv[1]))"
    )
    write_json(tmp_path / "a.json", values)
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    subprocess.run(command, check=True, env=env, timeout=600)
    assert read_json(tmp_path / "b.json") == values


def test_append_line(tmp_path):
    for number in (1, 2):
        append_line(tmp_path / "new/log.jsonl", json.dumps({"n": number}))
    assert (tmp_path / "new/log.jsonl").read_text() == '{"n": 1}\n{"n": 2}\n'


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[1,]"])
def test_read_json_of_something_else(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(PointAdaptError, match=r"a\.json is not JSON"):
        read_json(tmp_path / "a.json")


def test_read_json_missing(tmp_path):
    with pytest.raises(PointAdaptError, match=r"cannot read .*No such file"):
        read_json(tmp_path / "a.json")


def test_json_of_an_editor_that_marks_its_files(tmp_path):
    (tmp_path / "c.json").write_text('{"a": "ö"}', encoding="utf-8-sig")
    assert read_json(tmp_path / "c.json") == {"a": "ö"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested more than 50 deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested more than 50 deep"),
        ("[" * 51 + "]" * 51, "nested more than 50 deep"),
        ('{"a": NaN}', "NaN is no number there"),
        ("[1, -Infinity]", "-Infinity is no number there"),
        (r'{"a": "\ud800"}', "which is no character"),
        (r'{"\u0000": 1}', "which is no character"),
        ("[" + "1" * 5000 + "]", "is not JSON"),
    ],
)
def test_json_by_a_stranger(tmp_path, text, reason):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(PointAdaptError, match=reason) as caught:
        read_json(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300


def test_a_giant_is_not_read_as_json(tmp_path):
    path = tmp_path / "c.json"
    with open(path, "wb") as file:
        file.truncate(MOST_JSON + 1)
    with pytest.raises(PointAdaptError, match="has more than 32,768 KiB"):
        read_json(path)


def test_numbers_that_json_lacks_are_written_as_none(tmp_path):
    write_json(tmp_path / "c.json", {"loss": float("nan"), "best": [float("inf"), 1.5]})
    assert read_json(tmp_path / "c.json") == {"loss": None, "best": [None, 1.5]}


def fails(error):
    def run(*_):
        raise error

    return run


@pytest.mark.parametrize(
    "error", [TypeError("x"), ValueError("x"), IndexError(0), RuntimeError("a\nb")]
)
def test_a_run_that_cannot_be_restored_names_its_file(error):
    with pytest.raises(CheckpointError, match=r"^last\.pt is no training checkpoint"):  # noqa: SIM117
        with restoring("last.pt"):
            fails(error)()


def test_what_a_checkpoint_lacks_is_named():
    with pytest.raises(CheckpointError, match="'optimizer' is missing"), restoring("last.pt"):
        {}["optimizer"]


def test_answers_and_stops_pass_while_restoring():
    for error in (PointAdaptError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, restoring("last.pt"):
            fails(error)()
        assert caught.value is error


def test_a_packed_checkpoint_is_not_unpacked(tmp_path):
    save_state(tmp_path / "a.pt", {"w": torch.zeros(1_000_000)})
    packed = zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "a.pt") as source, packed:
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    assert (tmp_path / "b.pt").stat().st_size < 20_000
    with pytest.raises(CheckpointError, match=r"packed or overlapping archive.* take 4 MB"):
        load_state(tmp_path / "b.pt")


def test_state_round_trip(tmp_path):
    state = {"t": torch.randn(3), "n": {"a": [1, 2.5, "x", None, True]}, "i": torch.arange(2)}
    save_state(tmp_path / "s.pt", state)
    back = load_state(tmp_path / "s.pt")
    assert torch.equal(back["t"], state["t"])
    assert torch.equal(back["i"], state["i"])
    assert back["n"] == state["n"]


def test_a_checkpoint_of_a_gpu_is_read_anywhere(tmp_path):
    save_state(tmp_path / "s.pt", {"a": torch.ones(2)})
    path = tmp_path / "gpu.pt"  # as torch.save writes it there
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert content.count(b"cpu") == 1
    path.write_bytes(content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:3"))
    assert torch.equal(load_state(path)["a"], torch.ones(2))


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_is_refused_by_name(tmp_path):
    torch.save({"a": Trap(tmp_path / "sprung")}, tmp_path / "s.pt")
    with pytest.raises(
        CheckpointError, match=r"s\.pt .*\(posix\.mkdir\).* could run code"
    ) as caught:
        load_state(tmp_path / "s.pt")
    assert str(caught.value).endswith(
        "torch.save(model.state_dict(), 'weights.pth')"
    )  # the way out
    assert not (tmp_path / "sprung").exists()


def damaged(content, seed):
    """``content`` with a few bytes changed near its beginning, where the pickle is."""
    import random

    rng, out = random.Random(seed), bytearray(content)
    for _ in range(rng.randint(1, 6)):
        out[rng.randrange(min(len(out), 400))] = rng.randrange(256)
    return bytes(out)


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_never_escapes_as_another_error(tmp_path, zipped):
    good, path = tmp_path / "good.pt", tmp_path / "bad.pt"
    torch.save({"a": torch.ones(9)}, good, _use_new_zipfile_serialization=zipped)
    content, refused = good.read_bytes(), 0
    cases = [content[:n] for n in range(0, len(content), len(content) // 20)]
    cases += [damaged(content, seed) for seed in range(150)]
    for case in cases:
        path.write_bytes(case)
        try:
            load_state(path)  # where a number in the tensor changed, it is read
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
            assert str(path) in str(error)
    assert refused > 50


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"<!DOCTYPE html>", b"PK\x03\x04"]
)
def test_what_is_no_checkpoint(tmp_path, content):
    path = Path(tmp_path / "x.pth")
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pth is .*no checkpoint"):
        load_state(path)


def test_no_file(tmp_path):
    for path in (tmp_path / "gone.pth", tmp_path):
        with pytest.raises(CheckpointError, match="cannot read"):
            load_state(path)


def test_a_full_disk_is_named_where_torch_says_something_else(tmp_path, monkeypatch):
    def no_room(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", no_room)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(PointAdaptError, match=r"s\.pt: the disk is full: free some space"):
        save_state(tmp_path / "s.pt", {})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(PointAdaptError, match="unexpected pos"):
        save_state(tmp_path / "s.pt", {})
