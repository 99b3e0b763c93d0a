"""Carrying features from a few points to many."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pointadapt.core.errors import PointCloudError
from pointadapt.ops._check import check_same_batch, is_exporting
from pointadapt.ops.neighbors import gather_points, knn


def interpolate(
    queries: Tensor, points: Tensor, features: Tensor, k: int = 3, eps: float = 1e-8
) -> Tensor:
    """Weight the features of each query's `k` nearest points by inverse squared distance.

    PointNet++ (arXiv 1706.02413, section 3.4): weight 1 / (d^2 + eps), normalised to sum to 1.

    Args:
        queries: (B, N, 3), where features are wanted.
        points: (B, M, 3), where they are known.
        features: (B, M, C).
        k: neighbours used; all M where there are fewer.
        eps: added to the squared distance, in squared units of the coordinates.

    Returns:
        (B, N, C) in the dtype of `features`, differentiable in `features` only.

    Raises:
        PointCloudError: a wrong shape, bad coordinates, or features of another size.

    """
    if features.dim() != 3 or features.shape[:2] != points.shape[:2]:
        raise PointCloudError(
            f"features: expected (B, M, C) with one row per point of {tuple(points.shape)}, "
            f"got {tuple(features.shape)}"
        )
    check_same_batch(queries, points, ("queries", "points"))
    dist2, index = knn(queries, points, min(k, points.shape[1]))
    # Exporters take a small number that is added for nothing: there all is divided by it.
    weight = 1.0 / ((dist2 / eps + 1) if is_exporting() else (dist2 + eps))
    weight = (weight / weight.sum(dim=-1, keepdim=True)).to(features.dtype)
    b, n, kk = index.shape
    m, c = features.shape[1:]
    if is_exporting():
        taken = gather_points(features, index)
        return (taken * weight.unsqueeze(-1)).sum(dim=2)
    index = index + m * torch.arange(b, device=index.device).view(b, 1, 1)
    # A weighted sum of table rows is what embedding_bag computes, without holding (B, N, k, C).
    out = F.embedding_bag(
        index.view(b * n, kk),
        features.reshape(b * m, c),
        per_sample_weights=weight.view(b * n, kk),
        mode="sum",
    )
    return out.view(b, n, c)
