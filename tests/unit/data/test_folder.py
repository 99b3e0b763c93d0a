import runpy
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

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
from pointadapt.data.reading.tree import readable_files
from pointadapt.data.sets.folder import Folder, upright
from pointadapt.io import SUFFIXES, Cloud, read_points, write_cloud, write_points
from pointadapt.ops.traits import NAMES

TESTS = Path(__file__).parents[2]
look_alike = SimpleNamespace(**runpy.run_path(str(TESTS / "data/folder/make.py")))


def load(root, split="test", **options):
    return Folder(root=root, **{"points": 32, **options}).load(split)


def put(root, *names):
    """Small clouds at these places under ``root``, no two the same."""
    for k, name in enumerate(names, len(list(root.rglob("*.*")))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_points(root / name, look_alike.ball(40, k))


@pytest.fixture
def tree(tmp_path):
    look_alike.make(tmp_path)
    return tmp_path


# ---- classes and files


def test_make_tells_how_to_load(tmp_path):
    data = load_dataset("folder", **look_alike.make(tmp_path))
    train, test = data.load("train"), data.load("test")
    assert train.classes == test.classes == ("ball", "box")
    assert train.points.shape == (16, 64, 3)
    assert test.points.shape == (4, 64, 3)
    assert (train.points.dtype, train.labels.dtype) == (np.float32, np.int64)
    for clouds in (train, test):
        assert [clouds.classes[k] for k in clouds.labels] == [i.split("/")[0] for i in clouds.ids]
    for name, points in zip(train.ids, train.points, strict=True):
        np.testing.assert_array_equal(points, read_points(tmp_path / name, n=64, seed=0))


def test_all_forms_load_together(tmp_path):
    look_alike.make(tmp_path, per_class=25)
    endings = {Path(i).suffix for s in ("train", "test") for i in load(tmp_path, s).ids}
    assert endings == set(SUFFIXES) - {".glb"}


def test_text_options_as_from_a_command_line(tree):
    clouds = load_dataset(
        "folder", root=str(tree), points="16", test_fraction="0.5", up="y", sampling="fps"
    ).load("test")
    assert clouds.points.shape == (10, 16, 3)


def test_readable_files(tree):
    assert len(readable_files(tree / "ball")) == 10
    assert len(readable_files(tree, nested=True)) == 21  # README.txt has a known ending
    assert readable_files(tree, nested=True) == sorted(readable_files(tree, nested=True))
    with pytest.raises(DataLayoutError, match=r"holds no file that is read \(\.npy "):
        readable_files(tree / "__MACOSX")


# ---- the split that is drawn


def test_the_split_is_stratified_disjoint_and_the_same_each_time(tmp_path):
    sizes = {"a": 2, "b": 3, "c": 11, "d": 20}
    put(tmp_path, *(f"{c}/{k:02}.npy" for c, n in sizes.items() for k in range(n)))
    train, test = (load(tmp_path, split) for split in ("train", "test"))
    assert not set(train.ids) & set(test.ids)
    assert len(train) + len(test) == sum(sizes.values())
    assert Counter(test.labels.tolist()) == {0: 1, 1: 1, 2: 2, 3: 4}
    again = load(tmp_path)
    assert again.ids == test.ids
    np.testing.assert_array_equal(again.points, test.points)
    assert load(tmp_path, seed=1).ids != test.ids
    assert Counter(load(tmp_path, test_fraction=0.99).labels.tolist()) == {0: 1, 1: 2, 2: 10, 3: 19}


def test_another_class_does_not_change_the_draw(tmp_path):
    put(tmp_path, *(f"b/{k}.npy" for k in range(9)))
    before = load(tmp_path).ids
    put(tmp_path, *(f"a/{k}.npy" for k in range(9)))
    assert [i for i in load(tmp_path).ids if i.startswith("b")] == list(before)


def test_a_class_of_one_file_is_named(tmp_path):
    put(tmp_path, "chair/a.npy", "chair/b.npy", "sofa/only.npy")
    with pytest.raises(DataLayoutError, match=r"sofa.only\.npy: is the only file of class 'sofa'"):
        load(tmp_path)


# ---- splits that are given


@pytest.mark.parametrize("place", ["{split}/{label}/{k}.npy", "{label}/{split}/{k}.npy"])
def test_given_splits_are_kept(tmp_path, place):
    names = [
        place.format(split=s, label=c, k=k)
        for s, c, k in [("train", "a", 1), ("train", "b", 2), ("train", "c", 3), ("test", "c", 1)]
    ]
    put(tmp_path, *names)
    train, test = load(tmp_path, "train"), load(tmp_path, "test")
    assert sorted(train.ids) == sorted(names[:3])
    assert test.ids == (names[3],)
    assert train.classes == test.classes == ("a", "b", "c")
    assert test.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/a/1.npy", "test/b/1.npy"], r"1\.npy: class 'b' is in test but not in train"),
        (["a/train/1.npy", "b/train/1.npy"], "has no test files"),
        (["a/train/1.npy", "a/test/1.npy", "b/1.npy", "b/2.npy"], "some classes but not"),
        (["1.npy", "2.npy"], "holds no class folder; found ROOT/1.npy, expected ROOT/CLASS/FILE"),
        (["a/1.npy", "a/2.npy", "b/.1.npy"], r"b: holds no file that is read"),
        (["train/a/1.npy", "test/1.npy"], "test: holds no class folder"),
    ],
)
def test_bad_layouts(tmp_path, names, message):
    put(tmp_path, *names)
    with pytest.raises(DataLayoutError, match=message) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)


