"""Submanifold convolution (Graham et al., CVPR 2018): outputs at the given voxels only.

Plain PyTorch on any device: neighbours are found by sorting. On a CPU each offset of the kernel is
one matrix product over the pairs of voxels that lie so; offsets u and -u share one list of pairs. A
GPU is given few large products instead of many small ones: the neighbours of each voxel side by
side, zeros where there is none, times all of the kernel. With Triton these are not laid side by
side in memory (:mod:`._triton_conv`, checked at its first use as :mod:`._kernels` does it).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from pointadapt.core.errors import PointCloudError

from ._kernels import kernels_for

Pairs = tuple[Tensor, Tensor]
AT_ONCE = 1 << 27  # numbers of neighbours that lie side by side in a GPU's memory


@dataclass(frozen=True)
class Neighbors:
    """Which voxels lie where around which others.

    Attributes:
        kernel: the kernel's width k, odd.
        pairs: for each offset u before the middle one (x slowest, from -(k-1)/2), the rows p and q
            with q at p + u. Those of -u are the same the other way round.
        table: (N, k³) the row q at each offset, N where there is none; in place of ``pairs``.
    """

    kernel: int
    pairs: tuple[Pairs, ...]
    table: Tensor | None = None


def find_neighbors(
    grid: Tensor, batch: Tensor, kernel: int, table: bool | None = None
) -> Neighbors:
    """The neighbours of voxels in a cube of ``kernel`` ** 3, of the same cloud.

    Args:
        grid: (N, 3) integer coordinates, 0 or more; of a voxel that is given twice one is found.
        batch: (N,) number of each voxel's cloud.
        kernel: odd.
        table: as a table instead of pairs; by default on a GPU.

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
    steps = [(x * side + y) * side + z for x, y, z in product(range(-r, r + 1), repeat=3)]
    if grid.is_cuda if table is None else table:
        return Neighbors(kernel, (), _table(keys, ordered, rows, steps))
    pairs = []
    for step in steps[: kernel**3 // 2]:
        wanted = ordered + step
        place = torch.searchsorted(ordered, wanted).clamp_(max=len(ordered) - 1)
        found = (ordered[place] == wanted).nonzero().squeeze(1)
        pairs.append((rows[found], rows[place[found]]))
    return Neighbors(kernel, tuple(pairs))


def _table(keys: Tensor, ordered: Tensor, rows: Tensor, steps: list[int]) -> Tensor:
    """(N, k³) rows at each step from each voxel, N where there is none. Asks a GPU for nothing."""
    wanted = keys.unsqueeze(1) + torch.tensor(steps, device=keys.device)
    place = torch.searchsorted(ordered, wanted).clamp_(max=len(ordered) - 1)
    return torch.where(ordered[place] == wanted, rows[place], len(keys))


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
        if neighbors.table is not None:
            return _beside(x, kernels.permute(1, 2, 0), neighbors.table)
        return _gathered(x, [kernels[:, u].t() for u in range(kernels.shape[1])], neighbors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (g,), (x, weight) = grads, ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:  # the transposed kernels, the other way round
            kernels = weight.flatten(1, 3)
            if ctx.neighbors.table is not None:
                dx = _beside(g, kernels.flip(1).transpose(0, 1), ctx.neighbors.table)
            else:
                dx = _gathered(
                    g, [kernels[:, u] for u in reversed(range(kernels.shape[1]))], ctx.neighbors
                )
        if ctx.needs_input_grad[1]:
            outer = _outer if ctx.neighbors.table is None else _outer_beside
            dw = outer(x, g, ctx.neighbors).reshape(weight.shape)
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


def _kernels(x: Tensor) -> ModuleType | None:
    """:mod:`._triton_conv` where it takes ``x``, otherwise None."""
    if x.dtype == torch.float64:
        return None
    return kernels_for(x, "pointadapt.ops._triton_conv", differs)


def differs(module: Any, device: torch.device | str) -> str:
    """Where the results of ``module`` on ``device`` are not those of PyTorch; "" if nowhere."""
    draw = torch.Generator().manual_seed(0)
    x, g = (torch.randn(90, c, generator=draw) for c in (20, 33))
    kernels = torch.randn(27, 20, 33, generator=draw)
    table = torch.randint(0, 180, (90, 27), generator=draw).clamp(max=90)
    gpu = torch.device(device).type == "cuda"
    for kind, most in ((torch.float32, 1e-5), *([(torch.bfloat16, 1e-2)] if gpu else [])):
        x, g, kernels = (part.to(kind) for part in (x, g, kernels))
        near = torch.cat([x, x.new_zeros(1, 20)])[table].double()
        here = [part.to(device) for part in (x, kernels, table, g)]
        ours = module.convolved(*here[:3]), module.kernel_gradient(here[0], here[3], here[2])
        exact = (
            torch.einsum("nuc,uco->no", near, kernels.double()),
            torch.einsum("nuc,no->uco", near, g.double()),
        )
        for found, want in zip(ours, exact, strict=True):
            if not (found.cpu().double() - want).norm() <= most * want.norm():
                return "of the submanifold convolution give other numbers than the CPU"
    return ""


def _beside(x: Tensor, kernels: Tensor, table: Tensor) -> Tensor:
    """Σ_u x(p + u) K_u for kernels (k³, C_in, C_out), as products of whole neighbourhoods."""
    fast = _kernels(x)
    if fast is not None:
        return fast.convolved(x, kernels.to(x.dtype), table)
    flat = kernels.flatten(0, 1)
    return torch.cat([near @ flat for near, _ in _neighborhoods(x, table)])


def _neighborhoods(x: Tensor, table: Tensor) -> Iterator[tuple[Tensor, slice]]:
    """(n, k³ C) features around some rows at a time, zeros where no voxel is, and which rows."""
    padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
    n = max(1, AT_ONCE // (table.shape[1] * x.shape[1]))
    for start in range(0, len(table), n):
        some = table[start : start + n]
        yield padded[some.flatten()].view(len(some), -1), slice(start, start + n)


def _outer_beside(x: Tensor, g: Tensor, neighbors: Neighbors) -> Tensor:
    """As :func:`_outer`, with products of whole neighbourhoods."""
    assert neighbors.table is not None
    fast = _kernels(x)
    if fast is not None:
        return fast.kernel_gradient(x, g, neighbors.table).permute(2, 0, 1).to(g.dtype)
    parts = [g[rows].t() @ near for near, rows in _neighborhoods(x, neighbors.table)]
    return torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0]


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
