"""Triton kernels of sampling and neighbour search, whose indices are those of the CPU.

Equality rests on three things: a distance is (dx*dx + dy*dy) + dz*dz, every step rounded to
float32, as on the CPU (``enable_fp_fusion=False`` forbids Triton and ptxas to fuse a product with a
sum, and denormals are kept); distances are never negative, so the bits of a float32, read as an
integer, are in the order of the values; and ties are broken by the index, which is part of what is
compared. `_kernels.py` decides whether these are used, and checks them once on each device.

All tensors are contiguous axes (3, B, N) in float32. Run by Triton's interpreter
(``TRITON_INTERPRET=1``, set before Triton is imported) they take CPU tensors too.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

RESIDENT = 8192  # points of a cloud whose coordinates fit in a multiprocessor's registers


# Triton reads annotations, so only what it must know is annotated. How often a loop runs is a
# constant, since the interpreter cannot count to a tensor with numpy 2.5. The start is none, or
# there would be another kernel for 1.
@triton.jit(do_not_specialize=["start"])
def _fps_kernel(  # noqa: ANN202
    axes,  # noqa: ANN001
    picked,  # noqa: ANN001
    plane,  # noqa: ANN001
    n,  # noqa: ANN001
    start,  # noqa: ANN001
    m: tl.constexpr,
    block: tl.constexpr,
    ball: tl.constexpr,
    resident: tl.constexpr,
):
    """One program a cloud. Coordinates and distances stay in registers, if ``resident``."""
    cloud = tl.program_id(0).to(tl.int64)
    xs = axes + cloud * n
    ys = xs + plane
    zs = ys + plane
    i = tl.arange(0, block)
    # Lanes past the end are copies of point 0, with which they tie and lose by their index.
    column = tl.where(i < n, i, 0)
    x = tl.load(xs + column)
    y = tl.load(ys + column)
    z = tl.load(zs + column)
    nearest = tl.full([block], float("inf"), tl.float32)
    if ball:
        # In float32: "double(norm) <= 1e-3" is "norm < float32(1e-3)", which is just above 1e-3.
        nearest = tl.where((x * x + y * y) + z * z < 0.001, -1.0, nearest)
    last = start.to(tl.int32)
    tl.store(picked + cloud * m, last.to(tl.int64))
    for step in range(1, m):
        if not resident:
            x = tl.load(xs + column)
            y = tl.load(ys + column)
            z = tl.load(zs + column)
        dx = x - tl.load(xs + last)
        dy = y - tl.load(ys + last)
        dz = z - tl.load(zs + last)
        nearest = tl.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
        # One reduction for both: the distance in the upper half, the index, reversed, in the lower.
        # The -1 of points that are never candidates is below any distance, also as an integer.
        bits = nearest.to(tl.int32, bitcast=True).to(tl.int64)
        best = tl.max((bits << 32) | (block - 1 - i).to(tl.int64), axis=0)
        last = (block - 1 - (best & 0xFFFFFFFF)).to(tl.int32)
        tl.store(picked + cloud * m + step, last.to(tl.int64))


@triton.jit
def _knn_kernel(  # noqa: ANN202
    queries,  # noqa: ANN001
    points,  # noqa: ANN001
    dist2,  # noqa: ANN001
    index,  # noqa: ANN001
    query_plane,  # noqa: ANN001
    point_plane,  # noqa: ANN001
    m,  # noqa: ANN001
    n,  # noqa: ANN001
    k: tl.constexpr,
    block: tl.constexpr,
):
    """One program a query: all distances in registers, of which the smallest is taken k times."""
    row = tl.program_id(0).to(tl.int64)
    at_point = points + (row // m) * n
    i = tl.arange(0, block)
    real = i < n
    dx = tl.load(queries + row) - tl.load(at_point + i, mask=real, other=0.0)
    at_point += point_plane
    dy = tl.load(queries + query_plane + row) - tl.load(at_point + i, mask=real, other=0.0)
    at_point += point_plane
    dz = tl.load(queries + 2 * query_plane + row) - tl.load(at_point + i, mask=real, other=0.0)
    bits = ((dx * dx + dy * dy) + dz * dz).to(tl.int32, bitcast=True)
    bits = tl.where(real, bits, 0x7FFFFFFF)  # above infinity
    for rank in range(k):
        low = tl.min(bits, axis=0)
        at = tl.min(tl.where(bits == low, i, block), axis=0)
        tl.store(dist2 + row * k + rank, low.to(tl.float32, bitcast=True))
        tl.store(index + row * k + rank, at.to(tl.int64))
        bits = tl.where(i == at, 0x7FFFFFFF, bits)


def sample(axes: Tensor, m: int, start: int, ball: bool, warps: int = 0) -> Tensor:
    """Farthest point sampling, see ``ops.farthest_point_sample``.

    Args:
        axes: (3, B, N) float32, contiguous.
        m: points to pick, at most N.
        start: the first of them.
        ball: the pointnet2 rule.
        warps: of a program; 0 chooses.

    Returns:
        (B, m) int64.

    """
    _, b, n = axes.shape
    block = max(32, triton.next_power_of_2(n))
    warps = warps or min(32, max(1, block // 256))
    picked = torch.empty((b, m), dtype=torch.int64, device=axes.device)
    if b:
        _fps_kernel[(b,)](  # type: ignore[index]
            axes, picked, b * n, n, start, m, block, ball, block <= RESIDENT,
            num_warps=warps, enable_fp_fusion=False,
        )  # fmt: skip
    return picked


def nearest(queries: Tensor, points: Tensor, k: int, warps: int = 0) -> tuple[Tensor, Tensor]:
    """Nearest neighbours, see ``ops.knn``.

    Args:
        queries: (3, B, M) float32, contiguous.
        points: (3, B, N) float32, contiguous.
        k: at most N.
        warps: of a program; 0 chooses.

    Returns:
        (B, M, k) squared distances and int64 indices.

    """
    (_, b, m), n = queries.shape, points.shape[2]
    block = max(32, triton.next_power_of_2(n))
    warps = warps or min(16, max(1, block // 1024))
    dist2 = queries.new_empty((b, m, k))
    index = torch.empty((b, m, k), dtype=torch.int64, device=queries.device)
    if b * m:
        _knn_kernel[(b * m,)](  # type: ignore[index]
            queries, points, dist2, index, b * m, b * n, m, n, k, block,
            num_warps=warps, enable_fp_fusion=False,
        )  # fmt: skip
    return dist2, index
