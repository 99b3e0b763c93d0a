import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pointadapt.core.errors import DataLayoutError, FileFormatError, PointCloudError
from pointadapt.data import load_dataset
from pointadapt.data.sets.lpsb import FILE, Lpsb, written_split
from pointadapt.data.splits import stratified_split

TESTS = Path(__file__).parents[2]
look_alike = SimpleNamespace(**runpy.run_path(str(TESTS / "data/lpsb/make.py")))


def test_the_split_that_is_written_down():
    split = written_split()
    assert (len(split["train"]), len(split["test"])) == (285, 95)
    both = [*split["train"], *split["test"]]
    assert len(set(both)) == 380
    for first in look_alike.FIRST:  # 20 meshes of a class follow each other
        own = range(first, first + 20)
        assert sum(mesh in split["test"] for mesh in own) == 5
        assert sum(mesh in both for mesh in own) == 20


def test_the_split_is_that_of_its_seed(real_data):
    with np.load(real_data("lpsb") / FILE) as arrays:
        kept, held = stratified_split(arrays["category"], 0.25, 0)
        meshes = arrays["mesh_id"]
    assert written_split() == {"train": tuple(meshes[kept]), "test": tuple(meshes[held])}


def test_the_look_alike(tmp_path):
    data = load_dataset("lpsb", points=48, **look_alike.make(tmp_path))
    train, test = data.load("train"), data.load("test")
    assert (len(train), len(test)) == (38, 19)
    assert (len(train.classes), len(train.part_names)) == (19, 94)
    stored = look_alike.arrays()
    rows = np.flatnonzero(np.isin(stored["mesh_id"], written_split()["test"]))
    np.testing.assert_array_equal(test.points, stored["points"][rows].astype(np.float32))
    np.testing.assert_array_equal(test.parts, stored["seg"][rows])
    assert test.ids[0] == f"Airplane/{stored['mesh_id'][rows[0]]}"
    assert Lpsb(root=tmp_path).verify()[0] == "train: 38 clouds, the official release has 285"
    assert len(Lpsb(root=tmp_path / FILE, points=16).load("test")) == 19


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seg": None}, ["has no 'seg'"]),
        ({"seg": np.zeros((57, 47), int)}, ["'seg'", "(57, 48)", "(57, 47)"]),
        ({"seg": np.zeros((57, 48))}, ["whole numbers", "float64"]),
        ({"seg": np.full((57, 48), 94)}, ["part label 94", "Airplane", "0 to 4"]),
        ({"points": np.zeros((57, 48, 2))}, ["(n, N, 3)"]),
        ({"category": np.zeros(56, int)}, ["57 clouds", "(56,)"]),
        ({"category": np.full(57, 19)}, ["category 19", "0 to 18"]),
        ({"mesh_id": np.arange(57) + 400}, ["mesh 401 is in neither split"]),
        ({"mesh_id": np.full(57, 61)}, ["twice"]),
        ({"part_names": np.array(["a/b"])}, ["'part_names'", "94"]),
        ({"category_names": np.array(["a"])}, ["'category_names'", "19"]),
    ],
)
def test_damaged(tmp_path, changes, words):
    root = look_alike.make(tmp_path, **changes)["root"]
    with pytest.raises(FileFormatError) as caught:
        load_dataset("lpsb", root=root, points=48).load("train")
    assert "\n" not in str(caught.value)
    for word in (FILE, *words):
        assert word in str(caught.value)


def test_nan_truncated_and_missing(tmp_path):
    points = look_alike.arrays()["points"]
    points[0, 3, 1] = np.nan
    look_alike.make(tmp_path, points=points)
    with pytest.raises(PointCloudError, match=r"Airplane/\d+ has NaN"):
        load_dataset("lpsb", root=tmp_path, points=48).load("train")
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:500])
    with pytest.raises(FileFormatError, match="damaged"):
        load_dataset("lpsb", root=tmp_path, points=48).load("train")
    (tmp_path / FILE).unlink()
    with pytest.raises(DataLayoutError, match=f"{FILE} is missing"):
        load_dataset("lpsb", root=tmp_path, points=48).load("train")
