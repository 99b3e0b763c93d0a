"""Adapter: serial bottlenecks after attention and MLP (Houlsby et al., ICML 2019, §2.1).

In every block, on the branch before it joins the residual stream::

    a(y) = y + W_u GELU(W_d y + b_d) + b_u        W_d: D → r, W_u: r → D
    h = x + DropPath(a_1(Attn(LN1 x)))
    x = h + DropPath(a_2(MLP(LN2 h)))
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, Taps, Tokens
from ..core.fields import at_least, positive, share
from .base import METHODS, ClsMethod
from .modules import Bottleneck


@METHODS.register("adapter")
@dataclass(frozen=True)
class HoulsbyAdapter(ClsMethod):
    """Two serial adapters a block, and the block's LayerNorms train with them, as in the paper.

    Trainable on ``small`` with 15 classes: 24 adapters of 2 D r + r + D = 24,992 make 599,808, the
    blocks' LayerNorms 18,432, CLS and its position 768, the head 267,535; in all 886,543 (DAPT's
    Tab. 6: 0.9 M, for which it gives no rank; without the LayerNorms 868,111, which rounds alike).

    Attributes:
        rank: r; the paper tries 8 to 256, and 32 gives the published count.
        dropout: on the hidden layer; none in the paper.
        init_std: weights start as N(0, init_std) cut at two of it: 1e-3 in the released code, 1e-2
            in the paper (§3.6). Near the pre-trained network then, not equal to it.
        train_norm: train the blocks' LayerNorms.
    """

    title = "Adapter"
    trains_together = True
    paper = "Houlsby et al., Parameter-Efficient Transfer Learning for NLP, ICML 2019"
    stacks = True
    why_not_fold = "a GELU stands between its two layers, so no linear layer computes the same"

    rank: int = 32
    dropout: float = 0.0
    init_std: float = 1e-3
    train_norm: bool = True

    def __post_init__(self) -> None:
        at_least(self, 1, "rank")
        positive(self, "init_std")
        share(self, "dropout")

    def attach(self, backbone: Backbone) -> Taps:
        c = backbone.config
        taps = Taps(c.depth, self.position)
        taps.blocks = nn.ModuleList(AdapterBlockTaps(self, c.dim) for _ in range(c.depth))
        return taps

    def trainable(self, name: str) -> bool:
        is_norm = re.fullmatch(r"(.+\.)?blocks\.\d+\.norm\d+\.(weight|bias)", name) is not None
        return super().trainable(name) or (self.train_norm and is_norm)


class AdapterBlockTaps(BlockTaps):
    """One block's two adapters."""

    def __init__(self, options: HoulsbyAdapter, dim: int) -> None:
        super().__init__()
        r, dropout, std = options.rank, options.dropout, options.init_std
        self.after_attention = Bottleneck(dim, r, dropout=dropout, std=std)
        self.after_mlp = Bottleneck(dim, r, dropout=dropout, std=std)

    def proj(self, x: Tensor, source: Tensor) -> Tensor:
        return x + self.after_attention(x)

    def mlp(self, x: Tensor, out: Tensor, tokens: Tokens) -> tuple[Tensor, Any]:
        return out + self.after_mlp(out), None
