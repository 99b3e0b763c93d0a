"""MoST: structured increments of frozen matrices (Han et al., CVPR 2025, §3).

For a linear layer W: C_in → C_out, with b blocks::

    Y = W X + K M K X            Point Monarch: M = P L Pᵀ R
    R, L   block-diagonal, b blocks each; L is zero at the start
    P      the stride permutation: entry i of b-wide rows goes to row i (a channel shuffle)
    K      = I + λ (A ⊙ D): each patch's feature, and λ times the mean of its k nearest patches'
           features, weighted by inverse distance of their centres (K-Rectify). CLS is left alone.

K mixes tokens and M mixes channels, so K M K X = M (K² X), which is computed here: one product with
the (T, T) matrix K² instead of two with K.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BackboneConfig, BlockTaps, CloudView, Folding, Taps, Tokens
from ..core.errors import ConfigError, UnknownNameError
from ..core.fields import at_least, positive
from ..ops import knn
from .base import METHODS, ClsMethod, Foldable, Method

TARGETS = ("qkv", "proj", "fc1", "fc2")


@METHODS.register("most")
@dataclass(frozen=True)
class Most(ClsMethod):
    """Written from public descriptions of the paper; where they are silent it is said below.

    Trainable on ``small`` with 15 classes: from D to 3 D an increment has 4 D² / b parameters, from
    D to 4 D it has 5 D² / b, so 12 blocks of 9 D² / b = 165,888 make 1,990,656, CLS and its
    position 768, the head 267,535; in all 2,258,959. Published for Point-MAE: 2.3 M with b = 8,
    1.3 M with 16, 0.8 M with 32. Of a block's four layers, taken whole, qkv with fc1 or with fc2
    gives these counts and nothing else does, hence the default targets.

    The paper says that it folds to no cost, as LoRA does. That holds of M alone: K depends on where
    the patches of each cloud lie, so no weight can hold it, and only ``neighbors=0`` folds. The
    released code (PointGPT alone, another form: one D → D branch beside the attention, K-Rectify
    with norms of its own) does not fold either. The paper's fusion of several blocks' features
    before the head is not part of this method.

    Attributes:
        blocks: b; the paper's tables use 8, 16 and 32. Widths that b does not divide are padded.
        targets: among qkv, proj, fc1 and fc2.
        neighbors: k, 4 in the released code; 0 leaves K out (plain Monarch).
        smoothing: λ, which the paper tunes; 1 is a choice of ours.
        epsilon: added to distances before they are inverted, .05 as released, in units of the
            normalised cloud.
    """

    title = "MoST"
    paper = "Han et al., MoST: Efficient Monarch Sparse Tuning, CVPR 2025, arXiv 2503.18368"
    starts_as_pretrained = True
    why_not_fold = (
        "K-Rectify mixes the tokens of neighbouring patches, which no weight does; without it "
        "(neighbors=0) the method folds wholly"
    )

    blocks: int = 8
    targets: tuple[str, ...] = ("qkv", "fc1")
    neighbors: int = 4
    smoothing: float = 1.0
    epsilon: float = 0.05

    def __post_init__(self) -> None:
        at_least(self, 1, "blocks")
        at_least(self, 0, "neighbors", "smoothing")
        positive(self, "epsilon")
        for name in self.targets:
            if name not in TARGETS:
                raise UnknownNameError("target of MoST", name, TARGETS)
        if not self.targets:
            raise ConfigError(f"targets must name one or more of {', '.join(TARGETS)}")

    def attach(self, backbone: Backbone) -> Taps:
        return MostTaps(self, backbone)

    @property
    def foldable(self) -> Foldable:
        return "no" if self.neighbors else "wholly"

    def fold(self, folding: Folding, taps: Taps) -> Method:
        if self.neighbors:
            return super().fold(folding, taps)
        for i, block in enumerate(taps.blocks):
            for name, monarch in cast(MostBlockTaps, block).increments.items():
                folding.add(name, cast(Monarch, monarch).dense(), i)
        return self.head_alone()


class Monarch(nn.Module):
    """P L Pᵀ R as a linear map (..., C_in) to (..., C_out) (Dao et al., ICML 2022, §3.1).

    Args:
        dim_in: C_in.
        dim_out: C_out.
        blocks: b. The width between R and L is the smaller of both, padded to a multiple of b.
    """

    def __init__(self, dim_in: int, dim_out: int, blocks: int) -> None:
        super().__init__()
        self.dim_out, self.blocks = dim_out, blocks
        wide_in, wide_out = math.ceil(dim_in / blocks), math.ceil(dim_out / blocks)
        inner = min(wide_in, wide_out)
        self.padding = blocks * wide_in - dim_in
        bound = 1 / math.sqrt(wide_in)  # a linear layer's, from one block
        self.right = nn.Parameter(torch.empty(blocks, inner, wide_in).uniform_(-bound, bound))
        self.left = nn.Parameter(torch.zeros(blocks, wide_out, inner))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, self.padding)).unflatten(-1, (self.blocks, -1))
        x = torch.einsum("...bi,boi->...bo", x, self.right)
        x = x.flatten(-2).unflatten(-1, (-1, self.blocks))  # the permutation
        x = torch.einsum("...ib,boi->...ob", x, self.left)
        return x.flatten(-2)[..., : self.dim_out]

    @torch.no_grad()
    def dense(self) -> Tensor:
        """The map as a matrix (C_out, C_in), on the CPU in float64."""
        twin = Monarch(self.blocks * self.right.shape[2] - self.padding, self.dim_out, self.blocks)
        twin.double().load_state_dict(self.state_dict())
        return twin(torch.eye(self.right.shape[2] * self.blocks - self.padding).double()).T


class MostBlockTaps(BlockTaps):
    """One block's increments."""

    def __init__(self, options: Most, config: BackboneConfig) -> None:
        super().__init__()
        dim = config.dim
        sizes = {
            "qkv": (dim, 3 * dim),
            "proj": (dim, dim),
            "fc1": (dim, config.fc1),
            "fc2": (config.hidden, dim),
        }
        self.increments = nn.ModuleDict(
            {name: Monarch(*sizes[name], options.blocks) for name in options.targets}
        )

    def bound(self, tokens: Tokens) -> BlockTaps:
        return cast(BlockTaps, BoundTaps(self, getattr(tokens, "rectify", None)))

    def add(self, name: str, x: Tensor, source: Tensor, rectify: Tensor | None) -> Tensor:
        """``x`` with the target's increment, if it is one; ``rectify`` is K²."""
        if name not in self.increments:
            return x
        if rectify is not None:
            source = rectify.to(source.dtype) @ source
        return x + self.increments[name](source)


