"""Point-PEFT: prompts from a bank of training features, adapters over neighbours (AAAI 2024).

Before training, the frozen backbone turns training clouds into the rows of a bank F, one a cloud.
In the first blocks P prompts enter after CLS, moved towards the rows that are like them::

    P' = P + λ softmax(cos(P, F) / τ) F                      attention without parameters

In every block patches exchange what their neighbours have; S of them, sampled far apart, are
centres, N(s) are the k patches around one::

    z   = W_d LN(x) + b_d                                    D → r
    a_s = max over N(s) of softmax(q kᵀ / √r) v              q, k, v = W_qkv z
    A   = W_u GELU(z_i + Σ over 3 centres s of w_is a_s) + b_u    w_is ~ 1 / distance²
    x   = x + A                                              CLS and prompts: without the sum

Written from public text alone: the released code has no licence and was not looked at, and the
paper's method section was not available. :class:`PointPeft` says what is stated and what inferred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, CloudView, Taps, Tokens
from ..backbones.layers import attend
from ..core.errors import ConfigError
from ..core.fields import at_least, positive
from ..ops import gather_points
from .base import METHODS, ClsMethod
from .gaprompt import keep_nearest, neighborhoods

if TYPE_CHECKING:
    from .training_clouds import TrainingClouds


@METHODS.register("point_peft")
@dataclass(frozen=True)
class PointPeft(ClsMethod):
    """Point-prior prompts and geometry-aware adapters, partly inferred.

    Trainable on ``small`` with 15 classes: 12 adapters of 2 D r + r + 3 D + 3 r² = 32,724 make
    392,688, the prompts 12 · 10 D = 46,080, CLS and its position 768, the head 267,535; in all
    707,071 (published: 0.7 M). The bank trains nothing; it adds 4 D bytes a row to the file.

    Stated by the abstract: most of the backbone is frozen; learnable prompt tokens, which a
    parameter-free attention enhances from a memory bank; an adapter that aggregates features within
    spatial neighbourhoods through local interactions. By the author in the repository's issues: the
    bank holds what the pre-trained model gives for the training set, from its final linear layer
    (number 3), and L, the number of first blocks with such prompts, depends on model and task, 12
    for Point-M2AE on ScanObjectNN (number 1); the rest of the blocks has no prompts, as a reader
    describes the paper's figure 2 there, who adds that the released code differs from it.

    Inferred, all else: that a row is a cloud's patches after the last LayerNorm, pooled; cosine, τ,
    λ, and that prompts are new in every block; the order within the adapter (sample, group, attend,
    pool, spread), that it takes place at width r behind a LayerNorm, its sizes and its place. The
    published 7.61 GFLOPs are not explained by these choices, so the released code computes more.
    Results are of this reading, not the authors'.

    Without clouds, as when a model is built by hand, the bank has no rows: P' = P.

    Attributes:
        prompts: P of a block.
        depth: L; all blocks where there are fewer.
        bank: rows at most. Of more training clouds that many are drawn, by the run's seed; 0 leaves
            the prompts alone.
        pool: what a row is of a cloud's patches.
        temperature: τ; small ones take the nearest rows alone.
        strength: λ.
        rank: r.
        centers: S as a share of the patches.
        neighbors: k, each centre itself included; all patches where there are fewer.
        placement: "serial" puts the adapter behind the block, as the same authors' later Any2Point
            does behind its FFN; "parallel" beside the MLP.
        norm: LN in the adapter. Without it training at a rate of 1e-2 gave NaN on ``tiny``.
        scale: factor of A.
    """

    title = "Point-PEFT"
    trains_together = True
    paper = "Tang et al., Point-PEFT, AAAI 2024, arXiv 2310.03059 (partly inferred)"
    why_not_fold = "its prompts are tokens of their own, and its adapters see a patch's neighbours"

    prompts: int = 10
    depth: int = 12
    bank: int = 512
    pool: Literal["mean", "max"] = "mean"
    temperature: float = 0.1
    strength: float = 1.0
    rank: int = 36
    centers: float = 0.5
    neighbors: int = 16
    placement: Literal["serial", "parallel"] = "serial"
    norm: bool = True
    scale: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, 1, "prompts", "depth", "rank", "neighbors")
        at_least(self, 0, "bank", "strength", "scale")
        positive(self, "temperature")
        if not 0 < self.centers <= 1:
            raise ConfigError(f"centers must be in (0, 1], not {self.centers}")

    def attach(self, backbone: Backbone) -> Taps:
        return PointPeftTaps(self, backbone.config)

    def prepare(self, taps: Any, backbone: Backbone, clouds: TrainingClouds) -> None:
        """Fill the bank."""
        draw = torch.Generator().manual_seed(clouds.seed)
        rows = torch.randperm(len(clouds), generator=draw)[: self.bank].sort().values
        taps.bank.zero_()
        taps.rows.fill_(len(rows))
        plain, first = Taps(backbone.config.depth, self.position), 0
        for part in rows.split(BATCH) if len(rows) else ():
            pooled = backbone(clouds.batch(part), plain).pool(f"patch_{self.pool}")
            taps.bank[first : first + len(part)] = pooled
            first += len(part)


BATCH = 32  # clouds at a time while the bank is filled


class Known(NamedTuple):
    """What the blocks need of a batch of clouds.

    Attributes:
        prompts: P' of the first blocks, (L, P, D).
        near: (B, S, k) patches around each centre.
        weights: (B, G, S) by which centres reach each patch; rows sum to 1.
    """

    prompts: Tensor
    near: Tensor
    weights: Tensor


class PointPeftTaps(Taps):
    """Point-PEFT on a whole backbone; P' and the neighbours are found once a forward."""

    bank: Tensor
    rows: Tensor

    def __init__(self, options: PointPeft, config: Any) -> None:
        super().__init__(config.depth, options.position)
        self.options, d = options, config.dim
        depth = min(options.depth, config.depth)
        self.prompts = nn.Parameter(torch.empty(depth, options.prompts, d).normal_(0.0, 0.02))
        self.register_buffer("bank", torch.zeros(options.bank, d))
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))
        self.blocks = nn.ModuleList(
            PointPeftBlockTaps(options, d, i if i < depth else None) for i in range(config.depth)
        )

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        with torch.autocast(tokens.x.device.type, enabled=False):
            near, weights = self.neighbors(tokens.centers.detach().float())
            return tokens.with_context(Known(self.enhanced(), near, weights))

    def enhanced(self) -> Tensor:
        """P', (L, P, D)."""
        if not len(self.bank):
            return self.prompts
        held = torch.arange(len(self.bank), device=self.bank.device) < self.rows
        like = F.normalize(self.prompts, dim=-1) @ F.normalize(self.bank, dim=-1).T
        lowest = torch.finfo(like.dtype).min  # not -inf, whose softmax is NaN in an empty bank
        weights = (like / self.options.temperature).masked_fill(~held, lowest).softmax(dim=-1)
        return self.prompts + self.options.strength * (weights * held) @ self.bank

    def neighbors(self, centers: Tensor) -> tuple[Tensor, Tensor]:
        """``near`` and ``weights`` of :class:`Known` for patches at (B, G, 3)."""
        count = max(1, round(self.options.centers * centers.shape[1]))
        _, near, at = neighborhoods(centers, count, self.options.neighbors, "plain")
        weights = 1 / ((centers.unsqueeze(2) - at.unsqueeze(1)).square().sum(dim=-1) + 1e-8)
        return near, keep_nearest(weights, 3)


