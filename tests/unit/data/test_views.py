"""What sensors leave of a cloud."""

import math

import pytest
import torch

from pointadapt.data.transforms import augment, augment_along
from pointadapt.data.views import VIEWS, filled


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ball(b=20, n=400):
    """Points all over the unit sphere's surface."""
    return torch.nn.functional.normalize(torch.randn(b, n, 3, generator=seeded(1)), dim=2)


def kinds(cloud):
    """How many different points there are."""
    return len(torch.unique(cloud, dim=0))


@pytest.mark.parametrize("name", VIEWS)
def test_lost_points_are_copies_of_points_that_are_left(name):
    points = ball()
    _, index = VIEWS[name](points, seeded())
    assert index.shape == points.shape[:2] and index.min() >= 0 and index.max() < 400
    left = [len(row.unique()) for row in index]
    assert min(left) < 400
    out = augment(points, [name], seeded())
    assert [kinds(cloud) for cloud in out] == left
    labels = torch.arange(400).expand(20, -1)
    again, along = augment_along(points, [labels], [name], seeded())
    assert torch.equal(again, out) and torch.equal(along[0], index)


def test_copies_are_shared_out_evenly():
    kept = torch.zeros(2, 10, dtype=torch.bool)
    kept[0, [1, 5, 8]] = True
    kept[1] = True
    first, second = filled(kept, seeded())
    assert sorted(first[:3].tolist()) == [1, 5, 8]
    assert first.tolist() == (first[:3].tolist() * 4)[:10]
    assert sorted(second.tolist()) == list(range(10))


def test_a_crop_is_what_is_nearest_to_one_of_its_points():
    points = ball()
    _, index = VIEWS["crop"](points, seeded())
    for cloud, row in zip(points, index, strict=True):
        left = row.unique()
        assert 0.4 * 400 <= len(left) <= 400
        far = torch.cdist(cloud, cloud)
        inside = torch.zeros(400, dtype=torch.bool)
        inside[left] = True
        assert any(
            far[k, inside].max() <= far[k, ~inside].min() for k in left
        ) or inside.all()  # fmt: skip


def test_one_side_of_a_ball_is_less_than_half():
    """From 3 radii away the nearest third can be seen, and a little through holes."""
    points = ball(n=1000)
    _, index = VIEWS["one_side"](points, seeded())
    for cloud, row in zip(points, index, strict=True):
        seen = cloud[row.unique()]
        way = seen.mean(dim=0)
        assert 0.15 * 1000 < len(seen) < 0.5 * 1000
        assert ((seen @ way) > 0).float().mean() > 0.85  # few look through holes between points


def test_rings_lie_a_degree_apart():
    """A flat wall, seen from afar, becomes few heights, however many points it has."""
    wall = torch.rand(4, 2000, 3, generator=seeded()) - 0.5
    wall[..., 0] = 0
    moved, index = VIEWS["rings"](wall, seeded(2))
    for cloud, row in zip(moved, index, strict=True):
        left = cloud[row.unique()]
        assert kinds(left) > 20
        # one unit at 4 to 16 units covers 14 to 3.6 degrees, seen somewhat askew
        heights = left[:, 2].sort().values
        assert 2 <= int((heights.diff() > math.radians(1)).sum()) <= 16


def test_sparse_clouds_have_32_points_and_more():
    points = torch.rand(300, 1024, 3, generator=seeded())
    counts = torch.tensor([kinds(c) for c in augment(points, ["sparse"], seeded())])
    assert counts.min() >= 32 and counts.max() <= 1024
    halves = [int(((counts >= low) & (counts < 2 * low)).sum()) for low in (32, 64, 128, 256, 512)]
    assert min(halves) > 35  # 60 of each expected


def test_a_sensor_gives_whole_clouds_too():
    points = ball(200, 128)
    _, index = VIEWS["sensor"](points, seeded())
    whole = sum(torch.equal(row, torch.arange(128)) for row in index)
    assert 30 < whole < 75  # 50 expected
