"""GAPrompt: prompts that are points, and a shape vector in every block (Ai et al., ICML 2025).

Before the cloud is cut into patches, a small PointNet++ (S) moves its points and gives a shape
vector g, and P trained points join it::

    points = points (1 + δ S(points)),  then  points = [points; factor · Q]

In each of the first blocks, n prompts t enter after CLS and leave after it; e are the patches::

    t = dropout(T) + g / 2 + position(C)                           T, C trained
    v_s = GELU(BN(2 max over k neighbours of seed s)) + .3 · seed s
    e = e + .3 · (v_s between seeds, by inverse squared distance)  half the patches are seeds
    x = x + .7 · W_u dropout(QuickGELU(W_d LN(x + g / 2)))         CLS left out

The head sees CLS, patches and g. Later blocks have neither prompts nor g.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, CloudView, Taps, Tokens
from ..backbones.layers import DropPath, set_drop_path
from ..core.fields import at_least, share
from ..ops import farthest_point_sample, gather_points, interpolate, knn
from ..ops.sampling import SamplingRule
from .base import METHODS, ClsMethod
from .modules import Bottleneck

FREQUENCIES = (1.0, 2.0, 4.0, 8.0)  # of the embedded coordinates
SEED_WIDTH = 8  # features of a second-level centre; together they are the shape
SHARE = 0.3  # of a seed's own features, and of what reaches the patches
STRENGTH = 0.7  # of the adapter
DROP_PATH = 0.1  # released


@METHODS.register("gaprompt")
@dataclass(frozen=True)
class GaPrompt(ClsMethod):
    """The released arithmetic of GAPrompt.

    Trainable on ``small`` with 15 classes: 5 points 15, the network that moves points 25,371, the
    shape's MLP 14,736, prompts of 6 blocks 23,040 and their places 30, 12 adapters of 13,456 and 12
    BatchNorms of 768, CLS and its position 768, the head (CLS, patches, shape) 365,839; in all
    600,487 (published: 0.6 M, head included). The released modules hold 27,684 more that no forward
    uses: prompts of the later blocks, and unused scales.

    The released neighbours are looked up in the flattened batch as if no prompts were there: with
    prompts, most clouds read other clouds' tokens. Here each cloud reads its own, at the same
    places. The released head has dropout .6.

    Attributes:
        points: P, number of trained points.
        point_scale: they start as U(-point_scale, point_scale), times ``point_factor``.
        point_factor: multiplies them, and with it their learning rate.
        shift: δ; .8 for ScanObjectNN PB_T50_RS, .05 for ModelNet40.
        tokens: n, prompts of a block.
        depth: number of blocks with prompts, all where there are fewer.
        rank: width of the adapters.
        dropout: on prompts and in adapters.
        drop_path: of the neighbours in the last block, from 0 in the first; they are doubled where
            they are kept, as their drop path is added to them. None takes the run's
            (``--drop-path``), which like the released one is .1 unless told otherwise.
        propagation: where neighbours are looked up: "permutation", in the sequence of prompts and
            patches, so that prompts stand in for the first patches and patches for later ones;
            "replacement", in the patches, of which prompts replace the last.
    """

    title = "GAPrompt"
    paper = "Ai et al., GAPrompt, ICML 2025, arXiv 2505.04119"
    why_not_fold = "its prompts and the shape vector are worked out of each cloud"
    head_inputs = ("cls", "patch_max", "prompt_mean")

    points: int = 5
    point_scale: float = 0.01
    point_factor: float = 5.0
    shift: float = 0.8
    tokens: int = 10
    depth: int = 6
    rank: int = 16
    dropout: float = 0.1
    drop_path: float | None = None
    propagation: Literal["permutation", "replacement"] = "permutation"

    def __post_init__(self) -> None:
        at_least(self, 1, "points", "tokens", "depth", "rank")
        at_least(self, 0, "point_scale", "point_factor", "shift")
        share(self, "dropout", *(["drop_path"] if self.drop_path is not None else []))

    def attach(self, backbone: Backbone) -> Taps:
        return GaPromptTaps(self, backbone.config)


class SharedMlp(nn.Module):
    """Linear, BatchNorm, ReLU for each width, on (..., C)."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm1d(o) for _, o in pairs)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            flat = F.relu(norm(layer(flat)))
        return flat.view(*x.shape[:-1], -1)


