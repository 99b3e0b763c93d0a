"""What all heads promise, and the check of what they are to be fed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..backbones import Tokens
from ..backbones.tokens import GLOBALS, POOLS
from ..core.errors import ConfigError, UnknownNameError


class Head(nn.Module):
    """Base of all heads: tokens in, task output out.

    Attributes:
        blocks: numbers of the blocks, from 0 and without the last, whose tokens it needs besides
            the final ones; they come as ``tokens.hidden``.
    """

    blocks: tuple[int, ...] = ()

    def forward(
        self, tokens: Tokens, points: Tensor | None = None, category: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The output of the task, (B, …) of clouds or (B, N, …) of points, before activation.

        Args:
            tokens: of the backbone, G of them patches.
            points: (B, N, 3) the clouds as the backbone saw them.
            category: (B,) class of each cloud, for tasks that are told it.
            features: (B, N, C) of the points, for tasks whose names have features.
        """
        raise NotImplementedError


def check_inputs(inputs: Sequence[str]) -> tuple[str, ...]:
    """``inputs`` of a head, if each is a pooling of tokens.

    Raises:
        ConfigError, UnknownNameError: there is none, or an unknown one.
    """
    if not inputs:
        raise ConfigError(f"a head needs at least one input: choose among {', '.join(POOLS)}")
    for name in inputs:
        if name not in (*POOLS, *GLOBALS):
            raise UnknownNameError("head input", name, (*POOLS, *GLOBALS))
    return tuple(inputs)
