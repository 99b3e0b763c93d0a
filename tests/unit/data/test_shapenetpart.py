import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pointadapt.core.errors import (
    ConfigError,
    DataLayoutError,
    FileFormatError,
    PointAdaptError,
    PointCloudError,
    UnknownNameError,
)
from pointadapt.data import load_dataset
from pointadapt.data.sets.shapenetpart import SYNSETS, ShapeNetPart

TESTS = Path(__file__).parents[2]
look_alike = SimpleNamespace(**runpy.run_path(str(TESTS / "data/shapenetpart/make.py")))
LIST = "train_test_split/shuffled_test_file_list.json"
CHAIR = "03001627/test0.txt"


@pytest.fixture
def tree(tmp_path):
    return look_alike.write_tree(tmp_path)


def test_splits(tree):
    train, test = (ShapeNetPart(root=tree, points=40).load(split) for split in ("train", "test"))
    assert (len(train), len(test)) == (48, 16)
    assert len(ShapeNetPart(root=tree, points=40, val=False).load("train")) == 32
    assert test.ids[0] == "04379243/test0"  # in the order of the official list
    assert (len(train.classes), len(train.part_names)) == (16, 50)
    assert train.classes[:3] == ("Airplane", "Bag", "Cap")
    assert train.part_names[:5] == (
        "Airplane/0", "Airplane/1", "Airplane/2", "Airplane/3", "Bag/0",
    )  # fmt: skip
    assert np.bincount(test.labels).tolist() == [1] * 16


def test_the_official_numbers_of_parts():
    assert {s: n for s, (_, n) in SYNSETS.items()} == look_alike.COUNTS
    first = {p.split("/")[0]: k for k, p in reversed(list(enumerate(ShapeNetPart.PARTS)))}
    assert (first["Chair"], first["Motorbike"], first["Table"]) == (12, 30, 47)


@pytest.mark.parametrize("points", [20, 40, 100])
@pytest.mark.parametrize("sampling", ["random", "fps"])
def test_labels_stay_with_their_points(tree, points, sampling):
    clouds = ShapeNetPart(root=tree, points=points, sampling=sampling).load("test")
    assert clouds.points.shape == (16, points, 3)
    for name, cloud, parts in zip(clouds.ids, clouds.points, clouds.parts, strict=True):
        synset, _ = name.split("/")
        rows = look_alike.cloud(synset, "test", 0).astype(np.float32)
        stored = {tuple(row[:3]): int(row[6]) for row in rows}
        assert [stored[tuple(p)] for p in cloud] == parts.tolist()
        seen = len({tuple(p) for p in cloud})
        assert seen == min(points, len(rows))


def test_all_points_in_their_order(tree):
    clouds = ShapeNetPart(root=tree, points=40).load("test")
    k = clouds.ids.index("02691156/test0")
    rows = look_alike.cloud("02691156", "test", 0)
    np.testing.assert_array_equal(clouds.points[k], rows[:, :3].astype(np.float32))


def test_roots_and_seed(tree):
    a = ShapeNetPart(root=tree.parent, points=30).load("test")
    np.testing.assert_array_equal(a.points, ShapeNetPart(root=tree, points=30).load("test").points)
    other = ShapeNetPart(root=tree, points=30, seed=1).load("test")
    assert not np.array_equal(a.points, other.points)


def test_verify_notes_the_counts(tree):
    assert ShapeNetPart(root=tree).verify() == [
        "train: 48 clouds, the official release has 14007",
        "test: 16 clouds, the official release has 2874",
    ]
    (tree / LIST).unlink()
    assert "shuffled_test" in ShapeNetPart(root=tree).verify()[1]


def broken(tree, error, *words, **options):
    with pytest.raises(error) as caught:
        load_dataset("shapenetpart", root=tree, **{"points": 40, **options}).load("test")
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_missing(tree):
    (tree / CHAIR).unlink()
    broken(tree, DataLayoutError, CHAIR, "missing")
    (tree / LIST).unlink()
    broken(tree, DataLayoutError, "shuffled_test_file_list.json", "missing")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[", "is not JSON"),
        ("{}", "must be a list"),
        ("[]", "must be a list"),
        ('["shape_data/03001627"]', "'shape_data/03001627' is no"),
        ('["shape_data/123/x"]', "16 classes"),
        ('["shape_data/03001627/"]', "is no"),
        ("[3]", "3 is no"),
    ],
)
def test_a_bad_list(tree, text, word):
    (tree / LIST).write_text(text)
    broken(tree, PointAdaptError, "shuffled_test_file_list.json", word)


def rows_of(tree):
    return np.loadtxt(tree / CHAIR)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda r: r[:, :6], FileFormatError, ["6 columns, not the 7"]),
        (lambda r: np.c_[r, r[:, 0]], FileFormatError, ["8 columns"]),
        (lambda r: r + np.eye(7)[6] * 50, FileFormatError, ["part label", "12 to 15"]),
        (lambda r: r * [1, 1, 1, 1, 1, 1, 0], FileFormatError, ["label 0 in row 0", "Chair"]),
        (lambda r: r + np.eye(7)[6] / 2, FileFormatError, ["no whole numbers"]),
        (lambda r: r * [1, 1, 1, 1, 1, 1, np.nan], FileFormatError, ["no whole numbers"]),
        (lambda r: r * [1, np.nan, 1, 1, 1, 1, 1], PointCloudError, ["NaN"]),
    ],
)
def test_a_bad_cloud(tree, change, error, words):
    np.savetxt(tree / CHAIR, change(rows_of(tree)))
    broken(tree, error, "03001627/test0", *words)


@pytest.mark.parametrize("text", ["", "1 2 3\n4 5\n", "a b c d e f g\n"])
def test_a_file_of_something_else(tree, text):
    (tree / CHAIR).write_text(text)
    broken(tree, FileFormatError, CHAIR)


def test_wrong_options(tree):
    broken(tree, UnknownNameError, "fps", sampling="far")
    broken(tree, ConfigError, "points >= 1", points=0)
    broken(tree.parent / "none", DataLayoutError, "does not exist")
    entries = json.loads((tree / LIST).read_text())
    assert len(entries) == 16
