"""The official few-shot pickles, from their look-alike, and damaged."""

import os
import pickle
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, DataLayoutError, FileFormatError, PointCloudError
from pointadapt.data import load_dataset
from pointadapt.data.sets.modelnet40 import CLASSES

MAKE = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[2] / "data/modelnet_fewshot/make.py"))
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return MAKE.write(tmp_path_factory.mktemp("official"))


def load(root, split="train", **options):
    return load_dataset("modelnet_fewshot", root=root, **{"points": 32, **options}).load(split)


@pytest.mark.parametrize(("way", "fold"), [(5, 0), (5, 1), (10, 0)])
def test_episodes(root, way, fold):
    numbers = MAKE.classes_of(way, fold)
    for split, each in (("train", 10), ("test", 20)):
        clouds = load(root, split, way=way, fold=fold)
        assert clouds.classes == tuple(CLASSES[k] for k in numbers)
        assert np.bincount(clouds.labels).tolist() == [each] * way
        want = MAKE.clouds_of(numbers[2], split, fold, each)[
            :, :32, :3
        ]  # the first points, no normals
        np.testing.assert_array_equal(clouds.points[clouds.labels == 2], want)


def test_the_folder_above_and_the_other_spelling(root, tmp_path):
    assert load(root.parent).ids == load(root).ids
    (tmp_path / "5way10shot").mkdir()
    (tmp_path / "5way10shot" / "0.pkl").write_bytes((root / "5way_10shot/0.pkl").read_bytes())
    np.testing.assert_array_equal(load(tmp_path).points, load(root).points)


def test_verify(root, tmp_path):
    assert load_dataset("modelnet_fewshot", root=root, way=10).verify() == []
    content = MAKE.content(5, 10, 0)
    content["test"].pop()
    path = tmp_path / "5way_10shot" / "0.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(content))
    notes = load_dataset("modelnet_fewshot", root=tmp_path).verify()
    assert notes == [
        "test: 99 clouds, the official release has 100",
        "test: the classes have 20, 20, 20, 20, 19 clouds, not equally many",
    ]


def test_missing(root):
    with pytest.raises(DataLayoutError, match=r"no 5way_10shot/2\.pkl is there") as caught:
        load(root, fold=2)
    assert "DATASET.md" in str(caught.value)
    with pytest.raises(ConfigError, match="fold"):
        load(root, fold=-1)
    with pytest.raises(PointCloudError, match="pass --points 96"):
        load(root, points=1024)


def code():
    return type("Calls", (), {"__reduce__": lambda self: (os.system, ("touch witness",))})()


def third_differs(content):
    cloud, label, _ = content["test"][0]
    content["test"][0] = (cloud, label, np.int32(39 - label))
    return content


def with_label(content, label):
    content["train"][3] = (content["train"][3][0], label, np.int32(1))
    return content


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c: [code()], "nothing in it was run"),
        (lambda c: [c["train"], c["test"]], "must be a dictionary"),
        (lambda c: {"train": c["train"]}, "must be a dictionary"),
        (lambda c: {**c, "train": [cloud for cloud, *_ in c["train"]]}, "must be a dictionary"),
        (lambda c: with_label(c, "chair"), "whole numbers"),
        (lambda c: with_label(c, 7), "outside 0 to 4"),
        (third_differs, "is both"),
        (lambda c: {**c, "train": []}, "0.pkl"),
    ],
)
def test_damaged(tmp_path, monkeypatch, change, word):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "5way_10shot" / "0.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(change(MAKE.content(5, 10, 0))))
    with pytest.raises(FileFormatError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert word in message and "0.pkl" in message and "\n" not in message
    assert not (tmp_path / "witness").exists()


def test_truncated(root, tmp_path):
    path = tmp_path / "5way_10shot" / "0.pkl"
    path.parent.mkdir()
    path.write_bytes((root / "5way_10shot/0.pkl").read_bytes()[:5000])
    with pytest.raises(FileFormatError, match=r"0\.pkl"):
        load(tmp_path)


def test_without_class_numbers(tmp_path):
    content = {split: [(cloud, label) for cloud, label, _ in items]
               for split, items in MAKE.content(5, 10, 0).items()}  # fmt: skip
    path = tmp_path / "5way_10shot" / "0.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(content))
    assert load(tmp_path).classes == tuple(f"class {k}" for k in range(5))
