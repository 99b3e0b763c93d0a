"""Chamfer distance between batches of point sets."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pointadapt.core.errors import PointCloudError
from pointadapt.ops._check import at_least_float32, check_layout, check_same_batch
from pointadapt.ops._distance import block_size, split_axes, squared_distances
from pointadapt.ops.neighbors import gather_points


def chamfer_distance(
    a: Tensor,
    b: Tensor,
    *,
    norm: Literal["l1", "l2"] = "l2",
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    """How far each point of one set is from the nearest of the other, both ways (Point-MAE).

    With d1 the squared distances from `a` to `b` and d2 from `b` to `a`:
    l2 = mean(d1) + mean(d2); l1 = (mean(sqrt(d1)) + mean(sqrt(d2))) / 2.

    Args:
        a: (B, N, 3).
        b: (B, M, 3).
        norm: `"l2"`, in squared units, or `"l1"`, in the units of the coordinates.
        reduction: `"mean"` over points and batch, or `"none"`: one number per pair of sets.

    Returns:
        A scalar, or (B,); float32 (float64 for float64 input), under autocast too. Gradients flow
        to both inputs through the pairs of nearest points; where the distance is 0 they are 0.

    Raises:
        PointCloudError: a wrong shape, other batch sizes, empty sets, or an unknown option.

    """
    check_layout(a, what="a")
    check_layout(b, what="b")
    check_same_batch(a, b, ("a", "b"))
    if norm not in ("l1", "l2"):
        raise PointCloudError(f"unknown norm {norm!r}: use 'l1' or 'l2'")
    if reduction not in ("mean", "none"):
        raise PointCloudError(f"unknown reduction {reduction!r}: use 'mean' or 'none'")
    with torch.autocast(a.device.type, enabled=False):
        a, b = at_least_float32(a), at_least_float32(b)
        nearest_a, nearest_b = _matches(a, b)
        to_b = a - gather_points(b, nearest_a)
        to_a = b - gather_points(a, nearest_b)
        if norm == "l1":  # the gradient of vector_norm at 0 is 0, that of sqrt would be infinite
            d1, d2 = (torch.linalg.vector_norm(d, dim=2).mean(dim=1) for d in (to_b, to_a))
            loss = (d1 + d2) / 2
        else:
            d1, d2 = (d.square().sum(dim=(1, 2)) / d.shape[1] for d in (to_b, to_a))
            loss = d1 + d2
        return loss.mean() if reduction == "mean" else loss


@torch.no_grad()
def _matches(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the nearest point of the other set: (B, N) into `b` and (B, M) into `a`."""
    size, n, m = a.shape[0], a.shape[1], b.shape[1]
    into_b = torch.empty((size, n), dtype=torch.int64, device=a.device)
    into_a = torch.empty((size, m), dtype=torch.int64, device=a.device)
    a, b = split_axes(a), split_axes(b)
    step = max(1, block_size(a) // (n * m))
    for low in range(0, size, step):
        part = slice(low, low + step)
        dist2 = squared_distances(a[:, part], b[:, part])
        into_b[part] = dist2.min(dim=2).indices  # on a CPU several times faster than argmin
        into_a[part] = dist2.min(dim=1).indices
    return into_b, into_a
