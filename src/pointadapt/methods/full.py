"""Full fine-tuning: every parameter trains."""

from __future__ import annotations

from dataclasses import dataclass

from ._base import METHODS, Method


@METHODS.register("full")
@dataclass(frozen=True)
class Full(Method):
    """Fine-tunes the whole network as Point-MAE does (position added in every block).

    Trainable on ``small`` with 15 classes and the CLS ⊕ max(patches) head: 22,093,327.
    """

    title = "Full fine-tuning"
    paper = "Pang et al., Masked Autoencoders for Point Cloud Self-supervised Learning, ECCV 2022"
    starts_as_pretrained = True

    def trainable(self, name: str) -> bool:
        del name
        return True
