import os
import pickle
import runpy
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from pointadapt.core.errors import (
    DataLayoutError,
    FileFormatError,
    PointCloudError,
    UnknownNameError,
)
from pointadapt.data import load_dataset
from pointadapt.data.sets.modelnet40 import CLASSES, FORMS, ModelNet40

TESTS = Path(__file__).parents[2]
look_alike = SimpleNamespace(**runpy.run_path(str(TESTS / "data/modelnet40/make.py")))
POINTS = look_alike.POINTS


def load(root, split="test", **options):
    return ModelNet40(root=root, **{"points": POINTS, **options}).load(split)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same(tmp_path, form, split):
    folder = look_alike.FORMS[form](tmp_path)
    places = [(folder, "auto"), (tmp_path, "auto"), (folder, form), (tmp_path, form)]
    for root, asked in places:
        clouds = load_dataset("modelnet40", root=root, points=POINTS, form=asked).load(split)
        np.testing.assert_allclose(clouds.points, look_alike.points_of(split), atol=1e-3)
        np.testing.assert_array_equal(clouds.labels, look_alike.labels_of(split))
        assert (clouds.points.dtype, clouds.labels.dtype) == (np.float32, np.int64)
        assert clouds.classes == CLASSES
        assert len(set(clouds.ids)) == len(clouds)
        if form != "hdf5":
            assert list(clouds.ids) == look_alike.ids_of(split)


def test_auto_takes_the_first_form_that_is_there(tmp_path):
    for form in reversed(FORMS):
        look_alike.FORMS[form](tmp_path)
        raw = ModelNet40(root=tmp_path).raw("train")
        assert FORMS[form].folder in str(raw.source)
        assert (raw.source.suffix == ".dat") == (form == "dat")


def test_forms_are_not_mixed(tmp_path):
    look_alike.write_hdf5(tmp_path)
    (look_alike.write_npz(tmp_path) / "test.npz").unlink()
    with pytest.raises(DataLayoutError, match=r"test\.npz is missing"):
        load(tmp_path)


def test_make_tells_how_to_load(tmp_path):
    assert len(load_dataset("modelnet40", **look_alike.make(tmp_path)).load("train")) == 9


@pytest.mark.parametrize(
    ("form", "rule"), [("npz", "fps"), ("hdf5", "first"), ("dat", "first"), ("txt", "fps")]
)
def test_sampling_that_suits_the_form(tmp_path, form, rule):
    root = look_alike.FORMS[form](tmp_path)
    auto = load(root, points=20).points
    assert auto.shape == (6, 20, 3)
    for other in ("fps", "first", "random"):
        same = np.array_equal(auto, load(root, points=20, sampling=other).points)
        assert same == (other == rule)


def test_the_largest_dat_is_read(tmp_path):
    folder = look_alike.write_dat(tmp_path)
    small = folder / "modelnet40_test_1024pts_fps.dat"
    small.write_bytes(b"")
    assert ModelNet40(root=folder).raw("test").source.name == "modelnet40_test_8192pts_fps.dat"


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_dat_of_every_age(tmp_path, protocol):
    clouds = load(look_alike.write_dat(tmp_path, protocol))
    np.testing.assert_array_equal(clouds.points, look_alike.points_of("test"))


def test_lists_may_lack(tmp_path):
    folder = look_alike.write_dat(tmp_path)
    for path in folder.glob("*.txt"):
        path.unlink()
    clouds = load(folder)
    assert (clouds.classes, clouds.ids[0]) == (CLASSES, "test/0")
    folder = look_alike.write_hdf5(tmp_path)
    for path in folder.glob("*.txt"):
        path.unlink()
    np.testing.assert_array_equal(load(folder).points, look_alike.points_of("test"))


def test_ids_of_a_list_that_does_not_fit_are_not_used(tmp_path):
    folder = look_alike.write_dat(tmp_path)
    (folder / "modelnet40_test.txt").write_text("bed_0001\n")
    assert load(folder).ids[0] == "test/0"


