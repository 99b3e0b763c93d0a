"""Watching a forward: the tokens before and after each block, and the scale of each token.

Nothing is changed: hooks on the blocks, and on the modules that taps name (``token_scale``), see
what passes. So any method on any family of backbones can be watched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...adapters.model import Adapter, PointModel
from ...backbones import Backbone, Taps, Tokens
from ...methods import make_method

BARE = "the bare backbone"


@dataclass
class Steps:
    """What one forward showed.

    Attributes:
        before: the tokens that each block was given.
        after: the tokens that it returned.
        scales: block -> (B, T) its scale of each token, where its taps name one.
    """

    before: list[Tokens] = field(default_factory=list)
    after: list[Tokens] = field(default_factory=list)
    scales: dict[int, Tensor] = field(default_factory=dict)


@contextmanager
def watched(backbone: Backbone, taps: Taps) -> Iterator[Steps]:
    """The steps of the forward with ``taps`` that runs inside the block."""
    steps = Steps()

    def passed(block: Any, given: tuple[Any, ...], out: Tokens) -> None:
        steps.before.append(given[0])
        steps.after.append(out)

    def scaled(number: int) -> Any:
        def keep(module: Any, given: tuple[Any, ...], out: Tensor) -> None:
            steps.scales[number] = out.squeeze(-1).float()

        return keep

    with ExitStack() as hooks:
        for block in taps.host(backbone).blocks:
            hooks.callback(block.register_forward_hook(passed).remove)
        for number, tap in enumerate(taps.blocks):
            module = tap.token_scale()  # type: ignore[operator]
            if module is not None:
                hooks.callback(module.register_forward_hook(scaled(number)).remove)
        yield steps


@contextmanager
def bare(model: PointModel) -> Iterator[Backbone]:
    """The backbone as its file has it, without anything that the adapter moved in it."""
    own, before = model.adapter, model.active
    with torch.random.fork_rng(devices=[]):
        plain = Adapter(
            model.backbone, make_method("linear_probe"), own.task, own.names.classes,
            parts=own.names.parts, features=own.names.features,
        )  # fmt: skip
    model.add(BARE, plain)
    try:
        yield model.use(BARE).backbone
    finally:
        model.use(before)
        del model.adapters[BARE]


@contextmanager
def with_prompts(taps: Taps, most: int | None) -> Iterator[None]:
    """At most so many prompts in the forwards inside the block."""
    taps.most_prompts = most
    try:
        yield
    finally:
        taps.most_prompts = None
