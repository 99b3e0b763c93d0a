"""GEM, the geometry encoding mixer: what is near and what is in the scene (Tang et al., 2025).

In every block, with pos(x) the convolution of the block that tells positions::

    x = x + pos(x) + SA(x)
    x = x + Attn(LN x) + CA(LN x)

    SA(x) = ReLU(Σ_i (x W_down) W_i) W_up            over the 3³ voxels i around
    L_c   = softmax(L Kᵀ / √r) V                      m latent tokens look at all points once
    CA(x) = softmax(Q L'ᵀ / √r) L' W_out,  L' = L + L_c
    L     = L'                                        for the next block

with Q, K, V of width r from the points. The latent tokens L (m, r) are of the whole scene and go
through all blocks of all stages, so they hold more and more of it.

From the paper are: where both are added, SA to the letter, that L looks at all points and the
points look at it, L ← L + L_c across all blocks ("global" in its ablation), r = 32, m = 4, and that
the encoder alone has them. Its formulas of CA were not at hand as such; inferred is:

- Keys and values share their projection. The paper names W_Q, W_K, W_V; with an output projection
  these are four a block, 0.8 % of Sonata. Three are the 0.6 % that it gives for CA.
- The points read L', as keys and as values; one head; scores over √r; no biases.
- CA reads what the attention reads. W_up and W_out start at 0, so that the first forward is that of
  the pre-trained network; L starts as N(0, 0.02).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, CloudView, Taps, Tokens
from ..core.fields import at_least
from ..ops.sparse_conv import Neighbors, find_neighbors, submanifold_conv
from .base import METHODS, ClsMethod

KERNEL = 3
LATENTS = "gem"  # of the scene
CELLS = 16  # along the longest side of a cloud of patches


@METHODS.register("gem")
@dataclass(frozen=True)
class Gem(ClsMethod):
    """The two adapters of every block of the encoder.

    On Sonata's encoder SA has 1,121,280 parameters (published: 1.0 %), CA 686,720 (published:
    0.6 %); in all 1,808,000 (published: 1.8 M, 1.6 %).

    Trainable on ``small`` with 15 classes: SA 626,688, CA 442,496, CLS and its position 768, the
    head 267,535; in all 1,337,487. For such families of one width, which the paper tried without
    saying how, inferred is: SA sees the patches alone, whose centres are drawn to a grid of 16
    cells along the cloud's longest side; CA sees all tokens.

    Attributes:
        rank: r.
        latents: m.
    """

    title = "GEM"
    paper = "Tang, Chen and Tao, GEM, NeurIPS 2025, arXiv 2505.22444"
    starts_as_pretrained = True
    why_not_fold = "it looks at neighbours and at the whole scene, which no frozen layer does"

    rank: int = 32
    latents: int = 4

    def __post_init__(self) -> None:
        at_least(self, 1, "rank", "latents")

    def attach(self, backbone: Backbone) -> Taps:
        depth, dim = backbone.config.depth, backbone.config.dim
        if isinstance(backbone, Backbone):
            taps: Taps = PatchTaps(depth, self.position)
        elif backbone.name.rpartition(".")[0].endswith("decoder"):
            return Taps(depth, self.position)
        else:
            taps = Taps(depth, self.position)
        first = isinstance(backbone, Backbone) or backbone.name.endswith("stages.0")
        taps.blocks = nn.ModuleList(
            GemBlockTaps(dim, self.rank, self.latents if first and k == 0 else 0)
            for k in range(depth)
        )
        return taps


class PatchTaps(Taps):
    """For families of one width: finds the neighbours of patches, once a forward."""

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        del view
        return tokens.with_context(Scene(patch_neighbors(tokens.centers)))


class Scene(dict[object, Any]):
    """What taps keep for one another during a forward, with the neighbours of patches."""

    def __init__(self, neighbors: Neighbors) -> None:
        super().__init__()
        self.neighbors = neighbors


@torch.no_grad()
def patch_neighbors(centers: Tensor) -> Neighbors:
    """Who is whose neighbour among patches (B G,) of centres (B, G, 3)."""
    c = centers.float()
    low = c.amin(dim=1, keepdim=True)
    side = (c - low).amax(dim=(1, 2), keepdim=True).clamp(min=1e-9)
    grid = ((c - low) / side * CELLS).floor().clamp(max=CELLS - 1).long().flatten(0, 1)
    batch = torch.arange(len(c), device=c.device).repeat_interleave(c.shape[1])
    return find_neighbors(grid, batch, KERNEL)


class GemBlockTaps(BlockTaps):
    """One block's adapters; ``latents`` > 0 in the first block, which has the tokens."""

    def __init__(self, dim: int, rank: int, latents: int) -> None:
        super().__init__()
        self.down, self.up = (nn.Linear(*pair, bias=False) for pair in ((dim, rank), (rank, dim)))
        bound = (rank * KERNEL**3) ** -0.5
        shape = (rank, KERNEL, KERNEL, KERNEL, rank)
        self.local = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.query, self.look = (nn.Linear(dim, rank, bias=False) for _ in range(2))
        self.out = nn.Linear(rank, dim, bias=False)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.out.weight)
        self.latents = nn.Parameter(0.02 * torch.randn(latents, rank)) if latents else None

    def block_in(self, tokens: Tokens) -> Tokens:
        if tokens.level is not None:
            return tokens
        first = tokens.prefix + tokens.prompts
        patches = tokens.x[:, first:]
        near = self.spatial(patches.flatten(0, 1), tokens.context.neighbors).view_as(patches)
        return tokens.with_x(torch.cat([tokens.x[:, :first], patches + near], dim=1))

    def bound(self, tokens: Tokens) -> BlockTaps:
        return cast(BlockTaps, BoundTaps(self, tokens))

    def spatial(self, x: Tensor, neighbors: Neighbors) -> Tensor:
        """SA of rows (N, C)."""
        narrow = self.down(x)
        kernel = self.local.to(narrow.dtype)
        return self.up(F.relu(submanifold_conv(narrow, kernel, None, neighbors)))

    def context(self, x: Tensor, batch: Tensor, clouds: int, scene: dict[object, Any]) -> Tensor:
        """CA of rows (N, C) of so many clouds; moves the latent tokens of the scene on."""
        if self.latents is not None:
            scene[LATENTS] = self.latents.expand(clouds, -1, -1)
        latents, seen = scene[LATENTS], self.look(x).float()
        scene[LATENTS] = latents = latents + looked(latents, seen, batch)
        query = self.query(x).float()
        own = latents.index_select(0, batch)  # (N, m, r)
        share = (own @ query.unsqueeze(-1)).squeeze(-1) / query.shape[1] ** 0.5
        return self.out((share.softmax(dim=1).unsqueeze(1) @ own).squeeze(1).to(x.dtype))


