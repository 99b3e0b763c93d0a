"""Clouds as the networks over voxels want them."""

import pytest
import torch

from pointadapt.backbones.voxel.inputs import RECIPES, Recipe, as_voxels, find_recipe, together
from pointadapt.core.errors import PointCloudError, UnknownNameError

POINTS = torch.tensor([[10.0, 20.0, 5.0], [12.0, 24.0, 6.0], [10.01, 20.01, 5.0]])


def test_a_room_stands_on_the_floor_around_the_middle():
    got, inverse = as_voxels(POINTS, color=POINTS * 0 + 0.5)
    assert got.coord.amin(dim=0).tolist() == pytest.approx([-1, -2, 0], abs=1e-5)
    assert got.features.shape == (len(got.coord), 9)
    assert torch.equal(got.features[:, :3], got.coord)
    assert (got.features[:, 3:6] == 0.5).all()
    assert (got.features[:, 6:] == 0).all()
    assert torch.equal(got.coord[inverse[1]], got.coord[-1])


def test_points_of_one_voxel_share_it():
    got, inverse = as_voxels(POINTS, recipe=Recipe(grid=0.1))
    assert len(got.grid) == 2
    assert inverse.tolist() == [0, 1, 0]
    assert got.grid.tolist() == [[0, 0, 0], [20, 40, 10]]


def test_old_segmentors_take_colours_around_zero_and_no_coordinates():
    got, _ = as_voxels(POINTS, POINTS * 0 + 0.75, recipe=RECIPES["ptv3_indoor"])
    assert got.features[0].tolist() == [0.5, 0.5, 0.5, 0, 0, 0]


def test_an_object_comes_into_the_unit_ball():
    got, _ = as_voxels(POINTS * 7, recipe=RECIPES["utonia_object"])
    assert got.coord.norm(dim=1).max().item() == pytest.approx(1, abs=1e-6)


def test_outdoors_is_scaled_and_centred_but_not_lifted():
    got, _ = as_voxels(POINTS, recipe=RECIPES["concerto_outdoor"])
    assert sorted({round(z, 4) for z in got.coord[:, 2].tolist()}) == [1.0, 1.2]
    assert got.coord[:, :2].amax(dim=0).tolist() == pytest.approx([0.2, 0.4], abs=1e-5)


def test_a_batch_of_clouds():
    one, _ = as_voxels(POINTS)
    both = together([one, as_voxels(POINTS[:1])[0]])
    assert both.batch.tolist() == [0] * len(one.grid) + [1]
    assert len(both.features) == len(one.grid) + 1


def test_what_is_no_input():
    with pytest.raises(PointCloudError, match="at least one"):
        together([])
    with pytest.raises(PointCloudError, match=r"\(N, 3\)"):
        as_voxels(torch.zeros(0, 3))
    with pytest.raises(PointCloudError, match="finite"):
        as_voxels(torch.full((2, 3), torch.inf))
    with pytest.raises(UnknownNameError, match="did you mean 'concerto'"):
        find_recipe("concert")
