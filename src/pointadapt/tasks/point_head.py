"""What tasks that label points share: Point-MAE's segmentation head, its options, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Tokens
from ..backbones.base import BackboneConfig
from ..core.errors import ConfigError, DataLayoutError
from ..core.fields import at_least, share
from .base import Head, Names, Task
from .forest import Forest, mixed
from .inputs import pooled_inputs
from .parts import Propagation, one_hot, thirds

if TYPE_CHECKING:
    import numpy as np

    from ..data import Clouds

LABEL_WIDTH = 64  # of the embedded class
IGNORE = -1  # the label of points that nobody labelled


class PointHead(Head):
    """Point-MAE's segmentation head (Pang et al., ECCV 2022, and the released code).

    The tokens after each third of the blocks (4, 8 and 12 of 12), normalised, are concatenated:
    3 D. Patches are carried to the points (:class:`Propagation`, 4 D hidden), whose own coordinates
    and features join there. Every point also gets the pooled ``inputs`` (3 D each) and, if the task
    is told it, the embedded class. Then Linear BN ReLU Dropout, Linear BN ReLU, and Linear to the
    labels. For 16 classes of 50 parts on D = 384: 5,238,706 parameters.

    Each feature is brought to mean 0 and deviation 1 by a BatchNorm without weights of its own, so
    that colours from 0 to 1 and intensities as a scanner stores them weigh alike. With the task's
    ``linear``, a linear map of these features, which begins as 0, is added to the output: what a
    height or a colour tells by itself need not pass through the other layers.

    With the task's ``forest``, a random forest on these features is fitted before training
    (:meth:`learn`). The layers train without it. What is predicted is the mean of both
    answers' logarithms: the forest is sharp where a height decides, the network sees what is around
    (``docs/decisions/a-forest-beside-the-network.md``).

    Args:
        config: size of the backbone.
        inputs: names of the pooled features, see :meth:`Tokens.pool`.
        names: of the classes, the labels of points and their features.
        task: the options.
    """

    def __init__(
        self, config: BackboneConfig, inputs: Sequence[str], names: Names, task: PointTask
    ) -> None:
        super().__init__()
        self.inputs, self.names, self.blocks = pooled_inputs(inputs), names, thirds(config.depth)
        channels = config.dim * (1 + len(self.blocks))
        wide, narrow = task.hidden
        pooled = channels * len(self.inputs)
        self.label = None
        if task.given_class:
            pooled += LABEL_WIDTH
            self.label = nn.Sequential(
                nn.Linear(len(names.classes), LABEL_WIDTH, bias=False),
                nn.BatchNorm1d(LABEL_WIDTH),
                nn.LeakyReLU(0.2),
            )
        own = len(names.features)
        self.scale = nn.BatchNorm1d(own, affine=False) if own else None
        self.propagation = Propagation(channels, config.hidden, task.width, own)
        self.linear1, self.norm1 = nn.Linear(task.width + pooled, wide), nn.BatchNorm1d(wide)
        self.dropout = nn.Dropout(task.dropout)
        self.linear2, self.norm2 = nn.Linear(wide, narrow), nn.BatchNorm1d(narrow)
        self.linear3 = nn.Linear(narrow, len(names.parts))
        self.beside = None
        if own and task.linear:
            self.beside = nn.Linear(own, len(names.parts), bias=False)
            nn.init.zeros_(self.beside.weight)
        self.forest = Forest(len(names.parts), task.forest) if own and task.forest else None

    def learn(self, features: np.ndarray, labels: np.ndarray, seed: int) -> None:
        if self.forest is not None:
            self.forest.learn(features.reshape(-1, features.shape[-1]), labels.ravel(), seed)

    def forward(
        self, tokens: Tokens, points: Tensor | None = None, category: Tensor | None = None,
        features: Tensor | None = None, traits: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Logits (B, N, labels) of the points (B, N, 3), which have these features (B, N, C)."""
        del traits
        if points is None:
            raise ConfigError("labelling points needs the points besides the tokens")
        levels = (*tokens.hidden, tokens)
        patches = torch.cat([t.x[:, t.prefix + t.prompts :] for t in levels], dim=-1)
        own = self._scaled(points, features)
        x = self.propagation(points, tokens.centers, patches, own)
        # What is the same for all points of a cloud goes through its share of the layer once.
        b, n, width = x.shape
        w_own, w_pooled = self.linear1.weight.split(
            [width, self.linear1.in_features - width], dim=1
        )
        shared = F.linear(self.pooled(levels, category), w_pooled, self.linear1.bias)
        x = (F.linear(x, w_own) + shared.unsqueeze(1)).view(b * n, -1)
        x = self.dropout(F.relu(self.norm1(x), inplace=True))
        x = F.relu(self.norm2(self.linear2(x)), inplace=True)
        x = self.linear3(x).view(b, n, -1)
        if self.beside is not None and own is not None:
            x = x + self.beside(own)
        return x if self.training or features is None else self._with_forest(x, features)

    def pooled(self, levels: Sequence[Tokens], category: Tensor | None) -> Tensor:
        """(B, ·) what is known of each cloud as a whole."""
        parts = [t.pool(name) for name in self.inputs for t in levels]
        if self.label is not None:
            if category is None:
                raise ConfigError(
                    "this part segmentation is told the class of each cloud: model(points, "
                    "category), category (B,) numbers of model.classes"
                )
            parts.append(self.label(one_hot(category, self.names.classes)))
        return torch.cat(parts, dim=-1)

    def _with_forest(self, output: Tensor, features: Tensor) -> Tensor:
        """The output (B, N, labels) mixed with what the forest says of features (B, N, C)."""
        if self.forest is None:
            return output
        said = self.forest(features.flatten(0, 1)).view(output.shape)
        return mixed(output, said)

    def _scaled(self, points: Tensor, features: Tensor | None) -> Tensor | None:
        """(B, N, C) what joins the points; None for a head that takes no features."""
        names = self.names.features
        if self.scale is None:
            return None
        want = (*points.shape[:2], len(names))
        if features is None or features.shape != want:
            given = "none" if features is None else tuple(features.shape)
            raise ConfigError(
                f"this model was trained with {', '.join(names)} of each point: pass "
                f"features={want}, not {given}"
            )
        flat = features.to(points.dtype).flatten(0, 1)
        return self.scale(flat).view(want)


