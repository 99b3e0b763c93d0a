"""PointTPA: adapters whose weights follow the neighbourhood (Liu et al., CVPR 2026).

Beside the MLP of every block of the encoder, with h the residual stream after attention::

    x = h + MLP(LN2 h) + W_u ReLU(W_d LN(h) + b_d) + b_u        W_d: C → r, W_u: r → C

In the last block of a stage W_d and b_d differ from place to place. The curve that the block's
attention follows is cut into M runs of ⌈n / M⌉ of a cloud's n voxels; of each run, with p its mean
of LN(h), they are mixed of K::

    a = softmax((V_2 ReLU(V_1 p) + c_2) / 4)                    V_1: C → max(⌊C / 4⌋ + 1, 16)
    W_d = Σ_k a_k W_k,  b_d = Σ_k a_k b_k

Arithmetic, sizes and start values are those of the released code (MIT), which was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, CloudView, Taps, Tokens
from ..core.errors import ConfigError
from ..core.fields import at_least
from ..ops.curves import ORDERS, Runs, cut_runs, serialise
from .base import METHODS, ClsMethod

TEMPERATURE = 4.0
BITS = 10  # of a coordinate of a patch's centre along a curve


@METHODS.register("point_tpa")
@dataclass(frozen=True)
class PointTpa(ClsMethod):
    """The released modules: in the encoder's blocks alone, not in a decoder's.

    Published as less than 2 % of the backbone. On Sonata's encoder the modules have 1,152,904
    parameters of 108.5 M.

    Trainable on ``small`` with 15 classes: 11 blocks of 50,368, the last one's 112,452, CLS and its
    position 768, the head 267,535; in all 934,803. For such families of one width the method was
    not made: inferred is that they are one stage, its last one, whose patches lie along a curve by
    their centres, and that CLS is a run of its own.

    The released runs are as long as the largest cloud of a batch needs, so that a cloud's answer
    depends on the others. Here each cloud's runs are its own. As there, a last run that is shorter
    counts as filled up with zeros in its mean.

    Attributes:
        rank: r.
        kernels: K of each stage from the finest; where there are more stages, the last one's.
        runs: M of each stage, likewise.
        init_std: W_u and the W_d that does not change start as N(0, init_std). The module's own
            lines set W_u to 0, but the network's initialisation undoes it; 0 here leaves it so,
            and the first forward is that of the pre-trained network.
    """

    title = "PointTPA"
    trains_together = True
    paper = "Liu et al., PointTPA, CVPR 2026, arXiv 2604.04933"
    why_not_fold = "a ReLU stands between its two layers, and one of them changes from run to run"

    rank: int = 64
    kernels: tuple[int, ...] = (4, 4, 2, 2, 2)
    runs: tuple[int, ...] = (200, 100, 50, 20, 10)
    init_std: float = 0.02

    def __post_init__(self) -> None:
        at_least(self, 1, "rank")
        at_least(self, 0, "init_std")
        for name in ("kernels", "runs"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ConfigError(f"{name} must be numbers from 1, not {getattr(self, name)}")

    def attach(self, backbone: Backbone) -> Taps:
        depth, dim = backbone.config.depth, backbone.config.dim
        if isinstance(backbone, Backbone):
            taps: Taps = PatchTaps(depth, self.position, self.runs[-1])
            stage = len(self.runs) + len(self.kernels)
        else:
            taps = Taps(depth, self.position)
            encoder, _, number = backbone.name.rpartition(".")
            if encoder.endswith("decoder"):
                return taps
            stage = int(number)
        kernels, runs = (each[min(stage, len(each) - 1)] for each in (self.kernels, self.runs))
        blocks = [PointTpaBlockTaps(self, dim) for _ in range(depth - 1)]
        last = DynamicDown(dim, self.rank, kernels)
        blocks.append(DynamicBlockTaps(self, dim, last, (depth - 1) % len(ORDERS), runs))
        taps.blocks = nn.ModuleList(blocks)
        return taps


class PatchTaps(Taps):
    """For families of one width: cuts the patches into runs, once a forward."""

    def __init__(self, depth: int, position: Any, runs: int) -> None:
        super().__init__(depth, position)
        self.order, self.runs = ORDERS[(depth - 1) % len(ORDERS)], runs

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        return tokens.with_context(patch_runs(tokens, self.order, self.runs))


@torch.no_grad()
def patch_runs(tokens: Tokens, order: str, count: int) -> Runs:
    """The runs of all tokens (B T,): of each cloud first its prefix, then ``count`` of patches."""
    c = tokens.centers.float()
    clouds, patches = c.shape[:2]
    low, high = c.amin(dim=(1, 2), keepdim=True), c.amax(dim=(1, 2), keepdim=True)
    grid = ((c - low) / (high - low).clamp(min=1e-9) * (2**BITS - 1)).long().flatten(0, 1)
    batch = torch.arange(clouds, device=c.device).repeat_interleave(patches)
    codes = serialise(grid, batch, BITS, (order,))[0]
    own = cut_runs(codes.argsort(), batch, torch.full_like(batch[:clouds], patches), count)
    prefix = clouds * count + torch.arange(clouds, device=c.device)
    before = prefix.unsqueeze(1).expand(-1, tokens.prefix)
    of = torch.cat([before, own.of.view(clouds, patches)], dim=1).flatten()
    return Runs(of, torch.cat([own.length, own.length.new_full((clouds,), tokens.prefix)]))


class PointTpaBlockTaps(BlockTaps):
    """One block's adapter, the same everywhere."""

    def __init__(self, options: PointTpa, dim: int, down: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.down = nn.Linear(dim, options.rank) if down is None else down
        self.up = nn.Linear(options.rank, dim)
        for layer in (self.down, self.up):
            if isinstance(layer, nn.Linear):
                start(layer, options.init_std)
        if not options.init_std:
            nn.init.zeros_(self.up.weight)

    def narrow(self, x: Tensor, tokens: Tokens) -> Tensor:
        """(B, T, C) to (B, T, r)."""
        del tokens
        return self.down(x)

    def mlp(self, x: Tensor, out: Tensor, tokens: Tokens) -> tuple[Tensor, Any]:
        return out, self.up(F.relu(self.narrow(self.norm(tokens.x), tokens)))

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        return tokens.with_x(tokens.x + memo)


class DynamicBlockTaps(PointTpaBlockTaps):
    """One block's adapter, which changes from run to run of the curve number ``curve``."""

    def __init__(
        self, options: PointTpa, dim: int, down: DynamicDown, curve: int, runs: int
    ) -> None:
        super().__init__(options, dim, down)
        self.curve, self.runs = curve, runs

    def narrow(self, x: Tensor, tokens: Tokens) -> Tensor:
        level = tokens.level
        runs = tokens.context if level is None else level.runs(self.curve, self.runs)
        return self.down(x.flatten(0, 1), runs).view(*x.shape[:2], -1)


class DynamicDown(nn.Module):
    """A linear layer, mixed for each run of ``kernels`` ones by the run's mean."""

    def __init__(self, dim: int, rank: int, kernels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(dim, max(dim // 4 + 1, 16), bias=False)
        self.choose = nn.Linear(self.squeeze.out_features, kernels)
        self.weight = nn.Parameter(torch.empty(kernels, rank, dim))
        self.bias = nn.Parameter(torch.zeros(kernels, rank))
        for layer in (self.squeeze, self.choose):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.choose.bias)
        for kernel in self.weight.data:
            nn.init.kaiming_uniform_(kernel)

    def forward(self, x: Tensor, runs: Runs) -> Tensor:
        """(N, C) to (N, r)."""
        share = self.shares(runs.mean(x)).index_select(0, runs.of)
        each = torch.einsum("nc,krc->nkr", x, self.weight.to(x.dtype)) + self.bias
        return (share.unsqueeze(-1) * each).sum(dim=1)

    def shares(self, means: Tensor) -> Tensor:
        """What each run (R, C) takes of each kernel, (R, K)."""
        return F.softmax(self.choose(F.relu(self.squeeze(means))) / TEMPERATURE, dim=-1)


def start(layer: nn.Linear, std: float) -> None:
    """Weights as N(0, std), torch's own where that is 0, and no bias."""
    if std:
        nn.init.trunc_normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
