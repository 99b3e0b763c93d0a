"""Submanifold convolution beside the dense one of torch."""

import pytest
import torch
import torch.nn.functional as F

from pointadapt.core.errors import PointCloudError
from pointadapt.ops import sparse_conv
from pointadapt.ops.sparse_conv import find_neighbors, submanifold_conv

SIDE = 6


def made(kernel, dtype=torch.float64):
    """Two clouds that fill a third of a cube, in a mixed order, and weights."""
    draw = torch.Generator().manual_seed(kernel)
    at = (torch.rand(2, SIDE, SIDE, SIDE, generator=draw) < 0.35).nonzero()
    at = at[torch.randperm(len(at), generator=draw)]
    x = torch.randn(len(at), 3, generator=draw, dtype=torch.float64)
    weight = torch.randn(4, kernel, kernel, kernel, 3, generator=draw, dtype=torch.float64)
    bias = torch.randn(4, generator=draw, dtype=torch.float64)
    tensors = [t.to(dtype).requires_grad_() for t in (x, weight, bias)]
    return at[:, 0], at[:, 1:], tensors


def dense(batch, grid, x, weight, bias):
    at = (batch, slice(None), *grid.unbind(1))
    flat = torch.zeros(2, SIDE, SIDE, SIDE, x.shape[1], dtype=x.dtype)
    flat = flat.index_put((batch, *grid.unbind(1)), x)
    out = F.conv3d(flat.permute(0, 4, 1, 2, 3), weight.permute(0, 4, 1, 2, 3), bias,
                   padding=weight.shape[1] // 2)  # fmt: skip
    return out[at]


@pytest.mark.parametrize("at_once", [1, sparse_conv.AT_ONCE])
@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_equals_the_dense_one_where_voxels_are(kernel, table, at_once, monkeypatch):
    monkeypatch.setattr(sparse_conv, "AT_ONCE", at_once)
    batch, grid, tensors = made(kernel)
    results = []
    for conv in (
        lambda *t: submanifold_conv(*t, find_neighbors(grid, batch, kernel, table)),
        lambda *t: dense(batch, grid, *t),
    ):
        out = conv(*tensors)
        wave = torch.cos(torch.arange(out.numel(), dtype=torch.float64)).view_as(out)
        results.append([out, *torch.autograd.grad((out * wave).sum(), tensors)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


def test_bfloat16_differs_by_its_rounding_alone():
    batch, grid, tensors = made(3)
    near = find_neighbors(grid, batch, 3)
    want = submanifold_conv(*tensors, near)
    got = submanifold_conv(*(t.detach().bfloat16() for t in tensors), near)
    assert got.dtype == torch.bfloat16
    assert (got.double() - want).norm() < 0.01 * want.norm()


def test_frozen_weights_get_no_gradient_and_none_is_worked_out():
    batch, grid, (x, weight, bias) = made(3)
    out = submanifold_conv(x, weight.detach(), bias.detach(), find_neighbors(grid, batch, 3))
    out.sum().backward()
    assert x.grad is not None
    assert weight.grad is bias.grad is None


def test_a_voxel_alone_sees_the_middle_of_the_kernel():
    weight = torch.arange(27.0).view(1, 3, 3, 3, 1)
    near = find_neighbors(torch.tensor([[2, 0, 5]]), torch.tensor([3]), 3)
    assert submanifold_conv(torch.ones(1, 1), weight, None, near).item() == 13


def test_kernels_that_do_not_fit():
    with pytest.raises(PointCloudError, match="odd"):
        find_neighbors(torch.zeros(1, 3), torch.zeros(1), 2)
    near = find_neighbors(torch.zeros(1, 3), torch.zeros(1), 3)
    with pytest.raises(PointCloudError, match="neighbours for 3"):
        submanifold_conv(torch.ones(1, 1), torch.ones(1, 5, 5, 5, 1), None, near)
