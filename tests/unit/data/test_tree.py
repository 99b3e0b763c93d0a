"""Folders as people have them: names of splits, accents, links, and files that are not read."""

import os
import unicodedata

import numpy as np
import pytest

from pointadapt.core.errors import DataLayoutError
from pointadapt.core.notes import PointAdaptNote
from pointadapt.data import load_dataset
from pointadapt.data.reading.tree import all_files, find_samples, readable_files
from pointadapt.io import write_points


def put(root, *names):
    for k, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".npy", ".xyz", ".asc", ".ply"):
            points = np.random.default_rng(k).normal(size=(30, 3))
            write_points(path.with_suffix(".xyz"), points)
            path.with_suffix(".xyz").rename(path) if path.suffix == ".asc" else None
            if path.suffix not in (".asc", ".xyz"):
                path.with_suffix(".xyz").unlink()
                write_points(path, points)
        else:
            path.write_bytes(b"something else")
    return root


def of_split(root, split):
    found = find_samples(root)
    return sorted((s.path.relative_to(root).as_posix(), s.label) for s in found if s.split == split)


@pytest.mark.parametrize(
    ("train", "test"), [("Train", "Test"), ("TRAIN", "test"), ("training", "Testing")]
)
def test_names_of_splits_in_any_case(tmp_path, train, test):
    put(tmp_path, f"{train}/a/1.npy", f"{train}/b/1.npy", f"{test}/b/2.npy")
    assert of_split(tmp_path, "train") == [(f"{train}/a/1.npy", "a"), (f"{train}/b/1.npy", "b")]
    assert of_split(tmp_path, "test") == [(f"{test}/b/2.npy", "b")]


@pytest.mark.parametrize("place", ["{}/a/1.npy", "a/{}/1.npy"])
@pytest.mark.parametrize("val", ["val", "Valid", "validation"])
def test_val_is_taken_for_test_where_there_is_none(tmp_path, place, val):
    put(tmp_path, place.format("train"), place.format(val))
    with pytest.warns(PointAdaptNote, match=f"has nothing for test: {val} is taken for it"):
        assert of_split(tmp_path, "test") == [(place.format(val), "a")]


def test_val_beside_test_is_not_read_and_said_so(tmp_path):
    put(tmp_path, "train/a/1.npy", "test/a/2.npy", "val/a/3.npy")
    with pytest.warns(PointAdaptNote, match=r"1 of 3 files are not read: 1 \.npy"):
        assert of_split(tmp_path, "test") == [("test/a/2.npy", "a")]


