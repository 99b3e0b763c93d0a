"""The cache of points: used when it fits, rebuilt when it does not, safe for two at once."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from pointadapt.core.config import TrainConfig
from pointadapt.core.errors import ConfigError, PointAdaptError
from pointadapt.core.tensors import read_safetensors
from pointadapt.data import load_dataset
from pointadapt.data.reading import point_cache
from pointadapt.data.reading.point_cache import cached_points
from pointadapt.ops import normalize
from pointadapt.training.trainer import train


@pytest.fixture
def place(tmp_path):
    """A file that is read, and a reader that counts its calls."""

    class Place:
        file, folder, calls = tmp_path / "a.txt", tmp_path / "kept", 0

        def load(self, where=None, **options):
            def read():
                self.calls += 1
                return np.full((2, 3, 3), float(self.file.read_text()), np.float32)

            where = str(self.folder) if where is None else where
            return cached_points(where, "some train", [self.file], options, read)

    Place.file.write_text("1")
    return Place()


def test_the_second_time_nothing_is_read(place):
    first, second = place.load(), place.load()
    assert place.calls == 1
    np.testing.assert_array_equal(first, second)
    assert isinstance(second, np.memmap)
    second[0] = 7  # its own copy
    assert place.load().max() == 1


@pytest.mark.parametrize("change", ["content", "time", "option", "code"])
def test_what_the_points_depend_on_is_noticed(place, change, monkeypatch):
    place.load(n=1)
    if change == "content":
        place.file.write_text("25")
    elif change == "time":
        os.utime(place.file, ns=(1, 1))
    elif change == "code":
        monkeypatch.setattr(point_cache, "_code", lambda: "other")
    found = place.load(n=2 if change == "option" else 1)
    assert place.calls == 2
    assert found.max() == float(place.file.read_text())


@pytest.mark.parametrize("damage", ["byte", "cut", "gone", "description"])
def test_a_damaged_cache_is_rebuilt_with_a_word(place, damage, capsys):
    place.load()
    (array,), (about,) = place.folder.glob("*.npy"), place.folder.glob("*.json")
    raw = bytearray(array.read_bytes())
    if damage == "byte":
        raw[-1] ^= 1
        array.write_bytes(raw)
    elif damage == "cut":
        array.write_bytes(raw[:-5])
    elif damage == "gone":
        array.unlink()
    else:
        about.write_text("{")
    capsys.readouterr()
    assert place.load().max() == 1
    assert place.calls == 2
    said = capsys.readouterr().err
    assert "is damaged: reading the files again" in said
    place.load()
    assert place.calls == 2


def test_auto_keeps_what_was_slow(place, tmp_path, monkeypatch):
    monkeypatch.setenv("POINTADAPT_CACHE", str(tmp_path / "own"))
    place.load("auto"), place.load("auto")
    assert place.calls == 2
    assert not (tmp_path / "own").exists()
    monkeypatch.setattr(point_cache, "SLOW", -1.0)
    place.load("auto")
    monkeypatch.undo()
    monkeypatch.setenv("POINTADAPT_CACHE", str(tmp_path / "own"))
    place.load("auto")
    assert place.calls == 3
    place.load("no")
    assert place.calls == 4


def test_a_place_that_cannot_be_written(place, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        place.load(str(tmp_path / "file"))
    with pytest.raises(PointAdaptError, match="cannot write"):
        place.load(str(tmp_path / "file" / "inside"))
    monkeypatch.setattr(point_cache, "SLOW", -1.0)
    monkeypatch.setenv("POINTADAPT_CACHE", str(tmp_path / "file"))
    assert place.load("auto").max() == 1  # nobody asked for a cache


BUILD = """
import sys, time
from pathlib import Path
import numpy as np
from pointadapt.data.reading.point_cache import cached_points
go, file, folder = map(Path, sys.argv[1:])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
def read():
    time.sleep(0.2)  # so that both are inside
    return np.arange(3e6, dtype=np.float32).reshape(-1, 100, 3)
found = cached_points(str(folder), "some train", [file], {}, read)
print(float(found.sum(dtype=np.float64)))
"""


def test_two_processes_at_once(tmp_path):
    file, go = tmp_path / "a.txt", tmp_path / "go"
    file.write_text("1")
    command = [sys.executable, "-c", BUILD, str(go), str(file), str(tmp_path / "kept")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    go.touch()
    said = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert said == {f"{float(np.arange(3e6).sum())}\n"}
    names = sorted(path.suffix for path in (tmp_path / "kept").iterdir())
    assert names == [".json", ".npy"]  # and nothing half-written

    def read():
        raise AssertionError("it is there")

    assert len(cached_points(str(tmp_path / "kept"), "some train", [file], {}, read)) == 10_000


def test_a_folder_of_files(toy_root, tmp_path):
    options = {"root": toy_root, "points": 32, "cache": str(tmp_path / "kept")}
    plain = load_dataset("folder", **{**options, "cache": "no"}).load("train")
    assert not (tmp_path / "kept").exists()
    for _ in range(2):
        clouds = load_dataset("folder", **options).load("train")
        np.testing.assert_array_equal(clouds.points, plain.points)
        assert (clouds.ids, clouds.labels.tolist()) == (plain.ids, plain.labels.tolist())
    (about,) = (tmp_path / "kept").glob("*.json")
    assert set(json.loads(about.read_text())) == {"fingerprint", "sha256"}
    load_dataset("folder", **options).load("test")
    load_dataset("folder", **{**options, "points": 16}).load("train")
    assert len(list((tmp_path / "kept").glob("*.npy"))) == 3


def test_points_read_and_points_from_the_cache_are_laid_out_alike(toy_root, tmp_path):
    """Rounding depends on the order in memory, so it would tell a first run from a second."""
    for up in ("z", "y"):  # turning the axes swaps columns
        options = {"root": toy_root, "points": 64, "cache": str(tmp_path), "up": up}
        built, hit = (load_dataset("folder", **options).load("train").points for _ in range(2))
        assert built.strides == hit.strides and built.flags.c_contiguous
        np.testing.assert_array_equal(built, hit)
        one, other = (normalize(torch.from_numpy(points)) for points in (built, hit))
        assert torch.equal(one, other)


def test_a_built_and_a_hit_cache_train_equally(toy_root, micro_backbone, tmp_path):
    config = TrainConfig(
        data="folder", root=toy_root, points=64, epochs=1, batch_size=8, tensorboard=False,
        backbone=str(micro_backbone), options=("rank=4",), threads=1,
        data_options=(f"cache={tmp_path / 'kept'}",),
    )  # fmt: skip
    made = []
    for name in ("built", "hit"):
        train(replace(config, out=tmp_path / name))
        made.append(read_safetensors(tmp_path / name / "adapter" / "adapter_model.safetensors"))
    assert list((tmp_path / "kept").glob("*.npy"))
    assert all(torch.equal(value, made[1][key]) for key, value in made[0].items())
