"""Linear probe: the backbone is frozen, the head alone trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..backbones import Folding
from .base import METHODS, Foldable, Method


@METHODS.register("linear_probe")
@dataclass(frozen=True)
class LinearProbe(Method):
    """Trains the task's head on frozen features.

    The field's tables mean by it the usual three-layer head (0.3 M in DAPT, Tab. 6); the task's
    ``hidden=0`` gives a single linear layer. BatchNorm stays as pre-trained by default: a probe
    should measure the features as they are.

    Trainable on ``small`` with 15 classes: the head on CLS ⊕ max(patches), of 768 · 256 + 256 ·
    256 weights, 15 · 256 for the classes, biases and two BatchNorms; in all 267,535.
    """

    title = "Linear probe"
    trains_together = True
    paper = "common practice; figure in Zhou et al., DAPT, CVPR 2024, Tab. 6"
    stacks = True
    starts_as_pretrained = True

    batchnorm: Literal["train", "frozen"] = "frozen"

    @property
    def foldable(self) -> Foldable:
        return "wholly"

    def fold(self, folding: Folding, taps: Any) -> Method:
        return self.head_alone()  # what trained is the backbone's own already