class GeometryAdapter(nn.Module):
    """A of one block; it starts as zero."""

    def __init__(self, options: PointPeft, dim: int) -> None:
        super().__init__()
        r = options.rank
        self.down, self.up = nn.Linear(dim, r), nn.Linear(r, dim)
        self.qkv, self.scale = nn.Linear(r, 3 * r, bias=False), options.scale
        self.norm = nn.LayerNorm(dim) if options.norm else nn.Identity()
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor, known: Known) -> Tensor:
        """(B, T, D) to (B, T, D); the last G tokens are the patches."""
        z, g = self.down(self.norm(x)), known.weights.shape[1]
        rest, patches = z.split([z.shape[1] - g, g], dim=1)
        q, k, v = gather_points(self.qkv(patches), known.near).chunk(3, dim=-1)
        pooled = attend(q, k, v).max(dim=2).values
        patches = patches + (known.weights.to(pooled.dtype) @ pooled).to(patches.dtype)
        return self.up(F.gelu(torch.cat([rest, patches], dim=1))) * self.scale


class PointPeftBlockTaps(BlockTaps):
    """One block's prompts, of which it is ``number``, if it has any, and its adapter."""

    def __init__(self, options: PointPeft, dim: int, number: int | None) -> None:
        super().__init__()
        self.number, self.parallel = number, options.placement == "parallel"
        self.adapter = GeometryAdapter(options, dim)

    def block_in(self, tokens: Tokens) -> Tokens:
        tokens = tokens.drop_prompts() if tokens.prompts else tokens
        if self.number is None:
            return tokens
        prompts: Tensor = tokens.context.prompts[self.number]
        return tokens.insert_prompts(prompts.expand(tokens.x.shape[0], -1, -1))

    def mlp(self, x: Tensor, out: Tensor, tokens: Tokens) -> tuple[Tensor, Any]:
        return out, self.adapter(tokens.x, tokens.context) if self.parallel else None

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        added = memo if self.parallel else self.adapter(tokens.x, tokens.context)
        return tokens.with_x(tokens.x + added)
