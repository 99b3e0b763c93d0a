"""Linear layers whose weights do not train, and a scale and a shift after them at no cost."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.rowwise import is_stacked, rowwise
from .memory import is_lean


def is_frozen(layer: nn.Module) -> bool:
    """Whether ``layer`` is a plain linear layer that does not train."""
    return type(layer) is nn.Linear and not any(p.requires_grad for p in layer.parameters())


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """``layer(x)``; a lean forward pass keeps no half-precision copy of frozen weights.

    Of several batches that share the weights it is one product.
    """
    if is_stacked(x) and not any(map(is_stacked, layer.parameters())):
        return _of_all(x, layer=layer)
    dtype = half_of(x)
    if dtype is None or not is_lean() or not is_frozen(layer):
        return layer(x)
    return FrozenLinear.apply(x, layer.weight, layer.bias, dtype)  # type: ignore[return-value]


@rowwise
def _of_all(x: Tensor, layer: nn.Module) -> Tensor:
    return layer(x)


def scaled_linear(layer: nn.Linear, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """γ ⊙ (x Wᵀ + b) + β for a frozen layer: (..., C_in) to (..., C_out), γ and β (C_out,)."""
    inputs = x, layer.weight, layer.bias, gamma, beta, half_of(x) or x.dtype
    if not torch.is_grad_enabled():
        return product(*inputs)
    return ScaledLinear.apply(*inputs)  # type: ignore[return-value]


def product(
    x: Tensor, weight: Tensor, bias: Tensor | None, gamma: Tensor, beta: Tensor, dtype: torch.dtype
) -> Tensor:
    """γ ⊙ (x Wᵀ + b) + β in ``dtype``; γ multiplies W, or the product if that has fewer numbers."""
    with torch.autocast(x.device.type, enabled=False):
        shift = beta if bias is None else torch.addcmul(beta, bias, gamma)
        if many(x, weight):
            return F.linear(x.to(dtype), scaled(weight, gamma, dtype), shift.to(dtype))
        z = F.linear(x.to(dtype), weight.to(dtype))
        return torch.addcmul(shift.to(dtype), z, gamma.to(dtype))


def half_of(x: Tensor) -> torch.dtype | None:
    """The number format that autocast wants of a product with ``x``; None without autocast."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


class FrozenLinear(torch.autograd.Function):
    """x Wᵀ + b in ``dtype``, for a W and b that do not train and are stored in another.

    Autocast would keep W in ``dtype`` from the forward to the backward pass, 42 MiB for ``small``;
    here W is converted again in the backward.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.dtypes = x.dtype, dtype
        with torch.autocast(x.device.type, enabled=False):
            own = None if bias is None else bias.to(dtype)
            return F.linear(x.to(dtype), weight.to(dtype), own)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (g,), (weight,), (outer, dtype) = grads, ctx.saved_tensors, ctx.dtypes
        with torch.autocast(g.device.type, enabled=False):
            return (g.to(dtype) @ weight.to(dtype)).to(outer), None, None, None


class ScaledLinear(torch.autograd.Function):
    """y = γ ⊙ (x Wᵀ + b) + β as one product, of which y alone is kept.

    With z = x Wᵀ + b = (y - β) / γ, the backward finds Σ g z as (Σ g y - β Σ g) / γ. So no γ may be
    near 0: the caller sees to it, and a γ below :data:`SMALLEST` is taken as that, lest one that
    has just become 0 spoils all.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, gamma: Tensor, beta: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:  # fmt: skip
        ctx.outer, ctx.dtype = x.dtype, dtype
        y = product(x, weight, bias, gamma, beta, dtype)
        ctx.save_for_backward(weight, gamma, beta, y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, gamma, beta, y = ctx.saved_tensors
        g, dx = grads[0].to(ctx.dtype), None
        with torch.autocast(g.device.type, enabled=False):
            if ctx.needs_input_grad[0] and many(g, weight):
                dx = (g @ scaled(weight, gamma, ctx.dtype)).to(ctx.outer)
            elif ctx.needs_input_grad[0]:
                dx = ((g * gamma.to(ctx.dtype)) @ weight.to(ctx.dtype)).to(ctx.outer)
            scale, shift = sums(g, y, gamma, beta)
            safe = torch.where(gamma < 0, gamma.clamp(max=-SMALLEST), gamma.clamp(min=SMALLEST))
            return dx, None, None, (scale - beta * shift) / safe, shift, None


SMALLEST = 1e-3


def many(x: Tensor, weight: Tensor) -> bool:
    """Whether ``x`` has more rows than a weight (C_out, C_in) has columns; taken for granted by
    programs that are written down for any number of rows.
    """
    return torch.compiler.is_compiling() or x.numel() // x.shape[-1] > weight.shape[1]


def scaled(weight: Tensor, gamma: Tensor, dtype: torch.dtype) -> Tensor:
    """diag(γ) W in ``dtype``."""
    return (weight * gamma.unsqueeze(1)).to(dtype)


def sums(g: Tensor, y: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Σ g y and Σ g over all rows of (..., C).

    In one pass where the number formats are equal: a LayerNorm's backward is just that for its
    weight and bias, with mean 0 and deviation 1. In half precision it would also add up in that.
    """
    g, y = g.flatten(0, -2), y.flatten(0, -2)
    if y.dtype != gamma.dtype:
        return (g * y).sum(0, dtype=gamma.dtype), g.sum(0, dtype=gamma.dtype)
    zero = gamma.new_zeros(len(y), 1)
    _, scale, shift = torch.ops.aten.native_layer_norm_backward(
        g.contiguous(), y, gamma.shape, zero, zero + 1, gamma, beta, [False, True, True]
    )
    return scale, shift
