"""Cross-validation folds: stratified, the same each time, complete, and refused on other data."""

import json
from collections import Counter

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, DataLayoutError, FileFormatError
from pointadapt.data import Clouds, load_dataset
from pointadapt.data.sets.folds import NAME, draw_folds, joined, read_folds


class Made:
    """A data set of clouds that tell which they are."""

    name, normalise = "made", True

    def __init__(self, train, test=()):
        self.labels = {"train": np.repeat(np.arange(len(train)), train),
                       "test": np.repeat(np.arange(len(test)), test)}  # fmt: skip
        self.classes = tuple(f"class {k}" for k in range(len(train)))

    def settled(self):
        return {}

    def load(self, split):
        labels = self.labels[split].astype(np.int64)
        points = np.random.default_rng(0).random((len(labels), 4, 3), np.float32)
        ids = tuple(f"{split}-{i}" for i in range(len(labels)))
        return Clouds(points, labels, self.classes, ids)


@pytest.fixture
def toy(toy_root, tmp_path):
    """Four folds of the toy data, and how to load one."""
    source = load_dataset("folder", root=toy_root, points=64)
    draw_folds(source, {"up": "z"}, "all", 4, 0)[0].write(tmp_path / NAME)

    def load(split, **options):
        options = {"root": tmp_path, "source_root": toy_root, "points": 64, **options}
        return load_dataset("folds", **options).load(split)

    load.file = tmp_path / NAME
    return load


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_are_stratified_and_of_one_size(folds):
    index, clouds = draw_folds(Made((20, 7, 3), (4, 2, 2)), {}, "all", folds, 0)
    fold_of = index.fold_of()
    assert len(clouds) == len(fold_of) == 38
    sizes = Counter(fold_of.tolist())
    assert set(sizes) == set(range(folds)) and max(sizes.values()) - min(sizes.values()) <= 1
    for label in range(3):
        counts = [int((fold_of[clouds.labels == label] == k).sum()) for k in range(folds)]
        assert max(counts) - min(counts) <= 1


def test_the_draw_depends_on_the_seed_alone():
    first, again, other = (draw_folds(Made((20, 7)), {}, "train", 3, seed)[0] for seed in (0, 0, 1))
    assert first == again != other
    assert len(draw_folds(Made((20, 7), (3, 3)), {}, "train", 3, 0)[0].clouds) == 27


def test_written_and_read(tmp_path):
    index, _ = draw_folds(Made((20, 7)), {"up": "y"}, "all", 3, 5)
    index.write(tmp_path / NAME)
    assert read_folds(tmp_path / NAME) == index


def test_every_cloud_is_held_out_once(toy):
    held = [toy("test", fold=k) for k in range(4)]
    names = [i for clouds in held for i in clouds.ids]
    assert len(names) == len(set(names)) == 56
    for k in range(4):
        train = toy("train", fold=k)
        assert sorted((*train.ids, *held[k].ids)) == sorted(names)
        for clouds in (train, held[k]):
            assert [clouds.classes[label] for label in clouds.labels] == [
                i.split("/")[1] for i in clouds.ids
            ]
    assert sorted(toy("train", fold=-1).ids) == sorted(names)


def test_too_few_clouds():
    with pytest.raises(DataLayoutError, match="train-4 is the only cloud of class 'class 1'"):
        draw_folds(Made((4, 1)), {}, "train", 2, 0)
    with pytest.raises(ConfigError, match="4 clouds cannot be split into 5 folds"):
        draw_folds(Made((2, 2)), {}, "train", 5, 0)


def test_features_and_parts_are_joined():
    points, labels = np.arange(24, dtype=np.float32).reshape(2, 4, 3), np.zeros(2, np.int64)
    parts, features = np.zeros((2, 4), np.int64), np.ones((2, 4, 1), np.float32)
    one = Clouds(points, labels, ("a",), ("x", "y"), parts, ("p",), features, ("red",))
    two = joined(one, one.subset([1]))
    assert two.ids == ("x", "y", "y") and two.parts.shape == (3, 4)
    assert two.features.shape == (3, 4, 1) and two.part_names == ("p",)
    with pytest.raises(DataLayoutError, match="different classes"):
        joined(one, Clouds(points, labels, ("b",), ("x", "y"), parts, ("p",), features, ("red",)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "x"}, "is no pointadapt-folds/1 file"),
        ({"folds": 5}, "not every one of 5 folds"),
        ({"clouds": [{"split": "train"}]}, "damaged: TypeError"),
        ({"clouds": None}, "damaged: TypeError"),
    ],
)
def test_damaged_files(toy, change, message):
    values = json.loads(toy.file.read_text())
    toy.file.write_text(json.dumps({**values, **change}))
    with pytest.raises(FileFormatError, match=message):
        toy("train")


def test_other_data_are_refused(toy):
    values = json.loads(toy.file.read_text())
    values["clouds"][3]["id"] = "train/ball/elsewhere.npy"
    toy.file.write_text(json.dumps(values))
    with pytest.raises(FileFormatError, match=r"cloud 3 is 'train/ball/elsewhere.npy' .*another"):
        toy("train")
    values["clouds"].pop(3)
    toy.file.write_text(json.dumps(values))
    with pytest.raises(FileFormatError, match="lists 55 clouds, but the data at hand has 56"):
        toy("test")
    with pytest.raises(ConfigError, match="has folds 0 to 3, not 4"):
        toy("test", fold=4)
