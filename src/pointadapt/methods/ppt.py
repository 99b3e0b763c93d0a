"""PPT: extra patches as prompts, and a trained position embedding (Zhang et al., 2024).

The cloud is cut into patches a second time; these are prompts with positions. In every block, with
three MLPs that all blocks share::

    e = e + m_1(e)                            patches, after their position is added
    p = p + m_2(p)                            prompts, likewise
    h = x + DropPath(Attn(LN1 x))             x = [CLS, p, e]
    x = h + DropPath(MLP(LN2 h)) + m_3(h)

The position embedding and the first half of the patch encoder train too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..backbones import Backbone, BlockTaps, CloudView, Taps, Tokens
from ..core.fields import at_least
from .base import METHODS, ClsMethod
from .modules import EMBEDDING, add_per_kind, patches_at, prompt_mlp


@METHODS.register("ppt")
@dataclass(frozen=True)
class Ppt(ClsMethod):
    """The released arithmetic of Positional Prompt Tuning.

    Trainable on ``small`` with 15 classes: three MLPs of 2 D r + r + D = 197,248 make 591,744, the
    position embedding 50,048, the patch encoder's first two layers and BatchNorm 33,792, CLS and
    its position 768, the head (CLS, patches, prompts) 365,839; in all 1,042,191 (published: 1.04 M
    or 1.05 M, head included). The released head has GELU in place of this library's ReLU.

    With the released numbers of patches the prompts start as copies of the backbone's own patches
    and part from them by the MLPs.

    Attributes:
        rank: r of the MLPs.
        groups: number of prompts; 0 takes the backbone's number of patches, as released.
        group_size: points of a prompt's patch; 0 takes the backbone's, as released.
        train_encoder: train the patch encoder's first half.
        train_position: train the position embedding.
    """

    title = "PPT"
    trains_together = True
    paper = "Zhang et al., Positional Prompt Tuning, 2024, arXiv 2408.11567"
    head_inputs = ("cls", "patch_mean", "prompt_mean")
    why_not_fold = "its prompts are tokens of their own, and a GELU stands inside its MLPs"

    rank: int = 256
    groups: int = 0
    group_size: int = 0
    train_encoder: bool = True
    train_position: bool = True

    def __post_init__(self) -> None:
        at_least(self, 1, "rank")
        at_least(self, 0, "groups", "group_size")

    def attach(self, backbone: Backbone) -> Taps:
        return PptTaps(self, backbone.config)

    def trainable(self, name: str) -> bool:
        wanted = self.train_position if name.startswith("pos_embed.") else self.train_encoder
        return super().trainable(name) or (wanted and name.startswith(EMBEDDING))


class PptTaps(Taps):
    """PPT on a whole backbone."""

    def __init__(self, options: Ppt, config: Any) -> None:
        super().__init__(config.depth, options.position)
        own = (config.groups, config.group_size)
        scale = (options.groups or own[0], options.group_size or own[1])
        self.scale = None if scale == own else scale
        self.mlps = nn.ModuleDict(
            {name: prompt_mlp(config.dim, options.rank) for name in ("patches", "prompts", "all")}
        )
        self.blocks = nn.ModuleList(PptBlockTaps(self.mlps) for _ in range(config.depth))

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        prompts = patches_at(tokens, view, self.scale)
        return tokens.insert_prompts(prompts.x, prompts.pos)


class PptBlockTaps(BlockTaps):
    """One block, with the MLPs of all."""

    def __init__(self, mlps: nn.ModuleDict) -> None:
        super().__init__()
        self.mlps = (mlps,)  # in a tuple: PptTaps owns them

    def block_in(self, tokens: Tokens) -> Tokens:
        return add_per_kind(tokens, self.mlps[0]["patches"], self.mlps[0]["prompts"])

    def mlp(self, x: Tensor, out: Tensor, tokens: Tokens) -> tuple[Tensor, Any]:
        return out, self.mlps[0]["all"](tokens.x)

    def block_out(self, tokens: Tokens, memo: Any) -> Tokens:
        return tokens.with_x(tokens.x + memo)
