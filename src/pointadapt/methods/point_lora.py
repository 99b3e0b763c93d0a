"""PointLoRA: LoRA, and the tokens of a few well chosen patches (Wang et al., CVPR 2025).

Patches of two scales are embedded; a small network scores them (s), and the best of each scale join
the sequence as prompts with positions. In every block, with MLPs m that all blocks share::

    e = e + m_1(e)     p = p + m_2(p)              patches and prompts, position added
    qkv(x) + B A x + m_qkv(x)                      and the attention's projection likewise

Choosing has no gradient, so the scores train by a term of their own in the loss::

    λ · (mean of s log s + (1 - s) log(1 - s) over the first scale + ¼ of that over the second)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import Backbone, CloudView, Taps, Tokens
from ..core.errors import ConfigError, UnknownNameError
from ..core.fields import at_least
from ..ops import gather_points
from .base import METHODS, ClsMethod
from .modules import (
    EMBEDDING,
    AddGradient,
    LayerTaps,
    LowRank,
    add_per_kind,
    patches_at,
    prompt_mlp,
)

TARGETS = ("qkv", "proj", "fc1", "fc2")


@METHODS.register("point_lora")
@dataclass(frozen=True)
class PointLora(ClsMethod):
    """The released arithmetic of PointLoRA.

    Trainable on ``small`` with 15 classes: 12 increments of qkv (4 D r = 12,288) and of the
    projection (2 D r = 6,144) make 221,184, the shared MLPs 3 · 24,992 + 50,336 = 125,312, the
    scores 74,113, the position embedding 50,048, the patch encoder's first two layers and BatchNorm
    33,792, CLS and its position 768, the head 267,535; in all 772,752 (published: 0.77 M, 3.43 % of
    the whole model, head included).

    The scores' term is added to the gradient, not to the loss that is shown.

    Attributes:
        rank: r of the increments. Their scale α / r is 1.
        targets: layers with increments, among qkv, proj, fc1 and fc2.
        prompt_rank: width of the shared MLPs.
        scales: numbers of patches relative to the backbone's, whose sizes are relative the other
            way round: 128 of 32 points and 64 of 64 on ScanObjectNN.
        keep: share of each scale's patches that is kept: 32 and 8 there.
        score_loss: λ. As released it is positive, which by the sign of that term draws scores to
            ½; a negative one makes them decided.
        train_encoder: train the patch encoder's first half.
        train_position: train the position embedding.
    """

    title = "PointLoRA"
    paper = "Wang et al., PointLoRA, CVPR 2025, arXiv 2504.16023"
    head_inputs = ("cls", "token_max")
    why_not_fold = (
        "its prompts are patches of each cloud, and a GELU stands inside the MLPs beside its LoRA"
    )

    rank: int = 8
    targets: tuple[str, ...] = ("qkv", "proj")
    prompt_rank: int = 32
    scales: tuple[float, ...] = (1.0, 0.5)
    keep: tuple[float, ...] = (0.25, 0.125)
    score_loss: float = 0.004
    train_encoder: bool = True
    train_position: bool = True

    def __post_init__(self) -> None:
        at_least(self, 1, "rank", "prompt_rank")
        at_least(self, -1, "score_loss")
        for name in self.targets:
            if name not in TARGETS:
                raise UnknownNameError("target of PointLoRA", name, TARGETS)
        if not self.scales or len(self.scales) != len(self.keep):
            raise ConfigError(
                f"scales and keep must hold as many numbers each, not {self.scales} and {self.keep}"
            )
        if not all(0 < s <= 1 for s in (*self.scales, *self.keep)):
            raise ConfigError("scales and keep must be more than 0 and at most 1")

    def attach(self, backbone: Backbone) -> Taps:
        return PointLoraTaps(self, backbone.config)

    def trainable(self, name: str) -> bool:
        wanted = self.train_position if name.startswith("pos_embed.") else self.train_encoder
        return super().trainable(name) or (wanted and name.startswith(EMBEDDING))


class PointLoraTaps(Taps):
    """PointLoRA on a whole backbone."""

    def __init__(self, options: PointLora, config: Any) -> None:
        super().__init__(config.depth, options.position)
        d, r = config.dim, options.prompt_rank
        own = (config.groups, config.group_size)
        sizes = [(max(1, round(own[0] * s)), round(own[1] / s)) for s in options.scales]
        self.scales = [None if size == own else size for size in sizes]
        self.keep = [max(1, round(g * k)) for (g, _), k in zip(sizes, options.keep, strict=True)]
        self.weight = options.score_loss
        self.score = nn.Sequential(nn.Linear(d, d // 2), nn.ReLU(), nn.Linear(d // 2, 1))
        widths = {"patches": (d, d), "prompts": (d, d)}
        widths |= {name: layer_sizes(config)[name] for name in options.targets}
        self.mlps = nn.ModuleDict({k: prompt_mlp(i, r, o) for k, (i, o) in widths.items()})
        self.blocks = nn.ModuleList(
            PointLoraBlockTaps(options, config, self.mlps) for _ in range(config.depth)
        )

    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        chosen, terms = [], []
        for scale, keep in zip(self.scales, self.keep, strict=True):
            found = patches_at(tokens, view, scale)
            s = self.score(found.x).squeeze(-1).float().sigmoid()
            terms.append((s * (s + 1e-6).log() + (1 - s) * (1 - s + 1e-6).log()).mean())
            index = s.topk(keep, dim=1).indices
            chosen.append((gather_points(found.x, index), gather_points(found.pos, index)))
        x, pos = (torch.cat(parts, dim=1) for parts in zip(*chosen, strict=True))
        if self.training:
            loss = terms[0] + 0.25 * sum(terms[1:])
            x = AddGradient.apply(x, self.loss_scale * self.weight * loss)
        return tokens.insert_prompts(x, pos)


class PointLoraBlockTaps(LayerTaps):
    """One block's increments, with the MLPs of all."""

    def __init__(self, options: PointLora, config: Any, mlps: nn.ModuleDict) -> None:
        super().__init__()
        self.mlps = (mlps,)  # in a tuple: PointLoraTaps owns them
        sizes = layer_sizes(config)
        self.increments = nn.ModuleDict(
            {name: LowRank(*sizes[name], options.rank) for name in options.targets}
        )

    def block_in(self, tokens: Tokens) -> Tokens:
        return add_per_kind(tokens, self.mlps[0]["patches"], self.mlps[0]["prompts"])

    def add(self, name: str, x: Tensor, source: Tensor) -> Tensor:
        """``x`` with the layer's increment and MLP, if it is a target."""
        if name not in self.increments:
            return x
        return x + (self.increments[name](source) + self.mlps[0][name](source))


def layer_sizes(config: Any) -> dict[str, tuple[int, int]]:
    """Input and output width of each target."""
    d, c = config.dim, config
    return {"qkv": (d, 3 * d), "proj": (d, d), "fc1": (d, c.fc1), "fc2": (c.hidden, d)}