# ---- manifest.csv


def manifest(root, text):
    put(root, "x/1.npy", "x/2.npy", "y/3.npy", "y/4.npy", "deep/er/5.ply")
    (root / "manifest.csv").write_text(text, encoding="utf-8-sig")
    return root


@pytest.mark.parametrize("delimiter", [",", ";", ", ", "\t"])
def test_a_manifest_is_used_instead_of_folder_names(tmp_path, delimiter):
    rows = [
        ("Path", "label", "split"),
        ("x/1.npy", "tree", "train"),
        ("y/3.npy", "house", "train"),
        ("deep/er/5.ply", "house", "TEST"),
    ]
    manifest(tmp_path, "\n".join(map(delimiter.join, rows)))
    train, test = load(tmp_path, "train"), load(tmp_path, "test")
    assert train.classes == ("house", "tree")
    assert dict(zip(train.ids, train.labels.tolist(), strict=True)) == {"x/1.npy": 1, "y/3.npy": 0}
    assert test.ids == ("deep/er/5.ply",)


def test_a_manifest_without_splits_is_split(tmp_path):
    manifest(tmp_path, "path,label\nx/1.npy,a\nx/2.npy,a\ny/3.npy,b\ny/4.npy,b\n")
    assert Counter(load(tmp_path).labels.tolist()) == {0: 1, 1: 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\nx/1.npy,a\n", "needs columns path,label"),
        ("path,label\nx/9.npy,a\n", r"row 2 lists x/9\.npy, which does not exist"),
        ("path,label\nx/1.npy,a\nx/2.npy,\n", r"row 3 has no label for x/2\.npy"),
        ("path,label\n,a\n", "row 2 has no path"),
        ("path,label,split\nx/1.npy,a,dev\n", "row 2 has split 'dev'"),
        ("path,label\nmanifest.csv,a\n", "only file of class 'a'"),
        ("path,label\n", "lists no file"),
        ("path,label,split\nx/1.npy,a,train\n", "has no test files"),
        ("", r"needs columns path,label\[,split\] in row 1, not: nothing"),
        ("path,label\nx/1.npy,a\n\nx/1.npy,b\n", r"row 4 lists x/1\.npy again, after row 2"),
        ("path,label\nx/1.npy,a\nx/../x/1.npy,b\n", "row 3 lists .* again, after row 2"),
        ("label,path\nx/1.npy,a\n", r"row 2 has the file x/1\.npy in its column label"),
        ("path,label,split\nx/1.npy,train,a\n", "row 2 has the split 'train' in its column label"),
        ("path,label\nx/1.npy,a,b\n", "row 2 has 3 cells, but the header 2"),
        ("path,label,label\nx/1.npy,a,b\n", "two columns called label"),
        ("path,label\nx,a\n", "row 2 lists x, which does not exist"),
    ],
)
def test_bad_manifests(tmp_path, text, message):
    with pytest.raises(DataLayoutError, match=message):
        load(manifest(tmp_path, text))


def test_a_spreadsheets_manifest(tmp_path):
    """Quotes, delimiters and line breaks in cells, Windows paths and line ends, one more column."""
    put(tmp_path, "x/a, b.npy", "x/2.npy", "y/3.npy", "y/4.npy")
    rows = ('Label;Path;Note', '"oak; tall";"x\\a, b.npy";"two\nlines"', '"oak; tall";x\\2.npy;',
            'elm;y/3.npy', '', 'elm;y/4.npy;"said ""so"""')  # fmt: skip
    (tmp_path / "labels.csv").write_text("\r\n".join(rows), encoding="utf-8-sig", newline="")
    clouds = load(tmp_path, "train", manifest="labels.csv")
    assert clouds.classes == ("elm", "oak; tall") and len(clouds) == 2


