"""Codes along space-filling curves."""

import itertools

import pytest
import torch

from pointadapt.core.errors import PointCloudError
from pointadapt.ops.curves import (
    ORDERS,
    curve_depth,
    cut_runs,
    hilbert_codes,
    serialise,
    z_codes,
)

CUBE = torch.tensor(list(itertools.product(range(8), repeat=3)))


def test_z_order_by_hand():
    # x the most significant of each three bits
    grid = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 0], [3, 1, 2]])
    assert z_codes(grid).tolist() == [0b100, 0b010, 0b001, 0b100000, 0b101110]


def test_hilberts_curve_visits_every_voxel_and_steps_through_faces():
    codes = hilbert_codes(CUBE, 3)
    assert codes.sort().values.tolist() == list(range(512))
    along = CUBE[codes.argsort()]
    assert along[0].tolist() == [0, 0, 0]
    assert (along.diff(dim=0).abs().sum(dim=1) == 1).all()


@pytest.mark.parametrize("order", ORDERS)
def test_a_code_without_its_last_three_bits_is_that_of_the_cell(order):
    batch = torch.zeros(512)
    fine = serialise(CUBE, batch, 3, [order])
    assert torch.equal(fine >> 3, serialise(CUBE >> 1, batch, 2, [order]))


def test_trans_swaps_x_and_y():
    batch = torch.zeros(512)
    swapped = CUBE[:, [1, 0, 2]]
    for name in ("z", "hilbert"):
        trans = serialise(CUBE, batch, 3, [f"{name}-trans"])
        assert torch.equal(trans, serialise(swapped, batch, 3, [name]))
        assert not torch.equal(trans, serialise(CUBE, batch, 3, [name]))


def test_clouds_come_one_after_another():
    batch = torch.arange(512) % 3
    along = batch[serialise(CUBE, batch, 4)[2].argsort()]
    assert (along.diff() >= 0).all()


@pytest.mark.parametrize(
    ("largest", "plus", "own"), [(0, 1, 0), (30, 5, 5), (31, 6, 5), (32, 6, 6)]
)
def test_bits_of_a_coordinate(largest, plus, own):
    grid = torch.tensor([[0, largest, 0]])
    assert (curve_depth(grid), curve_depth(grid, 0)) == (plus, own)


@pytest.mark.parametrize("bad", [-1, 2**16])
def test_coordinates_that_have_no_code(bad):
    with pytest.raises(PointCloudError, match="larger voxels"):
        curve_depth(torch.tensor([[0, bad, 1]]))


def test_runs_are_cut_from_each_cloud_and_the_last_is_shorter():
    order, batch = torch.tensor([2, 0, 1, 3, 4]), torch.tensor([0, 0, 0, 1, 1])
    runs = cut_runs(order, batch, torch.tensor([3, 2]), 2)
    assert runs.of.tolist() == [0, 1, 0, 2, 3]  # along the curve 2 0 | 1, then 3 | 4
    assert runs.length.tolist() == [2, 2, 1, 1]
    x = torch.arange(5.0).unsqueeze(1) + 1
    assert runs.mean(x).flatten().tolist() == [2.0, 1.0, 4.0, 5.0]  # (3 + 1) / 2, 2 / 2, 4, 5
