"""Functions of batches that treat each row by itself, inside ``torch.func.vmap``.

There a batch is one of several (K, B, …), which the function must not see: it may ask for numbers,
fill arrays or call kernels, none of which vmap can follow. It is given one batch (K B, …) instead.
Gradients flow through what it does with that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor

F = TypeVar("F", bound=Callable[..., Any])


def rowwise(function: F) -> F:
    """Decorator of functions whose tensors, given by position and returned, all begin with B."""

    @wraps(function)
    def call(*inputs: Any, **options: Any) -> Any:
        if not any(isinstance(x, Tensor) and is_stacked(x) for x in inputs):
            return function(*inputs, **options)
        return _Merged.apply(partial(function, **options), *inputs)

    return cast(F, call)


def is_stacked(x: Tensor) -> bool:
    """Whether ``x`` is one of K that ``torch.func.vmap`` goes through at once."""
    return not torch.compiler.is_compiling() and is_batchedtensor(x)


class _Merged(torch.autograd.Function):
    """``function(*inputs)`` under vmap alone, which asks for a class of this kind."""

    @staticmethod
    def forward(function: Callable[..., Any], *inputs: Any) -> Any:
        return function(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept: gradients flow through what ``function`` did."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *given: Any) -> tuple[Any, Any]:
        function, *inputs = given
        size = info.batch_size
        out = function(*(_merged(x, d, size) for x, d in zip(inputs, in_dims[1:], strict=True)))
        if isinstance(out, Tensor):
            return out.unflatten(0, (size, -1)), 0
        return tuple(x.unflatten(0, (size, -1)) for x in out), (0,) * len(out)


def _merged(x: Any, at: int | None, size: int) -> Any:
    """(K B, …) of a tensor that has the dimension K at ``at``, or is the same for all K."""
    if not isinstance(x, Tensor):
        return x
    x = x.expand(size, *x.shape) if at is None else x.movedim(at, 0)
    return x.flatten(0, 1)
