"""Neighbours, gathering and grouping against a stable sort of all distances."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pointadapt.core.errors import PointCloudError
from pointadapt.ops import farthest_point_sample, gather_points, group, knn, neighbors

GOLDEN = Path(__file__).parents[2] / "golden"


def definition(queries, points, k):
    """One cloud: (M, 3) and (N, 3), each query on its own."""
    dist2, index = [], []
    for q in queries:
        dx, dy, dz = (q - points).T
        d = (dx * dx + dy * dy) + dz * dz
        order = np.argsort(d, kind="stable")[:k]
        dist2.append(d[order])
        index.append(order)
    return np.array(dist2), np.array(index)


def assert_is_definition(queries, points, k):
    dist2, index = knn(queries, points, k)
    assert dist2.shape == index.shape == (*queries.shape[:2], k)
    assert index.dtype == torch.int64
    wide = torch.float64 if torch.float64 in (queries.dtype, points.dtype) else torch.float32
    for b in range(len(points)):
        expected = definition(queries[b].to(wide).numpy(), points[b].to(wide).numpy(), k)
        assert np.array_equal(dist2[b], expected[0])
        assert np.array_equal(index[b], expected[1])


def cloud(kind, b, n, seed):
    rng = np.random.default_rng(seed)
    if kind == "random":
        points = rng.normal(size=(b, n, 3))
    elif kind == "duplicated":
        points = np.repeat(rng.normal(size=(b, n // 4 + 1, 3)), 4, axis=1)[:, :n]
    elif kind == "collinear":
        points = np.arange(n)[None, :, None] * np.array([0.25, 0.5, 0.0]) * np.ones((b, 1, 1))
    elif kind == "equal":
        points = np.ones((b, n, 3))
    elif kind == "overflow":  # squared distances are infinite: all tie
        points = rng.normal(size=(b, n, 3)) * 1e25
    else:  # grid
        points = rng.integers(-2, 3, size=(b, n, 3))
    return torch.from_numpy(points.astype(np.float32))


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("kind", ["random", "duplicated", "collinear", "equal", "overflow", "grid"])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 7), (97, 3), (128, 32), (500, 16), (601, 1)])
def test_equals_definition(kind, n, k):
    points = cloud(kind, 2, n, seed=n)
    assert_is_definition(points[:, ::3], points, k)
    assert_is_definition(cloud(kind, 2, 11, seed=1), points, k)


@pytest.mark.parametrize("block", [1, 1000, 3000])
def test_blocks_do_not_change_the_answer(monkeypatch, block):
    monkeypatch.setattr(neighbors, "block_size", lambda points: block)
    points = cloud("random", 4, 150, seed=0)
    assert_is_definition(points[:, :13], points, 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    points = cloud("random", 2, 200, seed=0).to(dtype)
    assert_is_definition(points[:, :20], points, 9)
    assert_is_definition(points[:, :20].float(), points, 9)


def test_close_points_far_from_the_origin():
    """Where |q|^2 - 2qp + |p|^2 would have no digit left."""
    points = cloud("random", 1, 300, seed=0) * 1e-3 + 1000
    assert_is_definition(points, points, 5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_definition_on_small_clouds(data):
    n, m = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 4))
    coordinate = st.sampled_from([-1.0, -0.1, 0.0, 0.1, 0.3, 1.0])
    flat = data.draw(st.lists(coordinate, min_size=3 * (n + m), max_size=3 * (n + m)))
    both = torch.tensor(flat).view(1, n + m, 3)
    assert_is_definition(both[:, :m], both[:, m:], data.draw(st.integers(1, n)))


def test_unchecked_nan_gives_indices_in_range():
    points = torch.full((1, 101, 3), torch.nan)
    _, index = knn(points, points, 3, check=False)
    assert index.min() >= 0
    assert index.max() < 101


def test_no_queries():
    dist2, index = knn(torch.empty(2, 0, 3), torch.rand(2, 5, 3), 2)
    assert dist2.shape == index.shape == (2, 0, 2)


def test_gather_points():
    points = torch.randn(2, 5, 4, requires_grad=True)
    index = torch.tensor([[[0, 1], [4, 4]], [[3, 2], [1, 0]]])
    got = gather_points(points, index)
    assert got.shape == (2, 2, 2, 4)
    for b in range(2):
        assert torch.equal(got[b], points[b][index[b]])
    got.sum().backward()
    assert points.grad is not None
    assert points.grad[0, :, 0].tolist() == [1, 1, 0, 0, 2]
    assert gather_points(points, index[:, 0, 0]).shape == (2, 4)


def test_group_is_the_golden_grouping():
    data = np.load(GOLDEN / "dapt_small_out.npz")
    points = torch.from_numpy(data["points"])
    m, k = data["knn_idx"].shape[1:]
    centers, groups = group(points, m, k, rule="pointnet2")
    assert np.array_equal(centers, data["center"])
    assert np.array_equal(groups, data["neighborhood"])


def test_group_stays_exact_when_compiled():
    """Sampling and search enter the graph as opaque operators: no break, no other rounding."""
    points = cloud("random", 2, 100, seed=0)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def compiled(p):
        return group(p, 9, 8, rule="pointnet2", check=False)

    for got, expected in zip(compiled(points), group(points, 9, 8, rule="pointnet2"), strict=True):
        assert torch.equal(got, expected)


def test_group_of_all_points():
    points = cloud("random", 2, 20, seed=0)
    centers, groups = group(points, 20, 20)
    assert torch.equal(centers, gather_points(points, farthest_point_sample(points, 20)))
    assert (groups[:, :, 0] == 0).all()
    absolute = (groups + centers.unsqueeze(2)).sort(dim=2).values
    expected = points.sort(dim=1).values.unsqueeze(1).expand_as(absolute)
    torch.testing.assert_close(absolute, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: knn(p, p, 9), "k=9 is more than the 8 points in each cloud of points: lower k"),
        (lambda p: knn(p, p, 0), "k must be at least 1"),
        (lambda p: knn(p[:1], p, 2), "queries holds 1 clouds and points 2"),
        (lambda p: knn(p[0], p, 2), r"queries: .*pass queries\[None\]"),
        (lambda p: knn(p, p.long(), 2), "int64"),
        (lambda p: group(p, 9, 2), "m=9"),
        (lambda p: group(p, 2, 9), "k=9"),
        (lambda p: group(p * torch.nan, 2, 2), "16 of 16 points"),
        (lambda p: gather_points(p[0], torch.zeros(2, 1)), r"\(8, 3\)"),
        (lambda p: gather_points(p, torch.zeros(3, 1)), "3"),
    ],
)
def test_errors(call, message):
    with pytest.raises(PointCloudError, match=message) as error:
        call(torch.randn(2, 8, 3))
    assert "\n" not in str(error.value)
