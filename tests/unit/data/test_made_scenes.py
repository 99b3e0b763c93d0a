"""Made-up scenes: what is told of each point is true."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pointadapt.data.procedural.scenes.make import KINDS, make_scene
from pointadapt.data.procedural.scenes.outdoors import terrain
from pointadapt.data.procedural.scenes.scanner import GAP, from_a_place, from_above
from pointadapt.data.procedural.scenes.stage import CLASSES, LABEL, Stage

each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_a_scene_depends_on_its_seed_alone(kind):
    a, b, c = (make_scene((5, s), 2000, kind) for s in (1, 1, 2))
    for name in ("points", "labels", "normals", "heights", "centers", "color", "returns"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert len(a.points) != len(c.points) or not np.array_equal(a.points, c.points)


@each_kind
@pytest.mark.parametrize("seed", range(3))
def test_all_is_told_of_every_point(kind, seed):
    scene = make_scene((7, seed), 3000, kind)
    n = len(scene.points)
    assert 700 < n < 12_000
    assert all(
        len(getattr(scene, name)) == n
        for name in ("labels", "normals", "heights", "centers", "color", "intensity", "returns")
    )
    assert np.isfinite(scene.points).all()
    assert np.isfinite(scene.heights).all()
    assert set(np.unique(scene.labels)) <= set(range(len(CLASSES)))
    assert ((scene.color >= 0) & (scene.color <= 1)).all()
    assert (scene.returns[:, 0] <= scene.returns[:, 1]).all()


def test_the_ground_is_low_and_roofs_are_high():
    scenes = [make_scene((3, seed), 3000, "airborne") for seed in range(6)]
    ground, roof = (
        np.concatenate([scene.heights[scene.labels == LABEL[k]] for scene in scenes])
        for k in ("ground", "roof")
    )
    assert np.abs(ground).max() < 0.5  # noise alone
    assert len(roof) > 100
    assert np.median(roof) > 1.5


def test_normals_are_those_of_the_points_around():
    stage = Stage(np.random.default_rng(0), 10.0, 300.0)
    stage.box((5, 5, 0), (4, 3, 2), 0.4, "table", stage.thing())
    points, normals, *_ = stage.gathered()
    _, near = cKDTree(points).query(points, k=8)
    around = points[near] - points[near].mean(axis=1, keepdims=True)
    values, axes = np.linalg.eigh(around.transpose(0, 2, 1) @ around)
    flat = values[:, 0] < 1e-6  # not at an edge
    assert flat.mean() > 0.6
    assert np.abs((axes[flat, :, 0] * normals[flat]).sum(axis=1)).min() > 0.999


def test_terrain_has_the_slope_of_its_normals():
    rng = np.random.default_rng(2)
    ground = terrain(rng, 50.0)
    xy = rng.uniform(0, 50, (20, 2))
    steps = (np.array([1e-4, 0]), np.array([0, 1e-4]))
    slope = [(ground(xy + d) - ground(xy - d)) / 2e-4 for d in steps]
    assert np.isfinite(slope).all()
    assert ground(xy).shape == (20,)


def test_a_solid_hides_what_is_below_and_leaves_do_not():
    line = np.linspace(0, 20, 30)
    roof = np.column_stack([np.tile(line, 30), np.repeat(line, 30), np.full(900, 5.0)])
    points = np.concatenate([roof, roof - [0, 0, 5]])  # and a floor
    solid, leaves = np.zeros(1800, bool), np.arange(1800) < 900
    seen = from_above(points, solid, 1.5, np.random.default_rng(1)).rows
    below = (seen >= 900).mean()  # at the roof's edges, since rays are tilted
    through = from_above(points, leaves, 1.5, np.random.default_rng(1))
    assert below < 0.25
    assert (through.rows >= 900).mean() > below + 0.1
    second = through.number == 2
    assert second.any()
    assert (through.total[second] >= 2).all()


def test_a_place_sees_the_nearest_along_each_ray():
    near = np.column_stack([np.full(400, 3.0), np.repeat(np.linspace(-1, 1, 20), 20),
                            np.tile(np.linspace(-1, 1, 20), 20)])  # fmt: skip
    far = near * 2
    points = np.concatenate([near, far])
    rng = np.random.default_rng(0)
    hits = from_a_place(points, np.zeros(800, bool), np.zeros(3), (0.1, 0.1), rng)
    assert (hits.rows < 400).all()
    np.testing.assert_allclose(
        hits.way, points[hits.rows] / np.linalg.norm(points[hits.rows], axis=1)[:, None], rtol=1e-6
    )
    assert GAP > 0
