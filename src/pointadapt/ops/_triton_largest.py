"""Triton kernel of the maximum over a short dimension that is not the last.

A program has a row of channels and goes through the entries, whose loads are all under way at once.
Run by Triton's interpreter (``TRITON_INTERPRET=1``) it takes CPU tensors too.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

WIDEST = 1024  # channels of a program
A_WARP = 256  # of them, for 16 bytes a thread in half precision


@triton.jit
def _largest(  # noqa: ANN202
    x,  # noqa: ANN001
    out,  # noqa: ANN001
    at,  # noqa: ANN001
    k: tl.constexpr,
    c: tl.constexpr,
    wide: tl.constexpr,
    which: tl.constexpr,
):
    """``out`` (n, c) = max of x (n, k, c) over k, and ``at`` which of them if ``which``."""
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * wide + tl.arange(0, wide)
    real = channel < c
    place = x + row * k * c + channel
    best = tl.load(place, mask=real, other=0.0).to(tl.float32)
    index = tl.zeros([wide], dtype=tl.int32)
    for i in tl.static_range(1, k):
        entry = tl.load(place + i * c, mask=real, other=0.0).to(tl.float32)
        more = (entry > best) | (entry != entry)  # noqa: PLR0124 (NaN)
        best = tl.where(more, entry, best)
        index = tl.where(more, i, index)
    tl.store(out + row * c + channel, best.to(out.dtype.element_ty), mask=real)
    if which:
        tl.store(at + row * c + channel, index.to(tl.int8), mask=real)


def largest(x: Tensor, which: bool) -> tuple[Tensor, Tensor]:
    """Maximum (n, c) of contiguous x (n, k, c) over k, and where it is (int8) if ``which``."""
    n, k, c = x.shape
    out = x.new_empty(n, c)
    at = torch.empty((n, c) if which else (0, c), dtype=torch.int8, device=x.device)
    wide = min(triton.next_power_of_2(c), WIDEST)
    grid = (n, triton.cdiv(c, wide))
    warps = max(1, wide // A_WARP)
    _largest[grid](x, out, at, k, c, wide, which, num_warps=warps)  # type: ignore[index]
    return out, at
