"""Classification of whole clouds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Tokens
from ..backbones.base import BackboneConfig
from ..core.fields import at_least, share
from .base import TASKS, Head, Names, Task, check_inputs
from .metrics import classification_scores


class ClassificationHead(Head):
    """Point-MAE's head: Linear(·→256) BN ReLU Dropout, Linear(256→256) BN ReLU Dropout, Linear.

    Args:
        dim: token width D.
        inputs: names of the pooled features that are concatenated, see :meth:`Tokens.pool`.
        classes: number of classes.
        hidden: width of the hidden layers; 0 makes the head a single linear layer.
        dropout: after each hidden layer.
    """

    def __init__(
        self, dim: int, inputs: Sequence[str], classes: int, hidden: int = 256, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.inputs = check_inputs(inputs)
        width, layers = dim * len(self.inputs), []
        for _ in range(2 if hidden else 0):
            layers += [
                nn.Linear(width, hidden),
                nn.BatchNorm1d(hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
            ]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, classes))

    def forward(
        self, tokens: Tokens, points: Tensor | None = None, category: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Logits (B, classes)."""
        del points, category, features
        return self.layers(torch.cat([tokens.pool(name) for name in self.inputs], dim=-1))


@TASKS.register("classification")
@dataclass(frozen=True)
class Classification(Task):
    """Cross-entropy on one label a cloud.

    Attributes:
        hidden: width of the head's hidden layers; 0 for a single linear layer.
        dropout: in the head.
        label_smoothing: share of the target spread over all classes.
    """

    metric = "accuracy"

    hidden: int = 256
    dropout: float = 0.5
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "hidden")
        share(self, "dropout", "label_smoothing")

    def make_head(
        self, config: BackboneConfig, inputs: Sequence[str], names: Names
    ) -> ClassificationHead:
        count = len(names.classes)
        return ClassificationHead(config.dim, inputs, count, self.hidden, self.dropout)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.float(), target, label_smoothing=self.label_smoothing)

    def score(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> dict[str, Any]:
        del category
        return classification_scores(predicted, target, names.classes)
