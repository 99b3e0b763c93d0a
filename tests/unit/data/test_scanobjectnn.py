import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from pointadapt.core.errors import (
    ConfigError,
    DataLayoutError,
    FileFormatError,
    PointCloudError,
    UnknownNameError,
)
from pointadapt.data import load_dataset
from pointadapt.data.sets.scanobjectnn import VARIANTS, ScanObjectNN

TESTS = Path(__file__).parents[2]
look_alike = SimpleNamespace(**runpy.run_path(str(TESTS / "data/scanobjectnn/make.py")))
POINTS = look_alike.POINTS
HARDEST = "main_split/test_objectdataset_augmentedrot_scale75.h5"


@pytest.fixture
def h5_files(tmp_path):
    return look_alike.write_h5_files(tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_variants(h5_files, variant, split):
    clouds = load_dataset("scanobjectnn", root=h5_files, points=POINTS, variant=variant).load(split)
    np.testing.assert_array_equal(clouds.points, look_alike.points_of(variant, split))
    np.testing.assert_array_equal(clouds.labels, look_alike.labels_of(split))
    assert clouds.points.dtype == np.float32
    assert clouds.labels.dtype == np.int64
    assert clouds.classes == ScanObjectNN.CLASSES
    assert len(set(clouds.ids)) == len(clouds)


def test_make_tells_how_to_load(tmp_path):
    assert len(load_dataset("scanobjectnn", **look_alike.make(tmp_path)).load("train")) == 15


def test_the_official_order_of_classes():
    assert len(ScanObjectNN.CLASSES) == 15
    assert ScanObjectNN.CLASSES[:3] == ("bag", "bin", "box")
    assert ScanObjectNN.CLASSES[9:11] == ("table", "bed")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("root", ["..", ".", "main_split", "main_split_nobg"])
def test_roots(h5_files, root, variant, monkeypatch):
    for place in (h5_files / root, Path()):
        monkeypatch.chdir(h5_files / root)
        clouds = ScanObjectNN(root=place, points=POINTS, variant=variant).load("test")
        np.testing.assert_array_equal(clouds.points, look_alike.points_of(variant, "test"))


def test_the_default_is_the_hardest_variant_with_all_points():
    assert (ScanObjectNN().variant, ScanObjectNN().points) == ("pb_t50_rs", 2048)


@pytest.mark.parametrize("sampling", ["auto", "fps", "first", "random"])
def test_sampling(h5_files, sampling):
    def points(seed):
        data = ScanObjectNN(root=h5_files, points=16, sampling=sampling, seed=seed)
        return data.load("test").points

    stored = look_alike.points_of("pb_t50_rs", "test")
    got = points(0)
    assert got.shape == (15, 16, 3)
    for cloud, all_points in zip(got, stored, strict=True):
        rows = {tuple(row) for row in cloud.tolist()}
        assert len(rows) == 16
        assert rows <= {tuple(row) for row in all_points.tolist()}
    np.testing.assert_array_equal(got, points(0))
    assert (got == points(1)).all() == (sampling != "random")
    if sampling == "first":
        np.testing.assert_array_equal(got, stored[:, :16])


def test_farthest_points_cover_more(h5_files):
    def gap(sampling):
        points = ScanObjectNN(root=h5_files, points=16, sampling=sampling).load("test").points
        between = np.linalg.norm(points[:, :, None] - points[:, None], axis=3)
        return (between + 9 * np.eye(16)).min()

    assert gap("fps") > gap("first")


def test_verify_notes_the_counts(h5_files):
    notes = ScanObjectNN(root=h5_files, variant="obj_bg").verify()
    assert notes == [
        "train: 15 clouds, the official release has 2309",
        "test: 15 clouds, the official release has 581",
    ]
    (h5_files / HARDEST).unlink()
    notes = ScanObjectNN(root=h5_files).verify()
    assert notes[0] == "train: 15 clouds, the official release has 11416"
    assert notes[1].startswith("test: ") and HARDEST in notes[1]


def broken(h5_files, error, *words, **options):
    with pytest.raises(error) as caught:
        ScanObjectNN(root=h5_files, **{"points": POINTS, **options}).load("test")
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_missing(h5_files, tmp_path):
    broken(tmp_path / "none", DataLayoutError, "does not exist", "hkust-vgd")
    broken(None, DataLayoutError, "--root")
    shutil.rmtree(h5_files / "main_split_nobg")
    broken(h5_files, DataLayoutError, "main_split_nobg/test_obj", "obj_only", variant="obj_only")


def test_wrong_options(h5_files):
    broken(h5_files, UnknownNameError, "did you mean 'obj_bg'", variant="obj_gb")
    broken(h5_files, UnknownNameError, "fps", sampling="far")
    broken(h5_files, ConfigError, "points >= 1", points=0)
    broken(h5_files, ConfigError, "seed >= 0", seed=-1)
    broken(h5_files, PointCloudError, "80 points but 81", "--points 80", points=81)
    with pytest.raises(UnknownNameError, match="split 'val'"):
        ScanObjectNN(root=h5_files).load("val")


def rewrite(path, **arrays):
    """Put ``arrays`` in the place of those in the HDF5 file; None leaves one out."""
    with h5py.File(path, "r+") as file:
        for key, value in arrays.items():
            del file[key]
            if value is not None:
                file[key] = value


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"data": None}, ["no 'data'", "label, mask"]),
        ({"label": None}, ["no 'label'"]),
        ({"data": np.zeros((15, POINTS, 2), "f4")}, ["(n, N, 3)", "(15, 80, 2)"]),
        ({"data": np.zeros((15, 3), "f4")}, ["(15, 3)"]),
        ({"data": np.zeros((15, POINTS, 3), "i4")}, ["real numbers", "int32"]),
        ({"data": np.zeros((0, POINTS, 3), "f4"), "label": np.zeros(0, int)}, ["no point cloud"]),
        ({"label": np.zeros(14, int)}, ["15 clouds", "(14,)"]),
        ({"label": np.zeros(15)}, ["whole numbers", "float64"]),
        ({"label": np.arange(15) + 1}, ["label 15 of cloud", "/14", "0 to 14"]),
        ({"label": np.arange(15) - 1}, ["label -1"]),
    ],
)
def test_wrong_contents(h5_files, arrays, words):
    rewrite(h5_files / HARDEST, **arrays)
    broken(h5_files, FileFormatError, HARDEST, *words)


def test_a_group_where_points_should_be(h5_files):
    rewrite(h5_files / HARDEST, data=None)
    with h5py.File(h5_files / HARDEST, "r+") as file:
        file.create_group("data/points")
    broken(h5_files, FileFormatError, "'data' must be")


def test_nan(h5_files):
    data = look_alike.points_of("pb_t50_rs", "test")
    data[3, 5, 1] = np.nan
    rewrite(h5_files / HARDEST, data=data)
    broken(h5_files, PointCloudError, "scale75/3 has NaN")


@pytest.mark.parametrize("left", [0, 100, 5000])
def test_truncated(h5_files, left):
    content = (h5_files / HARDEST).read_bytes()
    (h5_files / HARDEST).write_bytes(content[:left])
    broken(h5_files, FileFormatError, HARDEST, "truncated", "get it again")