def test_verify_notes_counts_and_classes(tmp_path):
    folder = look_alike.write_txt(tmp_path)
    notes = ModelNet40(root=folder).verify()
    assert notes == [
        "train: 9 clouds, the official release has 9843",
        "train: 37 of 40 classes have no cloud",
        "test: 6 clouds, the official release has 2468",
        "test: 37 of 40 classes have no cloud",
    ]
    names = folder / "modelnet40_shape_names.txt"
    names.write_text("\n".join(sorted(look_alike.SHOWN, reverse=True)))
    assert "train: 3 classes, not the 40 official ones in order" in ModelNet40(root=folder).verify()


def broken(root, error, *words, **options):
    with pytest.raises(error) as caught:
        load(root, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_nothing_is_there(tmp_path):
    broken(tmp_path, DataLayoutError, "test.npz", "ply_data_test*.h5", "Get modelnet40")
    broken(tmp_path, DataLayoutError, "no modelnet40_normal_resampled/modelnet40_test", form="txt")
    broken(tmp_path, UnknownNameError, "did you mean 'hdf5'", form="hdf")


@pytest.mark.parametrize("form", FORMS)
def test_too_few_points(tmp_path, form):
    root = look_alike.FORMS[form](tmp_path)
    broken(root, PointCloudError, "96 points but 1024", "--points 96", points=1024)


@pytest.mark.parametrize("key", ["points", "label"])
def test_npz_without_a_key(tmp_path, key):
    path = look_alike.write_npz(tmp_path) / "test.npz"
    arrays = dict(np.load(path))
    del arrays[key]
    np.savez(path, **arrays)
    broken(tmp_path, FileFormatError, "test.npz", f"no {key!r}", "class_names, id")


def test_npz_with_fewer_ids(tmp_path):
    path = look_alike.write_npz(tmp_path) / "test.npz"
    np.savez(path, **{**np.load(path), "id": np.array(["one"])})
    broken(tmp_path, FileFormatError, "1 of 'id' for 6 clouds")


def test_npz_damaged(tmp_path):
    path = look_alike.write_npz(tmp_path) / "test.npz"
    content = path.read_bytes()
    flipped = content[:200] + bytes([content[200] ^ 255]) + content[201:]
    for damage in (b"", b"junk", content[: len(content) // 2], flipped):
        path.write_bytes(damage)
        broken(tmp_path, FileFormatError, "test.npz", "damaged")
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    broken(tmp_path, FileFormatError, "looks like a NumPy .npy file")
    np.savez(path, points=np.array([None]), label=np.zeros(1, int))
    broken(tmp_path, FileFormatError, "damaged", "Python objects")


def test_hdf5_file_missing_or_of_another_size(tmp_path):
    folder = look_alike.write_hdf5(tmp_path)
    with h5py.File(folder / "ply_data_test1.h5", "r+") as file:
        del file["data"]
        file["data"] = np.zeros((3, 5, 3), "f4")
    broken(folder, FileFormatError, "test files differ")
    (folder / "ply_data_test1.h5").unlink()
    broken(folder, DataLayoutError, "ply_data_test1.h5 is missing", "test_files.txt lists it")
    (folder / "ply_data_test0.h5").unlink()
    (folder / "test_files.txt").unlink()
    broken(folder, DataLayoutError, "no ply_data_test*.h5")


def test_label_outside_the_classes(tmp_path):
    folder = look_alike.write_hdf5(tmp_path)
    with h5py.File(folder / "ply_data_test1.h5", "r+") as file:
        file["label"][1] = 40
    broken(folder, FileFormatError, "label 40 of cloud ply_data_test1/1", "0 to 39")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["the file is empty"]),
        ("a,b,c\n", ["not rows of numbers"]),
        ("1,2,3\n4,5\n", ["not rows of numbers"]),
        ("1,2,3,0,0,1\n", ["night_stand_0005 has 1 points, where airplane_0004 has 96"]),
        ("1,2\n" * POINTS, ["night_stand_0005", "(96, 2)"]),
    ],
)
def test_txt_damaged(tmp_path, content, words):
    folder = look_alike.write_txt(tmp_path)
    (folder / "night_stand/night_stand_0005.txt").write_text(content)
    broken(folder, FileFormatError, "night_stand_0005", *words)


