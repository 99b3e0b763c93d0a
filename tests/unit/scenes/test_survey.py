"""Strays, another unit, and points without coordinates in scenes, at training and prediction."""

import time

import numpy as np
import pytest

from pointadapt.core.errors import PointCloudError
from pointadapt.core.notes import PointAdaptNote
from pointadapt.data.reading.blocks import Scene, draw_blocks, grid_blocks
from pointadapt.data.reading.labelled import read_labelled
from pointadapt.scenes import Channels, Grid, Tiling, label_scene, open_scene
from pointadapt.scenes._survey import survey

CLASSES = ("low", "high")
STRAYS = np.array([(0.0, 0, 0), (0, 0, 0), (412_350, 5_654_330, -9999)])


def surveyed(path, drop=False):
    source = open_scene(path)
    channels = Channels.of((), source)
    return survey(source, Grid(20, 0.5), channels.columns, lambda done: None, 1000, drop)


def test_strays_move_neither_the_lowest_point_nor_the_extent(scene, tmp_path):
    np.save(tmp_path / "a.npy", np.vstack([scene.xyz, STRAYS]))
    with pytest.warns(PointAdaptNote, match=r"3 of its 6,003 points are far .* row 6000 "):
        found = surveyed(tmp_path / "a.npy")
    np.testing.assert_array_equal(found.low, scene.xyz.min(axis=0))
    np.testing.assert_array_equal(found.high, scene.xyz.max(axis=0))
    assert found.cells.counts.sum() == 6003


def test_training_and_prediction_agree_on_the_corner(scene, tmp_path):
    table = np.c_[np.vstack([scene.xyz, STRAYS]), np.append(scene.truth, [0, 0, 0])]
    np.save(tmp_path / "a.npy", table)
    with pytest.warns(PointAdaptNote, match="3 of its 6,003 points are far away"):
        seen = read_labelled(tmp_path / "a.npy")
    truth = scene.xyz - scene.xyz.min(axis=0)
    np.testing.assert_allclose(seen.points[:6000], truth, atol=5e-6)
    np.testing.assert_allclose(seen.extent, np.ptp(scene.xyz, axis=0), atol=1e-9)


def test_points_beside_strays_get_the_labels_that_they_get_without(scene, tmp_path):
    tiling = Tiling(15, 0.5, 512, passes=0)
    for name, points in (("a", scene.xyz), ("b", np.vstack([scene.xyz, STRAYS]))):
        np.save(tmp_path / f"{name}.npy", points)
        label_scene(tmp_path / f"{name}.npy", tmp_path / f"{name}-out.npy", scene.rule, CLASSES,
                    tiling)  # fmt: skip
    plain, other = (np.load(tmp_path / f"{name}-out.npy")[:, 3] for name in "ab")
    np.testing.assert_array_equal(plain, scene.truth)
    np.testing.assert_array_equal(other[:6000], plain)


def test_a_stray_does_not_make_the_grid_of_training_endless(scene):
    points = (scene.xyz - scene.xyz.min(axis=0)).astype(np.float32)
    far = np.vstack([points, [(5e6, 5e6, 0)]]).astype(np.float32)
    rng, began = np.random.default_rng(0), time.monotonic()
    blocks = list(grid_blocks(Scene("a", far, np.zeros(len(far)), lambda k: k), 64, 10, 10, rng))
    assert {int(k) for block in blocks for k in block.index} == set(range(len(far)))
    few = list(grid_blocks(Scene("a", far, np.zeros(len(far)), lambda k: k), 64, 10, 5, rng, 9))
    assert len(few) == 9 and time.monotonic() - began < 5


def room(unit):
    """A room of 5 m x 4 m x 3 m, scanned to the millimetre: floor, ceiling, walls."""
    rng, n = np.random.default_rng(0), 6000
    xyz = rng.uniform(0, 1, (n, 3)) * [5, 4, 3]
    side = rng.integers(0, 3, n)
    xyz[np.arange(n), side] = rng.integers(0, 2, n) * np.array([5, 4, 3])[side]
    return np.round(xyz, 3) * unit


@pytest.mark.parametrize("n", [6000, 1500])
def test_millimetres_are_noticed_at_once(tmp_path, n):
    np.save(tmp_path / "a.npy", room(1000)[:n])
    with pytest.raises(PointCloudError, match=r"coordinates in millimetres, say.*--block"):
        label_scene(tmp_path / "a.npy", tmp_path / "o.npy", None, CLASSES, Tiling(1.0, 0.5, 64))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]
    np.save(tmp_path / "b.npy", room(1)[:n])
    assert len(surveyed(tmp_path / "b.npy").cells) < 10


def test_millimetres_are_noticed_in_training(tmp_path):
    points = room(1000).astype(np.float32)
    scene = Scene("room", points, np.zeros(len(points), int), lambda k: k)
    with pytest.raises(PointCloudError, match="its unit millimetres, and not metres"):
        draw_blocks(scene, 2, 64, 0.1, 32, np.random.default_rng(0))


def test_millimetres_are_noticed_in_the_grid_of_a_test_split():
    points = room(1000).astype(np.float32)
    scene = Scene("room", points, np.zeros(len(points), int), lambda k: k)
    with pytest.raises(PointCloudError, match=r"^room: has fewer than 4 points .* millimetres"):
        list(grid_blocks(scene, 64, 1.0, 1.0, np.random.default_rng(0), 9))


@pytest.mark.parametrize("name", ["a.npy", "a.xyz", "a.ply"])
def test_points_without_coordinates_are_refused_or_left_without_a_class(scene, tmp_path, name):
    from pointadapt.io import write_points

    path, out = tmp_path / name, tmp_path / f"out{name[1:]}"
    write_points(path, scene.xyz)
    if name == "a.npy":
        holes = scene.xyz.copy()
        holes[[3, 700]] = np.nan
        np.save(path, holes)
    else:
        text = path.with_suffix(".xyz") if name == "a.xyz" else path
        write_points(text, scene.xyz, ascii=True)
        lines = text.read_text().splitlines()
        first = len(lines) - len(scene.xyz)
        for row in (3, 700):
            lines[first + row] = "nan -nan(ind) 1.#QNAN"
        text.write_text("\n".join(lines) + "\n")
    tiling = Tiling(15, 0.5, 512, passes=0)
    with pytest.raises(PointCloudError, match=r"NaN or infinite coordinates, first in point 3 "):
        label_scene(path, out, scene.rule, CLASSES, tiling)
    with pytest.warns(PointAdaptNote, match="2 of its 6,000 points are not finite: no class"):
        done = label_scene(path, out, scene.rule, CLASSES, tiling, nan="drop")
    assert sum(done.counts.values()) == 5998
    labels = (
        np.load(out)[:, 3]
        if name == "a.npy"
        else [int(line.split()[3]) for line in out.read_text().splitlines()[-6000:]]
    )
    expected = scene.truth.astype(int)
    expected[[3, 700]] = 2  # the smallest number that is no class's
    np.testing.assert_array_equal(labels, expected)


def test_a_scene_of_nan_alone_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.full((40, 3), np.nan))
    with pytest.raises(PointCloudError, match="no points with finite coordinates"):
        label_scene(tmp_path / "a.npy", tmp_path / "o.npy", None, CLASSES, nan="drop")


def test_coordinates_take_no_labels(scene, tmp_path):
    from pointadapt.core.errors import ConfigError

    np.save(tmp_path / "a.npy", scene.xyz)
    with pytest.raises(ConfigError, match="field 'z' holds the coordinates"):
        label_scene(tmp_path / "a.npy", tmp_path / "o.npy", None, CLASSES, field="z")
