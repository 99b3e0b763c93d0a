"""BitFit: the biases alone train (Zaken et al., ACL 2022, arXiv 2106.10199)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backbones import Folding
from .base import METHODS, ClsMethod, Foldable, Method


@METHODS.register("bitfit")
@dataclass(frozen=True)
class BitFit(ClsMethod):
    """Trains every bias of the backbone, those of LayerNorm and BatchNorm included (§3).

    qkv has no bias in Point-MAE's block, so the paper's query bias has no counterpart here.

    Trainable on ``small`` with 15 classes: 12 blocks of 8 D = 3,072, the final LayerNorm 384, the
    patch encoder 1,920, the position MLP 512, CLS and its position 768, the head 267,535; in all
    307,983. It adds nothing to the network and nothing to its run time.
    """

    title = "BitFit"
    trains_together = True
    paper = "Zaken et al., BitFit, ACL 2022, arXiv 2106.10199"
    stacks = True
    starts_as_pretrained = True

    def trainable(self, name: str) -> bool:
        return name.endswith(".bias") or super().trainable(name)

    @property
    def foldable(self) -> Foldable:
        return "wholly"

    def fold(self, folding: Folding, taps: Any) -> Method:
        return self.head_alone()  # what trained is the backbone's own already
