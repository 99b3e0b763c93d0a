"""FacT: one tensor of all weight increments, decomposed (Jie & Deng, AAAI 2023, §3).

The query, key, value and projection matrix of a block and the four D × D pieces each of fc1 and fc2
are 12 slices; the 12 L slices of all blocks have increments with shared factors U, V (D × r)::

    ΔW_j = s · U Σ_j Vᵀ
    tensor-train (FacT-TT)   Σ_j trained as it is, r × r
    Tucker (FacT-TK)         Σ_j = sum over c of P_jc C_c, C (r × r × r) shared

Where an MLP is not four times as wide, its layers are as many slices as cover them, cut to size.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BackboneConfig, BlockTaps, Folding, Taps
from ..core.fields import at_least, share
from .base import METHODS, FoldingBlocks

IN_ATTENTION = 4  # slices of D × D: q, k, v, proj


@METHODS.register("fact")
@dataclass(frozen=True)
class Fact(FoldingBlocks):
    """Low-rank increments on qkv, proj, fc1 and fc2. V is zero at the start.

    Trainable on ``small`` with 15 classes and r = 16, tensor-train: U and V 12,288, 144 slices of
    r² = 256 make 36,864, CLS and its position 768, the head 267,535; in all 317,455. Tucker: U and
    V 12,288, P 2,304, C 4,096 and the rest; in all 286,991 (at the paper's r = 32: 330,255).

    Attributes:
        form: "tt" (tensor-train) or "tk" (Tucker).
        rank: r; the paper's VTAB tables have at most 16 for "tt" and 32 for "tk".
        scale: s; the paper searches .01, .1, 1, 10 and 100.
        dropout: between Σ and V (.1 in the released code; the paper does not say).
    """

    title = "FacT"
    trains_together = True
    paper = "Jie & Deng, FacT: Factor-Tuning, AAAI 2023, arXiv 2212.03145"
    starts_as_pretrained = True

    form: Literal["tt", "tk"] = "tt"
    rank: int = 16
    scale: float = 1.0
    dropout: float = 0.1

    def __post_init__(self) -> None:
        at_least(self, 1, "rank")
        at_least(self, 0, "scale")
        share(self, "dropout")

    def attach(self, backbone: Backbone) -> Taps:
        return FactTaps(self, backbone.config)


class Factors(nn.Module):
    """What all blocks share: U, V and, in Tucker's form, C."""

    def __init__(self, options: Fact, dim: int) -> None:
        super().__init__()
        r = options.rank
        self.u, self.v = nn.Linear(dim, r, bias=False), nn.Linear(r, dim, bias=False)
        nn.init.zeros_(self.v.weight)
        self.core = None
        if options.form == "tk":
            self.core = nn.Parameter(nn.init.xavier_uniform_(torch.empty(r, r, r)))


def mixed(slices: Tensor, core: Tensor | None) -> Tensor:
    """Σ_j (n, r, r): ``slices`` themselves, or mixed of Tucker's core by their (n, r) factors."""
    return slices if core is None else torch.einsum("nc,cij->nij", slices, core)


class FactBlockTaps(BlockTaps):
    """One block's slices: q, k, v, proj, those of fc1 (4 as a rule), those of fc2 (4)."""

    def __init__(self, options: Fact, factors: Factors, config: BackboneConfig) -> None:
        super().__init__()
        self.widths = config.fc1, config.hidden
        self.inner = IN_ATTENTION + -(-config.fc1 // config.dim)  # where fc2's slices start
        fc2 = -(-config.hidden // config.dim)
        count = self.inner + fc2
        self.factors = (factors,)  # in a tuple: FactTaps owns it
        self.scale, self.dropout = options.scale, nn.Dropout(options.dropout)
        r = options.rank
        if options.form == "tt":
            bound = 1 / math.sqrt(r)  # a linear layer's, from r
            self.slices = nn.Parameter(torch.empty(count, r, r).uniform_(-bound, bound))
            with torch.no_grad():
                self.slices[self.inner :] /= math.sqrt(fc2)  # they are one layer, from fc2 r
        else:
            bound = math.sqrt(6 / (r + count * config.depth))  # Xavier's, of P as one matrix
            self.slices = nn.Parameter(torch.empty(count, r).uniform_(-bound, bound))

    def sigma(self, first: int, last: int) -> Tensor:
        """Σ_j of slices ``first`` to ``last``, without the latter: (n, r, r)."""
        return mixed(self.slices[first:last], self.factors[0].core)

    def fold(self, folding: Folding, block: int) -> None:
        """Move the increments into the frozen layers of block number ``block``."""
        f = copy.deepcopy(self.factors[0]).requires_grad_(False).cpu().double()
        sigma = mixed(self.slices.detach().cpu().double(), f.core)
        delta = self.scale * (f.v.weight @ sigma.mT @ f.u.weight)  # (12, D, D) as a rule
        folding.add("qkv", delta[:3].flatten(0, 1), block)
        folding.add("proj", delta[3], block)
        fc1, hidden = self.widths
        folding.add("fc1", delta[IN_ATTENTION : self.inner].flatten(0, 1)[:fc1], block)
        folding.add("fc2", torch.cat(list(delta[self.inner :]), dim=1)[:, :hidden], block)

    def increment(self, source: Tensor, first: int, last: int) -> Tensor:
        """(B, T, D) through n slices, side by side: (B, T, n D)."""
        f = self.factors[0]
        inner = torch.einsum("bti,nij->btnj", f.u(source), self.sigma(first, last))
        return f.v(self.dropout(inner)).flatten(2) * self.scale

    def qkv(self, x: Tensor, source: Tensor) -> Tensor:
        return x + self.increment(source, 0, 3)

    def proj(self, x: Tensor, source: Tensor) -> Tensor:
        return x + self.increment(source, 3, 4)

    def fc1(self, x: Tensor, source: Tensor) -> Tensor:
        return x + self.increment(source, IN_ATTENTION, self.inner)[..., : self.widths[0]]

    def fc2(self, x: Tensor, source: Tensor) -> Tensor:
        f = self.factors[0]
        n, dim = len(self.slices) - self.inner, f.u.in_features
        source = F.pad(source, (0, n * dim - source.shape[-1]))
        inner = f.u(source.unflatten(-1, (n, dim)))  # the hidden layer's parts, each D wide
        inner = torch.einsum("btni,nij->btj", inner, self.sigma(self.inner, len(self.slices)))
        return x + f.v(self.dropout(inner)) * self.scale


class FactTaps(Taps):
    """FacT on a whole backbone."""

    def __init__(self, options: Fact, config: BackboneConfig) -> None:
        super().__init__(config.depth, options.position)
        self.factors = Factors(options, config.dim)
        self.blocks = nn.ModuleList(
            FactBlockTaps(options, self.factors, config) for _ in range(config.depth)
        )
