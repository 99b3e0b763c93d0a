"""Squared distances between the points of two clouds, by definition and block by block."""

from __future__ import annotations

import torch
from torch import Tensor


def split_axes(points: Tensor) -> Tensor:
    """(B, N, 3) to contiguous (3, B, N): single coordinates in a row are several times faster."""
    return points.permute(2, 0, 1).contiguous()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Axes (3, B, N) and (3, B, M) to (dx*dx + dy*dy) + dz*dz, (B, N, M), each step rounded.

    Not |a|^2 - 2ab + |b|^2, which cancels; and not addcmul, which some machines fuse, so that the
    numbers, and with them the order of neighbours, would depend on the machine.
    """
    a, b = a.unsqueeze(3), b.unsqueeze(2)
    out = torch.sub(a[0], b[0])
    out.mul_(out)
    term = torch.empty_like(out)
    for axis in (1, 2):
        torch.sub(a[axis], b[axis], out=term)
        out.add_(term.mul_(term))
    return out


def block_size(points: Tensor) -> int:
    """How many distances to compute at a time: what a CPU's caches hold, or 1 GB elsewhere."""
    if points.is_cuda or torch.compiler.is_compiling():
        return 1 << 28
    return torch.get_num_threads() << 17
