"""Keeping less for the backward: tensors that are cheap to compute again are not saved.

Autograd saves what each operation's backward needs. Inside ``keeping("lean")``, what :func:`again`
returned is not saved: a recipe takes its place, from tensors that are saved in any case (the
residual stream, the attention's output), and the backward follows it. Inside
``keeping("recompute")`` a block saves its input alone (Chen et al., arXiv 1604.06174). Elsewhere
:func:`again` and :func:`from_inputs` are plain calls.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Recipe = Callable[[], Tensor]
Keep = Literal["all", "lean", "recompute"]
T = TypeVar("T")


MEMORY = 6  # results of recipes that the backward keeps at hand: what one block uses


class _Again:
    """A recipe that remembers the newest results of its forward pass.

    It knows the results, but neither the table of recipes nor the graph: a cycle would keep all
    tensors until Python's garbage collector comes by.
    """

    __slots__ = ("recipe", "results")

    def __init__(self, recipe: Recipe, results: dict[int, Tensor]) -> None:
        self.recipe, self.results = recipe, results

    def __call__(self) -> Tensor:
        key = id(self)
        if key not in self.results:
            value = self.recipe()
            while len(self.results) >= MEMORY:
                del self.results[next(iter(self.results))]
            self.results[key] = value
        return self.results[key]


def _place(tensor: Tensor) -> tuple[int, int]:
    """Which memory a tensor is a view of, and from where on: no address, which fakes lack."""
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset())


class _Recipes:
    """Recipes of tensors that are alive, found by which memory they are in.

    What is kept follows from the operations alone, never from a value, so that a step whose
    operations are captured once and replayed keeps as little.
    """

    def __init__(self) -> None:
        self.table: dict[tuple[int, int], tuple[weakref.ref[Tensor], Recipe]] = {}
        self.results: dict[int, Tensor] = {}  # in the backward

    def add(self, tensor: Tensor, recipe: Recipe) -> None:
        again = _Again(recipe, self.results)
        self.table[_place(tensor)] = weakref.ref(tensor), again

    def find(self, tensor: Tensor) -> Recipe | None:
        """The recipe of exactly this tensor; memory that was freed and used again has none."""
        found = self.table.get(_place(tensor))
        alive = None if found is None else found[0]()
        if found is None or alive is None or alive.dtype != tensor.dtype:
            return None
        if alive.shape == tensor.shape and alive.stride() == tensor.stride():
            return found[1]
        if alive.numel() == tensor.numel() and alive.is_contiguous() and tensor.is_contiguous():
            recipe, shape = found[1], tensor.shape  # linear layers save a flat view of their input
            return lambda: recipe().reshape(shape)
        return None


_recipes: list[_Recipes] = []  # of the forward passes under way
_recompute: list[bool] = []


@contextmanager
def keeping(what: Keep) -> Iterator[None]:
    """How much the operations inside save: "all", "lean" or "recompute" (see above)."""
    if what == "all" or not torch.is_grad_enabled():
        yield
        return
    if what == "recompute":
        _recompute.append(True)
        try:
            yield
        finally:
            _recompute.pop()
        return
    recipes = _Recipes()

    def pack(tensor: Tensor) -> Any:
        recipe = recipes.find(tensor)
        return tensor if recipe is None else recipe

    def unpack(kept: Any) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept()

    _recipes.append(recipes)
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            yield
    finally:
        _recipes.pop().table.clear()


def again(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """``function(*inputs)``; in a lean forward pass it is called again in the backward.

    Args:
        function: draws no random numbers and changes nothing.
        inputs: kept, unless they came from here themselves.
    """
    out = function(*inputs)
    if not _recipes or not out.requires_grad:
        return out
    recipes, device = _recipes[-1], out.device.type
    kept = [recipes.find(x) or x.detach() for x in inputs]
    half, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

    def recipe() -> Tensor:
        values = [x if isinstance(x, Tensor) else x() for x in kept]
        with torch.no_grad(), torch.autocast(device, dtype, enabled=half):
            return function(*values)

    recipes.add(out, recipe)
    return out


def dropped(x: Tensor, dropout: nn.Dropout) -> Tensor:
    """``dropout(x)``, the same draw; a lean forward pass on a CPU keeps bits instead of floats."""
    if not (is_lean() and dropout.training and dropout.p > 0 and x.is_cpu):
        return dropout(x)
    share = 1 - dropout.p
    mask = torch.empty_like(x).bernoulli_(share).bool()
    return again(lambda x, mask: _Masked.apply(x, mask, share or 1.0), x, mask)


class _Masked(torch.autograd.Function):
    """x where ``mask``, divided by ``share``; else 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, share: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.share = share
        return x * mask.to(x.dtype).div_(ctx.share)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return grads[0] * mask.to(grads[0].dtype).div_(ctx.share), None, None


def from_inputs(function: Callable[..., T], *inputs: Any) -> T:
    """``function(*inputs)``, of which nothing but the inputs is kept when all is recomputed."""
    if not _recompute:
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False)  # type: ignore[return-value]


def is_lean() -> bool:
    """Whether a lean forward pass is under way."""
    return bool(_recipes)


__all__ = ["Keep", "again", "dropped", "from_inputs", "is_lean", "keeping"]
