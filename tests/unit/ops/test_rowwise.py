"""Functions that treat each row of a batch by itself, inside vmap."""

import pytest
import torch
from torch.func import vmap

from pointadapt import ops
from pointadapt.core.errors import PointCloudError
from pointadapt.ops.rowwise import is_stacked, rowwise


@pytest.fixture
def clouds():
    """Three batches of two clouds."""
    return torch.randn(3, 2, 40, 3, generator=torch.Generator().manual_seed(0))


def test_sampling_and_search_see_one_batch(clouds):
    many = vmap(lambda x: ops.farthest_point_sample(x, 7))(clouds)
    assert torch.equal(many, torch.stack([ops.farthest_point_sample(x, 7) for x in clouds]))
    found = vmap(lambda x: ops.knn(x[:, :5], x, 4))(clouds)
    for k, x in enumerate(clouds):
        assert all(map(torch.equal, (part[k] for part in found), ops.knn(x[:, :5], x, 4)))


def test_what_is_shared_is_repeated(clouds):
    """A tensor that is no batch of the stack is the same for all."""
    centers = clouds[0, :, :5]
    _, found = vmap(lambda x: ops.knn(centers, x, 3))(clouds)
    assert torch.equal(found, torch.stack([ops.knn(centers, x, 3)[1] for x in clouds]))


def test_gradients_flow_through(clouds):
    one, two = clouds.clone().requires_grad_(), clouds.clone().requires_grad_()
    centers, local = vmap(lambda x: ops.group(x, 4, 3), in_dims=1)(one.transpose(0, 1))
    (centers.sum() + local.square().sum()).backward()
    for x in two:
        centers, local = ops.group(x, 4, 3)
        (centers.sum() + local.square().sum()).backward()
    torch.testing.assert_close(one.grad, two.grad)


def test_the_function_never_sees_the_stack(clouds):
    seen = []

    @rowwise
    def watched(x, *, factor):
        seen.append((tuple(x.shape), is_stacked(x)))
        return x * factor

    assert torch.equal(vmap(lambda x: watched(x, factor=2.0))(clouds), 2 * clouds)
    assert torch.equal(watched(clouds[0], factor=2.0), 2 * clouds[0])
    assert seen == [((6, 40, 3), False), ((2, 40, 3), False)]


def test_bad_coordinates_are_refused_inside(clouds):
    clouds[1, 1, 3, 0] = torch.nan
    with pytest.raises(PointCloudError, match="1 of"):
        vmap(lambda x: ops.farthest_point_sample(x, 7))(clouds)
