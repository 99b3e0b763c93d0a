"""Submanifold convolution (Graham et al., CVPR 2018): outputs at the given voxels only.

Plain PyTorch on any device: neighbours are found by sorting, and each offset of the kernel is one
matrix product over the pairs of voxels that lie so. Offsets u and -u share one list of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from pointadapt.core.errors import PointCloudError

Pairs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Neighbors:
    """Which voxels lie where around which others.

    Attributes:
        kernel: the kernel's width k, odd.
        pairs: for each offset u before the middle one (x slowest, from -(k-1)/2), the rows p and q
            with q at p + u. Those of -u are the same the other way round.
    """

    kernel: int
    pairs: tuple[Pairs, ...]


def find_neighbors(grid: Tensor, batch: Tensor, kernel: int) -> Neighbors:
    """The neighbours of voxels in a cube of ``kernel`` ** 3, of the same cloud.

    Args:
        grid: (N, 3) integer coordinates, 0 or more; of a voxel that is given twice one is found.
        batch: (N,) number of each voxel's cloud.
        kernel: odd.

    Raises:
        PointCloudError: an even kernel.
    """
    if kernel % 2 != 1:
        raise PointCloudError(f"a submanifold convolution needs an odd kernel, not {kernel}")
    r = kernel // 2
    if len(grid) == 0:
        return Neighbors(kernel, tuple([(batch.long(), batch.long())] * (kernel**3 // 2)))
    side = int(grid.max()) + 1 + 2 * r  # a margin, so that no step leads into another row
    grid = grid.long() + r
    keys = ((batch.long() * side + grid[:, 0]) * side + grid[:, 1]) * side + grid[:, 2]
    ordered, rows = keys.sort(stable=True)
    pairs = []
    for x, y, z in list(product(range(-r, r + 1), repeat=3))[: kernel**3 // 2]:
        wanted = ordered + (x * side + y) * side + z
        place = torch.searchsorted(ordered, wanted).clamp_(max=len(ordered) - 1)
        found = (ordered[place] == wanted).nonzero().squeeze(1)
        pairs.append((rows[found], rows[place[found]]))
    return Neighbors(kernel, tuple(pairs))


def submanifold_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, neighbors: Neighbors
) -> Tensor:
    """out(p) = bias + Σ_u W[:, u] x(p + u) over the voxels p + u that are there.

    Sums are in float32 at least, whatever the type of ``x``, in a fixed order.

    Args:
        x: (N, C_in).
        weight: (C_out, k, k, k, C_in), the first kernel axis along x: a correlation, as
            convolutions in deep learning are.
        bias: (C_out,) or None.
        neighbors: of these N voxels, for the same k.

    Returns:
        (N, C_out) of the type of ``x``.
    """
    if tuple(weight.shape[1:4]) != (neighbors.kernel,) * 3:
        raise PointCloudError(
            f"a kernel of {tuple(weight.shape[1:4])} with neighbours for {neighbors.kernel}"
        )
    out: Any = _SubmanifoldConv.apply(x, weight, neighbors)
    return out if bias is None else out + bias


class _SubmanifoldConv(torch.autograd.Function):
    """The convolution without its bias. What is not asked for is neither kept nor computed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, neighbors: Neighbors) -> Tensor:
        ctx.neighbors = neighbors
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        kernels = weight.flatten(1, 3)
        return _gathered(x, [kernels[:, u].t() for u in range(kernels.shape[1])], neighbors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (g,), (x, weight) = grads, ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:  # the transposed kernels, the other way round
            kernels = weight.flatten(1, 3)
            dx = _gathered(
                g, [kernels[:, u] for u in reversed(range(kernels.shape[1]))], ctx.neighbors
            )
        if ctx.needs_input_grad[1]:
            dw = _outer(x, g, ctx.neighbors).view_as(weight)
        return dx, dw, None


def _gathered(x: Tensor, kernels: list[Tensor], neighbors: Neighbors) -> Tensor:
    """Σ_u x(p + u) K_u for kernels (C_in, C_out) in the order of the offsets."""
    wide = torch.promote_types(x.dtype, torch.float32)
    middle = len(kernels) // 2
    out = (x @ kernels[middle]).to(wide)
    for u, (p, q) in enumerate(neighbors.pairs):
        if len(p):
            out.index_add_(0, p, (x[q] @ kernels[u]).to(wide))
            out.index_add_(0, q, (x[p] @ kernels[-1 - u]).to(wide))
    return out.to(x.dtype)


def _outer(x: Tensor, g: Tensor, neighbors: Neighbors) -> Tensor:
    """(C_out, k³, C_in): Σ_p g(p) x(p + u)ᵀ for each u."""
    middle = len(neighbors.pairs)
    out = g.new_zeros(g.shape[1], 2 * middle + 1, x.shape[1])
    out[:, middle] = g.t() @ x
    for u, (p, q) in enumerate(neighbors.pairs):
        if len(p):
            out[:, u] = g[p].t() @ x[q]
            out[:, -1 - u] = g[q].t() @ x[p]
    return out
