"""Blocks of scenes: what is in one, how they are drawn, and that a grid leaves nothing out."""

import re

import numpy as np
import pytest

from pointadapt.core.errors import PointCloudError
from pointadapt.data.reading.blocks import Cells, Scene, draw_blocks, grid_blocks, shares, to_clouds


def some_scene(n=3000, size=(5.0, 3.0), seed=0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (n, 3)).astype(np.float32) * np.array([*size, 2.0], np.float32)
    labels = (points[:, 2] > 1).astype(np.int8)
    return Scene("hall", points, labels, lambda k: points[k] * 2)


def draw(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("size", [0.7, 1.0, 10.0])
def test_cells_find_what_a_search_of_all_points_finds(size):
    points, rng = some_scene().points, draw()
    cells = Cells(points, size)
    for _ in range(20):
        low = rng.uniform(-1, 5, 2)
        high = low + rng.uniform(0, 2, 2)
        inside = ((points[:, :2] >= low) & (points[:, :2] <= high)).all(axis=1)
        assert sorted(cells.within(low, high)) == np.flatnonzero(inside).tolist()


def test_drawn_blocks_follow_the_rule():
    scene = some_scene()
    blocks = draw_blocks(scene, 30, 64, 1.0, 150, draw())
    for block in blocks:
        xy = scene.points[block.index][:, :2]
        assert (np.abs(xy - block.center) <= 0.5).all()
        inside = (np.abs(scene.points[:, :2] - block.center) <= 0.5).all(axis=1).sum()
        assert inside > 150
        assert len(set(block.index.tolist())) == 64  # as many are there: none twice
        assert (scene.points[:, :2] == block.center).all(axis=1).any()  # about a point
    again = draw_blocks(scene, 30, 64, 1.0, 150, draw())
    assert all(np.array_equal(a.index, b.index) for a, b in zip(blocks, again, strict=True))
    few = draw_blocks(scene, 3, 500, 1.0, 150, draw())
    assert all(len(set(b.index.tolist())) < 500 for b in few)


def test_a_scene_too_sparse_is_said():
    with pytest.raises(
        PointCloudError, match=r"hall: none of 200 blocks of 1 m has more than 5000.*block=\d+\)"
    ) as caught:
        draw_blocks(some_scene(), 1, 64, 1.0, 5000, draw())
    fewer = int(re.findall(r"least=(\d+)", str(caught.value))[0])
    assert len(draw_blocks(some_scene(), 3, 64, 1.0, fewer, draw())) == 3  # the advice is right
    scene = some_scene()
    scene.labels[:] = -1
    with pytest.raises(PointCloudError, match="no point there has one"):
        draw_blocks(scene, 1, 64, 1.0, 10, draw())


@pytest.mark.parametrize(("size", "stride"), [(1.0, 1.0), (1.0, 0.5), (0.8, 0.3), (20.0, 20.0)])
def test_the_grid_holds_every_point(size, stride):
    scene = some_scene()
    blocks = list(grid_blocks(scene, 64, size, stride, draw()))
    seen = np.bincount(np.concatenate([b.index for b in blocks]), minlength=len(scene))
    assert seen.min() >= 1
    assert all(b.index.shape == (64,) for b in blocks)
    for block in blocks:
        off = np.abs(scene.points[block.index][:, :2] - block.center)
        assert (off <= size / 2 + 2e-3).all()
    if stride == size:  # a point comes again only to fill up
        assert seen.sum() < len(scene) + 64 * (len(blocks) + 1)


def test_clouds_of_blocks():
    scene = some_scene()
    blocks = draw_blocks(scene, 4, 32, 1.0, 50, draw())
    clouds = to_clouds(scene, blocks, ("low", "high"), ("a", "b", "c"))
    assert clouds.ids == ("hall#0", "hall#1", "hall#2", "hall#3")
    for k, block in enumerate(blocks):
        stored = scene.points[block.index]
        np.testing.assert_allclose(clouds.points[k, :, :2], stored[:, :2] - block.center, atol=1e-6)
        np.testing.assert_array_equal(clouds.points[k, :, 2], stored[:, 2])
        np.testing.assert_array_equal(clouds.parts[k], scene.labels[block.index])
        np.testing.assert_array_equal(clouds.features[k], stored * 2)
    assert to_clouds(scene, blocks, ("low", "high"), ()).features is None
    assert scene.points.min() >= 0  # the scene itself has not moved


def test_shares():
    assert shares([100, 300], 8) == [2, 6]
    assert shares([1, 999], 10) == [1, 10]


def test_a_sample_of_the_grid_is_spread_over_the_scene():
    scene = some_scene()
    every = list(grid_blocks(scene, 16, 1.0, 1.0, draw()))
    some = list(grid_blocks(scene, 16, 1.0, 1.0, draw(), 30))
    assert len(every) > 100 and len(some) == 30
    assert len({tuple(b.center) for b in some}) > 0.4 * len({tuple(b.center) for b in every})
    assert len(list(grid_blocks(scene, 16, 1.0, 1.0, draw(), 10**6))) == len(every)
