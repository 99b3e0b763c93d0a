"""Traits of points against what a made-up scene is known to have, and the plain definitions."""

import numpy as np
import pytest

from pointadapt.ops.point_traits import MARGIN, POINT_TRAITS, SIZES, point_traits

BLOCK = 16.0  # cells of half a metre


def column(made, name):
    return made[:, POINT_TRAITS.index(f"trait_{name}")]


def town(seed=0, slope=0.0):
    """Ground 40 m wide with a roof, 6 m wide and 5 m up, and a wall 8 m high; and what each is."""
    rng = np.random.default_rng(seed)
    ground = np.column_stack([rng.uniform(0, 40, (4000, 2)), np.zeros(4000)])
    roof = np.column_stack([rng.uniform(10, 16, (600, 2)), np.full(600, 5.0)])
    wall = np.column_stack([np.full(400, 30.0), rng.uniform(20, 26, 400), rng.uniform(0, 8, 400)])
    under = ((ground[:, :2] > 9.9) & (ground[:, :2] < 16.1)).all(axis=1)  # a scanner sees no floor
    points = np.concatenate([ground[~under], roof, wall])
    kind = np.repeat([0, 1, 2], [int((~under).sum()), 600, 400])
    points[:, 2] += slope * points[:, 0]
    return points, kind


def test_heights_above_ground():
    points, kind = town()
    made = point_traits(points, BLOCK)
    roof = kind == 1
    for name in ("ground3", "ground4", "low4"):  # squares wider than the roof
        np.testing.assert_allclose(column(made, name)[roof], np.log1p(5), atol=1e-5)
        assert np.abs(column(made, name)[kind == 0]).max() < 1e-5
    inner = roof & (np.abs(points[:, :2] - 13) < 1).all(axis=1)
    assert np.abs(column(made, "low1")[inner]).max() < 1e-5  # a square of 2 m sees roof alone
    wall = points[kind == 2, 2]
    np.testing.assert_allclose(column(made, "ground3")[kind == 2], np.log1p(wall), atol=1e-5)
    highest = np.log1p(8 - wall)
    np.testing.assert_allclose(column(made, "high4")[kind == 2], highest, atol=0.02)


def test_on_a_slope_the_opened_surface_rises_with_the_ground():
    points, kind = town(slope=0.1)
    made = point_traits(points, BLOCK)
    inside = (kind == 0) & (np.abs(points[:, :2] - 20) < 12).all(axis=1)
    assert column(made, "ground1")[inside].max() < 0.5
    assert column(made, "low4")[inside].mean() > 0.8
    slope = column(made, "slope")[inside]
    assert np.median(slope) == pytest.approx(np.log1p(0.1), abs=0.03)


def test_neighbourhoods_are_the_plain_definition():
    points, _ = town(1)
    at = np.random.default_rng(2).integers(len(points), size=50)
    made = point_traits(points, BLOCK, points[at])
    for row, i in enumerate(at):
        apart = np.linalg.norm(points - points[i], axis=1)
        for size, k in SIZES.items():
            near = points[np.argsort(apart, kind="stable")[:k]]
            values, vectors = np.linalg.eigh(np.cov(near.T, bias=True))
            l3, l2, l1 = np.sqrt(values.clip(0))
            want = {
                "line": (l1 - l2) / l1, "plane": (l2 - l3) / l1, "ball": l3 / l1,
                "spacing": np.log(np.sort(apart)[k - 1]),
                "rise": np.log1p(np.ptp(near[:, 2])),
            }  # fmt: skip
            if l2 > 1e-3 and l2 - l3 > 1e-3:  # else any direction is a normal
                want["upright"] = abs(vectors[2, 0])
            above = points[i, 2] - near[:, 2].mean()
            want["above"] = np.sign(above) * np.log1p(abs(above))
            for name, value in want.items():
                got = made[row, POINT_TRAITS.index(f"trait_{name}_{size}")]
                assert got == pytest.approx(value, abs=2e-4), (name, size)


def test_the_share_of_points_below():
    points = np.column_stack([np.full(5, 1.0), np.full(5, 1.0), [0.0, 4.0, 1.0, 3.0, 2.0]])
    points = np.concatenate([points, [[9.0, 9.0, 0.0]]])  # alone
    under = column(point_traits(points, BLOCK), "under")
    np.testing.assert_allclose(under, [0, 1, 0.25, 0.75, 0.5, 0], atol=1e-6)


def test_some_points_have_what_they_have_among_all_and_what_is_far_does_not_count():
    points, _ = town(3)
    made = point_traits(points, BLOCK)
    np.testing.assert_allclose(point_traits(points, BLOCK, points[::7]), made[::7], atol=1e-6)
    moved = point_traits(points + np.array([500_000.0, 5_000_000.0, 300.0]), BLOCK)
    np.testing.assert_allclose(moved, made, atol=1e-4)
    far = np.concatenate([points, [[40 + MARGIN * BLOCK + 1, 20.0, -50.0]]])
    more = point_traits(far, BLOCK, points)
    heights = [k for k, name in enumerate(POINT_TRAITS) if "slope" not in name]
    np.testing.assert_allclose(more[:, heights], made[:, heights], atol=1e-5)


@pytest.mark.parametrize(
    "points",
    [np.zeros((1, 3)), np.zeros((30, 3)), np.array([[0.0, 0, 0], [1e7, 1e7, 1e4], [5, 5, 5]])],
    ids=["one point", "one place", "far apart"],
)
def test_they_are_finite(points):
    made = point_traits(points, 1.0)
    assert made.shape == (len(points), len(POINT_TRAITS))
    assert np.isfinite(made).all()


def test_no_points_have_no_traits():
    assert point_traits(np.zeros((4, 3)), 1.0, np.zeros((0, 3))).shape == (0, len(POINT_TRAITS))
