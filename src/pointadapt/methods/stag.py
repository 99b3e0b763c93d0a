"""STAG: a side network on the graph of patches, beside a frozen backbone (Furuya, 2025).

Side Token Adaptation on a neighborhood Graph. The side network is of width r and sees the patches
alone; N(p) are the k patches nearest to p, p itself included. Before block i::

    z = z + W_d x_i + b_d                                        D → r, z is 0 at the start

and behind block i, where i is among the last ones::

    z_p = W_f [ W_c z_p + b_c + max over q in N(p) of (W_n z_q + b_n) ] + b_f    an EdgeConv
    d_p = ReLU(W_u z_p + b_u)                                    r → D
    x_p = x_p + d_p,  CLS = CLS + mean over p of d_p

All blocks share W_d; the last ones share the other four. So no gradient enters the blocks up to the
first displacement: they keep nothing for the backward, and only the half behind it costs memory.

Arithmetic, sizes and what trains are those of the released code (MIT), which was read; of the paper
itself only the abstract was at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, CloudView, Taps, Tokens
from ..backbones.layers import maximum
from ..core.errors import ConfigError
from ..core.fields import at_least
from ..ops import gather_points, knn
from .base import METHODS, Method


@METHODS.register("stag")
@dataclass(frozen=True)
class Stag(Method):
    """The released arithmetic of STAG-std; CLS stays frozen, as there.

    Trainable on ``small`` with 15 classes: W_d 73,920, the graph's three r² + r = 111,168, W_u
    74,112, the head 169,231; in all 428,431 (published: 0.43 M). STAG-sl, ``adapted=0.75
    down_sets=4 graph_sets=3``, trains 1,020,751 (published: 1.02 M).

    The released head takes the mean of all tokens; here that of the patches, without CLS, which is
    one token of 129. Inferred: families with more tokens before the patches move each as CLS.

    Attributes:
        rank: r.
        neighbors: k; all patches where there are fewer.
        adapted: the share of the blocks, the last ones, that a displacement follows; at least one.
            With one alone (0.01) no gradient enters any block.
        down_sets: how many W_d there are, each for as many neighbouring blocks.
        graph_sets: how many sets of the other four there are, in the same way.
        last_norm: the last LayerNorm stands before the head. The released code leaves it out.
    """

    title = "STAG"
    trains_together = True
    paper = "Furuya, Token Adaptation via Side Graph Convolution, arXiv 2502.14142"
    head_inputs = ("patch_mean",)
    why_not_fold = "it mixes patches along the graph of each cloud, which no weight does"

    rank: int = 192
    neighbors: int = 8
    adapted: float = 0.5
    down_sets: int = 1
    graph_sets: int = 1
    last_norm: bool = False

    def __post_init__(self) -> None:
        at_least(self, 1, "rank", "neighbors", "down_sets", "graph_sets")
        if not 0 < self.adapted <= 1:
            raise ConfigError(f"adapted must be in (0, 1], not {self.adapted}")

    def attach(self, backbone: Backbone) -> Taps:
        return StagTaps(self, backbone)


class Side(NamedTuple):
    """What travels beside the tokens.

    Attributes:
        net: the parameters, which all blocks share.
        near: (B, G, k) patches around each patch.
        z: (B, G, r) features of the side network.
        x: (B, T, D) the tokens after the last block, before its LayerNorm; None until then.
    """

    net: SideNetwork
    near: Tensor
    z: Tensor
    x: Tensor | None = None


class SideGraph(nn.Module):
    """One set of W_c, W_n, W_f and W_u; they start as torch's linear layers do."""

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.center, self.neighbor, self.mix = (nn.Linear(rank, rank) for _ in range(3))
        self.up = nn.Linear(rank, dim)

    def forward(self, z: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
        """The new z (B, G, r), and d (B, G, D)."""
        around = maximum(gather_points(self.neighbor(z), near), dim=2)
        z = self.mix(self.center(z) + around)
        return z, F.relu(self.up(z))


class SideNetwork(nn.Module):
    """All parameters of the side network, for a backbone of ``depth`` blocks of width ``dim``."""

    def __init__(self, options: Stag, dim: int, depth: int) -> None:
        super().__init__()
        self.depth, adapted = depth, max(1, round(options.adapted * depth))
        self.first = depth - adapted
        downs, graphs = min(options.down_sets, depth), min(options.graph_sets, adapted)
        self.down = nn.ModuleList(nn.Linear(dim, options.rank) for _ in range(downs))
        self.graph = nn.ModuleList(SideGraph(dim, options.rank) for _ in range(graphs))

    def before(self, number: int, patches: Tensor) -> Tensor:
        """What the patches (B, G, D) before block ``number`` add to z."""
        return self.down[number * len(self.down) // self.depth](patches)

    def behind(self, number: int, z: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
        """The new z, and d, behind block ``number``, at least ``first``."""
        place = (number - self.first) * len(self.graph) // (self.depth - self.first)
        return self.graph[place](z, near)


class StagTaps(Taps):
    """STAG on a whole backbone; the graph is found once a forward."""

    def __init__(self, options: Stag, backbone: Backbone) -> None:
        c = backbone.config
        super().__init__(c.depth, options.position)
        self.once = (backbone.positions_enter or options.position) == "once"
        self.neighbors, self.last_norm = options.neighbors, options.last_norm
        self.side = SideNetwork(options, c.dim, c.depth)
        self.blocks = nn.ModuleList(StagBlockTaps(i) for i in range(c.depth))

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        centers = tokens.centers
        _, near = knn(centers, centers, min(self.neighbors, centers.shape[1]), check=False)
        entering = tokens.with_x(tokens.x + tokens.pos) if self.once else tokens
        return tokens.with_context(Side(self.side, near, self.side.before(0, entering.patches)))

    def tokens_out(self, tokens: Tokens) -> Tokens:
        return tokens if self.last_norm else tokens.with_x(tokens.context.x)


class StagBlockTaps(BlockTaps):
    """The displacement behind block ``number``, if it has one, and what the next block adds."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        side: Side = tokens.context
        if self.number >= side.net.first:
            z, d = side.net.behind(self.number, side.z, side.near)
            side, tokens = side._replace(z=z), displaced(tokens, d)
        if self.number + 1 == side.net.depth:
            return tokens.with_context(side._replace(x=tokens.x))
        z = side.z + side.net.before(self.number + 1, tokens.patches)
        return tokens.with_context(side._replace(z=z))


def displaced(tokens: Tokens, d: Tensor) -> Tokens:
    """Patches moved by ``d`` (B, G, D), what stands before them by its mean."""
    others = tokens.x.shape[1] - d.shape[1]
    moves = torch.cat([d.mean(dim=1, keepdim=True).expand(-1, others, -1), d], dim=1)
    return tokens.with_x(tokens.x + moves.to(tokens.x.dtype))