def test_a_manifest_elsewhere(tmp_path):
    put(tmp_path, "files/1.npy", "files/2.npy", "table/3.npy", "table/4.npy")
    table = tmp_path / "table/labels.csv"
    table.write_text("path,label\n1.npy,a\n2.npy,a\n3.npy,b\n4.npy,b\n")
    both = load(tmp_path / "files", "train", manifest=table)
    assert both.classes == ("a", "b")
    table.write_text("path,label\n3.npy,b\n4.npy,b\n../files/1.npy,a\n../files/2.npy,a\n")
    alone = load(None, "train", manifest=str(table))  # without a folder
    assert alone.classes == ("a", "b")
    np.testing.assert_array_equal(alone.points[alone.labels == 1], both.points[both.labels == 1])
    with pytest.raises(DataLayoutError, match=r"cannot read .*nope\.csv: No such file"):
        load(tmp_path, manifest="nope.csv")
    assert Folder(manifest="labels.csv", root=tmp_path).found_root() == tmp_path


def test_a_manifest_that_is_no_text(tmp_path):
    manifest(tmp_path, "").joinpath("manifest.csv").write_bytes(b"\xff\xfe\x00p")
    with pytest.raises(DataLayoutError, match="UTF-8"):
        load(tmp_path)


# ---- points


@pytest.mark.parametrize(("up", "axis"), [("x", 0), ("y", 1), ("z", 2)])
def test_up_becomes_z_by_a_rotation(tmp_path, up, axis):
    turned = upright(np.eye(3), up)
    assert turned[axis].tolist() == [0, 0, 1]
    np.testing.assert_allclose(np.linalg.det(turned), 1)
    put(tmp_path, "a/1.npy", "a/2.npy")
    plain, rotated = load(tmp_path), load(tmp_path, up=up)
    np.testing.assert_array_equal(rotated.points[..., 2], plain.points[..., axis])
    assert rotated.points.dtype == np.float32


def test_sampling_and_repetition(tmp_path):
    put(tmp_path, "a/1.npy", "a/2.npy")
    few, many = load(tmp_path, points=16, sampling="fps"), load(tmp_path, points=100)
    gaps = np.linalg.norm(few.points[0][:, None] - few.points[0], axis=2) + 9 * np.eye(16)
    assert gaps.min() > 0.4
    assert len(np.unique(many.points[0], axis=0)) == 40


def test_a_bad_file_is_named(tmp_path):
    put(tmp_path, "a/1.npy", "a/2.npy", "b/3.npy", "b/4.npy")
    (tmp_path / "a/2.npy").write_bytes(b"\xff\xd8\xff JPEG")
    with pytest.raises(FileFormatError, match=r"a.2\.npy: is not a NumPy array .*JPEG"):
        load(tmp_path, "train"), load(tmp_path, "test")
    write_points(tmp_path / "a/2.npy", look_alike.ball(4))
    with pytest.raises(PointCloudError, match=r"a.2\.npy: has 4 points, fewer than 16"):
        load(tmp_path, "train"), load(tmp_path, "test")
    shutil.rmtree(tmp_path / "b")
    assert len(load(tmp_path, min_points=4)) == 1


def test_progress_is_shown_where_someone_watches(tmp_path, monkeypatch, capsys):
    put(tmp_path, "a/1.npy", "a/2.npy")
    plain = load(tmp_path).points
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    np.testing.assert_array_equal(load(tmp_path).points, plain)
    out = capsys.readouterr()
    assert "reading" in out.err
    assert out.out == ""


def put_nan(path, seed=0):
    points = look_alike.ball(40, seed)
    points[[3, 7]] = np.nan
    points[9, 1] = np.inf
    np.save(path, points)


def test_points_without_coordinates_are_dropped_where_asked(tmp_path):
    put(tmp_path, "a/1.npy", "a/2.npy")
    for name in ("1", "2"):
        put_nan(tmp_path / f"a/{name}.npy", int(name))
    with pytest.raises(PointCloudError, match=r"in 3 of 40 points.*--data-options nan=drop"):
        load(tmp_path)
    points = load(tmp_path, nan="drop", points=200).points[0]
    assert np.isfinite(points).all() and len(np.unique(points, axis=0)) == 37


def test_points_are_counted_where_nan_is_dropped(tmp_path):
    put(tmp_path, "a/1.npy", "a/2.npy")
    put_nan(tmp_path / "a/1.npy")
    data = Folder(root=tmp_path, nan="drop")
    assert sorted([*data.point_counts("train"), *data.point_counts("test")]) == [37, 40]


