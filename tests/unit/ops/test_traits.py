"""Traits of a cloud: what they are, and what does not change them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from pointadapt.core.errors import PointCloudError
from pointadapt.ops import cloud_traits
from pointadapt.ops.traits import NAMES, TRAITS, columns


def of(points):
    """Name -> value of one cloud (N, 3)."""
    points = torch.as_tensor(np.asarray(points), dtype=torch.float32)
    return dict(zip(NAMES, cloud_traits(points[None])[0].tolist(), strict=True))


def box(height=3.0, length=2.0, width=1.0, steps=6):
    axes = [np.linspace(0, side, steps) for side in (length, width, height)]
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)


def turned(points, angle):
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def test_a_box_has_its_sides():
    found = of(box())
    for name, side in (("height", 3), ("length", 2), ("width", 1), ("count", 216)):
        assert math.exp(found[name]) == pytest.approx(side, rel=1e-4), name
    assert math.exp(found["radius"]) == pytest.approx(math.sqrt(1.5**2 + 1 + 0.5**2), rel=1e-4)
    assert math.exp(found["density"]) == pytest.approx(216 / 6, rel=1e-3)
    assert math.exp(found["spacing"]) == pytest.approx(1 / 5, rel=1e-3)  # along the width
    deviation = math.sqrt(np.var(np.linspace(0, 1, 6)))
    spread = deviation * math.sqrt(9 + 4 + 1)
    assert math.exp(found["spread"]) == pytest.approx(spread, rel=1e-4)


def test_a_box_has_its_shape():
    found = of(box())
    assert found["middle"] == pytest.approx(2 / 3, rel=1e-4)
    assert found["least"] == pytest.approx(1 / 3, rel=1e-4)
    assert found["axis_up"] == pytest.approx(1, abs=1e-4)
    assert found["normal_up"] == pytest.approx(0, abs=1e-4)
    assert found["narrow"] == pytest.approx(math.log(1 / 2), rel=1e-4)
    assert found["tall"] == pytest.approx(math.log(3 / 2), rel=1e-4)
    assert found["mass"] == pytest.approx(0.5, abs=1e-4)
    assert found["crowd"] == pytest.approx(found["radius"] - found["spread"], rel=1e-4)


def test_a_profile_counts_points_and_pairs():
    layers = [0.0, 0.1, 0.5, 0.9, 1.0]  # in the fifths 1, 1, 3, 5 and 5 of the height
    found = of([[0, 0, z] for z in layers])
    assert [found[f"layer{k}"] for k in range(1, 6)] == pytest.approx([0.4, 0, 0.2, 0, 0.4])
    assert found["ring1"] == 1  # all on the axis
    pairs = [abs(a - b) for i, a in enumerate(layers) for b in layers[:i]]
    mean = sum(pairs) / len(pairs)
    edges = (0, 0.4, 0.7, 1, 1.3, np.inf)
    want = [np.mean([low * mean <= d < high * mean for d in pairs])
            for low, high in pairwise(edges)]  # fmt: skip
    assert [found[f"pair{k}"] for k in range(1, 6)] == pytest.approx(want)


def test_moving_and_turning_about_the_upright_axis_change_nothing():
    cloud = np.random.default_rng(0).normal(size=(200, 3)) * (3, 1, 2)
    before, after = of(cloud), of(turned(cloud, 0.7) + np.array([5, -3, 11]))
    assert after == pytest.approx(before, abs=2e-3)


def test_another_unit_moves_sizes_alone():
    cloud = np.random.default_rng(1).normal(size=(200, 3))
    metres, millimetres = of(cloud), of(1000 * cloud)
    for name in NAMES:
        moved = {"count": 0, "density": -3}.get(name, 1 if name in TRAITS["size"] else 0)
        want = metres[name] + moved * math.log(1000)
        assert millimetres[name] == pytest.approx(want, abs=1e-3), name


@pytest.mark.parametrize("points", [np.zeros((5, 3)), np.ones((1, 3)), np.eye(3)[:2]])
def test_degenerate_clouds_have_finite_traits(points):
    assert all(math.isfinite(value) for value in of(points).values())


def test_pieces_of_a_large_cloud_are_one_cloud(monkeypatch):
    cloud = torch.randn(2, 300, 3, generator=torch.Generator().manual_seed(2))
    whole = cloud_traits(cloud)
    monkeypatch.setattr("pointadapt.ops.traits.CHUNK", 70)
    torch.testing.assert_close(cloud_traits(cloud), whole)


def test_groups_of_traits_are_side_by_side():
    assert [NAMES[columns(name)] for name in TRAITS] == list(TRAITS.values())
    with pytest.raises(PointCloudError, match=r"expected a batch"):
        cloud_traits(torch.zeros(4, 3))
