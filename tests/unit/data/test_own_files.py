"""Files of a user's own: columns by name, bad files, copies and groups in drawn splits."""

import re
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
    UnknownNameError,
)
from pointadapt.core.notes import PointAdaptNote
from pointadapt.data.sets.folder import Folder
from pointadapt.data.sets.folds import draw_folds
from pointadapt.data.splits import held_out
from pointadapt.io import write_points

TESTS = Path(__file__).parents[2]
ball = SimpleNamespace(**runpy.run_path(str(TESTS / "data/folder/make.py"))).ball


def put(root, *names, seed=0):
    for k, name in enumerate(names, seed):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_points(root / name, ball(40, k))


def table(path, points, names="easting,northing,height"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join(f"{value:.9g}" for value in row) for row in points]
    path.write_text("\n".join([names, *rows, ""]))


def notes(recwarn):
    return [str(w.message) for w in recwarn if w.category is PointAdaptNote]


# ---- columns by name


def test_columns_by_name_in_their_order(tmp_path):
    for k in range(2):
        table(tmp_path / f"a/{k}.csv", ball(40, k))
    plain = Folder(root=tmp_path, points=40, columns=("easting", "northing", "height"))
    turned = Folder(root=tmp_path, points=40, columns=("height", "EASTING", "northing"))
    found, other = plain.load("test").points, turned.load("test").points
    np.testing.assert_array_equal(other, found[..., [2, 0, 1]])


def test_without_the_option_the_error_names_columns_and_option(tmp_path):
    for k in range(2):
        table(tmp_path / f"a/{k}.csv", np.column_stack([ball(40, k), np.ones(40)]), "e,n,h,t")
    with pytest.raises(FileFormatError, match=r"only e, n, h, t; .*--data-options columns=X,Y,Z"):
        Folder(root=tmp_path).load("train")
    with pytest.raises(FileFormatError, match="has no columns east, n, h"):
        Folder(root=tmp_path, columns=("east", "n", "h")).load("train")
    with pytest.raises(ConfigError, match="three different names"):
        Folder(root=tmp_path, columns=("e", "n")).load("train")
    with pytest.raises(ConfigError, match="three different names"):
        Folder(root=tmp_path, columns=("e", "n", "E")).load("train")


# ---- bad files


@pytest.fixture
def damaged(tmp_path):
    tmp_path = tmp_path / "scans"  # the cache is beside it
    put(tmp_path, *(f"{c}/{k}.npy" for c in "ab" for k in range(5)))
    (tmp_path / "a/empty.ply").write_text("")
    (tmp_path / "b/empty.csv").write_text("")
    np.save(tmp_path / "b/few.npy", ball(3))
    return tmp_path


def test_all_bad_files_are_told_at_once_by_kind(damaged):
    with pytest.raises(FileFormatError) as caught:
        Folder(root=damaged, points=8).load("train")
    text = str(caught.value)
    assert "3 of 13 files cannot be read" in text and "skip=bad" in text
    assert "a/empty.ply, b/empty.csv: is empty" in text
    assert "b/few.npy: has 3 points, fewer than 16" in text


def test_bad_files_of_both_given_splits_are_told_together(tmp_path):
    put(tmp_path, "train/a/1.npy", "train/a/2.npy", "test/a/3.npy")
    for name in ("train/a/4.npy", "test/a/5.npy"):
        (tmp_path / name).write_text("")
    for split in ("train", "test"):
        with pytest.raises(FileFormatError, match=r"2 of 5 .*a/4\.npy.*|.*a/5\.npy.*a/4\.npy"):
            Folder(root=tmp_path, points=8).load(split)


def test_a_long_list_is_cut(tmp_path):
    put(tmp_path, "a/1.npy", "a/2.npy")
    for k in range(40):
        (tmp_path / f"a/bad{k:02}.npy").write_text("")
    with pytest.raises(FileFormatError, match=r"40 of 42 .*bad02\.npy and 37 more: is empty"):
        Folder(root=tmp_path, points=8).load("train")


