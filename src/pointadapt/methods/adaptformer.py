"""AdaptFormer: a bottleneck parallel to the MLP (Chen et al., NeurIPS 2022, §3.2).

In every block, with h the residual stream after attention::

    x = h + DropPath(MLP(LN2 h)) + s · (W_u dropout(ReLU(W_d h + b_d)) + b_u)

W_d: D → r, W_u: r → D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, Taps, Tokens
from ..core.fields import at_least, share
from .base import METHODS, ClsMethod
from .modules import Bottleneck


@METHODS.register("adaptformer")
@dataclass(frozen=True)
class AdaptFormer(ClsMethod):
    """Options default to the released code's arithmetic.

    Trainable on ``small`` with 15 classes: 12 adapters of 2 D r + r + D = 49,600 make 595,200, CLS
    and its position 768, the head 267,535; in all 863,503.

    Attributes:
        rank: r.
        scale: s.
        dropout: on the hidden layer (.1 in the released code; the paper does not say).
        source: what the adapter sees: the residual stream h ("residual", the released code) or
            LN2 h, which the MLP sees too ("norm", Eq. 3). DropPath leaves the adapter alone.
    """

    title = "AdaptFormer"
    trains_together = True
    paper = "Chen et al., AdaptFormer, NeurIPS 2022, arXiv 2205.13535"
    stacks = True
    why_not_fold = "a ReLU stands between its two layers, so no linear layer computes the same"
    starts_as_pretrained = True

    rank: int = 64
    scale: float = 0.1
    dropout: float = 0.1
    source: Literal["residual", "norm"] = "residual"

    def __post_init__(self) -> None:
        at_least(self, 1, "rank")
        at_least(self, 0, "scale")
        share(self, "dropout")

    def attach(self, backbone: Backbone) -> Taps:
        c = backbone.config
        taps = Taps(c.depth, self.position)
        taps.blocks = nn.ModuleList(AdaptFormerBlockTaps(self, c.dim) for _ in range(c.depth))
        return taps


class AdaptFormerBlockTaps(BlockTaps):
    """One block's parallel adapter."""

    def __init__(self, options: AdaptFormer, dim: int) -> None:
        super().__init__()
        self.adapter = Bottleneck(dim, options.rank, activation=F.relu, dropout=options.dropout)
        self.scale, self.source = options.scale, options.source

    def mlp(self, x: Tensor, out: Tensor, tokens: Tokens) -> tuple[Tensor, Any]:
        return out, self.adapter(tokens.x if self.source == "residual" else x) * self.scale

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        return tokens.with_x(tokens.x + memo)
