"""Traits of points while a scene is labelled: those that training sees."""

import numpy as np
from scipy.spatial import cKDTree

from pointadapt.ops.point_traits import POINT_TRAITS, point_traits
from pointadapt.scenes import Tiling, label_scene


def seen_of(path, tmp_path, tiling, width=0.0):
    """Places in the scene, from 0 to 1, of the points that the network sees, and their traits."""
    found = []

    def predict(points, features):
        found.append(features.reshape(-1, features.shape[-1]))
        return np.full((*points.shape[:2], 2), 0.5, np.float32)

    label_scene(
        path, tmp_path / "out.npy", predict, ("a", "b"), tiling,
        features=(*POINT_TRAITS, "x", "y", "z"), trait_width=width,
    )  # fmt: skip
    rows = np.concatenate(found)
    return rows[:, -3:], rows[:, :-3]


def scene(tmp_path, seed=0):
    rng = np.random.default_rng(seed)
    xyz = np.column_stack([rng.uniform(0, 30, (1500, 2)), rng.uniform(0, 4, 1500)])
    np.save(tmp_path / "scene.npy", np.column_stack([xyz, np.zeros(1500)]))
    extent = xyz.max(axis=0) - xyz.min(axis=0)
    return tmp_path / "scene.npy", xyz, (xyz - xyz.min(axis=0)) / extent


def differences(seen, places, every):
    """How much the traits of the points seen differ from those of the whole scene."""
    apart, index = cKDTree(places).query(seen[0])
    assert apart.max() < 1e-4 and len(np.unique(index)) == len(places)
    return np.abs(seen[1] - every[index])


def test_where_all_points_are_around_they_are_those_of_the_whole_scene(tmp_path):
    path, xyz, places = scene(tmp_path)
    seen = seen_of(path, tmp_path, Tiling(block=30, overlap=0.5, points=200, passes=0), 24.0)
    assert differences(seen, places, point_traits(xyz, 24.0)).max() < 1e-3


def test_neighbours_beyond_the_tile_count(tmp_path):
    path, xyz, places = scene(tmp_path)
    seen = seen_of(path, tmp_path, Tiling(block=6, overlap=0.0, points=50, passes=0))
    apart = differences(seen, places, point_traits(xyz, 6.0))
    around = [k for k, name in enumerate(POINT_TRAITS) if name[-2:] in ("_s", "_m", "_l")]
    assert apart[:, around].max() < 1e-3
    assert apart.mean() < 0.2  # cells lie elsewhere
