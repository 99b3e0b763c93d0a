"""Farthest point sampling, and bringing a cloud to the unit sphere."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pointadapt.core.errors import PointCloudError
from pointadapt.core.spent import counts
from pointadapt.ops._check import (
    at_least_float32,
    check_count,
    check_layout,
    check_points,
    is_exporting,
)
from pointadapt.ops._distance import split_axes
from pointadapt.ops._kernels import kernels, reference
from pointadapt.ops.rowwise import rowwise

SamplingRule = Literal["plain", "pointnet2"]

# pointnet2_ops never picks a point of this squared norm or less, on whatever coordinates it is
# given: its double-precision literal, so the float32 norm is compared in double.
POINTNET2_BALL = 1e-3

NUMPY_BLOCK = 1 << 15  # points at a time in the CPU loop: about 1 MB of coordinates and distances


@rowwise
@torch.no_grad()
def farthest_point_sample(
    points: Tensor,
    m: int,
    *,
    rule: SamplingRule = "plain",
    start: int = 0,
    check: bool = True,
) -> Tensor:
    """Pick `m` points per cloud, each the farthest from those picked before it.

    Both rules begin with point `start` and break ties towards the lowest index. The distance is
    (dx*dx + dy*dy) + dz*dz, each step rounded, in float32 (float64 for float64 input; half
    precision is computed in float32), so the indices are those of the definition on any device.

    Args:
        points: (B, N, 3).
        m: how many to pick, at most N.
        rule: `"plain"`, or `"pointnet2"`: what the CUDA kernel does that the field's published
            numbers used. There, points of squared norm <= 1e-3 are never candidates (the first
            pick may be one), and where no candidate exists index 0 is repeated. The CUDA kernel's
            own order among exactly tied points is not reproduced.
        start: index of the first point.
        check: look for NaN and infinite coordinates. Shapes and numbers are always checked.

    Returns:
        int64 indices (B, m). Not differentiable.

    Raises:
        PointCloudError: a wrong shape, bad coordinates, m > N, or `start` or `rule` out of range.

    """
    (check_points if check else check_layout)(points)
    n = points.shape[1]
    check_count(m, n, name="m", what="points")
    if not 0 <= start < n:
        raise PointCloudError(f"start={start} is not one of the {n} points: use 0 to {n - 1}")
    if rule not in ("plain", "pointnet2"):
        raise PointCloudError(f"unknown rule {rule!r}: use 'plain' or 'pointnet2'")
    axes = split_axes(at_least_float32(points))
    # Compiled, the distances round differently and other points are picked: the loop stays eager.
    sample = _sample_opaque if torch.compiler.is_compiling() else _sample
    sample = _sample_exported if is_exporting() else sample
    return sample(axes, m, start, rule == "pointnet2")


def _ball(axes: Tensor) -> Tensor:
    """(B, N), true for the points that the pointnet2 rule never picks."""
    x, y, z = axes.float().unbind(0)
    return ((x * x + y * y) + z * z).double() <= POINTNET2_BALL


@reference("sample")
@counts("sample")
def _sample(axes: Tensor, m: int, start: int, ball: bool) -> Tensor:
    """Run the kernel or the loop. `axes`: (3, B, N); `ball`: leave `_ball` out. Returns (B, m)."""
    fast = kernels(axes)
    if fast is not None:
        return fast.sample(axes, m, start, ball)
    nearest = torch.full_like(axes[0], torch.inf)  # squared distance to the nearest picked point
    if ball:
        # Below any distance, so `minimum` keeps it and `argmax` prefers every real candidate;
        # with none left all are equal and the first, index 0, is taken: just the rule.
        nearest.masked_fill_(_ball(axes), -1.0)
    picked = torch.full((m, axes.shape[1]), start, dtype=torch.int64, device=axes.device)
    if axes.device.type == "cpu" and type(axes) is Tensor:
        step = max(1, NUMPY_BLOCK // axes.shape[2])
        for low in range(0, axes.shape[1], step):
            part = slice(low, low + step)
            _loop_numpy(axes[:, part].numpy(), nearest[part].numpy(), picked[:, part].numpy())
    else:
        _loop_torch(axes, nearest, picked)
    return picked.t().contiguous()


# In both loops: no addcmul or the like. Where it is fused it rounds differently, and other points
# are picked.


def _loop_torch(axes: Tensor, nearest: Tensor, picked: Tensor) -> None:
    """Fill picked[1:]. The host never waits for the device."""
    diff = torch.empty_like(axes)
    dist, dy2, dz2 = diff.unbind(0)
    for last, following in pairwise(picked.unbind(0)):
        torch.sub(axes, axes.gather(2, last.view(1, -1, 1).expand(3, -1, 1)), out=diff)
        diff.mul_(diff)
        dist.add_(dy2).add_(dz2)
        torch.minimum(nearest, dist, out=nearest)
        torch.argmax(nearest, dim=1, out=following)


def _loop_numpy(axes: np.ndarray, nearest: np.ndarray, picked: np.ndarray) -> None:
    """Fill picked[1:] on a CPU, for as many clouds as its cache holds.

    One thread of numpy keeps up with two of torch here: its argmax is vectorised, its calls cost
    less, and on a busy machine no thread waits for another at the end of each of them.
    """
    axes = np.ascontiguousarray(axes)
    cloud = np.arange(axes.shape[1])
    diff = np.empty_like(axes)
    dist, dy2, dz2 = diff
    for last, following in pairwise(picked):
        np.subtract(axes, axes[:, cloud, last, None], out=diff)
        np.multiply(diff, diff, out=diff)
        np.add(dist, dy2, out=dist)
        np.add(dist, dz2, out=dist)
        np.minimum(nearest, dist, out=nearest)
        following[:] = nearest.argmax(axis=1)


@torch.library.custom_op(
    "pointadapt::farthest_point_sample",
    mutates_args=(),
    schema="(Tensor axes, int m, int start, bool ball) -> Tensor",
)
def _sample_opaque(axes: Tensor, m: int, start: int, ball: bool) -> Tensor:
    return _sample(axes, m, start, ball)


@_sample_opaque.register_fake
def _(axes: Tensor, m: int, start: int, ball: bool) -> Tensor:
    return torch.empty((axes.shape[1], m), dtype=torch.int64, device=axes.device)


def _sample_exported(axes: Tensor, m: int, start: int, ball: bool) -> Tensor:
    """The loop in operators that every runtime has; the same indices."""
    from torch._higher_order_ops.scan import scan

    def step(carry: tuple[Tensor, Tensor], _: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        nearest, last = carry
        diff = axes - axes.gather(2, last.unsqueeze(0).expand(3, -1, -1))
        x, y, z = (diff * diff).unbind(0)
        nearest = torch.minimum(nearest, (x + y) + z)
        last = nearest.argmax(dim=1, keepdim=True)
        return (nearest, last), last.clone()

    nearest = torch.full_like(axes[0], torch.inf)
    if ball:
        nearest = nearest.masked_fill(_ball(axes), -1.0)
    first = torch.full_like(axes[0, :, :1], start, dtype=torch.int64)
    _, rest = scan(step, (nearest, first), torch.zeros(m - 1, 1, device=axes.device))
    return torch.cat([first.unsqueeze(0), rest]).squeeze(2).t()


def normalize(points: Tensor) -> Tensor:
    """Move each cloud's mean to the origin and scale it so that its farthest point is at 1.

    Args:
        points: (B, N, 3).

    Returns:
        (B, N, 3) of the same dtype, differentiable. A cloud whose points are all equal becomes
        zeros.

    Raises:
        PointCloudError: a wrong shape.

    """
    check_layout(points)
    wide = at_least_float32(points)
    centred = wide - wide.mean(dim=1, keepdim=True)
    # The mean of equal numbers may be off by a rounding, which scaling would blow up to size 1:
    # equal points are recognised before they are centred.
    same = (wide == wide[:, :1]).all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    radius2 = centred.square().sum(dim=2, keepdim=True).amax(dim=1, keepdim=True)
    radius = radius2.masked_fill(same | (radius2 == 0), 1.0).sqrt()
    return (centred.masked_fill(same, 0.0) / radius).to(points.dtype)
