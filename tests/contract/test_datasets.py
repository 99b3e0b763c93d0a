"""What every data set promises; a new one is tested by registering."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from pointadapt.core.errors import DataLayoutError, PointAdaptError, UnknownNameError
from pointadapt.data import DATASETS, load_dataset
from pointadapt.data import check as check_all
from pointadapt.data.reading.benchmark import Release

each = pytest.mark.parametrize("name", list(DATASETS))
ROOTED = [name for name in DATASETS if DATASETS[name].needs_root]
ROOTLESS = [name for name in DATASETS if not DATASETS[name].needs_root]
SPLIT = {name: DATASETS[name].splits[0] for name in DATASETS}
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
def test_what_was_published_is_cited(name):
    cls = DATASETS[name]
    assert cls.citation or not issubclass(cls, Release)
    assert cls.url or not cls.citation


@each
def test_classes_are_told_or_come_with_the_data(name):
    cls = DATASETS[name]
    assert cls.splits and set(cls.splits) <= {"train", "test"}
    classes = getattr(cls, "CLASSES", ())
    assert not classes or len(set(classes)) == len(classes) > 1


@pytest.mark.parametrize("name", ROOTED)
def test_missing_root_says_where_to_get_the_data(name, tmp_path):
    where = DATASETS[name].where
    message = one_line(lambda: load_dataset(name).load(SPLIT[name]), DataLayoutError)
    assert "--root" in message
    assert where in message
    gone = tmp_path / "gone"
    message = one_line(lambda: load_dataset(name, root=gone).load(SPLIT[name]), DataLayoutError)
    assert str(gone) in message
    assert where in message


@pytest.mark.parametrize("name", ROOTED)
def test_empty_root(name, tmp_path):
    message = one_line(lambda: load_dataset(name, root=tmp_path).load(SPLIT[name]), DataLayoutError)
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
        lambda: load_dataset("modelnet4"), UnknownNameError
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
    """The splits, loaded twice each and equal; no cloud is in two."""
    splits = []
    for split in DATASETS[name].splits:
        a, b = (load_dataset(name, **options).load(split) for _ in range(2))
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert (a.ids, a.classes) == (b.ids, b.classes)
        check(a, options["points"] or a.points.shape[1])
        splits.append(a)
    assert len({clouds.classes for clouds in splits}) == 1
    every = [cloud.tobytes() for clouds in splits for cloud in clouds.points]
    assert len(set(every)) == len(every)
    return splits


@pytest.mark.parametrize("name", ROOTLESS)
def test_generated_data_is_fixed_by_its_seed(name, tmp_path):
    options = {"points": 32, **make(name, tmp_path)}
    train, *_ = load_both(name, **options)
    other = load_dataset(name, **options, seed=1).load("train")
    assert not np.array_equal(train.points, other.points)


@pytest.mark.parametrize("name", ROOTED)
def test_the_look_alike_loads_the_same_twice(name, tmp_path):
    load_both(name, **{"points": 32, **make(name, tmp_path)})


def make(name, folder):
    """The look-alike's options."""
    made = runpy.run_path(str(MAKERS[name]))["make"](folder)
    return made if isinstance(made, dict) else {"root": folder}


def verified(name, options):
    """The checks by status; a look-alike differs from the release in its counts alone."""
    checks, facts = check_all(load_dataset(name, **options))
    assert checks and facts
    for split in facts.values():
        assert split["clouds"] == sum(split["classes"].values()) > 0
    wrong = [entry for entry in checks if entry.status == "wrong"]
    release = [entry for entry in wrong if entry.what.endswith("release")]
    assert wrong == release, wrong
    for entry in release:
        assert "official" in entry.text or "have no cloud" in entry.text
    return checks


@pytest.mark.parametrize("name", ROOTED)
def test_verify_passes_on_the_look_alike(name, tmp_path):
    verified(name, {"points": 32, **make(name, tmp_path)})


@pytest.mark.parametrize("name", ROOTLESS)
def test_verify_passes_on_generated_data(name, tmp_path):
    checks = verified(name, {"points": 32, **make(name, tmp_path)})
    assert "wrong" not in {entry.status for entry in checks}


@pytest.mark.parametrize("name", ROOTED)
def test_verify_says_what_is_missing(name, tmp_path):
    for root in (tmp_path, tmp_path / "gone"):
        checks, _ = check_all(load_dataset(name, root=root))
        wrong = [entry for entry in checks if entry.status == "wrong"]
        assert wrong
        for entry in wrong:
            assert str(tmp_path) in entry.text and "\n" not in entry.text


def test_every_data_set_has_a_look_alike():
    assert set(DATASETS) <= set(MAKERS)
