import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pointadapt.core.errors import (
    ConfigError,
    DataLayoutError,
    FileFormatError,
    PointCloudError,
    UnknownNameError,
)
from pointadapt.data import check, load_dataset
from pointadapt.data.corruptions import SUITES

TESTS = Path(__file__).parents[2]
look_alike = SimpleNamespace(**runpy.run_path(str(TESTS / "data/modelnet40_c/make.py")))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return look_alike.write(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "modelnet40_c"))


def load(folder, **options):
    return load_dataset("modelnet40_c", root=folder, **options).load("test")


@pytest.mark.parametrize("name", look_alike.CORRUPTIONS)
def test_every_corruption(made, name):
    for severity in (1, 5):
        clouds = load(made, corruption=name, severity=severity)
        np.testing.assert_array_equal(clouds.points, look_alike.points_of(name, severity))
        np.testing.assert_array_equal(clouds.labels, look_alike.LABELS[:, 0])
        assert len(clouds.classes) == 40 and len(set(clouds.ids)) == 8


def test_names_and_roots(made):
    assert tuple(look_alike.CORRUPTIONS) == tuple(SUITES["modelnet40_c"])
    want = look_alike.points_of("original", 0)
    for root in (made, made.parent):
        np.testing.assert_array_equal(load(root).points, want)  # clean, by default
    assert load(made, points=32, corruption="cutout").points.shape == (8, 32, 3)


def test_nothing_to_train_on(made):
    with pytest.raises(UnknownNameError, match=r"split 'train'.*known: test"):
        load_dataset("modelnet40_c", root=made).load("train")


def test_verify_counts_every_file(folder):
    checks, facts = check(load_dataset("modelnet40_c", root=folder))
    wrong = [entry for entry in checks if entry.status == "wrong"]
    assert len(facts) == 76 and facts["data_density_5.npy"]["points"] == 66
    assert {entry.text for entry in wrong} == {
        "test: 8 clouds, the official release has 2468", "test: 36 of 40 classes have no cloud"
    }  # fmt: skip
    (folder / "data_shear_4.npy").unlink()
    checks, _ = check(load_dataset("modelnet40_c", root=folder))
    (missing,) = [e for e in checks if e.what == "data_shear_4.npy: files"]
    assert missing.status == "wrong" and "data_shear_4.npy is there" in missing.text


def broken(folder, error, *words, **options):
    with pytest.raises(error) as caught:
        load(folder, **{"corruption": "shear", "severity": 4, **options})
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_missing(folder):
    (folder / "data_shear_4.npy").unlink()
    broken(folder, DataLayoutError, "data_shear_4.npy", "github.com/jiachens")
    (folder / "label.npy").unlink()
    broken(folder, DataLayoutError, "label.npy is missing", severity=3)


def test_wrong_options(folder):
    broken(folder, UnknownNameError, "did you mean 'shear'", corruption="sheer")
    broken(folder, ConfigError, "severity=6", severity=6)
    broken(folder, PointCloudError, "96 points but 97", points=97)


@pytest.mark.parametrize("left", [0, 60, 2000])
@pytest.mark.parametrize("name", ["data_shear_4.npy", "label.npy"])
def test_truncated(folder, left, name):
    left = min(left, 130)
    (folder / name).write_bytes((folder / name).read_bytes()[:left])
    broken(folder, FileFormatError, name, "truncated", "get it again")


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("data_shear_4.npy", np.zeros((8, 96, 2), "f4"), ["(n, N, 3)", "(8, 96, 2)"]),
        ("data_shear_4.npy", np.zeros((8, 96, 3), "i4"), ["int32"]),
        ("data_shear_4.npy", np.zeros((7, 96, 3), "f4"), ["label.npy", "7 clouds", "(8, 1)"]),
        ("label.npy", np.full((8, 1), 40), ["label 40 of cloud", "0 to 39"]),
        ("label.npy", np.full((8, 1), -1), ["label -1"]),
        ("label.npy", np.zeros((8, 1)), ["whole numbers", "float64"]),
        ("label.npy", np.array([{}] * 8, object), ["label.npy", "Python objects"]),
    ],
)
def test_wrong_contents(folder, name, array, words):
    np.save(folder / name, array)
    broken(folder, FileFormatError, *words)


def test_nan(folder):
    points = look_alike.points_of("shear", 4)
    points[5, 3, 1] = np.nan
    np.save(folder / "data_shear_4.npy", points)
    broken(folder, PointCloudError, "data_shear_4/5 has NaN")
