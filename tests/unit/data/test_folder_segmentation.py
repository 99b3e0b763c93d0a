"""Scenes of a user's: formats, columns of labels, names, splits, precision, damaged files."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from pointadapt.core.errors import ConfigError, DataLayoutError, FileFormatError, PointCloudError
from pointadapt.data import load_dataset
from pointadapt.data.reading.label_names import codes_of
from pointadapt.data.reading.labelled import read_labelled
from pointadapt.io import Cloud, write_cloud

MAKE = runpy.run_path(str(Path(__file__).parents[2] / "data/folder_segmentation/make.py"))
SMALL = {"points": 32, "block": 12.0, "blocks": 12, "test_blocks": 0, "least": 40}
CODES = np.array([2, 6, 5])  # of LAS: ground, building, high vegetation


def one_line(call, error):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def data(root, **options):
    return load_dataset("folder_segmentation", root=root, **{**SMALL, **options})


def write_las(path, rows, codes=None):
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.offsets, header.scales = np.floor(rows[:, :3].min(axis=0)), np.full(3, 0.001)
    las = laspy.LasData(header)
    las.x, las.y, las.z = rows[:, :3].T
    las.intensity = rows[:, 3].clip(0, 65535).astype(np.uint16)
    las.red = las.green = las.blue = (rows[:, 4] * 20000).astype(np.uint16)
    las.classification = CODES[rows[:, 4].astype(int)] if codes is None else codes
    las.write(path)


def write_ply(path, rows, name):
    from plyfile import PlyData, PlyElement

    columns = [("x", "f8"), ("y", "f8"), ("z", "f8"), ("intensity", "f4"), (name, "u1")]
    table = np.rec.fromarrays(rows.T, dtype=columns)
    PlyData([PlyElement.describe(np.array(table), "vertex")]).write(str(path))


def write_any(path, rows):
    if path.suffix == ".las":
        write_las(path, rows)
    elif path.suffix == ".ply":
        write_ply(path, rows, "scalar_Label")
    elif path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".csv":
        np.savetxt(path, rows, delimiter=",", header="x,y,z,intensity,class", comments="")
    else:
        np.savetxt(path, rows, fmt="%.3f")
    return path


# ---- formats


@pytest.mark.parametrize("ending", [".las", ".ply", ".npy", ".csv", ".txt"])
def test_every_format_gives_points_labels_and_columns(ending, tmp_path):
    rows = MAKE["scene"](0, points=200)
    found = read_labelled(write_any(tmp_path / f"a{ending}", rows))
    labels = CODES[rows[:, 4].astype(int)] if ending == ".las" else rows[:, 4]
    np.testing.assert_array_equal(found.labels, labels)
    want = rows[:, :3] - rows[:, :3].min(axis=0)
    np.testing.assert_allclose(found.points, want, atol=2e-3)  # UTM loses nothing
    name = "3" if ending in (".npy", ".txt") else "intensity"
    np.testing.assert_allclose(found.columns[name], rows[:, 3], atol=1e-3)
    if ending == ".las":
        np.testing.assert_allclose(found.columns["red"], rows[:, 4] * 20000 / 65535, atol=1e-4)


def test_returns_are_features_where_all_files_have_them(tmp_path):
    def names():
        found = data(tmp_path, features=("intensity", "returns"))
        found.scenes("train")
        return found.feature_names()

    rows = MAKE["scene"](0, points=200)
    for name in ("a.las", "b.las"):
        write_las(tmp_path / name, rows)
    assert names() == ("intensity", "return_number", "number_of_returns")
    write_ply(tmp_path / "c.ply", rows, "label")
    assert names() == ("intensity",)


def test_precision_in_utm(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.uniform(0, 20, (300, 3)), np.arange(300) % 2])
    far = rows + np.array([500_000, 5_400_000, 100, 0])
    np.save(tmp_path / "a.npy", far)
    found = read_labelled(tmp_path / "a.npy")
    np.testing.assert_allclose(found.points, rows[:, :3] - rows[:, :3].min(axis=0), atol=1e-5)


@pytest.mark.parametrize("name", ["label", "class", "classification", "scalar_Classification"])
def test_usual_names_of_labels(name, tmp_path):
    rows = MAKE["scene"](0, points=50)
    write_ply(tmp_path / "a.ply", rows, name)
    np.testing.assert_array_equal(read_labelled(tmp_path / "a.ply").labels, rows[:, 4])


def test_unusual_names_are_listed_and_can_be_given(tmp_path):
    rows = MAKE["scene"](0, points=50)
    write_ply(tmp_path / "a.ply", rows, "kind")
    message = one_line(lambda: read_labelled(tmp_path / "a.ply"), FileFormatError)
    assert "it has: x, y, z, intensity, kind" in message
    assert "label=NAME" in message
    np.testing.assert_array_equal(read_labelled(tmp_path / "a.ply", "kind").labels, rows[:, 4])


def test_the_column_of_labels_by_its_place(tmp_path):
    rows = MAKE["scene"](0, points=50)
    np.save(tmp_path / "a.npy", rows[:, [0, 1, 2, 4, 3]])
    np.testing.assert_array_equal(read_labelled(tmp_path / "a.npy", "3").labels, rows[:, 4])
    np.testing.assert_array_equal(read_labelled(tmp_path / "a.npy", "-1").labels, rows[:, 3])
    np.testing.assert_array_equal(read_labelled(tmp_path / "a.npy").labels, rows[:, 3])
    assert "no column called 9" in one_line(
        lambda: read_labelled(tmp_path / "a.npy", "9"), FileFormatError
    )


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda r: r[:, :3], FileFormatError, "has shape (50, 3): x y z"),
        (lambda r: r + 0.5, FileFormatError, "labels must be whole numbers: column 4 has 0.5"),
        (lambda r: np.where(np.arange(5) == 1, np.inf, r), PointCloudError, "NaN or infinite"),
        (lambda r: r[:0], PointCloudError, "has no points"),
    ],
)
def test_damaged_arrays(change, error, words, tmp_path):
    np.save(tmp_path / "a.npy", change(MAKE["scene"](0, points=50)))
    message = one_line(lambda: read_labelled(tmp_path / "a.npy"), error)
    assert str(tmp_path / "a.npy") in message
    assert words in message


@pytest.mark.parametrize("ending", [".las", ".ply", ".npy", ".csv"])
def test_truncated_files(ending, tmp_path):
    path = write_any(tmp_path / f"a{ending}", MAKE["scene"](0, points=500))
    path.write_bytes(path.read_bytes()[:-9])
    if ending == ".csv":  # a row without its end
        path.write_text(path.read_text() + "\n1,2\n")
    assert str(path) in one_line(lambda: read_labelled(path), FileFormatError)


# ---- names


def las_folder(root, codes=None):
    for k, name in enumerate(("train/a", "test/b")):
        (root / name).parent.mkdir()
        rows = MAKE["scene"](k)
        write_las(root / f"{name}.las", rows, codes if k == 0 else None)
    return root


def test_las_classes_have_their_standard_names_and_go_back_to_codes(tmp_path):
    pytest.importorskip("laspy")
    clouds = data(las_folder(tmp_path)).load("train")
    assert clouds.part_names == ("ground", "high vegetation", "building")
    assert clouds.feature_names == ("red", "green", "blue", "intensity")
    assert codes_of(clouds.part_names) == [2, 5, 6]
    assert codes_of(("class 7", "ground")) == [7, 2]
    assert codes_of(("grass", "ground")) == [0, 1]


def test_never_classified_points_of_las_do_not_count(tmp_path):
    pytest.importorskip("laspy")
    codes = CODES[MAKE["scene"](0)[:, 4].astype(int)]
    codes[::3] = 0
    clouds = data(las_folder(tmp_path, codes)).load("train")
    assert "never classified" not in clouds.part_names
    assert 0.2 < (clouds.parts == -1).mean() < 0.5
    clouds = data(tmp_path, ignore=(99,)).load("train")
    assert clouds.part_names[0] == "never classified"
    assert (clouds.parts >= 0).all()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "grass\nhouse\nwood\n"),
        ("classes.txt", "0 grass\n1 house\n2 wood\n"),
        ("classes.json", json.dumps(["grass", "house", "wood"])),
        ("classes.json", json.dumps({"2": "wood", "0": "grass", "1": "house"})),
    ],
)
def test_names_from_a_file(file, text, tmp_path):
    MAKE["make"](tmp_path)
    (tmp_path / "classes.txt").unlink()
    assert data(tmp_path).load("test").part_names == ("class 0", "class 1", "class 2")
    (tmp_path / file).write_text(text)
    assert data(tmp_path).load("test").part_names == ("grass", "house", "wood")


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("classes.txt", "grass\nhouse\n", "has no name for label 2, which occurs"),
        ("classes.txt", "a\na\nb\n", "must name each class once"),
        ("classes.json", "{", "is not JSON"),
        ("classes.json", "7", "must be a list of names"),
    ],
)
def test_damaged_names(file, text, words, tmp_path):
    MAKE["make"](tmp_path)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / file).write_text(text)
    message = one_line(lambda: data(tmp_path).load("test"), ValueError)
    assert words in message
    assert file in message


def test_a_single_class_is_refused(tmp_path):
    MAKE["make"](tmp_path)
    message = one_line(lambda: data(tmp_path, ignore=(0, 1)).load("test"), DataLayoutError)
    assert "labelled tree: two classes are needed" in message


# ---- splits and features


def test_whole_files_are_held_out(tmp_path):
    for k in range(5):
        np.save(tmp_path / f"{k}.npy", MAKE["scene"](k))
    scenes = [
        {name.partition("#")[0] for name in data(tmp_path, seed=seed).load(split).ids}
        for seed in (0, 0, 3) for split in ("train", "test")
    ]  # fmt: skip
    assert scenes[:2] == scenes[2:4]
    assert (len(scenes[0]), len(scenes[1])) == (4, 1)
    assert not scenes[0] & scenes[1]


def test_tiles_of_one_scene_are_held_out(tmp_path):
    rows = MAKE["scene"](0, size=60, points=6000)
    np.save(tmp_path / "a.npy", rows)
    options = {"block": 4.0, "least": 10, "test_fraction": 0.3}
    own = data(tmp_path, **options)
    points = {}
    for split in ("train", "test"):
        parts = [scene.points for scene, _ in own.whole_scenes(split)]
        points[split] = {tuple(p) for p in np.concatenate(parts).tolist()}
    assert not points["train"] & points["test"]
    assert len(points["train"]) + len(points["test"]) == 6000
    assert 0.1 < len(points["test"]) / 6000 < 0.5
    # The same from the file itself; too small a scene is said.
    assert len(data(tmp_path / "a.npy", **options).load("test")) > 0
    message = one_line(lambda: data(tmp_path).load("test"), DataLayoutError)
    assert "smaller than two tiles of 60 m" in message


def test_features_can_be_chosen(tmp_path):
    MAKE["make"](tmp_path)
    assert data(tmp_path).load("test").feature_names == ("3",)
    assert data(tmp_path, features=("none",)).load("test").features is None
    clouds = data(tmp_path, features=("z", "3")).load("test")
    assert clouds.feature_names == ("z", "3")
    assert 0 <= clouds.features[..., 0].min() <= clouds.features[..., 0].max() <= 1
    message = one_line(lambda: data(tmp_path, features=("red",)).load("test"), ConfigError)
    assert "'red': not all files have it; they have: 3, x, y, z" in message


def test_features_that_are_no_numbers(tmp_path):
    MAKE["make"](tmp_path)
    rows = np.load(tmp_path / "test/c.npy")
    rows[7, 3] = np.nan
    np.save(tmp_path / "test/c.npy", rows)
    message = one_line(lambda: data(tmp_path).load("test"), PointCloudError)
    assert "c.npy: column 3 has NaN" in message
    assert data(tmp_path, features=("none",)).load("test").features is None


def test_folders_without_scenes(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    assert "holds no scene (.las" in one_line(lambda: data(tmp_path).load("train"), DataLayoutError)
    message = one_line(lambda: data(tmp_path / "photo.jpg").load("train"), DataLayoutError)
    assert "its ending is none of" in message


def test_meshes_and_clouds_without_labels(tmp_path):
    write_cloud(tmp_path / "a.ply", Cloud(np.random.default_rng(0).normal(size=(20, 3))))
    message = one_line(lambda: read_labelled(tmp_path / "a.ply"), FileFormatError)
    assert "has no column of labels" in message


# ---- widths chosen from the density, and traits of points


def squares(root, each=4000, side=40.0):
    """Two flat scenes of even density: each ``side`` wide, with as many points."""
    for k, split in enumerate(("train", "test")):
        (root / split).mkdir()
        rng = np.random.default_rng(k)
        xyz = np.column_stack([rng.uniform(0, side, (each, 2)), rng.uniform(0, 0.1, each)])
        np.save(root / split / "a.npy", np.column_stack([xyz, rng.integers(0, 2, each)]))


def test_blocks_are_as_wide_as_the_density_makes_them(tmp_path):
    squares(tmp_path)  # 2.5 points a square metre
    found = load_dataset("folder_segmentation", root=tmp_path, points=50, blocks=8, least=10)
    with pytest.warns(UserWarning, match="blocks are .* m wide"):
        clouds = found.load("train")
    assert found.block == pytest.approx((100 / 2.5) ** 0.5, rel=0.1)  # twice as many points
    assert found.settled() == {"block": str(found.block)}
    assert np.abs(clouds.points[..., :2]).max() <= found.block / 2 + 1e-4
    again = load_dataset("folder_segmentation", root=tmp_path, points=50, blocks=8, least=10,
                         **found.settled())  # fmt: skip
    np.testing.assert_array_equal(again.load("train").points, clouds.points)
    assert again.settled() == {}


def test_a_scene_with_few_points_is_one_block(tmp_path):
    squares(tmp_path, each=60)
    found = load_dataset("folder_segmentation", root=tmp_path, points=50, blocks=2, least=10)
    with pytest.warns(UserWarning, match="blocks are 40 m wide"):
        found.load("test")


@pytest.mark.parametrize("block", [0.0, -1.0])
def test_widths_that_cannot_be(block, tmp_path):
    squares(tmp_path)
    said = one_line(lambda: data(tmp_path, block=block, stride=3.0).load("train"), ConfigError)
    assert "block=" in said


def test_traits_of_the_whole_scene_travel_with_the_points(tmp_path):
    from pointadapt.ops.point_traits import POINT_TRAITS, point_traits

    squares(tmp_path)
    found = data(tmp_path, features="traits,x")
    clouds = found.load("train")
    assert clouds.feature_names == (*POINT_TRAITS, "x")
    scene = read_labelled(tmp_path / "train" / "a.npy")
    every = point_traits(scene.points, 12.0)
    place = {tuple(row): k for k, row in enumerate(every[:, :6].tolist())}
    for row in clouds.features[0, :20]:
        k = place[tuple(row[:6].tolist())]
        np.testing.assert_array_equal(row[:-1], every[k])
        assert row[-1] == pytest.approx(scene.points[k, 0] / scene.extent[0], abs=1e-5)