@pytest.mark.parametrize("split", ["val", "Validation"])
def test_val_in_a_manifest(tmp_path, split):
    put(tmp_path, "1.npy", "2.npy", "3.npy")
    rows = ["path,label,split", "1.npy,a,train", f"2.npy,a,{split}"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    with pytest.warns(PointAdaptNote, match="has nothing for test: val is taken for it"):
        assert of_split(tmp_path, "test") == [("2.npy", "a")]
    (tmp_path / "manifest.csv").write_text("\n".join([*rows, "3.npy,a,Testing"]))
    with pytest.warns(PointAdaptNote, match="1 files of the split val are not read"):
        assert of_split(tmp_path, "test") == [("3.npy", "a")]


@pytest.mark.parametrize(
    ("names", "found", "better"),
    [
        (["chairs/set1/a.npy", "chairs/set2/b.npy"], "found ROOT/chairs/set1/a.npy", ""),
        (["train/a/1.npy", "train/b/2.npy"], "found ROOT/train/a/1.npy", ""),
        (["data/train/a/1.npy", "data/test/a/2.npy"], "found ROOT/data/train/a/1.npy",
         "pass --root {}/data"),
        (["a/b/c/d/1.npy"], "found ROOT/a/b/c/d/1.npy", ""),
        (["1.npy", "2.npy"], "found ROOT/1.npy", ""),
        (["a/1.doc"], "expected ROOT/CLASS/FILE", ""),
    ],
)  # fmt: skip
def test_another_layout_is_named_beside_the_one_that_is_wanted(tmp_path, names, found, better):
    put(tmp_path, *names)
    with pytest.raises(DataLayoutError) as caught:
        find_samples(tmp_path)
    text = str(caught.value)
    assert found in text and "expected ROOT/CLASS/FILE, ROOT/train/CLASS/FILE" in text
    assert better.format(tmp_path) in text and "\n" not in text and len(text) < 500


def test_two_folders_for_one_split_are_named(tmp_path):
    put(tmp_path, "train/a/1.npy", "Train/a/2.npy", "test/a/3.npy")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this disk does not tell the case of letters")
    with pytest.raises(DataLayoutError, match=r"Train and .*train: which one is for train\?"):
        find_samples(tmp_path)


def test_files_that_are_not_read_are_counted_by_their_endings(tmp_path):
    put(tmp_path, "a/1.npy", "a/2.npy", "b/1.npy", "b/2.npy", "b/more/3.npy",
        *(f"a/{k}.jpg" for k in range(7)), "b/scan.E57", "b/x.jpg", "notes")  # fmt: skip
    with pytest.warns(PointAdaptNote) as caught:
        assert len(find_samples(tmp_path)) == 4
    (said,) = {str(one.message) for one in caught}
    assert said == (
        f"{tmp_path}: 11 of 15 files are not read: 8 .jpg, 1 .e57, 1 .npy, 1 without an ending"
    )


def test_asc_is_read_as_text(tmp_path):
    put(tmp_path, *(f"{c}/{k}.asc" for c in "ab" for k in range(3)))
    clouds = load_dataset("folder", root=tmp_path, points=30, cache="no").load("train")
    assert len(clouds) == 4 and np.isfinite(clouds.points).all()


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_in_two_forms_are_one_class(tmp_path, forms):
    first, second = (unicodedata.normalize(form, "Stühle") for form in forms)
    put(tmp_path, f"train/{first}/1.npy", f"test/{second}/2.npy")
    assert {s.label for s in find_samples(tmp_path)} == {"Stühle"}
    rows = [f"train/{second}/1.npy,{first},train", f"test/{first}/2.npy,{second},test"]
    (tmp_path / "manifest.csv").write_text("path,label,split\n" + "\n".join(rows), "utf-8")
    found = find_samples(tmp_path)
    assert [s.label for s in found] == ["Stühle"] * 2 and all(s.path.is_file() for s in found)


@pytest.mark.skipif(os.name == "nt", reason="links take rights")
def test_links_to_folders_are_followed_once(tmp_path):
    put(tmp_path / "real", "1.npy", "deep/2.npy")
    (tmp_path / "work").mkdir()
    (tmp_path / "work/scans").symlink_to(tmp_path / "real")
    (tmp_path / "real/circle").symlink_to(tmp_path / "real")
    found = readable_files(tmp_path / "work", nested=True)
    names = [path.relative_to(tmp_path / "work").as_posix() for path in found]
    assert names == ["scans/1.npy", "scans/deep/2.npy"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    put(tmp_path, "a/1.npy")

    def walk(folder, onerror, followlinks):
        onerror(PermissionError(13, "Permission denied", str(folder)))
        yield from ()

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(DataLayoutError, match="cannot be read: Permission denied"):
        all_files(tmp_path)


@pytest.mark.parametrize("places", [("Train/a.npy", "val/b.npy"), ("sub/a.npy",)])
def test_scenes_in_folders(tmp_path, places):
    rng = np.random.default_rng(0)
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True)
        xyz = rng.uniform(0, 4, (4000, 3))
        np.save(tmp_path / place, np.c_[xyz, xyz[:, 2] > 2])
    data = load_dataset("folder_segmentation", root=tmp_path, points=64, least=8, blocks=4)
    if len(places) == 2:
        with pytest.warns(PointAdaptNote, match="val is taken for it"):
            assert len(data.load("train")) == 4
        return
    with pytest.raises(DataLayoutError, match=r"found .*sub/a\.npy, expected ROOT/FILE"):
        data.load("train")
