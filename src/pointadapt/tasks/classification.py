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
from .base import TASKS, Answer, Head, Measure, Names, Task
from .forest import Forest, mixed
from .frozen_fit import FrozenFit
from .inputs import HeadInputs, needed
from .metrics import classification_scores
from .pairs import voting

if TYPE_CHECKING:
    import numpy as np

    from ..data import Clouds


LEAVES = 256  # of a tree of the forest


class ClassificationHead(Head):
    """Point-MAE's head: Linear(·→256) BN ReLU Dropout, Linear(256→256) BN ReLU Dropout, Linear.

    Args:
        dim: token width D.
        inputs: what it is given, side by side, see :mod:`pointadapt.tasks.inputs`.
        classes: number of classes.
        hidden: widths of the hidden layers; none makes the head a single linear layer.
        dropout: after each hidden layer.
        batchnorm: in each hidden layer.
        depth: blocks of the backbone, for inputs of earlier ones.
        linear: a fixed linear map of the inputs is added to the output: 0 until :meth:`begin_at`
            sets it.
        pairs: what is linear gives a number for each pair of classes, which vote; see
            :class:`Votes`. Of more than ``MOST_PAIRED`` classes one for each class.
        forest: trees of a forest on the traits of the clouds, fitted before training. The layers
            train without it; in prediction the logarithms of both answers are averaged.
        frozen_fit: answers beside both, from what the frozen backbone makes of the cloud.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, dim: int, inputs: Sequence[str], classes: int,
        hidden: Sequence[int] = (256, 256), dropout: float = 0.5, batchnorm: bool = True,
        depth: int = 1, linear: bool = False, pairs: bool = False, forest: int = 0,
        frozen_fit: FrozenFit | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.given = given = HeadInputs(inputs, dim, depth)
        self.blocks, self.takes_traits, self.kinds = given.blocks, given.takes_traits, given.kinds
        self.row_names = tuple(item.name for item in given.items)
        votes = voting(classes) if pairs else None
        self.linear, self.pairs = linear, votes is not None
        outputs = votes.pairs if votes is not None else classes
        if linear:
            self.register_buffer("weight", torch.zeros(outputs, given.width))
            self.register_buffer("bias", torch.zeros(outputs))
        self.votes = votes if votes is not None else nn.Identity()
        width, layers = given.width, []
        for wide in hidden:
            norm = [nn.BatchNorm1d(wide)] if batchnorm else []
            layers += [nn.Linear(width, wide), *norm, nn.ReLU(inplace=True), nn.Dropout(dropout)]
            width = wide
        self.whole = not (layers or linear)  # the head is the linear map and nothing else
        last = nn.Linear(width, outputs if self.whole else classes)
        self.layers = nn.Sequential(*layers, last)
        self.forest = Forest(classes, forest, LEAVES) if forest else None
        self.frozen_fit = frozen_fit
        beside = self.forest is not None or frozen_fit is not None
        self.takes_traits = given.takes_traits or beside

    def forward(
        self, tokens: Tokens, points: Tensor | None = None, category: Tensor | None = None,
        features: Tensor | None = None, traits: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Logits (B, classes)."""
        del points, category, features
        out = self.from_rows(self.given(tokens, traits))
        if self.forest is None or self.training:
            return out
        return mixed(out, self.forest(needed(traits, "a forest on the traits")))

    def from_rows(self, rows: Tensor) -> Tensor:
        out = self.layers(rows)
        if self.linear:
            return out + self.votes(F.linear(rows, self.weight, self.bias))
        return self.votes(out) if self.whole else out

    def see(self, traits: Tensor) -> None:
        super().see(traits)
        self.given.see(traits)

    def learn(self, features: np.ndarray, labels: np.ndarray, seed: int) -> None:
        if self.forest is not None:
            self.forest.learn(features, labels, seed)

    def sizes(self) -> tuple[float, float] | None:
        return self.given.sizes()

    def rows(self, tokens: Tokens, traits: Tensor | None = None) -> Tensor:
        return self.given(tokens, traits)

    @torch.no_grad()
    def begin_at(self, weight: Tensor, bias: Tensor) -> None:
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        if self.linear:  # what trains begins as 0
            self.weight.copy_(weight)
            self.bias.copy_(bias)
            last.weight.zero_()
            last.bias.zero_()
        elif self.whole:
            last.weight.copy_(weight)
            last.bias.copy_(bias)
        else:
            super().begin_at(weight, bias)


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
        linear: the head has a fixed linear map beside its layers, which ``--start`` fits.
        pairs: what is linear gives a number for each pair of up to 16 classes, which vote.
        forest: trees of a random forest on each cloud's size, shape and profile (of 512 clouds or
            fewer, of extremely randomized trees), which is fitted to the training clouds first,
            kept with the adapter, and asked in prediction as well; 0 for none.
        instant: what the method ``instant`` fits to the frozen backbone, in seconds, is kept with
            the adapter as well, and asked beside the network. Predicting takes a pass through the
            frozen backbone more.
    """

    measures = (
        Measure("accuracy", "accuracy"),
        Measure("class_accuracy", "mean of classes"),
        Measure("macro_f1", "macro F1"),
    )
    class_measure = "accuracy %"
    answers = "class"
    one_class = True
    linear_form = True

    hidden: int = 256
    layers: tuple[int, ...] = ()
    batchnorm: bool = True
    dropout: float = 0.5
    label_smoothing: float = 0.0
    linear: bool = False
    pairs: bool = False
    forest: int = 0
    instant: bool = False

    def __post_init__(self) -> None:
        at_least(self, 0, "hidden", "forest")
        if min(self.layers, default=1) < 1:
            raise ConfigError(f"layers must be widths of at least 1, not {shown(self.layers)}")
        share(self, "dropout", "label_smoothing")

    def given_traits(self, inputs: Sequence[str]) -> bool:
        return bool(self.forest or self.instant) or super().given_traits(inputs)

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

    @property
    def begins_linear(self) -> bool:
        return self.linear or not (self.hidden or self.layers)

    def make_head(
        self, config: BackboneConfig, inputs: Sequence[str], names: Names
    ) -> ClassificationHead:
        hidden = self.layers or ((self.hidden, self.hidden) if self.hidden else ())
        count = len(names.classes)
        others = 2 if self.forest else 1  # voices that it joins, which all count alike
        beside = FrozenFit(config, count, 1 / (1 + others)) if self.instant else None
        return ClassificationHead(
            config.dim, inputs, count, hidden, self.dropout, self.batchnorm, config.depth,
            self.linear, self.pairs, self.forest, beside,
        )  # fmt: skip

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
