"""Nearest neighbours, and the groups of points around sampled centres."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pointadapt.core.errors import PointCloudError
from pointadapt.core.spent import counts
from pointadapt.ops._check import (
    at_least_float32,
    check_count,
    check_layout,
    check_points,
    check_same_batch,
    is_exporting,
)
from pointadapt.ops._distance import block_size, split_axes, squared_distances
from pointadapt.ops._kernels import MOST_NEIGHBORS, kernels, reference
from pointadapt.ops.rowwise import rowwise
from pointadapt.ops.sampling import SamplingRule, farthest_point_sample


@rowwise
@torch.no_grad()
def knn(queries: Tensor, points: Tensor, k: int, *, check: bool = True) -> tuple[Tensor, Tensor]:
    """Find the `k` nearest points of each query, nearest first, ties to the lower index.

    Squared distances are (dx*dx + dy*dy) + dz*dz (not the expanded |q|^2 - 2qp + |p|^2, which
    cancels), in float32, or float64 where an input is; the answer equals a stable sort of all of
    them. A query that is itself one of the points is its own first neighbour, at distance 0.

    Args:
        queries: (B, M, 3).
        points: (B, N, 3).
        k: how many neighbours, at most N.
        check: look for NaN and infinite coordinates. Shapes and numbers are always checked.

    Returns:
        Squared distances (B, M, k), in the squared units of the input, and int64 indices
        (B, M, k). Not differentiable: recompute from the gathered points where a gradient is
        needed.

    Raises:
        PointCloudError: a wrong shape, bad coordinates, other batch sizes, or k > N.

    """
    checked = check_points if check else check_layout
    checked(queries, what="queries", minimum=0)
    checked(points)
    check_same_batch(queries, points, ("queries", "points"))
    check_count(k, points.shape[1], name="k", what="points")
    dtype = torch.promote_types(at_least_float32(queries).dtype, at_least_float32(points).dtype)
    queries, points = queries.detach().to(dtype), points.detach().to(dtype)
    # As for sampling: compiled, the distances round differently and ties fall otherwise.
    nearest = _nearest_opaque if torch.compiler.is_compiling() else _nearest
    nearest = _nearest_exported if is_exporting() else nearest
    return nearest(split_axes(queries), split_axes(points), k)


@reference("nearest")
@counts("group")
def _nearest(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Search axes (3, B, N) for the neighbours of axes (3, B, M), some rows at a time."""
    fast = kernels(points) if k <= MOST_NEIGHBORS else None
    if fast is not None:
        return fast.nearest(queries, points, k)
    _, b, m = queries.shape
    n = points.shape[2]
    dist2 = queries.new_empty((b, m, k))
    index = torch.empty((b, m, k), dtype=torch.int64, device=queries.device)
    width = max(1, round((n / (k + 1)) ** 0.5))
    # Points at infinity complete the blocks: every real point comes before them, by distance or,
    # where its own overflows to infinity, by index. Only NaN sorts behind, hence the clamp.
    points = F.pad(points, (0, -n % width), value=torch.inf)
    rows = max(1, block_size(queries) // n)
    clouds = max(1, rows // max(1, m))
    for i in range(0, b, clouds):
        for j in range(0, m, rows):
            at = (slice(i, i + clouds), slice(j, j + rows))
            block = squared_distances(queries[:, at[0], at[1]], points[:, at[0]])
            dist2[at], found = _smallest(block, k, width)
            index[at] = found.clamp_(max=n - 1)
    return dist2, index


@torch.library.custom_op(
    "pointadapt::knn",
    mutates_args=(),
    schema="(Tensor queries, Tensor points, int k) -> (Tensor, Tensor)",
)
def _nearest_opaque(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return _nearest(queries, points, k)


@_nearest_opaque.register_fake
def _(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    shape = (*queries.shape[1:], k)
    return queries.new_empty(shape), torch.empty(shape, dtype=torch.int64, device=queries.device)


def _nearest_exported(queries: Tensor, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The search in operators that every runtime has, of which ONNX' TopK breaks ties as we do."""
    difference = queries.unsqueeze(3) - points.unsqueeze(2)
    x, y, z = (difference * difference).unbind(0)
    return ((x + y) + z).topk(k, largest=False)


def _smallest(dist2: Tensor, k: int, width: int) -> tuple[Tensor, Tensor]:
    """Take the k smallest of each row, in the order of a stable sort. dist2: (B, M, N)."""
    extra = min(k + 1, dist2.shape[-1])  # one more shows whether the border cuts through a tie
    value, index = _candidates(dist2, extra, width)
    if extra > k:
        border = value[..., k - 1]
        cut = border == value[..., k]  # topk may have kept any of the tied: take the first ones
        if cut.any():
            index[cut] = _first_tied(dist2[cut], border[cut].unsqueeze(-1), extra)
    index = index[..., :k].sort(dim=-1).values
    value, order = dist2.gather(-1, index).sort(dim=-1, stable=True)
    return value, index.gather(-1, order)


def _candidates(dist2: Tensor, count: int, width: int) -> tuple[Tensor, Tensor]:
    """Take the `count` smallest of each row, ascending, ties in any order.

    topk over a whole row is the slow part of a search. The smallest `count` values are all in the
    `count` blocks whose minima are smallest, so with blocks of about sqrt(N / count) two short
    topk do. A block is every (N / width)-th column: so its minimum is a vectorised reduction.
    """
    if width < 3:
        return dist2.topk(count, largest=False)
    blocks = dist2.unflatten(-1, (width, -1))  # (B, M, width, N / width)
    near = blocks.amin(dim=-2).topk(count, largest=False, sorted=False).indices.unsqueeze(-2)
    near = near.expand(*near.shape[:-2], width, count)
    value, place = blocks.gather(-1, near).flatten(-2).topk(count, largest=False)
    first = torch.arange(width, device=dist2.device).unsqueeze(-1) * blocks.shape[-1]
    return value, (near + first).flatten(-2).gather(-1, place)


def _first_tied(dist2: Tensor, border: Tensor, count: int) -> Tensor:
    """Find all values below `border` and the first ones equal to it. dist2: (rows, N)."""
    column = torch.arange(dist2.shape[-1], device=dist2.device, dtype=torch.float64)
    rank = torch.where(dist2 == border, column, torch.inf).masked_fill(dist2 < border, -1.0)
    return rank.topk(count, largest=False).indices


@rowwise
def gather_points(points: Tensor, idx: Tensor) -> Tensor:
    """Take rows of each cloud by index: `out[b, ..., :] = points[b, idx[b, ...], :]`.

    Args:
        points: (B, N, C), coordinates or features.
        idx: integer (B, ...), values 0 to N - 1.

    Returns:
        (B, ..., C), differentiable in `points`.

    Raises:
        PointCloudError: `points` is not 3-D, or the batch sizes differ.

    """
    if points.dim() != 3:
        raise PointCloudError(f"points: expected shape (B, N, C), got {tuple(points.shape)}")
    check_same_batch(points, idx, ("points", "idx"))
    b, n, c = points.shape
    offset = torch.arange(b, device=idx.device).view(b, *[1] * (idx.dim() - 1)) * n
    flat = points.reshape(b * n, c).index_select(0, (idx + offset).reshape(-1))
    return flat.view(*idx.shape, c)


@rowwise
def group(
    points: Tensor, m: int, k: int, *, rule: SamplingRule = "plain", check: bool = True
) -> tuple[Tensor, Tensor]:
    """Cut each cloud into `m` groups of `k` points around sampled centres (DAPT's grouping).

    Args:
        points: (B, N, 3).
        m: how many groups, at most N.
        k: points per group, at most N; groups overlap.
        rule: how the centres are sampled, see `farthest_point_sample`.
        check: look for NaN and infinite coordinates. Shapes and numbers are always checked.

    Returns:
        Centres (B, m, 3) and groups (B, m, k, 3) relative to their centre, in the units of
        `points`, nearest first.

    Raises:
        PointCloudError: as `farthest_point_sample` and `knn`.

    """
    (check_points if check else check_layout)(points)
    check_count(k, points.shape[1], name="k", what="points")
    centers = gather_points(points, farthest_point_sample(points, m, rule=rule, check=False))
    _, index = knn(centers, points, k, check=False)
    return centers, gather_points(points, index) - centers.unsqueeze(2)
