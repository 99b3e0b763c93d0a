"""Classification of whole clouds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Tokens
from ..backbones.base import BackboneConfig
from ..core.errors import ConfigError, DataLayoutError
from ..core.fields import at_least, share
from ..core.plain import shown
from .base import TASKS, Answer, Head, Measure, Names, Task, check_inputs
from .metrics import classification_scores

if TYPE_CHECKING:
    import numpy as np

    from ..data import Clouds


class ClassificationHead(Head):
    """Point-MAE's head: Linear(·→256) BN ReLU Dropout, Linear(256→256) BN ReLU Dropout, Linear.

    Args:
        dim: token width D.
        inputs: names of the pooled features that are concatenated, see :meth:`Tokens.pool`.
        classes: number of classes.
        hidden: widths of the hidden layers; none makes the head a single linear layer.
        dropout: after each hidden layer.
        batchnorm: in each hidden layer.
    """

    def __init__(
        self, dim: int, inputs: Sequence[str], classes: int, hidden: Sequence[int] = (256, 256),
        dropout: float = 0.5, batchnorm: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inputs = check_inputs(inputs)
        width, layers = dim * len(self.inputs), []
        for wide in hidden:
            norm = [nn.BatchNorm1d(wide)] if batchnorm else []
            layers += [nn.Linear(width, wide), *norm, nn.ReLU(inplace=True), nn.Dropout(dropout)]
            width = wide
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
        hidden: width of the head's two hidden layers; 0 for a single linear layer.
        layers: widths of the hidden layers one by one, where they are not two of ``hidden``.
        batchnorm: in each hidden layer.
        dropout: in the head.
        label_smoothing: share of the target spread over all classes.
    """

    measures = (
        Measure("accuracy", "accuracy"),
        Measure("class_accuracy", "mean of classes"),
        Measure("macro_f1", "macro F1"),
    )
    class_measure = "accuracy %"
    answers = "class"

    hidden: int = 256
    layers: tuple[int, ...] = ()
    batchnorm: bool = True
    dropout: float = 0.5
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "hidden")
        if min(self.layers, default=1) < 1:
            raise ConfigError(f"layers must be widths of at least 1, not {shown(self.layers)}")
        share(self, "dropout", "label_smoothing")

    def names(
        self, classes: Sequence[str], parts: Sequence[str] = (), features: Sequence[str] = ()
    ) -> Names:
        del parts, features
        return Names(tuple(classes))

    def target(self, clouds: Clouds) -> np.ndarray:
        return clouds.labels

    def check(self, clouds: Clouds, split: str) -> None:
        if len(clouds.classes) < 2:
            raise DataLayoutError(
                f"all clouds are of the class {', '.join(clouds.classes)!r}, and two are needed to "
                "tell apart: in a folder of your own, ROOT/CLASS/FILE"
            )

    def make_head(
        self, config: BackboneConfig, inputs: Sequence[str], names: Names
    ) -> ClassificationHead:
        hidden = self.layers or ((self.hidden, self.hidden) if self.hidden else ())
        count = len(names.classes)
        return ClassificationHead(config.dim, inputs, count, hidden, self.dropout, self.batchnorm)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.float(), target, label_smoothing=self.label_smoothing)

    def running(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"accuracy": 100 * (output.argmax(dim=-1) == target).float().mean()}

    def activate(self, output: Tensor) -> Tensor:
        return output.softmax(dim=-1)

    def chosen(self, predicted: Tensor) -> Tensor:
        return predicted.argmax(dim=-1)

    def answer(self, predicted: Tensor, names: Names, top: int = 1) -> Answer:
        values, index = predicted.topk(min(top, len(predicted)))
        labels = [names.classes[k] for k in index.tolist()]
        ranked = tuple(zip(labels, values.tolist(), strict=True))
        return Answer(*ranked[0], top=ranked)

    def truth(self, target: Tensor, names: Names) -> str:
        return names.classes[int(target)]

    def score(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> dict[str, Any]:
        del category
        return classification_scores(predicted, target, names.classes)

    def cloud_scores(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> Tensor:
        """(n,) probability of each cloud's true class, in percent."""
        del names, category
        return 100 * predicted.gather(1, target.unsqueeze(1)).squeeze(1)
