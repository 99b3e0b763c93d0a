"""Points drawn to a grid, and rows pooled."""

import pytest
import torch

from pointadapt.core.errors import PointCloudError
from pointadapt.ops.voxels import grid_sample, pool_equal


def test_the_first_point_of_each_voxel_stands_for_it():
    points = torch.tensor([[0.9, 0, 0], [0.1, 0, 0], [-0.2, 0, 0], [0.2, 0, 0.3], [0.95, 0.1, 0]])
    got = grid_sample(points, 0.5)
    assert got.grid.tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]  # floor(p / .5) is -1, 0, 1
    assert got.rows.tolist() == [2, 1, 0]
    assert got.inverse.tolist() == [2, 1, 0, 1, 2]


@pytest.mark.parametrize(
    ("points", "size"),
    [(torch.zeros(0, 3), 1.0), (torch.zeros(2, 3), 0.0), (torch.full((1, 3), torch.nan), 1.0),
     (torch.zeros(1, 2, 3), 1.0)],
)  # fmt: skip
def test_what_cannot_be_drawn(points, size):
    with pytest.raises(PointCloudError, match="voxels"):
        grid_sample(points, size)


def test_pooling_by_keys():
    pool, keys = pool_equal(torch.tensor([7, 3, 7, 7, 5]))
    assert keys.tolist() == [3, 5, 7]
    assert pool.cluster.tolist() == [2, 0, 2, 2, 1]
    assert pool.counts.tolist() == [1, 1, 3]
    x = torch.tensor([[1.0, 9], [2, 2], [5, 0], [3, 3], [4, 4]], requires_grad=True)
    assert pool.maximum(x).tolist() == [[2, 2], [4, 4], [5, 9]]
    assert pool.mean(x).tolist() == [[2, 2], [4, 4], [3, 4]]
    pool.maximum(x).sum().backward()
    assert x.grad.tolist() == [[0, 1], [1, 1], [1, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize("far", [5.0, 3e6])  # numbers of voxels that fit one number, or do not
def test_voxels_are_sorted_rows_whatever_their_distance(far):
    draw = torch.Generator().manual_seed(0)
    points = torch.rand(200, 3, generator=draw, dtype=torch.float64) * 4
    points[7] = far
    found = grid_sample(points, 0.5)
    grid = (points / 0.5).floor().long()
    want, inverse = torch.unique(grid - grid.amin(dim=0), dim=0, return_inverse=True)
    assert torch.equal(found.grid, want)
    assert torch.equal(found.inverse, inverse)
    assert torch.equal(inverse[found.rows], torch.arange(len(want)))
