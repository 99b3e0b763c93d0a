"""The sequence of tokens that travels through a backbone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..core.errors import ConfigError, UnknownNameError
from .memory import instead

POOLS = (
    "cls", "prompt_mean", "prompt_max", "patch_mean", "patch_max", "token_mean", "token_max",
)  # fmt: skip


GLOBALS = ("img", "text")  # prefix tokens that only some families have


@dataclass
class Tokens:
    """A token sequence in the order prefix (CLS), prompts (newest first), patches.

    Attributes:
        x: (B, T, D) features.
        centers: (B, G, 3) centre of each patch.
        pos: (B, T, D) position embedding of each token, zero for prompts; (B, T, 0) once it has
            been added for good.
        prefix: number of prefix tokens.
        prompts: number of prompt tokens after the prefix.
        names: what the prefix tokens are called, in order; one of them is "cls".
        context: what a method worked out once for these clouds, for its taps in every block.
        hidden: the tokens after each block of ``Taps.wanted``, after the final LayerNorm too.
        most_prompts: prompts that the sequence takes, of which the newest stay; None for any
            number. Only a look at what prompts are worth sets it, see ``Taps.most_prompts``.
        seen_prompts: how many the sequence has had at most.
        level: the voxels whose features these are, see :class:`.voxel.levels.Level`; None of
            patches.
    """

    x: Tensor
    centers: Tensor
    pos: Tensor
    prefix: int = 1
    prompts: int = 0
    names: tuple[str, ...] = ("cls",)
    context: Any = None
    hidden: tuple[Tokens, ...] = ()
    most_prompts: int | None = None
    seen_prompts: int = 0
    level: Any = None

    def with_x(self, x: Tensor) -> Tokens:
        """The same sequence with other features."""
        return replace(self, x=x)

    @property
    def patches(self) -> Tensor:
        """(B, G, D) features of the patch tokens."""
        return self.x[:, self.prefix + self.prompts :]

    def with_context(self, context: Any) -> Tokens:
        """The same sequence with another context."""
        return replace(self, context=context)

    def insert_prompts(self, prompts: Tensor, pos: Tensor | None = None) -> Tokens:
        """``prompts`` (B, P, D) placed right after the prefix, before older prompts.

        ``pos`` (B, P, D) is their position embedding, zero without it.
        """
        if pos is None:
            pos = prompts.new_zeros(*prompts.shape[:2], self.pos.shape[-1])

        def insert(old: Tensor, new: Tensor) -> Tensor:
            return torch.cat([old[:, : self.prefix], new, old[:, self.prefix :]], dim=1)

        first, after = self.prefix, self.prefix + prompts.shape[1]

        def without(x: Tensor) -> Tensor:
            return torch.cat([x[:, :first], x[:, after:]], dim=1)

        count = self.prompts + prompts.shape[1]
        x = insert(self.x, prompts.to(self.x.dtype))
        instead(self.x, without, x)
        return replace(
            self,
            x=x,
            pos=insert(self.pos, pos.to(self.pos.dtype)),
            prompts=count,
            seen_prompts=max(count, self.seen_prompts),
        )._limited()

    def _limited(self) -> Tokens:
        """The sequence with the newest ``most_prompts`` of its prompts."""
        if self.most_prompts is None or self.prompts <= self.most_prompts:
            return self
        kept, rest = self.prefix + self.most_prompts, self.prefix + self.prompts

        def limit(x: Tensor) -> Tensor:
            return torch.cat([x[:, :kept], x[:, rest:]], dim=1)

        return replace(self, x=limit(self.x), pos=limit(self.pos), prompts=self.most_prompts)

    def drop_prompts(self) -> Tokens:
        """The sequence without its prompts."""

        def drop(x: Tensor) -> Tensor:
            return torch.cat([x[:, : self.prefix], x[:, self.prefix + self.prompts :]], dim=1)

        return replace(self, x=drop(self.x), pos=drop(self.pos), prompts=0)

    def replace_prompts(self, prompts: Tensor) -> Tokens:
        """``prompts`` (B, P, D) in the place of all that are here, of which there must be P."""
        rest = self.x[:, self.prefix + self.prompts :]
        new = prompts[:, : self.most_prompts].to(self.x.dtype)
        return self.with_x(torch.cat([self.x[:, : self.prefix], new, rest], dim=1))

    def pool(self, name: str) -> Tensor:
        """One (B, D) vector: a name of :data:`POOLS` or :data:`GLOBALS`.

        "token_mean" and "token_max" are over all tokens but the prefix. Of prompts that
        ``most_prompts`` keeps out it is zero.

        Raises:
            UnknownNameError: no such pooling.
            ConfigError: prompts are asked for and the method added none, or a token that this
                family does not have.
        """
        if name in self.names:
            return self.x[:, self.names.index(name)]
        if name in GLOBALS:
            raise ConfigError(
                f"head input {name!r} is a token that this backbone does not have: choose among "
                f"{', '.join(POOLS)}"
            )
        if name not in POOLS:
            raise UnknownNameError("head input", name, (*POOLS, *GLOBALS))
        first = self.prefix + self.prompts
        start = first if name.startswith("patch") else self.prefix
        part = self.x[:, start : first if name.startswith("prompt") else None]
        if part.shape[1] == 0 and self.most_prompts == 0:
            return self.x.new_zeros(self.x.shape[0], self.x.shape[2])
        if part.shape[1] == 0:
            raise ConfigError(
                f"head input {name!r} needs prompt tokens, but this method adds none: "
                "choose among cls, patch_mean, patch_max, token_mean, token_max"
            )
        return part.max(dim=1).values if name.endswith("max") else part.mean(dim=1)


class Embeds(Protocol):
    """What of a backbone a method may ask while a cloud is embedded."""

    def patches(self, points: Tensor, groups: int, group_size: int) -> Tokens:
        """(B, N, 3) points cut into ``groups`` patches of ``group_size`` points, embedded."""
        ...

    def position(self, centers: Tensor) -> Tensor:
        """Position embedding of places (B, G, 3): (B, G, D)."""
        ...


@dataclass(frozen=True)
class CloudView:
    """What ``Taps.tokens_in`` may ask of the clouds that are being embedded.

    Attributes:
        backbone: the one whose forward this is.
        points: (B, N, 3) as ``points_in`` left them.
        memo: what ``points_in`` handed on.
    """

    backbone: Embeds
    points: Tensor
    memo: Any = None

    def patches(self, groups: int, group_size: int) -> Tokens:
        """Patches of another scale, see :meth:`Embeds.patches`."""
        return self.backbone.patches(self.points, groups, group_size)

    def position(self, centers: Tensor) -> Tensor:
        """Position embedding of places (B, G, 3), see :meth:`Embeds.position`."""
        return self.backbone.position(centers)
