"""Interpolation: exact at the points, equal to the formula, differentiable."""

import numpy as np
import pytest
import torch

from pointadapt.core.errors import PointCloudError
from pointadapt.ops import interpolate


def definition(queries, points, features, k, eps=1e-8):
    out = np.zeros((len(queries), features.shape[1]))
    for i, q in enumerate(queries):
        d = ((q - points) ** 2).sum(axis=1)
        near = np.argsort(d, kind="stable")[:k]
        w = 1 / (d[near] + eps)
        out[i] = (w / w.sum()) @ features[near]
    return out


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equals_formula(k):
    rng = np.random.default_rng(0)
    q, p, f = rng.normal(size=(2, 40, 3)), rng.normal(size=(2, 9, 3)), rng.normal(size=(2, 9, 6))
    got = interpolate(*(torch.from_numpy(x) for x in (q, p, f)), k=k)
    for b in range(2):
        np.testing.assert_allclose(got[b], definition(q[b], p[b], f[b], k), rtol=1e-9)


def test_exact_at_the_points():
    points, features = torch.randn(2, 30, 3), torch.randn(2, 30, 5)
    torch.testing.assert_close(interpolate(points, points, features), features, atol=1e-4, rtol=0)


def test_fewer_points_than_k():
    features = torch.randn(1, 1, 4)
    got = interpolate(torch.randn(1, 6, 3), torch.randn(1, 1, 3), features)
    torch.testing.assert_close(got, features.expand(1, 6, 4))


def test_gradient_in_features():
    q, p = torch.randn(2, 7, 3), torch.randn(2, 4, 3)
    features = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: interpolate(q.double(), p.double(), f), features)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_features(dtype):
    q, p, f = torch.randn(1, 7, 3), torch.randn(1, 4, 3), torch.randn(1, 4, 3)
    got = interpolate(q, p, f.to(dtype))
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), interpolate(q, p, f), atol=3e-2, rtol=3e-2)


def test_errors():
    p = torch.randn(2, 4, 3)
    with pytest.raises(PointCloudError, match=r"features: expected \(B, M, C\).*\(2, 5, 3\)"):
        interpolate(p, p, torch.randn(2, 5, 3))
    with pytest.raises(PointCloudError, match="queries holds 1 clouds"):
        interpolate(p[:1], p, torch.randn(2, 4, 3))
    with pytest.raises(PointCloudError, match="k must be at least 1"):
        interpolate(p, p, p, k=0)
