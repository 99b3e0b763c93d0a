"""A batch whose clouds are for different adapters.

Patches are embedded cloud by cloud, which is quicker than all at once: they fill the processor and
fit its caches. Blocks, where a cloud is a hundred tokens, are gone through by all clouds together:
products with frozen weights are one, and those with the adapters' own are stacked
(``torch.func.vmap``). Each cloud then has its adapter's head.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..backbones import Backbone, Taps, Tokens
from ..backbones.twin import twin
from .adapter import Adapter

MANY = 4  # clouds of one adapter that fill a pass by themselves
LARGEST = 0.5  # of the backbone's numbers: who has more for itself shares too little
Rows = dict[str, list[int]]  # name of an adapter to the clouds that are for it

# Attention is computed cloud by cloud, as it should be.
warnings.filterwarnings("ignore", "There is a performance drop because we have not", UserWarning)


def by_name(adapters: Sequence[str]) -> Rows:
    """Which clouds are for which adapter."""
    rows: Rows = {}
    for row, name in enumerate(adapters):
        rows.setdefault(name, []).append(row)
    return rows


def together(rows: Rows, called: Callable[[str], Adapter]) -> list[list[str]]:
    """Adapters that go through the blocks in one pass, two or more; others are in none.

    Args:
        rows: clouds of each adapter.
        called: the adapter of a name.
    """
    kinds: dict[Hashable, list[str]] = {}
    few = [name for name, own in rows.items() if len(own) < MANY]
    whole = sum(p.numel() for name in few[:1] for p in called(name).backbone.parameters())
    for name in few:
        kind = _kind(called(name), LARGEST * whole)
        if kind is not None:
            kinds.setdefault(kind, []).append(name)
    return [names for names in kinds.values() if len(names) > 1]


def _kind(adapter: Adapter, most: float) -> Hashable | None:
    """What adapters must have in common to go through blocks together; None if one cannot.

    ``most`` is how many numbers of taps and backbone one may have for itself.
    """
    taps, net, own = adapter.taps, adapter.backbone, adapter.own()
    plain = type(net).forward is Backbone.forward and not net.stage_views()
    if not (plain and adapter.method.stacks) or adapter.training:
        return None
    if sum(value.numel() for value in own.values()) > most:
        return None
    return adapter.method, taps.wanted, tuple((key, value.shape) for key, value in own.items())


class _Encoder(nn.Module):
    """Taps and backbone as one module, whose tensors may be exchanged."""

    def __init__(self, backbone: Backbone, taps: Taps) -> None:
        super().__init__()
        self.backbone, self.taps = backbone, taps

    def forward(self, tokens: Tokens) -> Tokens:
        return self.backbone.encode(tokens, self.taps)


def encoded(adapters: Sequence[Adapter], begun: Sequence[Tokens]) -> list[Tokens]:
    """What :meth:`Backbone.encode` makes of each cloud's tokens for its own adapter, in one pass.

    Args:
        adapters: of one kind, see :func:`together`; one for each cloud.
        begun: what :meth:`Backbone.begin` gave of each cloud, a batch of one.
    """
    own = [adapter.own() for adapter in adapters]
    stacked = {key: torch.stack([one[key] for one in own]) for key in own[0]}
    first, like = adapters[0], begun[0]
    module = twin(_Encoder(first.backbone, first.taps), stacked)  # whose tensors nobody else sees
    forms: list[Tokens] = []

    def encode(own: Mapping[str, Tensor], x: Tensor, centers: Tensor, pos: Tensor) -> list[Tensor]:
        tokens = replace(like, x=x, centers=centers, pos=pos)
        out = functional_call(module, dict(own), (tokens,))
        forms[:] = [out, *out.hidden]
        return [value for form in forms for value in (form.x, form.pos)]

    given = (torch.stack([getattr(t, name) for t in begun]) for name in ("x", "centers", "pos"))
    values = torch.func.vmap(encode)(stacked, *given)
    return [_unstacked(forms, [value[k] for value in values], t) for k, t in enumerate(begun)]


def _unstacked(forms: Sequence[Tokens], values: Sequence[Tensor], begun: Tokens) -> Tokens:
    """The tokens of one cloud: of the ``forms``, with its own ``values`` x and pos of each."""
    last, *hidden = (
        replace(form, x=values[2 * k], pos=values[2 * k + 1], centers=begun.centers, hidden=())
        for k, form in enumerate(forms)
    )
    return replace(last, hidden=tuple(hidden))
