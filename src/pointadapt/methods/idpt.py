"""IDPT: one prompt made from each cloud's own tokens (Zha et al., ICCV 2023).

Before the last block a small graph network reads the patch tokens E of the block before::

    e'_i = max over j in kNN(i) of LeakyReLU(BN(W [e_i, e_j - e_i]))        EdgeConv, three in a row
    P    = max over i of LeakyReLU(BN(W_f [e¹_i, e²_i, e³_i]))            one prompt token
    [CLS, P, E] = Block_L([CLS, P, E])                                      all three go to the head

Written from what the paper says of itself and from its published counts: the released code has no
licence and was not looked at. What is inferred is named below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, CloudView, Taps, Tokens
from ..core.errors import ConfigError
from ..core.fields import at_least
from .base import METHODS, ClsMethod
from .edge_conv import EdgeConvs


@METHODS.register("idpt")
@dataclass(frozen=True)
class Idpt(ClsMethod):
    """A prompt of each cloud's own, from EdgeConvs over its patches.

    Trainable on ``small`` with 15 classes: three EdgeConvs of 2 D² + 2 D = 295,680 and their fusion
    of 3 D² + 2 D = 443,136 make 1,330,176, CLS and its position 768, the head (CLS, prompt and
    patches) 365,839; in all 1,696,783 (published: 1.7 M, which counts the head).

    That the prompt enters the last block is the paper's; that EdgeConvs make it is from a secondary
    summary. Inferred are three of D each, their fusion and the head's inputs, which give this
    count, and k = 20, which gives the published 7.10 GFLOPs (4.78 for the backbone, 3 · 2 D² · 128
    · 20 = 2.26 for the edges, .06 for the fusion). Whether the released graph is one of features is
    not known to us.

    Attributes:
        neighbors: k of the graph, each patch itself included; all patches where there are fewer.
        layers: number of EdgeConvs.
        graph: neighbours by distance of the "features", anew for each EdgeConv as in DGCNN, or of
            the patches' "centers".
        before: the prompt enters before the last block (1, the paper's choice), or before an
            earlier one, counted from the end.
    """

    title = "IDPT"
    trains_together = True
    paper = "Zha et al., Instance-aware Dynamic Prompt Tuning, ICCV 2023, arXiv 2304.07221"
    head_inputs = ("cls", "prompt_mean", "patch_max")
    why_not_fold = "its prompt is a token of its own, made of each cloud's patches"

    neighbors: int = 20
    layers: int = 3
    graph: Literal["features", "centers"] = "features"
    before: int = 1

    def __post_init__(self) -> None:
        at_least(self, 1, "neighbors", "layers", "before")

    def attach(self, backbone: Backbone) -> Taps:
        return IdptTaps(self, backbone.config.dim, backbone.config.depth)


class PromptModule(nn.Module):
    """Patch tokens to one prompt token."""

    def __init__(self, options: Idpt, dim: int) -> None:
        super().__init__()
        self.by_features, widths = options.graph == "features", [dim] * (options.layers + 1)
        self.convs = EdgeConvs(*widths, neighbors=options.neighbors)
        self.fuse = nn.Linear(options.layers * dim, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor, centers: Tensor) -> Tensor:
        """(B, G, D) and (B, G, 3) to (B, 1, D)."""
        outputs = self.convs(x, None if self.by_features else centers)
        x = self.fuse(torch.cat(outputs, dim=-1))
        x = F.leaky_relu(self.norm(x.flatten(0, 1)).view(x.shape), 0.2)
        return x.max(dim=1, keepdim=True).values


class IdptTaps(Taps):
    """The prompt of one backbone."""

    def __init__(self, options: Idpt, dim: int, depth: int) -> None:
        super().__init__(depth, options.position)
        if options.before > depth:
            raise ConfigError(
                f"before={options.before} counts blocks from the end, but the backbone has {depth}"
            )
        self.prompt = PromptModule(options, dim)
        self.first = options.before == depth
        if not self.first:
            self.blocks[depth - options.before - 1] = IdptBlockTaps(self.prompt)

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        return insert(self.prompt, tokens) if self.first else tokens


class IdptBlockTaps(BlockTaps):
    """Puts the prompt behind one block, for the next."""

    def __init__(self, prompt: PromptModule) -> None:
        super().__init__()
        self.prompt = (prompt,)  # in a tuple: IdptTaps owns it

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        return insert(self.prompt[0], tokens)


def insert(prompt: nn.Module, tokens: Tokens) -> Tokens:
    """The sequence with its prompt."""
    return tokens.insert_prompts(prompt(tokens.patches, tokens.centers))