def test_skip_goes_on_and_lists_what_it_left_out(damaged, recwarn):
    data = Folder(root=damaged, points=8, skip="bad")
    train, test = data.load("train"), data.load("test")
    assert len(train) + len(test) == 10
    assert set(data.told()["skipped_files"]) == {"a/empty.ply", "b/empty.csv", "b/few.npy"}
    assert data.told()["skipped_files"]["a/empty.ply"] == "is empty"
    assert len({line for line in notes(recwarn) if "left out (skip=bad)" in line}) == 1
    assert len(data.point_counts("train")) == len(train)


def test_the_cache_does_not_lose_what_was_left_out(damaged, tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    options = {"root": damaged, "points": 8, "skip": "bad", "cache": cache}
    first, again = Folder(**options), Folder(**options)
    a, b = first.load("test"), again.load("test")
    np.testing.assert_array_equal(a.points, b.points)
    np.testing.assert_array_equal(a.digests, b.digests)
    assert again.told() == first.told()


def test_a_class_of_bad_files_is_an_error(tmp_path):
    put(tmp_path, "train/a/1.npy", "test/a/2.npy", "test/b/2.npy")
    (tmp_path / "train/b").mkdir()
    (tmp_path / "train/b/1.npy").write_text("")
    with pytest.raises(DataLayoutError, match="no training file of class 'b'"):
        Folder(root=tmp_path, points=8, skip="bad").load("train")
    with pytest.raises(UnknownNameError, match="did you mean 'bad'"):
        Folder(root=tmp_path, skip="bda").load("train")
    with pytest.raises(PointAdaptError, match="is empty"):
        (tmp_path / "train/a/1.npy").write_text("")
        Folder(root=tmp_path, points=8, skip="bad").load("train")


# ---- copies


@pytest.fixture
def doubled(tmp_path):
    tmp_path = tmp_path / "scans"
    put(tmp_path, *(f"{c}/{k:02}.npy" for c in "ab" for k in range(20)))
    for c in "ab":
        for k in range(15):  # in another order, and in another format
            points = np.load(tmp_path / f"{c}/{k:02}.npy")
            write_points(tmp_path / f"{c}/copy{k:02}.ply", points[::-1])
    return tmp_path


def stem(name):
    return re.sub(r"copy|\.\w+$", "", name)


def test_copies_are_on_one_side_of_a_drawn_split_and_told(doubled, recwarn):
    for seed in range(3):
        data = Folder(root=doubled, points=16, seed=seed)
        train, test = data.load("train"), data.load("test")
        assert len(train) + len(test) == 70
        assert not {stem(i) for i in train.ids} & {stem(i) for i in test.ids}
        assert sorted(data.told()["held_out_files"]) == sorted(test.ids)
    assert any("30 of 70 files have the same points" in line for line in notes(recwarn))


def test_the_draw_without_copies_is_what_it_was(doubled):
    with_them = Folder(root=doubled, points=16).load("test").ids
    for path in doubled.rglob("copy*"):
        path.unlink()
    without = Folder(root=doubled, points=16).load("test").ids
    assert {i for i in with_them if "copy" not in i} == set(without)


def test_copies_are_on_one_side_of_validation_and_folds(doubled):
    data = Folder(root=doubled, points=16)
    train = data.load("train")
    kept, held = held_out(train, 0.3, 0)
    assert len(held) and not {stem(train.ids[k]) for k in kept} & {stem(train.ids[k]) for k in held}
    index, _ = draw_folds(data, {}, "all", 4, 0)
    fold_of = {}
    for place in index.clouds:
        assert fold_of.setdefault(stem(place.id), place.fold) == place.fold
    assert set(fold_of.values()) == {0, 1, 2, 3}


def test_a_mislabelled_copy_goes_with_its_original(tmp_path, recwarn):
    put(tmp_path, *(f"{c}/{k}.npy" for c in "ab" for k in range(5)))
    write_points(tmp_path / "b/copy.npy", np.load(tmp_path / "a/0.npy"))
    data = Folder(root=tmp_path, points=16)
    sides = [set(data.load(split).ids) for split in ("train", "test")]
    assert any({"a/0.npy", "b/copy.npy"} <= side for side in sides)
    assert any("1 of them in another class" in line for line in notes(recwarn))


def test_a_class_of_copies_alone_is_an_error(tmp_path):
    put(tmp_path, "a/0.npy", "b/0.npy", "b/1.npy")
    write_points(tmp_path / "a/1.npy", np.load(tmp_path / "a/0.npy"))
    with pytest.raises(DataLayoutError, match="copies of it not counted"):
        Folder(root=tmp_path, points=16).load("train")


# ---- groups


def test_folders_are_groups(tmp_path, recwarn):
    put(tmp_path, *(f"{c}/p{g}/day/{k}.npy" for c in "ab" for g in range(6) for k in range(3)))
    data = Folder(root=tmp_path, points=16, group="folder")
    train, test = data.load("train"), data.load("test")
    assert len(train) + len(test) == 36 and len(test)
    assert not set(train.groups) & set(test.groups)
    assert set(train.groups) | set(test.groups) == {f"p{g}" for g in range(6)}
    assert any("6 groups of files are kept together" in line for line in notes(recwarn))
    with pytest.raises(DataLayoutError, match="--data-options group=folder"):
        Folder(root=tmp_path).load("train")


def test_a_file_outside_its_groups_folder_is_named(tmp_path):
    put(tmp_path, "a/p1/1.npy", "a/p2/2.npy", "a/3.npy")
    with pytest.raises(DataLayoutError, match=r"3\.npy: is in no group's folder"):
        Folder(root=tmp_path, group="folder").load("train")


def test_a_copy_binds_groups(tmp_path):
    put(tmp_path, *(f"{c}/p{g}/{k}.npy" for c in "ab" for g in range(6) for k in range(2)))
    write_points(tmp_path / "a/p1/copy.npy", np.load(tmp_path / "a/p4/0.npy"))
    for seed in range(4):
        data = Folder(root=tmp_path, points=16, group="folder", seed=seed)
        for split in ("train", "test"):
            groups = set(data.load(split).groups)
            assert ("p1" in groups) == ("p4" in groups)


def test_files_without_a_group_are_alone(tmp_path):
    put(tmp_path, *(f"{k}.npy" for k in range(8)))
    rows = [f"{k}.npy,{'ab'[k % 2]},{'x' if k < 4 else ''}" for k in range(8)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label,group", *rows]))
    train = Folder(root=tmp_path, points=16, test_fraction=0.5).load("train")
    assert len(set(train.groups)) == len(train) or set(train.groups) == {"x"}


def test_given_folders_that_part_a_group_are_told(tmp_path, recwarn):
    put(tmp_path, "train/a/p1_1.npy", "test/a/p1_2.npy", "train/a/p2_1.npy")
    Folder(root=tmp_path, points=16, group="(p.)_").load("train")
    assert any("1 groups are in both train and test, such as p1" in n for n in notes(recwarn))


def test_the_title_is_the_folders_name(tmp_path):
    root = tmp_path / "my scans"
    put(root, "a/1.npy", "a/2.npy")
    (tmp_path / "labels.csv").write_text("path,label\nmy scans/a/1.npy,a\nmy scans/a/2.npy,a\n")
    assert Folder(root=root).title() == "my scans"
    assert Folder(manifest=tmp_path / "labels.csv").title() == "labels.csv"
    data = Folder(root=root, points=16)
    data.load("test")
    assert data.told()["held_out_files"] == list(data.load("test").ids)
