"""What every data set promises; a new one is tested by registering."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from pointadapt.data import DATASETS, load_dataset
from pointadapt.errors import DataLayoutError, PointAdaptError, UnknownNameError

each = pytest.mark.parametrize("name", list(DATASETS))
ROOTED = [name for name in DATASETS if DATASETS[name].needs_root]
ROOTLESS = [name for name in DATASETS if not DATASETS[name].needs_root]
MAKERS = {p.parent.name: p for p in Path(__file__).parents[1].glob("data/*/make.py")}


def one_line(call, error):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


@each
def test_says_where_it_comes_from(name):
    cls = DATASETS[name]
    assert cls.name == name
    assert cls.__doc__
    assert cls.licence
    assert cls.where.endswith(".")
    assert isinstance(cls.citation, str)
    assert not cls.url or cls.url.startswith("https://")


@each
def test_benchmarks_are_cited(name):
    cls = DATASETS[name]
    assert (name in ("folder", "folder_segmentation", "shapes")) == (not cls.citation)
    assert bool(cls.citation) == bool(cls.url)


@pytest.mark.parametrize("name", ROOTED)
def test_missing_root_says_where_to_get_the_data(name, tmp_path):
    where = DATASETS[name].where
    message = one_line(lambda: load_dataset(name).load("train"), DataLayoutError)
    assert "--root" in message
    assert where in message
    gone = tmp_path / "gone"
    message = one_line(lambda: load_dataset(name, root=gone).load("train"), DataLayoutError)
    assert str(gone) in message
    assert where in message


@pytest.mark.parametrize("name", ROOTED)
def test_empty_root(name, tmp_path):
    message = one_line(lambda: load_dataset(name, root=tmp_path).load("train"), DataLayoutError)
    assert str(tmp_path) in message


@each
def test_unknown_split(name, tmp_path):
    data = load_dataset(name, root=tmp_path if DATASETS[name].needs_root else None)
    message = one_line(lambda: data.load("trian"), PointAdaptError)
    assert "trian" in message


@each
def test_unknown_option(name):
    message = one_line(lambda: load_dataset(name, pints=3), UnknownNameError)
    assert "did you mean 'points'" in message


def test_unknown_data_set():
    assert "did you mean 'modelnet40'" in one_line(
        lambda: load_dataset("modelnet"), UnknownNameError
    )


def check(clouds, points):
    n = len(clouds)
    assert n > 0
    assert clouds.points.shape == (n, points, 3)
    assert (clouds.points.dtype, clouds.labels.dtype) == (np.float32, np.int64)
    assert np.isfinite(clouds.points).all()
    assert set(clouds.labels.tolist()) <= set(range(len(clouds.classes)))
    names = clouds.part_names if clouds.classes == ("scene",) else clouds.classes
    assert len(set(names)) == len(names) > 1
    assert len(set(clouds.ids)) == n
    if clouds.parts is not None:
        assert clouds.parts.shape == (n, points)
        assert 0 <= clouds.parts.min() <= clouds.parts.max() < len(clouds.part_names)
    if clouds.features is not None:
        assert clouds.features.shape == (n, points, len(clouds.feature_names))
        assert clouds.features.dtype == np.float32
        assert np.isfinite(clouds.features).all()


def load_both(name, **options):
    """Train and test, loaded twice each and equal; no cloud is in both."""
    splits = []
    for split in ("train", "test"):
        a, b = (load_dataset(name, **options).load(split) for _ in range(2))
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert (a.ids, a.classes) == (b.ids, b.classes)
        check(a, options["points"])
        splits.append(a)
    train, test = splits
    assert train.classes == test.classes
    seen = {cloud.tobytes() for cloud in train.points}
    assert not any(cloud.tobytes() in seen for cloud in test.points)
    return train, test


@pytest.mark.parametrize("name", ROOTLESS)
def test_generated_data_is_fixed_by_its_seed(name):
    options = {"points": 32, "size": 60, "test_size": 30}
    train, test = load_both(name, **options)
    assert (len(train), len(test)) == (60, 30)
    other = load_dataset(name, **options, seed=1).load("train")
    assert not np.array_equal(train.points, other.points)


@pytest.mark.parametrize("name", [n for n in ROOTED if n in MAKERS])
def test_the_look_alike_loads_the_same_twice(name, tmp_path):
    made = runpy.run_path(str(MAKERS[name]))["make"](tmp_path)
    options = made if isinstance(made, dict) else {"root": tmp_path}
    load_both(name, **{"points": 32, **options})


def test_every_data_set_that_needs_files_has_a_look_alike():
    assert set(ROOTED) <= set(MAKERS)
