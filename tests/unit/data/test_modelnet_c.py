import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, DataLayoutError, FileFormatError, UnknownNameError
from pointadapt.data import check, load_dataset
from pointadapt.data.corruptions import SUITES

TESTS = Path(__file__).parents[2]
look_alike = SimpleNamespace(**runpy.run_path(str(TESTS / "data/modelnet_c/make.py")))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return look_alike.write(tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "modelnet_c"))


def load(folder, **options):
    return load_dataset("modelnet_c", root=folder, **options).load("test")


@pytest.mark.parametrize("name", look_alike.CHANGES)
def test_severities_are_one_more_than_the_files_levels(made, name):
    for severity in (1, 5):
        clouds = load(made, corruption=name, severity=severity)
        np.testing.assert_array_equal(clouds.points, look_alike.points_of(name, severity - 1))
        np.testing.assert_array_equal(clouds.labels, look_alike.LABELS[:, 0])


def test_names_and_roots(made):
    assert set(look_alike.CHANGES) == set(SUITES["modelnet_c"])
    for root in (made, made.parent):
        np.testing.assert_array_equal(load(root).points, look_alike.points_of("clean", -1))


def test_verify_counts_every_file(folder):
    checks, facts = check(load_dataset("modelnet_c", root=folder))
    assert len(facts) == 36 and facts["clean.h5"]["points"] == 96
    assert {e.what.partition(": ")[2] for e in checks if e.status == "wrong"} == {"release"}


def broken(folder, error, *words, **options):
    with pytest.raises(error) as caught:
        load(folder, **{"corruption": "scale", "severity": 2, **options})
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_missing_and_wrong_options(folder):
    broken(folder, UnknownNameError, "did you mean 'dropout_local'", corruption="drop_local")
    broken(folder, ConfigError, "severity=0", severity=0)
    (folder / "scale_1.h5").unlink()
    broken(folder, DataLayoutError, "scale_1.h5", "github.com/jiawei-ren")


@pytest.mark.parametrize("left", [0, 100, 3000])
def test_truncated(folder, left):
    (folder / "scale_1.h5").write_bytes((folder / "scale_1.h5").read_bytes()[:left])
    broken(folder, FileFormatError, "scale_1.h5", "truncated", "get it again")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"data": None}, ["no 'data'"]),
        ({"data": np.zeros((8, 96, 6), "f4")}, ["(n, N, 3)", "(8, 96, 6)"]),
        ({"label": np.full((8, 1), 41)}, ["label 41", "0 to 39"]),
        ({"label": np.zeros((9, 1), int)}, ["8 clouds", "(9, 1)"]),
    ],
)
def test_wrong_contents(folder, arrays, words):
    with h5py.File(folder / "scale_1.h5", "r+") as file:
        for key, value in arrays.items():
            del file[key]
            if value is not None:
                file[key] = value
    broken(folder, FileFormatError, "scale_1.h5", *words)
