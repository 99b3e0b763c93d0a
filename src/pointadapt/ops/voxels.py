"""Voxels: points drawn to a grid, and voxels pooled to coarser ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointadapt.core.errors import PointCloudError


@dataclass(frozen=True)
class GridSample:
    """One point of each voxel.

    Attributes:
        grid: (V, 3) int64 voxel coordinates from 0, sorted by x, y, z.
        rows: (V,) the point that stands for each voxel: its first one.
        inverse: (N,) the voxel of each point.
    """

    grid: Tensor
    rows: Tensor
    inverse: Tensor


def grid_sample(points: Tensor, size: float) -> GridSample:
    """Keep the first point of each voxel of edge ``size``.

    A voxel's coordinates are ⌊p / size⌋ less the smallest of these on each axis, as in Pointcept.

    Args:
        points: (N, 3), N at least 1.
        size: above 0, in the unit of ``points``.

    Raises:
        PointCloudError: no points, coordinates that are no numbers, or a size that is not positive.
    """
    if points.dim() != 2 or points.shape[1] != 3 or len(points) == 0:
        raise PointCloudError(f"voxels are drawn from points (N, 3), not {tuple(points.shape)}")
    if not size > 0 or not points.isfinite().all():
        raise PointCloudError(
            f"voxels need an edge above 0 and finite points: the edge is {size}, "
            f"{int((~points.isfinite()).any(dim=1).sum())} points have NaN or infinite coordinates"
        )
    grid = (points.double() / size).floor().long()
    grid = grid - grid.min(dim=0).values
    voxels, inverse = _unique_rows(grid)
    order = inverse.argsort(stable=True)
    first = inverse[order].diff(prepend=inverse.new_full((1,), -1)) != 0
    return GridSample(voxels, order[first], inverse)


def _unique_rows(grid: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows of (N, 3) numbers from 0, sorted, and which of them each row is.

    As one number each where they are small enough, which is ten times as fast.
    """
    nx, ny, nz = (grid.max(dim=0).values + 1).tolist()
    if nx * ny * nz >= 1 << 62:
        return torch.unique(grid, dim=0, return_inverse=True)
    x, y, z = grid.unbind(1)
    keys, inverse = torch.unique((x * ny + y) * nz + z, return_inverse=True)
    rest, z = keys // nz, keys % nz
    return torch.stack([rest // ny, rest % ny, z], dim=1), inverse


@dataclass(frozen=True)
class Pool:
    """Rows that become one.

    Attributes:
        cluster: (N,) the new row of each old one.
        children: (M, W) old rows of each new one; where there are fewer than W, the first again.
        counts: (M,) how many they are.
    """

    cluster: Tensor
    children: Tensor
    counts: Tensor

    @property
    def first(self) -> Tensor:
        """(M,) an old row of each new one."""
        return self.children[:, 0]

    def maximum(self, x: Tensor) -> Tensor:
        """(N, C) to (M, C), the gradient to one of equal entries."""
        m, w = self.children.shape
        gathered = x.index_select(0, self.children.flatten()).view(m, w, -1)
        return gathered.max(dim=1).values if x.requires_grad else gathered.amax(dim=1)

    def mean(self, x: Tensor) -> Tensor:
        """(N, C) to (M, C)."""
        total = x.new_zeros(len(self.counts), x.shape[1]).index_add_(0, self.cluster, x)
        return total / self.counts.unsqueeze(1).to(x.dtype)


def pool_equal(keys: Tensor) -> tuple[Pool, Tensor]:
    """Pool rows of equal keys (N,); the new rows are in ascending order of the keys.

    Returns:
        The pool, and the keys (M,) of the new rows.
    """
    unique, cluster, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    rows = cluster.argsort(stable=True)
    start = counts.cumsum(0) - counts
    step = torch.arange(int(counts.max()) if len(counts) else 1, device=keys.device)
    place = start.unsqueeze(1) + torch.where(step < counts.unsqueeze(1), step, 0)
    return Pool(cluster, rows[place] if len(rows) else place, counts), unique
