"""VPT: trained prompt tokens in the sequence (Jia et al., ECCV 2022, §3.2).

Deep, with P_i of P rows for block i (what prompts become in a block is dropped after it)::

    [CLS, _, patches] = Block_i([CLS, P_i, patches])

Shallow: P_0 alone enters before the first block, and stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..backbones import Backbone, BackboneConfig, BlockTaps, Taps, Tokens
from ..core.fields import at_least, share
from .base import METHODS, ClsMethod


@METHODS.register("vpt")
@dataclass(frozen=True)
class Vpt(ClsMethod):
    """Prompts after the CLS token, without a position.

    Trainable on ``small`` with 15 classes, deep: 12 blocks of P D = 7,680 make 92,160, CLS and its
    position 768, the head 267,535; in all 360,463 (published: 0.36 M, in DAPT's Tab. 6 0.4 M).
    Shallow: 275,983.

    Attributes:
        deep: new prompts for every block (VPT-deep), or for the first alone (VPT-shallow).
        tokens: P. The paper chooses among 1 to 200 by validation; 20 gives the published count.
        dropout: on the prompts; the released default is 0.
    """

    title = "VPT"
    trains_together = True
    paper = "Jia et al., Visual Prompt Tuning, ECCV 2022, arXiv 2203.12119"
    stacks = True
    why_not_fold = "its prompts are tokens of their own, so no layer computes them"

    deep: bool = True
    tokens: int = 20
    dropout: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 1, "tokens")
        share(self, "dropout")

    def attach(self, backbone: Backbone) -> Taps:
        c = backbone.config
        taps = Taps(c.depth, self.position)
        for i in range(c.depth if self.deep else 1):
            taps.blocks[i] = PromptBlockTaps(self, c)
        return taps


def new_prompts(count: int, config: BackboneConfig) -> nn.Parameter:
    """Prompts (count, D) within Xavier's bound for a layer from a patch's 3 k coordinates to D."""
    bound = math.sqrt(6 / (3 * config.group_size + config.dim))  # as released
    return nn.Parameter(torch.empty(count, config.dim).uniform_(-bound, bound))


class PromptBlockTaps(BlockTaps):
    """Prompts before one block, in the place of those before it."""

    def __init__(self, options: Vpt, config: BackboneConfig) -> None:
        super().__init__()
        self.prompts = new_prompts(options.tokens, config)
        self.dropout = nn.Dropout(options.dropout)

    def block_in(self, tokens: Tokens) -> Tokens:
        prompts: Tensor = self.dropout(self.prompts.expand(tokens.x.shape[0], -1, -1))
        return tokens.replace_prompts(prompts) if tokens.prompts else tokens.insert_prompts(prompts)
