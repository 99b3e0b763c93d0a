"""Full fine-tuning: every parameter trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backbones import Folding
from .base import METHODS, Foldable, Method


@METHODS.register("full")
@dataclass(frozen=True)
class Full(Method):
    """Fine-tunes the whole network as Point-MAE does (position added in every block).

    Trainable on ``small`` with 15 classes and the CLS ⊕ max(patches) head: 22,093,327.
    """

    title = "Full fine-tuning"
    trains_together = True
    paper = "Pang et al., Masked Autoencoders for Point Cloud Self-supervised Learning, ECCV 2022"
    starts_as_pretrained = True

    def trainable(self, name: str) -> bool:
        del name
        return True

    @property
    def foldable(self) -> Foldable:
        return "wholly"

    def fold(self, folding: Folding, taps: Any) -> Method:
        return self.head_alone()  # what trained is the backbone's own already
