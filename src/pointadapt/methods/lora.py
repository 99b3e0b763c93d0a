"""LoRA: low-rank increments of frozen matrices (Hu et al., ICLR 2022, §4).

For a linear layer W: C_in → C_out::

    y = W x + s · B A x        A: C_in → r, B: r → C_out, zero at the start

which W can absorb once trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..backbones import Backbone, BackboneConfig, Folding, Taps
from ..core.errors import ConfigError, UnknownNameError
from ..core.fields import at_least, share
from .base import METHODS, FoldingBlocks
from .modules import LayerTaps, LowRank

TARGETS = ("q", "k", "v", "proj", "fc1", "fc2")


@METHODS.register("lora")
@dataclass(frozen=True)
class Lora(FoldingBlocks):
    """Increments on the targets of every block; query and value by default, as in the paper.

    Trainable on ``small`` with 15 classes: 24 increments of 2 D r = 24,576 make 589,824, CLS and
    its position 768, the head 267,535; in all 858,127 (DAPT's Tab. 6: 0.9 M, for which it gives
    neither rank nor targets; one increment of the joint qkv at this rank counts the same).

    Attributes:
        rank: r; the paper uses 1 to 64, and 32 gives the published count.
        scale: s, the paper's α / r.
        dropout: on the input of A.
        targets: among q, k, v, proj, fc1 and fc2.
    """

    title = "LoRA"
    trains_together = True
    paper = "Hu et al., LoRA, ICLR 2022, arXiv 2106.09685"
    stacks = True
    starts_as_pretrained = True

    rank: int = 32
    scale: float = 1.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q", "v")

    def __post_init__(self) -> None:
        at_least(self, 1, "rank")
        at_least(self, 0, "scale")
        share(self, "dropout")
        for name in self.targets:
            if name not in TARGETS:
                raise UnknownNameError("target of LoRA", name, TARGETS)
        if not self.targets:
            raise ConfigError(f"targets must name one or more of {', '.join(TARGETS)}")

    def attach(self, backbone: Backbone) -> Taps:
        c = backbone.config
        taps = Taps(c.depth, self.position)
        taps.blocks = nn.ModuleList(LoraBlockTaps(self, c) for _ in range(c.depth))
        return taps


class LoraBlockTaps(LayerTaps):
    """One block's increments."""

    def __init__(self, options: Lora, config: BackboneConfig) -> None:
        super().__init__()
        dim = config.dim
        sizes: dict[str, tuple[int, int]] = dict.fromkeys(TARGETS, (dim, dim))
        sizes |= {"fc1": (dim, config.fc1), "fc2": (config.hidden, dim)}
        self.increments = nn.ModuleDict(
            {
                name: LowRank(*sizes[name], options.rank, options.scale, options.dropout)
                for name in options.targets
            }
        )

    def fold(self, folding: Folding, block: int) -> None:
        """Move the increments into the frozen layers of block number ``block``."""
        parts = {n: m.increment() for n, m in self.increments.items() if isinstance(m, LowRank)}
        if joint := [parts[name] for name in "qkv" if name in parts]:
            nothing = torch.zeros_like(joint[0])
            folding.add("qkv", torch.cat([parts.get(name, nothing) for name in "qkv"]), block)
        for name in ("proj", "fc1", "fc2"):
            if name in parts:
                folding.add(name, parts[name], block)

    def add(self, name: str, x: Tensor, source: Tensor) -> Tensor:
        """``x`` with the target's increment, if it is one."""
        return x + self.increments[name](source) if name in self.increments else x

    def qkv(self, x: Tensor, source: Tensor) -> Tensor:
        parts = zip("qkv", x.chunk(3, dim=-1), strict=True)
        return torch.cat([self.add(name, part, source) for name, part in parts], dim=-1)