class ShiftNet(nn.Module):
    """Moves each point along its own direction, and describes the shape: a small PointNet++."""

    def __init__(self, options: GaPrompt, config: Any) -> None:
        super().__init__()
        self.groups, self.size, self.rule = config.groups, config.group_size, config.sampling_rule
        embedded = 3 * (2 * len(FREQUENCIES) + 1)
        self.down1 = SharedMlp(embedded, 64, 32, 64)
        self.down2 = SharedMlp(64, 64, 32, SEED_WIDTH)
        self.up2 = SharedMlp(64 + SEED_WIDTH, 64, 32)
        self.up1 = SharedMlp(embedded + 32, 32, 32)
        hidden, out = nn.Linear(32, 64), nn.Linear(64, 3)
        self.out = nn.Sequential(hidden, nn.ReLU(), nn.Dropout(0.2), out)
        self.shift, self.seeds = options.shift, max(1, self.groups // 2)
        nn.init.zeros_(hidden.bias)
        nn.init.zeros_(out.bias)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 3) to the moved points and the shape (B, seeds · SEED_WIDTH)."""
        waves = [f(points * w) for w in FREQUENCIES for f in (torch.sin, torch.cos)]
        x0 = torch.cat([points, *waves], dim=-1)
        _, near, c1 = neighborhoods(points, self.groups, self.size, self.rule)
        x1 = self.down1(gather_points(x0, near)).max(dim=2).values
        _, near, c2 = neighborhoods(c1, self.seeds, max(1, self.size // 2), self.rule)
        x2 = self.down2(gather_points(x1, near)).max(dim=2).values
        between = interpolate(c1, c2, x2.float(), k=32, eps=1e-4)
        x1 = self.up2(torch.cat([x1, between], dim=-1))
        between = interpolate(points, c1, x1.float(), k=32, eps=1e-4)
        move = self.out(self.up1(torch.cat([x0, between], dim=-1)))
        return points + move * self.shift * points, x2.flatten(1)


@torch.no_grad()
def neighborhoods(
    points: Tensor, m: int, k: int, rule: SamplingRule
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of m sampled centres (B, m), of their neighbours (B, m, k), and the centres."""
    seeds = farthest_point_sample(points, m, rule=rule, check=False)
    centers = gather_points(points, seeds)
    near = knn(centers, points, min(k, points.shape[1]), check=False)[1]
    return seeds, near, centers


class Shape(NamedTuple):
    """What the blocks need of a batch of clouds.

    Attributes:
        vector: g, (B, 1, D).
        position: of the prompts, (1, n, D).
        seeds: (B, S) patches that are seeds.
        near: (B, S, k) patches around them.
        weights: (B, G, S) by which seeds reach each patch; rows sum to 1.
    """

    vector: Tensor
    position: Tensor
    seeds: Tensor
    near: Tensor
    weights: Tensor


