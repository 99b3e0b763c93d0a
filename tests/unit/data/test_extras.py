"""What is known of whole clouds besides their class, from a table to a task."""

import numpy as np
import pytest

from pointadapt.core.errors import DataLayoutError, PointCloudError
from pointadapt.data import Clouds
from pointadapt.data.sets.folder import Folder
from pointadapt.data.sets.folds import joined

POINTS = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)


def clouds(**extras):
    return Clouds(POINTS, np.zeros(3, np.int64), ("a",), extras=extras)


def test_they_go_where_their_clouds_go():
    own = clouds(weight=np.array([1.0, 2.0, 3.0]), has=np.eye(3)[:, :2])
    some = own.subset([2, 0])
    assert some.extra("weight").tolist() == [3, 1] and some.extra("has").tolist() == [
        [0, 0],
        [1, 0],
    ]
    both = joined(own, some)
    assert both.extra("weight").tolist() == [1, 2, 3, 3, 1] and both.extra("has").shape == (5, 2)


def test_what_is_wrong_is_said():
    with pytest.raises(PointCloudError, match="3 clouds but 2 of 'weight'"):
        clouds(weight=np.zeros(2))
    with pytest.raises(DataLayoutError, match=r"do not tell 'height'.*tell weight.*manifest\.csv"):
        clouds(weight=np.zeros(3)).extra("height")


def test_columns_of_numbers_come_from_the_manifest(tmp_path):
    rows = ["path,label,height,note,gap,Weight"]
    for k in range(4):
        np.save(tmp_path / f"{k}.npy", np.random.default_rng(k).normal(size=(20, 3)))
        rows.append(f"{k}.npy,a,{k / 2},x{k},{'' if k else 1},{-k}e0")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    data = Folder(root=tmp_path, points=16, test_fraction=0.5)
    for split in ("train", "test"):
        got = data.load(split)
        assert set(got.extras) == {"height", "weight"}  # a gap or a word makes it no number
        numbers = [int(name.partition(".")[0]) for name in got.ids]
        assert got.extra("height").tolist() == [n / 2 for n in numbers]
        assert got.extra("weight").tolist() == [-n for n in numbers]
        assert got.extra("height").dtype == np.float32
