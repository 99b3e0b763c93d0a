"""The maximum over a short dimension, inside what is compiled for a GPU.

Inductor's own takes four times as long as its bytes need (1.9 ms for 65,536 patches of 32 points
with 384 channels on an H200), and its gradient writes zeros first. Elsewhere torch's do.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ._kernels import kernels_for

KERNELS = "pointadapt.ops._triton_largest"
MOST = 127  # entries, of which an int8 tells one


def takes(x: Tensor, dim: int) -> bool:
    """Whether :func:`largest` is for this: the last dimension but one, of a GPU's tensor."""
    fits = dim % x.dim() == x.dim() - 2 and x.shape[dim] <= MOST
    return fits and x.is_cuda and x.dtype != torch.float64


def largest(x: Tensor) -> Tensor:
    """Maximum of (..., k, C) over k, NaN where there is one; the gradient goes to the first."""
    return Largest.apply(x.flatten(0, -3)).view(*x.shape[:-2], x.shape[-1])  # type: ignore[union-attr]


class Largest(torch.autograd.Function):
    """Of (n, k, C); keeps a byte for each maximum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out, at = _opaque(x.contiguous(), ctx.needs_input_grad[0])
        ctx.save_for_backward(at)
        ctx.count = x.shape[1]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (g,), (at,) = grads, ctx.saved_tensors
        entries = torch.arange(ctx.count, dtype=at.dtype, device=at.device).unsqueeze(1)
        return torch.where(at.unsqueeze(1) == entries, g.unsqueeze(1), 0)


@torch.library.custom_op(
    "pointadapt::largest", mutates_args=(), schema="(Tensor x, bool which) -> (Tensor, Tensor)"
)
def _opaque(x: Tensor, which: bool) -> tuple[Tensor, Tensor]:
    fast = _kernels(x)
    return plain(x, which) if fast is None else fast.largest(x, which)


@_opaque.register_fake
def _(x: Tensor, which: bool) -> tuple[Tensor, Tensor]:
    n, _, c = x.shape
    return x.new_empty(n, c), x.new_empty(n if which else 0, c, dtype=torch.int8)


def plain(x: Tensor, which: bool) -> tuple[Tensor, Tensor]:
    """Without Triton."""
    out, at = x.max(dim=1)
    return out, at.to(torch.int8) if which else at.new_empty(0, x.shape[2], dtype=torch.int8)


def _kernels(x: Tensor) -> ModuleType | None:
    """:mod:`._triton_largest` where it takes ``x``, otherwise None."""
    return kernels_for(x, KERNELS, differs)


def differs(module: Any, device: torch.device | str) -> str:
    """Where the results of ``module`` on ``device`` are not the CPU's; "" where all are equal."""
    draw = torch.Generator().manual_seed(0)
    for c, kind in ((40, torch.float32), (384, torch.bfloat16)):
        x = torch.randn(9, 32, c, generator=draw).mul_(8).round_().to(kind)  # ties
        out, at = (part.cpu() for part in module.largest(x.to(device), True))
        found = x.gather(1, at.long().unsqueeze(1)).squeeze(1)
        if not torch.equal(out, x.amax(1)) or not torch.equal(found, out):
            return "find other maxima than the CPU"
    return ""
