"""Clouds of fewer points, by farthest point sampling."""

from __future__ import annotations

from torch import Tensor

from pointadapt.core.errors import PointCloudError
from pointadapt.ops.neighbors import gather_points
from pointadapt.ops.sampling import farthest_point_sample


def take(points: Tensor, n: int) -> Tensor:
    """(B, N, 3) to (B, n, 3) by farthest point sampling; as they are where N = n.

    Raises:
        PointCloudError: N < n.
    """
    index = taken_index(points, n)
    return points if index is None else gather_points(points, index)


def taken_index(points: Tensor, n: int) -> Tensor | None:
    """(B, n) indices of the points that :func:`take` takes; None for all of them."""
    have = points.shape[1]
    if have < n:
        raise PointCloudError(f"clouds of {have} points, but the model was trained with {n}")
    return None if have == n else farthest_point_sample(points, n, check=False)
