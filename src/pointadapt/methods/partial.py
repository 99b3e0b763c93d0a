"""Partial unfreezing: the last blocks train, and an average of them holds them back.

Nothing is added to the network. While it trains, a teacher goes along, whose trained tensors θ'
are a moving average of the student's θ, and the loss has a second term::

    θ' ← m θ' + (1 - m) θ                          before each step; θ' is θ at the first one
    loss = task + λ · mean over tokens of (1 - cos(x, x'))

x are the student's tokens after the last LayerNorm, x' the teacher's, which have no gradient.

The idea is MCFT's (momentum-consistency fine-tuning), of whose paper the abstract alone was at
hand: it trains "a portion of the pre-trained encoder" under "a momentum-based consistency
constraint". Inferred is all that is more precise: which portion, what is compared and how, m and λ.
Its variants for clouds without labels and with fewer layers are not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..backbones import Backbone, CloudView, Folding, Taps, Tokens
from ..core.errors import ConfigError
from ..core.fields import at_least
from .base import METHODS, ClsMethod, Foldable, Method
from .modules import AddGradient
from .norm import is_norm

BLOCK = re.compile(r"((?:.+\.)?blocks\.\d+)\.")


@METHODS.register("partial")
@dataclass(frozen=True)
class Partial(ClsMethod):
    """The last blocks, the last LayerNorm and CLS train.

    Trainable on ``small`` with 15 classes: 3 blocks of 12 D² + 10 D = 1,773,312 make 5,319,936, the
    last LayerNorm 768, CLS and its position 768, the head 267,535; in all 5,589,007.

    The teacher shares the embedding of the cloud, and costs a second forward pass without a
    backward. It is saved with the adapter, so that a run can go on; ``pointadapt fold`` leaves it
    out. In evaluation it does nothing. The term is added to the gradient, not to the loss that is
    shown. With ``accumulate=n`` the average moves n times a step.

    Attributes:
        last: blocks that train, from the end, all where there are fewer. Of a network of several
            widths the decoder's blocks are the last ones, where it has them.
        patch_encoder: train the patch encoder too.
        norms: which LayerNorms train besides: the "last" one, or "all".
        consistency: λ; 0 for no teacher, which networks of several widths need.
        memory: steps that the average reaches back, 1 / (1 - m).
    """

    title = "Partial unfreezing"
    paper = (
        "after Paul et al., An Adapter-free Fine-tuning Approach for Tuning 3D Foundation Models, "
        "arXiv 2603.23730"
    )
    starts_as_pretrained = True

    last: int = 3
    patch_encoder: bool = False
    norms: Literal["last", "all"] = "last"
    consistency: float = 1.0
    memory: int = 100

    def __post_init__(self) -> None:
        at_least(self, 1, "last", "memory")
        at_least(self, 0, "consistency")

    def trainable(self, name: str) -> bool:
        """What trains besides blocks, which :meth:`trainable_among` finds."""
        encoder = self.patch_encoder and name.startswith("encoder.")
        norm = is_norm(name) and not name.startswith("encoder.")
        last_norm = norm and (self.norms == "all" or name.startswith("norm."))
        return super().trainable(name) or encoder or last_norm

    def trainable_among(self, names: Iterable[str]) -> set[str]:
        names = list(names)
        blocks = tuple(f"{block}." for block in blocks_in_order(names)[-self.last :])
        return super().trainable_among(names) | {n for n in names if n.startswith(blocks)}

    def attach(self, backbone: Backbone) -> Taps:
        if not self.consistency:
            return super().attach(backbone)
        if not isinstance(backbone, Backbone):
            raise ConfigError(
                f"{self.title} compares the tokens of whole networks, which a network of several "
                "widths has not: take consistency=0, or a method that acts inside blocks"
            )
        return PartialTaps(self, backbone)

    @property
    def foldable(self) -> Foldable:
        return "wholly"

    def fold(self, folding: Folding, taps: Any) -> Method:
        return self.head_alone()  # what trained is the backbone's own already


def blocks_in_order(names: Iterable[str]) -> list[str]:
    """The blocks that parameters of these names are of, as the forward goes through them.

    A decoder's stages are numbered from the finest, which is its last.
    """
    blocks = dict.fromkeys(found[1] for found in map(BLOCK.match, names) if found)

    def place(block: str) -> int:
        stage = re.search(r"decoder\.(\d+)\.", block)
        return 1000 - int(stage[1]) if stage else 0

    return sorted(blocks, key=place)


class Encoding(nn.Module):
    """A backbone's blocks and last LayerNorm as a module of their own."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, tokens: Tokens, taps: Taps) -> Tensor:
        """(B, T, D) of embedded tokens."""
        return self.net.encode(tokens, taps).x


class PartialTaps(Taps):
    """The teacher: buffers called as the tensors that it follows, with "/" for dots."""

    begun: Tensor

    def __init__(self, options: Partial, backbone: Backbone) -> None:
        super().__init__(backbone.config.depth, options.position)
        self.weight, self.momentum = options.consistency, 1 - 1 / options.memory
        self.plain = (Taps(backbone.config.depth, options.position),)  # in a tuple: no child
        parameters = dict(backbone.named_parameters())
        trained = options.trainable_among(parameters)
        inside = ("blocks.", "norm.")
        self.followed = [n for n in parameters if n in trained and n.startswith(inside)]
        for name in self.followed:
            self.register_buffer(name.replace(".", "/"), torch.zeros_like(parameters[name]))
        self.register_buffer("begun", torch.zeros(()))  # 1 once a step was made

    @torch.no_grad()
    def tokens_in(self, tokens: Tokens, view: CloudView) -> Tokens:
        if not self.training:
            return tokens
        own = {f"net.{n}": self.follow(n, view.backbone) for n in self.followed}
        self.begun.fill_(1)
        seen = replace(tokens, x=tokens.x.detach(), pos=tokens.pos.detach())
        answer = functional_call(Encoding(view.backbone), own, (seen, self.plain[0]))
        return tokens.with_context(answer)

    def follow(self, name: str, net: Any) -> Tensor:
        """The teacher's tensor ``name`` after a step towards the student's."""
        teacher, student = self.get_buffer(name.replace(".", "/")), net.get_parameter(name)
        moved = torch.lerp(student, teacher, self.momentum)
        return teacher.copy_(torch.where(self.begun > 0, moved, student))

    def tokens_out(self, tokens: Tokens) -> Tokens:
        if tokens.context is None:
            return tokens
        alike = F.cosine_similarity(tokens.x.float(), tokens.context.float(), dim=-1)
        loss = self.loss_scale * self.weight * (1 - alike).mean()
        return tokens.with_x(AddGradient.apply(tokens.x, loss)).with_context(None)