class GaPromptTaps(Taps):
    """GAPrompt on a whole backbone."""

    def __init__(self, options: GaPrompt, config: Any) -> None:
        super().__init__(config.depth, options.position)
        s, d = options.point_scale, config.dim
        self.points = nn.Parameter(torch.empty(1, options.points, 3).uniform_(-s, s))
        self.factor = options.point_factor
        self.shift = ShiftNet(options, config)
        self.shape = nn.Sequential(
            nn.Linear(self.shift.seeds * SEED_WIDTH, 16),
            nn.GELU(),
            nn.Dropout(0.25),
            nn.Linear(16, d),
        )
        self.places = nn.Parameter(nn.init.trunc_normal_(torch.empty(options.tokens, 3), std=0.06))
        self.blocks = nn.ModuleList(
            GaPromptBlockTaps(options, d, i < options.depth) for i in range(config.depth)
        )
        self.own_drop_path = options.drop_path
        self.set_drop_path(DROP_PATH)

    def set_drop_path(self, rate: float) -> None:
        set_drop_path(self.blocks, rate if self.own_drop_path is None else self.own_drop_path)

    def points_in(self, points: Tensor) -> tuple[Tensor, Any]:
        points, shape = self.shift(points)
        added = (self.points * self.factor).expand(points.shape[0], -1, -1).to(points.dtype)
        return torch.cat([points, added], dim=1), self.shape(shape).unsqueeze(1)

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        s, centers = self.shift, tokens.centers
        seeds, near, _ = neighborhoods(centers, s.seeds, max(1, s.size // 2), s.rule)
        at = gather_points(centers, seeds)  # with a gradient to the moved points, as released
        weights = 1 / ((centers.unsqueeze(2) - at.unsqueeze(1)).square().sum(dim=-1) + 1e-8)
        weights = keep_nearest(weights, 64)
        position = view.position(self.places.unsqueeze(0))
        return tokens.with_context(Shape(view.memo, position, seeds, near, weights))

    def tokens_out(self, tokens: Tokens) -> Tokens:
        return tokens.insert_prompts(tokens.context.vector)


def keep_nearest(weights: Tensor, k: int) -> Tensor:
    """Rows (..., S) whose k largest entries are kept and sum to 1."""
    if weights.shape[-1] > k:
        index = weights.topk(k, dim=-1).indices
        weights = torch.zeros_like(weights).scatter(-1, index, weights.gather(-1, index))
    return weights / weights.sum(dim=-1, keepdim=True)


class GaPromptBlockTaps(BlockTaps):
    """One block's prompts, propagation and adapter."""

    def __init__(self, options: GaPrompt, dim: int, prompted: bool) -> None:
        super().__init__()
        self.prompts = nn.Parameter(torch.zeros(options.tokens, dim)) if prompted else None
        self.dropout, self.drop_path = nn.Dropout(options.dropout), DropPath()
        self.replace = options.propagation == "replacement"
        self.pooled = nn.BatchNorm1d(dim)
        self.norm = nn.LayerNorm(dim)
        self.adapter = Bottleneck(dim, options.rank, activation=quick_gelu, dropout=options.dropout)
        for layer in (self.adapter.down, self.adapter.up):
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5)
            nn.init.normal_(layer.bias, std=1e-6)

    def block_in(self, tokens: Tokens) -> Tokens:
        if self.prompts is None:
            return tokens
        shape: Shape = tokens.context
        prompts = self.dropout(self.prompts.expand(tokens.x.shape[0], -1, -1))
        return tokens.insert_prompts(prompts + 0.5 * shape.vector + shape.position)

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        shape: Shape = tokens.context
        prefix, prompts, patches = tokens.x.split(
            [tokens.prefix, tokens.prompts, tokens.patches.shape[1]], dim=1
        )
        patches = patches + SHARE * (shape.weights @ self.seeds(prompts, patches, shape))
        seen = patches if self.prompts is None else patches + 0.5 * shape.vector
        patches = patches + STRENGTH * self.adapter(self.norm(seen))
        x = torch.cat([prefix, prompts, patches.to(prefix.dtype)], dim=1)
        return tokens.with_x(x).drop_prompts()

    def seeds(self, prompts: Tensor, patches: Tensor, shape: Shape) -> Tensor:
        """v: (B, S, D)."""
        source = torch.cat([prompts, patches], dim=1)
        if self.replace:
            kept = max(0, patches.shape[1] - prompts.shape[1])
            source = torch.cat([patches[:, :kept], prompts], dim=1)
        near = gather_points(source, shape.near).flatten(0, 1)
        near = near + self.drop_path(near)
        best = near.max(dim=1).values
        best = F.gelu(self.pooled(best)).view(len(patches), -1, patches.shape[2])
        return best + SHARE * gather_points(source, shape.seeds)


def quick_gelu(x: Tensor) -> Tensor:
    """GELU as x · σ(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)
