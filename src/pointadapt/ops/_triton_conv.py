"""Triton kernels of the submanifold convolution: gather, multiply, add, without copies in memory.

A program has some voxels and some outputs, goes through the offsets of the kernel, leaves out those
at which none of its voxels has a neighbour, and keeps its sums in float32. The gradient of the
kernel is one sum a share of the voxels, added up afterwards, so that the order is fixed. Products
of float32 are in full precision (``input_precision="ieee"``).

Run by Triton's interpreter (``TRITON_INTERPRET=1``) they take CPU tensors too.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

ROWS = 64  # voxels of a program
STEPS = 32  # of so many voxels that a program adds up for the kernel's gradient


# Of any number of voxels it is the same kernel.
@triton.jit(do_not_specialize=["n"])
def _forward(  # noqa: ANN202
    x,  # noqa: ANN001
    table,  # noqa: ANN001
    kernels,  # noqa: ANN001
    out,  # noqa: ANN001
    n,  # noqa: ANN001
    c_in: tl.constexpr,
    c_out: tl.constexpr,
    offsets: tl.constexpr,
    rows: tl.constexpr,
    wide: tl.constexpr,
    deep: tl.constexpr,
):
    """``out`` (n, c_out) = Σ_u x[table[:, u]] kernels[u], kernels (offsets, c_in, c_out)."""
    i = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)
    o = tl.program_id(1) * wide + tl.arange(0, wide)
    real = i < n
    total = tl.zeros([rows, wide], dtype=tl.float32)
    for u in range(offsets):
        near = tl.load(table + i * offsets + u, mask=real, other=n)
        there = near < n
        if tl.max(there.to(tl.int32), axis=0) > 0:
            for start in range(0, c_in, deep):
                c = start + tl.arange(0, deep)
                part = tl.load(
                    x + near[:, None] * c_in + c[None, :],
                    mask=there[:, None] & (c[None, :] < c_in),
                    other=0.0,
                )
                kernel = tl.load(
                    kernels + (u * c_in + c[:, None]) * c_out + o[None, :],
                    mask=(c[:, None] < c_in) & (o[None, :] < c_out),
                    other=0.0,
                )
                total = tl.dot(part, kernel, total, input_precision="ieee")
    place = out + i[:, None] * c_out + o[None, :]
    tl.store(place, total.to(out.dtype.element_ty), mask=real[:, None] & (o[None, :] < c_out))


@triton.jit(do_not_specialize=["n"])
def _outer(  # noqa: ANN202
    x,  # noqa: ANN001
    g,  # noqa: ANN001
    table,  # noqa: ANN001
    out,  # noqa: ANN001
    n,  # noqa: ANN001
    steps: tl.constexpr,
    c_in: tl.constexpr,
    c_out: tl.constexpr,
    offsets: tl.constexpr,
    rows: tl.constexpr,
    tall: tl.constexpr,
    wide: tl.constexpr,
):
    """``out`` (shares, offsets, c_in, c_out) = Σ x[table[:, u]]ᵀ g over a share's rows."""
    share, u = tl.program_id(0), tl.program_id(1)
    across = tl.cdiv(c_out, wide)
    c = (tl.program_id(2) // across) * tall + tl.arange(0, tall)
    o = (tl.program_id(2) % across) * wide + tl.arange(0, wide)
    total = tl.zeros([tall, wide], dtype=tl.float32)
    for step in range(steps):
        i = (share.to(tl.int64) * steps + step) * rows + tl.arange(0, rows)
        near = tl.load(table + i * offsets + u, mask=i < n, other=n)
        there = near < n
        if tl.max(there.to(tl.int32), axis=0) > 0:
            part = tl.load(
                x + near[None, :] * c_in + c[:, None],
                mask=there[None, :] & (c[:, None] < c_in),
                other=0.0,
            )
            own = tl.load(
                g + i[:, None] * c_out + o[None, :],
                mask=there[:, None] & (o[None, :] < c_out),
                other=0.0,
            )
            total = tl.dot(part, own, total, input_precision="ieee")
    place = ((share * offsets + u) * c_in + c[:, None]) * c_out + o[None, :]
    tl.store(out + place, total, mask=(c[:, None] < c_in) & (o[None, :] < c_out))


def convolved(x: Tensor, kernels: Tensor, table: Tensor) -> Tensor:
    """Σ_u x[table[:, u]] kernels[u].

    Args:
        x: (N, C_in).
        kernels: (k³, C_in, C_out) of the same type.
        table: (N, k³) rows of ``x``, N where there is none.

    Returns:
        (N, C_out) of the type of ``x``.
    """
    offsets, c_in, c_out = kernels.shape
    n, out = len(table), x.new_empty(len(table), c_out)
    wide, deep = _block(c_out), _block(c_in, 32)
    grid = (triton.cdiv(n, ROWS), triton.cdiv(c_out, wide))
    _forward[grid](  # type: ignore[index]
        x.contiguous(), table, kernels.contiguous(), out, n, c_in, c_out, offsets, ROWS, wide, deep
    )
    return out


def kernel_gradient(x: Tensor, g: Tensor, table: Tensor) -> Tensor:
    """(k³, C_in, C_out) float32: Σ_p x[table[p, u]] g[p]ᵀ.

    Args:
        x: (N, C_in).
        g: (N, C_out) of the same type.
        table: (N, k³).
    """
    (n, offsets), c_in, c_out = table.shape, x.shape[1], g.shape[1]
    tall, wide = _block(c_in), _block(c_out)
    shares = triton.cdiv(n, ROWS * STEPS)
    out = torch.empty((shares, offsets, c_in, c_out), dtype=torch.float32, device=x.device)
    grid = (shares, offsets, triton.cdiv(c_in, tall) * triton.cdiv(c_out, wide))
    _outer[grid](  # type: ignore[index]
        x.contiguous(), g.contiguous(), table, out, n, STEPS, c_in, c_out, offsets, ROWS, tall, wide
    )
    return out.sum(dim=0)


def _block(width: int, most: int = 64) -> int:
    """A power of two from 16, as a product of blocks needs."""
    return max(16, min(most, triton.next_power_of_2(width)))