def looked(latents: Tensor, x: Tensor, batch: Tensor) -> Tensor:
    """softmax(L xᵀ / √r) x over the rows (N, r) of each cloud, for latents (B, m, r)."""
    score = (latents.index_select(0, batch) @ x.unsqueeze(-1)).squeeze(-1) / x.shape[1] ** 0.5
    clouds, m, r = latents.shape
    rows = batch.unsqueeze(1).expand(-1, m)
    top = score.new_full((clouds, m), -torch.inf).scatter_reduce(0, rows, score.detach(), "amax")
    weight = (score - top.index_select(0, batch)).exp()
    total = weight.new_zeros(clouds, m).index_add(0, batch, weight)
    each = weight.unsqueeze(-1) * x.unsqueeze(1)
    return x.new_zeros(clouds, m, r).index_add(0, batch, each) / total.unsqueeze(-1)


class BoundTaps:
    """A block's taps in one call, which know its tokens, and what its attention reads."""

    after_norm = BlockTaps.after_norm  # so that they call the taps below
    after_linear = BlockTaps.after_linear

    def __init__(self, taps: GemBlockTaps, tokens: Tokens) -> None:
        self.taps, self.tokens = taps, tokens

    def __getattr__(self, name: str) -> Any:
        return getattr(self.taps, name)

    def cpe(self, x: Tensor, source: Tensor) -> Tensor:
        level = self.tokens.level
        near = self.taps.spatial(source.squeeze(0), level.neighbors(KERNEL))
        return x + near.unsqueeze(0)

    def qkv(self, x: Tensor, source: Tensor) -> Tensor:
        self.read = source
        return x

    def proj(self, x: Tensor, source: Tensor) -> Tensor:
        del source
        read, level = self.read.flatten(0, 1), self.tokens.level
        if level is None:
            clouds, count = self.read.shape[:2]
            batch = torch.arange(clouds, device=x.device).repeat_interleave(count)
            return x + self.taps.context(read, batch, clouds, self.tokens.context).view_as(x)
        clouds = level.scene.setdefault("clouds", int(level.batch[-1]) + 1)
        return x + self.taps.context(read, level.batch, clouds, level.scene).view_as(x)