def test_txt_with_infinite_numbers(tmp_path):
    path = look_alike.write_txt(tmp_path) / "tv_stand/tv_stand_0004.txt"
    path.write_text(path.read_text().replace("\n", "\n1,2,inf,0,0,1\n", 1).rsplit("\n", 2)[0])
    broken(tmp_path, PointCloudError, "tv_stand_0004 has NaN or infinite")


def test_txt_list(tmp_path):
    folder = look_alike.write_txt(tmp_path)
    listing = folder / "modelnet40_test.txt"
    listing.write_text("airplane_0004\nairplane_9999\n")
    broken(folder, DataLayoutError, "airplane_9999.txt is missing", "modelnet40_test.txt lists it")
    listing.write_text("airplane_0004\nstand_0001\n")
    broken(folder, FileFormatError, "modelnet40_test.txt", "'stand_0001'")
    listing.write_bytes(b"\xff\xfe\x00")
    broken(folder, FileFormatError, "not a text file")
    listing.write_text("\n")
    broken(folder, FileFormatError, "no point cloud")
    listing.unlink()
    broken(folder, DataLayoutError, "modelnet40_test.txt is missing")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([np.zeros((1, POINTS, 6))], ["a list of arrays and a list of labels"]),
        ([np.zeros((1, POINTS, 6)), np.zeros(1)], ["a list of arrays and a list of labels"]),
        ([[np.zeros((POINTS, 6))], []], ["labels of 1 clouds"]),
        ([[np.zeros((POINTS, 6))], ["bed"]], ["whole numbers"]),
        ([[np.zeros((POINTS, 6))] * 2, [[1], [1, 2]]], ["whole numbers"]),
        ([[np.zeros((POINTS, 6))], [[40]]], ["label 40"]),
        ([[np.zeros((POINTS, 2))], [[0]]], ["(96, 2)"]),
        ([[np.zeros((POINTS, 3), int)], [[0]]], ["must be real numbers", "int64"]),
        ([[np.float64(3)], [[0]]], ["a list of arrays"]),
        ([[[[1.0, 2.0], [3.0]]], [[0]]], ["a list of arrays"]),
    ],
)
def test_dat_with_other_contents(tmp_path, content, words):
    folder = look_alike.write_dat(tmp_path)
    (folder / "modelnet40_test_8192pts_fps.dat").write_bytes(pickle.dumps(content))
    broken(folder, FileFormatError, "modelnet40_test_8192pts_fps.dat", *words)


def test_dat_that_would_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'witness'}",)

    folder = look_alike.write_dat(tmp_path)
    (folder / "modelnet40_test_8192pts_fps.dat").write_bytes(pickle.dumps([[Evil()], [0]]))
    broken(folder, FileFormatError, "8192pts_fps.dat", "system", "nothing in it was run")
    assert not (tmp_path / "witness").exists()


def test_dat_of_a_split_missing(tmp_path):
    folder = look_alike.write_dat(tmp_path)
    (folder / "modelnet40_test_8192pts_fps.dat").unlink()
    broken(folder, DataLayoutError, "no modelnet40_test_*pts_fps.dat")


def test_the_real_modelnet40(real_data):
    data = ModelNet40(root=real_data("modelnet40"))
    train, test = data.load("train"), data.load("test")
    assert (train.points.shape, test.points.shape) == ((9843, 1024, 3), (2468, 1024, 3))
    assert train.classes == test.classes == CLASSES
    assert not set(train.ids) & set(test.ids)
    for clouds in (train, test):
        named = [CLASSES.index(name.rpartition("_")[0]) for name in clouds.ids]
        np.testing.assert_array_equal(clouds.labels, named)
    assert data.verify() == []


def test_text_files_are_cached_where_asked(tmp_path):
    root = look_alike.FORMS["txt"](tmp_path)
    kept = tmp_path / "kept"
    first = load(root, form="txt", cache=str(kept))
    second = load(root, form="txt", cache=str(kept))
    array = second.points
    while not isinstance(array, np.memmap):  # it, or what it is a view of
        array = array.base
    np.testing.assert_array_equal(first.points, second.points)
    assert (first.ids, first.labels.tolist()) == (second.ids, second.labels.tolist())
    assert len(list(kept.glob("*.npy"))) == 1
