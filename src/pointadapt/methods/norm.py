"""Norm tuning: the affine parameters of the normalisation layers train."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..backbones import Folding
from .base import METHODS, ClsMethod, Foldable, Method


def is_norm(name: str) -> bool:
    """Whether a backbone's parameter is the weight or bias of a LayerNorm or BatchNorm."""
    return bool(re.search(r"(^|\.)norm\d*\.(weight|bias)$", name))


@METHODS.register("norm")
@dataclass(frozen=True)
class Norm(ClsMethod):
    """Trains γ and β of every LayerNorm (LN-Tune, Basu et al., AAAI 2024).

    Trainable on ``small`` with 15 classes: 25 LayerNorms of 2 D = 768 make 19,200, CLS and its
    position 768, the head 267,535; in all 287,503. The patch encoder's two BatchNorms are another
    1,280.

    Attributes:
        batchnorm_affine: train the patch encoder's BatchNorm too, as Frankle et al. (ICLR 2021) do
            in convolutional networks. Whether its *statistics* move is ``batchnorm``.
    """

    title = "Norm tuning"
    trains_together = True
    paper = (
        "Basu et al., Strong Baselines for Parameter-Efficient Few-Shot Fine-Tuning, AAAI 2024, "
        "arXiv 2304.01917"
    )
    stacks = True
    starts_as_pretrained = True

    batchnorm_affine: bool = False

    def trainable(self, name: str) -> bool:
        if super().trainable(name):
            return True
        return is_norm(name) and (self.batchnorm_affine or not name.startswith("encoder."))

    @property
    def foldable(self) -> Foldable:
        return "wholly"

    def fold(self, folding: Folding, taps: Any) -> Method:
        return self.head_alone()  # what trained is the backbone's own already
