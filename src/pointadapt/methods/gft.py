"""GFT: deeper blocks look back at a graph of the first tokens (Dhakal et al., WACV 2026).

Before the first block P prompts join the tokens, and L EdgeConvs in a row read the patch embeddings
e, each on a graph of its own, of the k nearest among the features that it reads::

    f^0   = e                                                           D wide, the others w
    f^l_i = max over j in kNN(i) of LeakyReLU(BN(W_l [f_i, f_j - f_i])),    f that of l - 1

Their outputs are a pyramid. L blocks, far apart, begin with a look at one level each::

    x = x + softmax(Q Kᵀ / √r) V W_out,  Q = LN(x) W_q,  K = f^l W_k,  V = f^l W_v

so that the graph goes past the blocks in between. All else is frozen. W_out starts at 0.

Written from the abstract and public summaries alone: the released code has no licence and was not
looked at, and the paper's method section was not at hand. :class:`Gft` says what is stated and what
inferred.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from ..backbones import Backbone, BackboneConfig, BlockTaps, CloudView, Taps, Tokens
from ..backbones.layers import attend
from ..core.fields import at_least
from .base import METHODS, ClsMethod
from .edge_conv import EdgeConvs
from .vpt import new_prompts


@METHODS.register("gft")
@dataclass(frozen=True)
class Gft(ClsMethod):
    """Prompts, a graph network on the first tokens, and cross-attention to it; partly inferred.

    Trainable on ``small`` with 15 classes: EdgeConvs of 2 D w + 2 w = 98,560 and three times
    2 w² + 2 w = 33,024, four cross-attentions of 2 D r + 2 w r = 65,536, prompts 3,840, CLS and its
    position 768, the head 267,535; in all 731,919 (published: 0.73 M, head included).

    Stated by the paper: prompts join the tokens; a light EdgeConv network of several layers learns
    a dynamic graph from the first tokens; its layers' outputs, a pyramid, reach deeper blocks by
    skip connections and light cross-attention, at some blocks alone; the rest is frozen.

    Inferred, all else. That count is met by these sizes, and by many others: L, w and k as in DGCNN
    (four layers, 20 neighbours), r as one head of the backbone, one head, no biases, 10 prompts.
    Further that prompts enter once and stay, and start as VPT's; that the graph reads embeddings
    without their positions; that level l enters before block l · depth / L (3, 6, 9 and 12 of
    12), so that each level is used once, in order; that all tokens look; the LayerNorm, which has
    no weights; that W_out starts at 0; that CLS trains, and what the head reads. Results are of
    this reading, not the authors'.

    Attributes:
        tokens: P; with 0 the network starts as the pre-trained one, bit for bit.
        layers: L, of EdgeConvs and of cross-attentions; one a block where there are fewer blocks.
        width: w of the graph's features.
        neighbors: k, each patch itself included; all patches where there are fewer.
        rank: r of queries, keys and values.
    """

    title = "GFT"
    paper = "Dhakal et al., Graph Feature Tuning, WACV 2026, arXiv 2511.10799 (partly inferred)"
    why_not_fold = "its prompts are tokens of their own, and its graph is made of each cloud"

    tokens: int = 10
    layers: int = 4
    width: int = 128
    neighbors: int = 20
    rank: int = 64

    def __post_init__(self) -> None:
        at_least(self, 0, "tokens")
        at_least(self, 1, "layers", "width", "neighbors", "rank")

    def attach(self, backbone: Backbone) -> Taps:
        return GftTaps(self, backbone.config)


class GftTaps(Taps):
    """GFT on a whole backbone: the prompts, and the graph network."""

    lean = True

    def __init__(self, options: Gft, config: BackboneConfig) -> None:
        super().__init__(config.depth, options.position)
        levels = min(options.layers, config.depth)
        self.prompts = new_prompts(options.tokens, config)
        widths = (config.dim, *[options.width] * levels)
        self.graph = EdgeConvs(*widths, neighbors=options.neighbors)
        for level in range(levels):
            number = (level + 1) * config.depth // levels - 1
            self.blocks[number] = GftBlockTaps(options, config.dim, level)

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        del view
        pyramid = tuple(self.graph(tokens.patches))
        prompts = self.prompts.expand(tokens.x.shape[0], -1, -1)
        return tokens.insert_prompts(prompts).with_context(pyramid)


class GftBlockTaps(BlockTaps):
    """One block's look at a level of the pyramid, (B, G, w) each."""

    def __init__(self, options: Gft, dim: int, level: int) -> None:
        super().__init__()
        self.level, width, rank = level, options.width, options.rank
        self.query, self.key, self.value, self.out = (
            nn.Linear(*pair, bias=False)
            for pair in ((dim, rank), (width, rank), (width, rank), (rank, dim))
        )
        nn.init.zeros_(self.out.weight)

    def block_in(self, tokens: Tokens) -> Tokens:
        x, graph = tokens.x, tokens.context[self.level]
        query = self.query(F.layer_norm(x, x.shape[-1:]))
        heads = (t.unsqueeze(1) for t in (query, self.key(graph), self.value(graph)))
        looked = attend(*heads).squeeze(1)
        return tokens.with_x(x + self.out(looked).to(x.dtype))