@dataclass(frozen=True)
class PointTask(Task):
    """Base of the tasks that label points: cross-entropy on the label of each.

    By default the pooled features are the maximum and the mean over patches *and* prompts, so that
    DAPT's internal prompts join the global information and the head keeps the published size.

    Attributes:
        width: features of each point after propagation.
        hidden: widths of the two hidden layers.
        dropout: after the first of them.
        label_smoothing: share of the target spread over all labels.
        linear: a linear map of the points' features beside the layers.
        forest: trees of a random forest on the points' features that is fitted to the training
            points first, kept with the adapter, and asked in prediction as well; 0 for none.
    """

    head_inputs = ("token_max", "token_mean")
    per_point = True
    batch = 16
    predictor = "points"

    width: int = 1024
    hidden: tuple[int, int] = (512, 256)
    dropout: float = 0.5
    label_smoothing: float = 0.0
    linear: bool = False
    forest: int = 0

    def __post_init__(self) -> None:
        at_least(self, 1, "width")
        at_least(self, 0, "forest")
        share(self, "dropout", "label_smoothing")
        if min(self.hidden) < 1:
            raise ConfigError(f"hidden must be two widths of at least 1, not {self.hidden}")

    def make_head(self, config: BackboneConfig, inputs: Sequence[str], names: Names) -> PointHead:
        return PointHead(config, inputs, names, self)

    def target(self, clouds: Clouds) -> np.ndarray:
        assert clouds.parts is not None  # names() refuses data without
        return clouds.parts

    def check(self, clouds: Clouds, split: str) -> None:
        if not (self.target(clouds) >= 0).any():
            raise DataLayoutError(
                f"no point of the {split} split is labelled, so there is nothing to score"
            )

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        flat = output.float().flatten(0, -2)
        return F.cross_entropy(flat, target.flatten(), label_smoothing=self.label_smoothing)

    def running(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Share of the labelled points that the output gets right, in percent."""
        known = target != IGNORE
        right = (output.argmax(dim=-1) == target) & known
        return {"accuracy": 100 * right.sum() / known.sum().clamp(min=1)}

    def activate(self, output: Tensor) -> Tensor:
        return output.softmax(dim=-1)

    def predict(self, probabilities: Tensor, category: Tensor | None, names: Names) -> Tensor:
        """(B, N) most probable label of each point."""
        del category, names
        return most_probable(probabilities, probabilities)

    def chosen(self, predicted: Tensor) -> Tensor:
        return predicted

    def cloud_scores(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> Tensor:
        """(n,) share of each cloud's labelled points (n, N) that are right, in percent."""
        del names, category
        known = target != IGNORE
        right = ((predicted == target) & known).double().sum(dim=1)
        return 100 * right / known.sum(dim=1).clamp(min=1)


def most_probable(competing: Tensor, probabilities: Tensor) -> Tensor:
    """(B, N) best label among ``competing``; -1 where the ``probabilities`` are NaN."""
    finite = probabilities.isfinite().all(dim=-1)
    return competing.argmax(dim=-1).masked_fill(~finite, -1)
