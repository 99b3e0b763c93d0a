"""(IA)³: learned factors on keys, values and hidden channels (Liu et al., NeurIPS 2022, §3.3).

In every block, with one factor a channel, all 1 at the start::

    softmax(q (l_k ⊙ k)ᵀ / √c) (l_v ⊙ v)
    W_2 (l_h ⊙ GELU(W_1 x + b_1)) + b_2

The projections of k and v and the layer W_2 can absorb them once trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, Folding, Taps
from ..backbones.memory import again
from .base import METHODS, FoldingBlocks


@METHODS.register("ia3")
@dataclass(frozen=True)
class Ia3(FoldingBlocks):
    """Three vectors a block. The paper's losses on text (§3.2) have no counterpart here.

    Trainable on ``small`` with 15 classes: 12 blocks of D + D + 4 D = 2,304 make 27,648, CLS and
    its position 768, the head 267,535; in all 295,951.
    """

    title = "(IA)³"
    trains_together = True
    paper = "Liu et al., Few-Shot Parameter-Efficient Fine-Tuning …, NeurIPS 2022, arXiv 2205.05638"
    stacks = True
    starts_as_pretrained = True

    def attach(self, backbone: Backbone) -> Taps:
        c = backbone.config
        taps = Ia3Taps(c.depth, self.position)
        taps.blocks = nn.ModuleList(Ia3BlockTaps(c.dim, c.hidden) for _ in range(c.depth))
        return taps


class Ia3Taps(Taps):
    """(IA)³ on a whole backbone."""

    lean = True


class Ia3BlockTaps(BlockTaps):
    """One block's factors."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.key, self.value = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))
        self.hidden = nn.Parameter(torch.ones(hidden))

    def kv(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        heads = k.shape[1]

        def of_heads(factors: Tensor) -> Tensor:
            return factors.view(heads, 1, -1)

        return again(scaled, k, of_heads(self.key)), again(scaled, v, of_heads(self.value))

    def act(self, x: Tensor) -> Tensor:
        return again(scaled, x, self.hidden)

    def fold(self, folding: Folding, block: int) -> None:
        """Move the factors into the frozen layers of block number ``block``."""
        folding.scale("qkv", torch.cat([torch.ones_like(self.key), self.key, self.value]), block)
        folding.scale_input("fc2", self.hidden, block)


def scaled(x: Tensor, factors: Tensor) -> Tensor:
    """``x`` times one factor a channel, in the precision of ``x``."""
    return x * factors.to(x.dtype)
