"""Where clouds lie: strays, copies, degenerate ones, and what float32 may blur."""

import re

import numpy as np
import pytest

from pointadapt.core.errors import PointCloudError
from pointadapt.io import read_points, write_points
from pointadapt.io.place import Bulk, distinct

UTM = np.array([500_000, 5_400_000, 300.0])


def survey(n=4000):
    """A cloud of 40 m in map coordinates, to the millimetre."""
    return np.round(np.random.default_rng(2).uniform(-20, 20, (n, 3)), 3) + UTM


@pytest.mark.parametrize(
    ("strays", "said"),
    [
        (np.zeros((1, 3)), "1 of its 4,001 points is far away .* row 4000 .*, \\(0, 0, 0\\)"),
        (np.full((1, 3), -9999.0), "1 of its 4,001 points"),
        (np.full((3, 3), 1e12), "3 of its 4,003 points are far away"),
        (np.zeros((1500, 3)), "1,500 of its 5,500 points are far away"),
        ([(UTM[0], UTM[1], -32768.0)], r"\(500000, 5.4e\+06, -32768\)"),
    ],
)
def test_strays_are_named_and_do_not_blur_the_others(tmp_path, noted, strays, said):
    points = survey()
    path = tmp_path / "a.npy"
    np.save(path, np.vstack([points, strays]))
    found, notes = noted(path)
    assert found.dtype == np.float32 and len(found) == 4000 + len(strays)
    near, truth = found[:4000].astype(np.float64), points - points[0]
    np.testing.assert_allclose(near - near[0], truth, rtol=0, atol=40e-6)
    assert len(np.unique(found[:4000, 1])) == len(np.unique(points[:, 1]))
    assert any(re.search(said, text) for text in notes), notes


@pytest.mark.parametrize("far", [10, 30, 100, 1e4, 1e7])
def test_rounding_stays_below_a_millionth_of_the_cloud(tmp_path, far):
    points = np.random.default_rng(0).normal(size=(500, 3)) + np.array([0, far, 0])
    np.save(tmp_path / "a.npy", points)
    found = read_points(tmp_path / "a.npy").astype(np.float64)
    size = np.ptp(points, axis=0).max()
    assert np.abs((found - found[0]) - (points - points[0])).max() < 2e-6 * size


def test_long_tails_and_two_parts_are_no_strays(tmp_path, noted):
    rng = np.random.default_rng(1)
    scanner = rng.normal(size=(5000, 3)) / rng.uniform(0.01, 1, (5000, 1))
    parts = np.vstack([rng.normal(size=(300, 3)), rng.normal(size=(300, 3)) + 15])
    for points in (scanner, parts, rng.normal(size=(5, 3)) * [1, 1, 1e3]):
        np.save(tmp_path / "a.npy", points)
        assert noted(tmp_path / "a.npy")[1] == []


@pytest.mark.parametrize("points", [np.full((30, 3), 4.0), np.zeros((1, 3))])
@pytest.mark.parametrize("name", ["a.npy", "a.ply", "a.xyz"])
def test_a_single_place_is_refused(tmp_path, refused, name, points):
    write_points(tmp_path / name, points)
    said = refused(tmp_path / name, PointCloudError)
    assert said.startswith(f"all of its {len(points)} points are the same")
    assert "are the same" in refused(tmp_path / name, PointCloudError, n=16)


def test_a_mesh_at_a_single_place_is_refused(put, refused):
    path = put("a.off", "OFF\n4 1 0\n1 1 1\n1 1 1\n1 1 1\n2 2 2\n3 0 1 2\n")
    assert "all of its 3 corners of faces are the same" in refused(path, PointCloudError)


@pytest.mark.parametrize(("factor", "said"), [(1e-20, "too small"), (1e22, "too large")])
def test_sizes_that_float32_cannot_square_are_refused(tmp_path, refused, factor, said):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(50, 3)) * factor)
    assert said in refused(tmp_path / "a.npy", PointCloudError)


def test_one_point_that_is_there_again_and_again_is_noted(tmp_path, noted, scan):
    filled = np.vstack([scan, np.repeat(scan[:1], 30, axis=0)])
    np.save(tmp_path / "a.npy", filled)
    _, (said,) = noted(tmp_path / "a.npy")
    assert said.startswith("31 of its 70 points are the same, (")
    drawn = scan[np.random.default_rng(0).integers(len(scan), size=300)]
    np.save(tmp_path / "b.npy", drawn)  # every point is there several times
    assert noted(tmp_path / "b.npy")[1] == []


def test_faces_that_leave_vertices_out_are_noted(put, noted):
    vertices = "".join(f"{x} {x * x} 0\n" for x in range(40))
    _, (said,) = noted(put("a.off", f"OFF\n40 1 0\n{vertices}3 0 1 2\n"))
    assert said.startswith("its 1 face has 3 of its 40 vertices, and only they are sampled")


def test_a_vertex_that_no_face_has_does_not_move_a_mesh(put):
    box = [(x + 5e6, y + 4e5, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
    text = "".join(f"v {x} {y} {z}\n" for x, y, z in [*box, (0, 0, 0)])
    found = read_points(put("a.obj", text + "f 1 2 4 3\nf 5 6 8 7\nf 1 2 6 5\n"), n=500)
    np.testing.assert_allclose(np.ptp(found, axis=0), (1, 2, 3), rtol=0.05)
    assert np.abs(found).max() < 4


def test_different_points_are_told_apart_on_a_grid():
    axes = np.meshgrid(*[np.arange(32) / 8] * 3)
    grid = np.stack(axes, axis=-1).reshape(-1, 3)
    points, counts = distinct(np.vstack([grid, grid[:7], -0.0 * grid[:1]]))
    assert len(points) == 32**3
    assert counts.sum() == 32**3 + 8 and counts.max() == 3  # 0, 0, 0 has a twin with other signs


def test_the_bulk_is_where_most_points_are():
    points = np.vstack([np.random.default_rng(0).uniform(-1, 1, (99, 3)), [(50, 0, 0)]])
    bulk = Bulk.of(points)
    assert np.abs(bulk.centre).max() < 0.3
    assert bulk.holds(points).sum() == 99
