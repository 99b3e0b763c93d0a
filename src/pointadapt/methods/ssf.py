"""SSF: scale and shift the features after every layer (Lian et al., NeurIPS 2022, §3.2).

After each LayerNorm and linear layer, per channel::

    y = γ ⊙ x + β

which a linear layer or LayerNorm before it can absorb, so that it costs nothing once trained.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..backbones import Backbone, Folding, Taps
from ..core.fields import at_least
from .base import METHODS, ClsMethod, Foldable, Method
from .modules import ScaleShiftBlockTaps, ScaleShiftTaps


@METHODS.register("ssf")
@dataclass(frozen=True)
class Ssf(ClsMethod):
    """Scale-shifts after LN1, qkv, the attention's projection, LN2, fc1, fc2, patches, last LN.

    The patch encoder is taken as one layer, as the paper takes the patch embedding of an image.

    Trainable on ``small`` with 15 classes: 12 blocks of 2 · 11 D = 8,448, after the patch encoder
    and the last LayerNorm 1,536, CLS and its position 768, the head 267,535; in all 371,215
    (DAPT's Tab. 6: 0.4 M).

    Attributes:
        std: start values are γ ~ N(1, std), β ~ N(0, std): the released code's .02, with which the
            network does not start as the pre-trained one; with 0 it does.
    """

    title = "SSF"
    trains_together = True
    paper = "Lian et al., Scaling & Shifting Your Features, NeurIPS 2022, arXiv 2210.08823"
    stacks = True

    std: float = 0.02

    def __post_init__(self) -> None:
        at_least(self, 0, "std")

    def attach(self, backbone: Backbone) -> Taps:
        c = backbone.config
        blocks = [ScaleShiftBlockTaps() for _ in range(c.depth)]
        for block in blocks:
            block.add_scale_shifts(c.dim, c.fc1, self.std)
        return ScaleShiftTaps(blocks, c.dim, self.std, self.position)

    @property
    def foldable(self) -> Foldable:
        return "wholly"

    def fold(self, folding: Folding, taps: ScaleShiftTaps) -> Method:
        taps.fold(folding)
        return self.head_alone()
