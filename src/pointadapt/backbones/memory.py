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
import torch.nn.functional as F
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


class _Kept:
    """A tensor that the backward needs, until something else is found to take its place."""

    __slots__ = ("__weakref__", "recipe", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: Tensor | None = tensor
        self.recipe: Recipe | None = None

    def __call__(self) -> Tensor:
        if self.recipe is not None:
            return self.recipe()
        assert self.tensor is not None
        return self.tensor


class _Recipes:
    """Recipes of tensors that are alive, found by which memory they are in.

    What is kept follows from the operations alone, never from a value, so that a step whose
    operations are captured once and replayed keeps as little.
    """

    def __init__(self) -> None:
        self.table: dict[tuple[int, int], tuple[weakref.ref[Tensor], Recipe]] = {}
        self.kept: weakref.WeakValueDictionary[tuple[int, int], _Kept] = (
            weakref.WeakValueDictionary()
        )
        self.results: dict[int, Tensor] = {}  # in the backward

    def add(self, tensor: Tensor, recipe: Recipe) -> None:
        """A recipe for ``tensor``, which takes its place where it has been kept already."""
        again, kept = _Again(recipe, self.results), self.kept.get(_place(tensor))
        self.table[_place(tensor)] = weakref.ref(tensor), again
        if kept is not None and kept.tensor is not None and kept.tensor.shape == tensor.shape:
            kept.recipe, kept.tensor = again, None

    def source(self, tensor: Tensor) -> Recipe:
        """What gives ``tensor`` in the backward: its recipe, or itself as long as it has none."""
        recipe = self.find(tensor)
        if recipe is not None:
            return recipe
        kept = self.kept.get(_place(tensor))
        if kept is None or kept.tensor is None or kept.tensor.shape != tensor.shape:
            kept = self.kept[_place(tensor)] = _Kept(tensor.detach())
        return kept

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

    _recipes.append(recipes)
    try:
        with torch.autograd.graph.saved_tensors_hooks(recipes.source, lambda source: source()):
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


def instead(tensor: Tensor, function: Callable[..., Tensor], *inputs: Tensor) -> None:
    """In a lean forward pass, ``function(*inputs)`` takes the place of ``tensor`` in the backward.

    For what can be had back from what came of it, as a term from the sum. ``tensor`` may have been
    kept already, and what takes the place of ``inputs`` may be said later.
    """
    if not _recipes or not tensor.requires_grad:
        return
    recipes = _recipes[-1]
    sources, dtype = [recipes.source(x) for x in inputs], tensor.dtype

    def recipe() -> Tensor:
        with torch.no_grad():
            return function(*(source() for source in sources)).to(dtype)

    recipes.add(tensor, recipe)


LOW = -1e4  # GELU and its slope are 0 there


def dropped_gelu(x: Tensor, dropout: nn.Dropout) -> Tensor:
    """``dropout(gelu(x))``, the same draw; a lean forward pass on a CPU keeps no mask.

    What is to be dropped becomes so low that nothing of it passes, and no gradient comes back.
    """
    if not (is_lean() and dropout.training and 0 < dropout.p < 1 and x.is_cpu):
        return dropout(again(F.gelu, x))
    share = 1 - dropout.p
    more = x.new_ones(()).div_(share)
    low = _Lowered.apply(x, torch.empty_like(x).bernoulli_(share).bool())
    return again(lambda x: F.gelu(x) * more, low)  # type: ignore[arg-type]


class _Lowered(torch.autograd.Function):
    """x where ``mask``, else :data:`LOW`; what comes back there is 0 already."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, x, LOW)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def from_inputs(function: Callable[..., T], *inputs: Any) -> T:
    """``function(*inputs)``, of which nothing but the inputs is kept when all is recomputed."""
    if not _recompute:
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False)  # type: ignore[return-value]


def is_lean() -> bool:
    """Whether a lean forward pass is under way."""
    return bool(_recipes)


__all__ = ["Keep", "again", "dropped_gelu", "from_inputs", "instead", "is_lean", "keeping"]
