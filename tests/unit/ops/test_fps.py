"""Farthest point sampling and normalize against definitions written as loops."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pointadapt.core.errors import PointCloudError
from pointadapt.ops import farthest_point_sample, normalize, sampling

GOLDEN = Path(__file__).parents[2] / "golden"
TIED = {"grid64_all_ties", "grid64_exhaust", "dups"}  # the CUDA order among ties is not ours


def squared_distance(points, i):
    dx, dy, dz = (points - points[i]).T
    return (dx * dx + dy * dy) + dz * dz


def in_ball(points):
    x, y, z = points.T
    return ((x * x + y * y) + z * z).astype(np.float64) <= 1e-3


def definition(points, m, rule="plain", start=0):
    """One cloud (N, 3) float32; the first of the farthest candidates each time."""
    nearest = np.full(len(points), np.inf, np.float32)
    skip = in_ball(points) if rule == "pointnet2" else np.zeros(len(points), bool)
    picked = [start]
    for _ in range(1, m):
        nearest = np.minimum(nearest, squared_distance(points, picked[-1]))
        best, farthest = 0, np.float32(-1)
        for i, d in enumerate(nearest):
            if not skip[i] and d > farthest:
                best, farthest = i, d
        picked.append(best)
    return picked


def clouds(kind, b=3, n=97):
    rng = np.random.default_rng(7)
    if kind == "random":
        points = rng.normal(size=(b, n, 3))
    elif kind == "tiny":  # about half of them inside the pointnet2 ball
        points = rng.normal(size=(b, n, 3)) * 0.02
    elif kind == "duplicated":
        points = np.repeat(rng.normal(size=(b, n // 4 + 1, 3)), 4, axis=1)[:, :n]
    elif kind == "collinear":
        points = np.arange(n)[None, :, None] * np.array([0.25, 0.5, 0.0]) * np.ones((b, 1, 1))
    elif kind == "equal":
        points = np.ones((b, n, 3))
    else:  # grid
        points = rng.integers(-2, 3, size=(b, n, 3))
    return torch.from_numpy(points.astype(np.float32))


@pytest.mark.parametrize("rule", ["plain", "pointnet2"])
@pytest.mark.parametrize("kind", ["random", "tiny", "duplicated", "collinear", "equal", "grid"])
def test_equals_definition(kind, rule):
    points = clouds(kind)
    got = farthest_point_sample(points, 97, rule=rule)
    assert got.dtype == torch.int64
    assert got.tolist() == [definition(p, 97, rule) for p in points.numpy()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    points = clouds("random").to(dtype)
    expected = [definition(p, 40) for p in points.float().numpy()]
    assert farthest_point_sample(points, 40).tolist() == expected


def test_float64_keeps_its_precision():
    points = clouds("random").double()
    moved = points + 2.0**24  # float32 could not hold the coordinates here
    assert torch.equal(farthest_point_sample(points, 20), farthest_point_sample(moved, 20))


@pytest.mark.parametrize("rule", ["plain", "pointnet2"])
@pytest.mark.parametrize("kind", ["random", "tiny", "duplicated"])
def test_the_loop_for_gpus_equals_the_one_for_cpus(monkeypatch, kind, rule):
    points = clouds(kind, b=4)
    expected = farthest_point_sample(points, 60, rule=rule)
    monkeypatch.setattr(sampling, "NUMPY_BLOCK", 200)  # two clouds at a time
    assert torch.equal(farthest_point_sample(points, 60, rule=rule), expected)

    def torch_loop(axes, nearest, picked):
        arrays = (torch.from_numpy(x).contiguous() for x in (axes, nearest))
        sampling._loop_torch(*arrays, torch.from_numpy(picked))

    monkeypatch.setattr(sampling, "_loop_numpy", torch_loop)
    assert torch.equal(farthest_point_sample(points, 60, rule=rule), expected)


def test_start():
    points = clouds("random")
    got = farthest_point_sample(points, 9, start=5)
    assert got.tolist() == [definition(p, 9, start=5) for p in points.numpy()]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_definition_on_small_clouds(data):
    n = data.draw(st.integers(1, 12))
    coordinate = st.sampled_from([-1.0, -0.5, 0.0, 0.01, 0.02, 0.03, 0.1, 1.0])
    flat = data.draw(st.lists(coordinate, min_size=3 * n, max_size=3 * n))
    points = np.array(flat, np.float32).reshape(n, 3)
    m = data.draw(st.integers(1, n))
    for rule in ("plain", "pointnet2"):
        got = farthest_point_sample(torch.from_numpy(points)[None], m, rule=rule)
        assert got[0].tolist() == definition(points, m, rule)


def golden_cases():
    data = np.load(GOLDEN / "fps_cases.npz")
    return {k[:-4]: (data[k], data[k[:-4] + ".idx"].tolist()) for k in data if k.endswith(".pts")}


@pytest.mark.parametrize("name", golden_cases())
def test_golden_edge_cases(name):
    points, expected = golden_cases()[name]
    got = farthest_point_sample(torch.from_numpy(points)[None], len(expected), rule="pointnet2")
    assert got[0].tolist() == definition(points, len(expected), "pointnet2")
    if name not in TIED:
        assert got[0].tolist() == expected


@pytest.mark.parametrize("name", sorted(TIED))
def test_golden_ties_are_all_farthest(name):
    """The recorded picks satisfy the rule that ours does: only the order of ties differs."""
    points, expected = golden_cases()[name]
    nearest = np.full(len(points), np.inf, np.float32)
    assert expected[0] == 0
    for last, pick in pairwise(expected):
        nearest = np.minimum(nearest, squared_distance(points, last))
        candidates = np.where(in_ball(points), np.float32(-1), nearest)
        assert candidates[pick] == candidates.max()


def test_golden_model_input():
    data = np.load(GOLDEN / "dapt_small_out.npz")
    points = torch.from_numpy(data["points"])
    got = farthest_point_sample(points, data["fps_idx"].shape[1], rule="pointnet2")
    assert np.array_equal(got, data["fps_idx"])


def test_same_under_autocast_and_grad():
    points = clouds("random").requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = farthest_point_sample(points, 30)
    assert got.tolist() == [definition(p, 30) for p in points.detach().numpy()]


def test_fake_tensors_pass_through():
    """Shape tracing (export, FLOP counts on the meta device) has no memory to give to numpy."""
    points = torch.empty(2, 50, 3, device="meta")
    assert farthest_point_sample(points, 7, check=False).shape == (2, 7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: farthest_point_sample(p, 98), "m=98 is more than the 97 points"),
        (lambda p: farthest_point_sample(p, 0), "m must be at least 1, got 0"),
        (lambda p: farthest_point_sample(p, 3, start=97), "start=97"),
        (lambda p: farthest_point_sample(p, 3, rule="cuda"), "unknown rule 'cuda'"),
        (lambda p: farthest_point_sample(p[0], 3), r"points\[None\]"),
        (lambda p: farthest_point_sample(p / 0, 3), "NaN or infinite"),
        (lambda p: normalize(p[:, :, :2]), r"\(3, 97, 2\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(PointCloudError, match=message) as error:
        call(clouds("random"))
    assert "\n" not in str(error.value)


def test_normalize():
    points = clouds("random") * 5 + 100
    got = normalize(points)
    assert got.mean(dim=1).abs().max() < 1e-5
    torch.testing.assert_close(got.norm(dim=2).amax(dim=1), torch.ones(3))
    assert normalize(points.half()).dtype == torch.float16


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 0.1, 1e-30])
def test_normalize_of_equal_points_is_zero(value):
    points = torch.full((2, 1000, 3), value)
    points[1] = torch.randn(1000, 3)  # its neighbour in the batch is scaled all the same
    got = normalize(points)
    assert (got[0] == 0).all()
    assert got[1].norm(dim=1).max() == pytest.approx(1.0)


def test_normalize_is_differentiable_for_equal_points():
    points = torch.ones(1, 5, 3, requires_grad=True)
    normalize(points).sum().backward()
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()
