import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pointadapt.core.errors import DataLayoutError, FileFormatError, PointAdaptError
from pointadapt.data import load_dataset
from pointadapt.data.sets.shapedb import ShapeDB

MAKE = Path(__file__).parents[2] / "data/shapedb/make.py"
look_alike = SimpleNamespace(**runpy.run_path(str(MAKE)))


@pytest.mark.parametrize("inside", [False, True])
def test_the_splits_are_the_file(tmp_path, inside):
    folder = look_alike.write(tmp_path)
    root = folder if inside else tmp_path
    data = load_dataset("shapedb", root=root, points=look_alike.POINTS)
    stored = look_alike.arrays()
    train, test = data.load("train"), data.load("test")
    held_out = [13, 26, 39]  # the last of each class
    kept = [i for i in range(40) if i not in held_out]
    for clouds, index in ((train, kept), (test, held_out)):
        np.testing.assert_array_equal(clouds.points, stored["points"][index].astype(np.float32))
        np.testing.assert_array_equal(clouds.labels, stored["label"][index])
        assert clouds.ids == tuple(stored["model_id"][index])
        assert clouds.classes == look_alike.CLASSES


def test_fewer_points_are_drawn_at_random_and_fixed(tmp_path):
    root = look_alike.write(tmp_path)
    a, b, other = (ShapeDB(root=root, points=20, seed=s).load("train").points for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, other)
    whole = ShapeDB(root=root, points=96).load("train").points
    assert {tuple(p) for p in a[3].tolist()} < {tuple(p) for p in whole[3].tolist()}


def test_names_of_classes_and_models_may_be_absent(tmp_path):
    root = look_alike.write(tmp_path, class_names=None, model_id=None)
    clouds = ShapeDB(root=root, points=96).load("train")
    assert clouds.classes == ShapeDB.CLASSES and len(set(ShapeDB.CLASSES)) == 69
    assert len(set(clouds.ids)) == 37


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": None}, "no 'points'"),
        ({"model_id": np.array(["m1"])}, "1 of 'model_id' for 40 clouds"),
        ({"label": np.full(40, 3)}, "label 3 of cloud m0 is outside 0 to 2"),
    ],
)
def test_damaged_files(tmp_path, changes, message):
    root = look_alike.write(tmp_path, **changes)
    with pytest.raises(FileFormatError, match=message):
        ShapeDB(root=root, points=96).load("train")


def test_too_many_points_and_no_file(tmp_path):
    with pytest.raises(DataLayoutError, match=r"no shapedb_2048\.npz"):
        ShapeDB(root=tmp_path).load("train")
    with pytest.raises(PointAdaptError, match="have 96 points but 97"):
        ShapeDB(root=look_alike.write(tmp_path), points=97).load("train")


def test_the_whole_collection(real_data):
    assert ShapeDB(root=real_data("shapedb")).verify() == []