# ---- what files hold besides coordinates


def put_coloured(path, count=40, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    points = look_alike.ball(count, seed)
    colors = (points - points.min()) / np.ptp(points)  # so that each tells its point
    write_cloud(path, Cloud(points, colors=colors, normals=points))
    return points


def test_unused_colours_and_normals_are_told_once(tmp_path, recwarn):
    put(tmp_path, "a/0.npy", "a/1.npy")
    for seed, name in enumerate(("a/2.ply", "a/3.csv", "a/4.pcd"), 2):
        put_coloured(tmp_path / name, seed=seed)
    train, test = load(tmp_path, "train"), load(tmp_path, "test")
    assert train.features is None and test.feature_names == ()
    (line,) = (str(given.message) for given in recwarn)
    used = sum(not i.endswith(".npy") for i in train.ids)
    assert line.startswith(f"colors of {used} files and normals of {used} files")
    assert "not used" in line


def test_features_belong_to_their_points(tmp_path, recwarn):
    put_coloured(tmp_path / "a/1.ply"), put_coloured(tmp_path / "a/2.pcd", 90, 1)
    for up in ("z", "y"):
        clouds = load(tmp_path, "train", features=("color", "normal"), up=up)
        assert clouds.feature_names == ("red", "green", "blue", "nx", "ny", "nz")
        normals = clouds.features[..., 3:]
        np.testing.assert_allclose(normals, clouds.points, atol=1e-6)  # turned with them
    assert not recwarn.list
    colors = load(tmp_path, "train", features=("color",)).features[0]
    plain = load(tmp_path, "train").points[0]
    order = np.argsort(plain[:, 0])
    assert (np.diff(colors[order, 0]) >= 0).all()
    put(tmp_path, "a/3.npy", "a/4.npy")
    with pytest.raises(DataLayoutError, match=r"npy: has no colors for each of its points"):
        load(tmp_path, "train", features=("color",))
    with pytest.raises(UnknownNameError, match="did you mean 'color'"):
        load(tmp_path, features=("colour",))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": "tset"}, UnknownNameError, "did you mean 'test'"),
        ({"up": "w"}, UnknownNameError, "unknown up axis 'w'"),
        ({"sampling": "first"}, UnknownNameError, "unknown sampling 'first'"),
        ({"points": 0}, ConfigError, "points >= 1"),
        ({"seed": -1}, ConfigError, "seed >= 0"),
        ({"test_fraction": 1.0}, ConfigError, "between 0 and 1"),
        ({"root": None}, DataLayoutError, "Put the files of each class"),
        ({"root": "/nowhere"}, DataLayoutError, "/nowhere does not exist"),
        ({"root": __file__}, DataLayoutError, "is not a folder"),
    ],
)
def test_bad_options(tree, options, error, message):
    with pytest.raises(error, match=message):
        load(**{"root": tree, **options})


# ---- traits


def test_traits_are_of_all_points_upright_and_in_the_files_unit(tmp_path):
    rng = np.random.default_rng(0)
    whole = (rng.uniform(-0.5, 0.5, (500, 3)) * (4, 6, 2) + (100, 0, 0)).astype(np.float32)
    root = tmp_path / "scans"
    for k, name in enumerate(("a/1.npy", "a/2.npy")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / name, whole + np.float32(k))
    clouds = load(root, up="y", cache=str(tmp_path / "kept"))
    found = dict(zip(NAMES, clouds.known_traits[0].tolist(), strict=True))
    assert np.exp(found["count"]) == pytest.approx(500)  # not the 32 that are chosen
    assert np.exp(found["height"]) == pytest.approx(np.ptp(whole[:, 1]), rel=1e-4)
    again = load(root, up="y", cache=str(tmp_path / "kept"))
    np.testing.assert_array_equal(again.known_traits, clouds.known_traits)
    np.testing.assert_array_equal(again.points, clouds.points)
    assert again.points.shape == (1, 32, 3)


def test_traits_of_a_mesh_are_of_its_surface(tmp_path):
    for name in ("a/1.off", "a/2.off"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        corners = f"0 0 0\n3 0 0\n0 {name[2]} 0\n0 0 5\n"
        (tmp_path / name).write_text(f"OFF\n4 4 0\n{corners}3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n")
    found = dict(zip(NAMES, load(tmp_path, points=512).known_traits[0].tolist(), strict=True))
    assert np.exp(found["count"]) == pytest.approx(512)
    assert np.exp(found["height"]) == pytest.approx(5, rel=0.1)
