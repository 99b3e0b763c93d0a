"""Prefix tuning: trained keys and values in every attention (Li & Liang, ACL 2021, §4).

In every block, with P_K and P_V of P rows each::

    Attn(q, [P_K; k], [P_V; v])

No token is added to the sequence: the prefix is seen and does not see.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, Taps
from ..core.fields import at_least
from .base import METHODS, ClsMethod


@METHODS.register("prefix")
@dataclass(frozen=True)
class Prefix(ClsMethod):
    """Trains the keys and values themselves, or an MLP that makes them.

    Trainable on ``small`` with 15 classes: 12 blocks of 2 P D = 7,680 make 92,160, CLS and its
    position 768, the head 267,535; in all 360,463. With the MLP: P D + (D + 1) m + 12 (m + 1) 2 D
    in place of the 92,160, which is 4,928,768 for the paper's m = 512; it may be dropped once
    trained, which this library does not do.

    Attributes:
        tokens: P; 10 for the paper's table-to-text, 200 for its summarisation.
        hidden: width m of the MLP P_θ = W_2 tanh(W_1 P' + b_1) + b_2 over all blocks, by which the
            paper trains (§4.3, 512 or 800). 0 trains keys and values directly: the MLP alone would
            be a fifth of the backbone.
        std: start values of keys and values, or of P', are N(0, std).
    """

    title = "Prefix tuning"
    trains_together = True
    paper = "Li & Liang, Prefix-Tuning, ACL 2021, arXiv 2101.00190"
    stacks = True
    why_not_fold = "its keys and values come from no token, so no layer computes them"

    tokens: int = 10
    hidden: int = 0
    std: float = 0.02

    def __post_init__(self) -> None:
        at_least(self, 1, "tokens")
        at_least(self, 0, "hidden", "std")

    def attach(self, backbone: Backbone) -> Taps:
        return PrefixTaps(self, backbone.config.dim, backbone.config.depth)


class PrefixTrunk(nn.Module):
    """The part of the MLP that all blocks share: () to (P, m)."""

    def __init__(self, options: Prefix, dim: int) -> None:
        super().__init__()
        self.prefix = nn.Parameter(torch.empty(options.tokens, dim).normal_(0, options.std))
        self.linear = nn.Linear(dim, options.hidden)

    def forward(self) -> Tensor:
        return torch.tanh(self.linear(self.prefix))


class PrefixBlockTaps(BlockTaps):
    """One block's keys and values."""

    def __init__(self, options: Prefix, dim: int, trunk: PrefixTrunk | None) -> None:
        super().__init__()
        self.trunk = (trunk,)  # in a tuple: PrefixTaps owns it
        if trunk is None:
            shape = (2, options.tokens, dim)
            self.keys_values = nn.Parameter(torch.empty(shape).normal_(0, options.std))
        else:
            self.linear = nn.Linear(options.hidden, 2 * dim)

    def prefix(self) -> Tensor:
        """Keys and values, (2, P, D)."""
        trunk = self.trunk[0]
        if trunk is None:
            return self.keys_values
        return self.linear(trunk()).unflatten(-1, (2, -1)).transpose(0, 1)

    def kv(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        b, heads, _, c = k.shape
        prefix = self.prefix().to(k.dtype).unflatten(-1, (heads, c)).transpose(1, 2)
        keys, values = prefix.unsqueeze(1).expand(-1, b, -1, -1, -1)
        return torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)


class PrefixTaps(Taps):
    """Prefixes of a whole backbone."""

    def __init__(self, options: Prefix, dim: int, depth: int) -> None:
        super().__init__(depth, options.position)
        self.trunk = PrefixTrunk(options, dim) if options.hidden else None
        self.blocks = nn.ModuleList(PrefixBlockTaps(options, dim, self.trunk) for _ in range(depth))
