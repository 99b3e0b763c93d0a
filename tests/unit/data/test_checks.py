"""What ``check`` finds in data that is right, odd or broken, and the record of checksums."""

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from pointadapt.core.errors import DataLayoutError, FileFormatError, PointCloudError
from pointadapt.data import Clouds, Dataset, check
from pointadapt.data.base import SCENE
from pointadapt.data.checking.checks import describe
from pointadapt.data.checking.checksums import (
    checksums,
    compare,
    read_record,
    record_of,
    write_record,
)


def clouds(n=6, points=20, seed=0, **changes):
    rng = np.random.default_rng(seed)
    given = {
        "points": rng.normal(size=(n, points, 3)).astype(np.float32),
        "labels": np.arange(n) % 3,
        "classes": ("a", "b", "c"),
        "ids": tuple(f"{seed}-{i}" for i in range(n)),
    }
    return Clouds(**{**given, **changes})


@dataclass
class Made(Dataset):
    """Given clouds."""

    name: ClassVar[str] = "made"
    train: Clouds | None = None
    test: Clouds | None = None
    stored: tuple[int, ...] = ()

    def load(self, split):
        chosen = getattr(self, split)
        if chosen is None:
            raise PointCloudError(f"{split} cannot be read")
        return chosen

    def point_counts(self, split):
        return np.array(self.stored) if self.stored else None


def look(train=None, test=None, **options):
    """What -> (status, text)."""
    made = Made(train=clouds() if train is None else train,
                test=clouds(seed=1) if test is None else test, **options)  # fmt: skip
    return {entry.what: (entry.status, entry.text) for entry in check(made)[0]}


def test_good_data():
    found = look()
    assert {status for status, _ in found.values()} == {"ok"}
    assert found["train: classes"][1] == "6 clouds of 3 classes, 2 each"
    assert found["train: points"][1] == "20 each"
    assert "release" not in found  # there is none


def test_a_split_that_cannot_be_loaded_does_not_hide_the_other():
    made = Made(train=clouds())
    found = {entry.what: entry for entry in check(made)[0]}
    assert found["test: files"].text == "test cannot be read"
    assert found["test: files"].status == "wrong" and found["train: classes"].status == "ok"


def test_coordinates_that_are_not_finite():
    points = clouds().points.copy()
    points[4, 3, 1] = np.inf
    bad = Clouds(points, np.zeros(6, int), ("a", "b"), tuple("uvwxyz"))
    assert look(bad)["train: coordinates"] == ("wrong", "NaN or infinite in 1 clouds: y")


def test_a_cloud_that_is_a_single_point_is_none():
    points = clouds().points.copy()
    points[4] = 1.0
    with pytest.raises(PointCloudError, match=r"^y: all of its 20 points .* \(1, 1, 1\)"):
        Clouds(points, np.zeros(6, int), ("a",), tuple("uvwxyz"))
    with pytest.raises(PointCloudError, match=r"^cloud 4 \(counted from 0\): all of its 20"):
        Clouds(points, np.zeros(6, int), ("a",))


def test_a_block_of_a_scene_may_hold_one_point():
    points = clouds().points.copy()
    points[4] = 1.0
    ids = tuple(f"room#{k}" for k in range(6))
    blocks = Clouds(points, np.zeros(6, int), (SCENE,), ids)
    status, text = look(blocks)["train: coordinates"]
    assert (status, text) == ("note", "finite; 1 blocks hold one point: room#4")


def test_duplicates_in_any_order_of_points():
    a, b = clouds(), clouds(seed=1)
    a.points[5] = a.points[1][::-1]
    b.points[2] = a.points[0]
    found = look(a, b)
    assert found["train: duplicates"] == (
        "note", "1 clouds are copies of others, 1 of them with another class: 0-5 = 0-1"
    )  # fmt: skip
    both = found["train and test: duplicates"]
    assert both == ("note", "1 clouds are in both: 1-2 = 0-0")


def test_classes_and_names():
    found = look(clouds(labels=np.zeros(6, int)), clouds(seed=1, classes=("a", "b", "d")))
    assert found["train: classes"] == ("note", "6 clouds of 1 classes, 6 each; none of b, c")
    assert found["train and test: classes"][0] == "wrong"
    assert look(clouds(ids=("x",) * 6))["train: names"][0] == "wrong"


def test_stored_points():
    assert look(stored=(20, 30, 5000))["train: points"] == (
        "ok", "20 to 5,000 stored, 20 loaded of each"
    )  # fmt: skip
    status, text = look(stored=(7, 30))["train: points"]
    assert status == "note" and "1 clouds have fewer" in text


def test_parts():
    parts = np.zeros((6, 20), int)
    parts[:, 5:] = 1
    found = look(clouds(parts=parts, part_names=("p", "q", "r")))
    assert found["train: parts"] == ("note", "2 parts are on points; none has r")
    facts = describe(clouds(parts=parts, part_names=("p", "q", "r")))
    assert facts["parts"] == {"p": 30, "q": 90, "r": 0}
    assert facts["classes"] == {"a": 2, "b": 2, "c": 2}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt", ".hidden", "c.txt"):
        (root / name).write_text(name)
    return root


def test_checksums(folder):
    record = record_of(folder)
    found = checksums(folder)
    assert list(found) == ["a.txt", "c.txt", "sub/b.txt"]
    assert found["a.txt"]["bytes"] == 5
    assert found["a.txt"]["sha256"] == hashlib.sha256(b"a.txt").hexdigest()
    write_record(record, "x", found)
    assert checksums(folder) == found  # the record is no file of the data
    (check_,) = compare(read_record(record), found, record)
    assert check_.status == "ok" and "3 files" in check_.text


def test_changed_lost_and_new_files(folder):
    record = record_of(folder)
    write_record(record, "x", checksums(folder))
    (folder / "a.txt").write_text("A.txt")
    (folder / "c.txt").unlink()
    (folder / "d.txt").write_text("d")
    found = {c.what: c for c in compare(read_record(record), checksums(folder), record)}
    assert {what: c.status for what, c in found.items()} == {
        "checksums: missing": "wrong", "checksums: changed": "wrong", "checksums: new": "note"
    }  # fmt: skip
    assert "a.txt" in found["checksums: changed"].text


def test_a_single_file(folder):
    file = folder / "a.txt"
    assert list(checksums(file)) == ["a.txt"] and record_of(file).parent == folder


def test_a_damaged_record(folder):
    with pytest.raises(DataLayoutError, match="--write-checksums"):
        read_record(record_of(folder))
    for text in ("[]", '{"format": "pointadapt-checksums/1", "files": {"a": 3}}', "{}"):
        record_of(folder).write_text(text)
        with pytest.raises(FileFormatError, match="no record of checksums"):
            read_record(record_of(folder))