class BoundTaps:
    """A block's taps in one call, which know the K² of its clouds."""

    after_linear = BlockTaps.after_linear  # so that it calls the taps below

    def __init__(self, taps: MostBlockTaps, rectify: Tensor | None) -> None:
        self.taps, self.rectify = taps, rectify

    def __getattr__(self, name: str) -> Any:
        return getattr(self.taps, name)

    def qkv(self, x: Tensor, source: Tensor) -> Tensor:
        return self.taps.add("qkv", x, source, self.rectify)

    def proj(self, x: Tensor, source: Tensor) -> Tensor:
        return self.taps.add("proj", x, source, self.rectify)

    def fc1(self, x: Tensor, source: Tensor) -> Tensor:
        return self.taps.add("fc1", x, source, self.rectify)

    def fc2(self, x: Tensor, source: Tensor) -> Tensor:
        return self.taps.add("fc2", x, source, self.rectify)


@dataclass
class RectifiedTokens(Tokens):
    """Tokens that carry K², (B, T, T)."""

    rectify: Tensor | None = None


class MostTaps(Taps):
    """MoST on a whole backbone."""

    def __init__(self, options: Most, backbone: Backbone) -> None:
        c = backbone.config
        super().__init__(c.depth, options.position)
        self.options = options
        self.blocks = nn.ModuleList(MostBlockTaps(options, c) for _ in range(c.depth))

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        del view
        o = self.options
        if not o.neighbors:
            return tokens
        k = rectifier(tokens, o.neighbors, o.smoothing, o.epsilon)
        values = {f.name: getattr(tokens, f.name) for f in fields(tokens)}
        return RectifiedTokens(**values, rectify=k @ k)


def rectifier(tokens: Tokens, neighbors: int, smoothing: float, epsilon: float) -> Tensor:
    """K = I + λ (A ⊙ D), (B, T, T) float32; rows of all but patches are those of I.

    A patch is not its own neighbour, and there are at most all others.
    """
    b, g, _ = tokens.centers.shape
    total = tokens.x.shape[1]
    count = min(neighbors, g - 1)
    dist2, index = knn(tokens.centers, tokens.centers, count + 1, check=False)
    others = index != torch.arange(g, device=index.device).view(1, g, 1)
    others[..., -1] &= ~others.all(dim=-1)  # of more than count equal centres, leave one out
    weight = others / (dist2.float().sqrt() + epsilon)
    weight = smoothing * weight / weight.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    k = torch.eye(total, device=index.device).repeat(b, 1, 1)
    first = total - g
    k[:, first:, first:].scatter_add_(2, index, weight)
    return k
