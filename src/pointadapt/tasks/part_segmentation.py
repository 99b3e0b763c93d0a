"""Part segmentation: which part of its object each point belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Tokens
from ..backbones._base import BackboneConfig
from ..errors import ConfigError, DataLayoutError
from ..options import at_least, share
from ._base import TASKS, Head, Names, Task, check_inputs
from ._parts import Propagation, one_hot, part_mask, part_scores, parts_by_class, thirds

if TYPE_CHECKING:
    import numpy as np

    from ..data import Clouds

LABEL_WIDTH = 64  # of the embedded class


class PartSegmentationHead(Head):
    """Point-MAE's segmentation head (Pang et al., ECCV 2022, and the released code).

    The tokens after each third of the blocks (4, 8 and 12 of 12), normalised, are concatenated:
    3 D. Patches are carried to the points (:class:`Propagation`, 4 D hidden). Every point also gets
    the pooled ``inputs`` (3 D each) and the embedded class. Then Linear BN ReLU Dropout, Linear BN
    ReLU, and Linear to the parts. For 16 classes of 50 parts on D = 384: 5,238,706 parameters.

    Args:
        config: size of the backbone.
        inputs: names of the pooled features, see :meth:`Tokens.pool`.
        names: of the classes and parts.
        task: the options.
    """

    def __init__(
        self, config: BackboneConfig, inputs: Sequence[str], names: Names, task: PartSegmentation
    ) -> None:
        super().__init__()
        self.inputs, self.names, self.blocks = check_inputs(inputs), names, thirds(config.depth)
        channels = config.dim * (1 + len(self.blocks))
        wide, narrow = task.hidden
        pooled = channels * len(self.inputs)
        self.label = None
        if task.category:
            pooled += LABEL_WIDTH
            self.label = nn.Sequential(
                nn.Linear(len(names.classes), LABEL_WIDTH, bias=False),
                nn.BatchNorm1d(LABEL_WIDTH),
                nn.LeakyReLU(0.2),
            )
        self.propagation = Propagation(channels, config.hidden, task.width)
        self.linear1, self.norm1 = nn.Linear(task.width + pooled, wide), nn.BatchNorm1d(wide)
        self.dropout = nn.Dropout(task.dropout)
        self.linear2, self.norm2 = nn.Linear(wide, narrow), nn.BatchNorm1d(narrow)
        self.linear3 = nn.Linear(narrow, len(names.parts))

    def forward(
        self, tokens: Tokens, points: Tensor | None = None, category: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Logits (B, N, parts) of the points (B, N, 3) of clouds of these classes (B,)."""
        del features
        if points is None:
            raise ConfigError("part segmentation needs the points besides the tokens")
        levels = (*tokens.hidden, tokens)
        patches = torch.cat([t.x[:, t.prefix + t.prompts :] for t in levels], dim=-1)
        x = self.propagation(points, tokens.centers, patches)
        # What is the same for all points of a cloud goes through its share of the layer once.
        b, n, width = x.shape
        w_own, w_pooled = self.linear1.weight.split(
            [width, self.linear1.in_features - width], dim=1
        )
        shared = F.linear(self.pooled(levels, category), w_pooled, self.linear1.bias)
        x = (F.linear(x, w_own) + shared.unsqueeze(1)).view(b * n, -1)
        x = self.dropout(F.relu(self.norm1(x), inplace=True))
        x = F.relu(self.norm2(self.linear2(x)), inplace=True)
        return self.linear3(x).view(b, n, -1)

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


@TASKS.register("part_segmentation")
@dataclass(frozen=True)
class PartSegmentation(Task):
    """Cross-entropy on the part of each point; scored by mean IoU.

    By default the pooled features are the maximum and the mean over patches *and* prompts, so that
    DAPT's internal prompts join the global information and the head keeps the published size.

    Attributes:
        category: tell the head the class of each cloud (one-hot, embedded), as the field does.
        restrict: only the parts of the cloud's class compete in prediction, as in the field.
        width: features of each point after propagation.
        hidden: widths of the two hidden layers.
        dropout: after the first of them.
        label_smoothing: share of the target spread over all parts.
    """

    metric = "instance_miou"
    head_inputs = ("token_max", "token_mean")
    per_point = True
    batch = 16

    category: bool = True
    restrict: bool = True
    width: int = 1024
    hidden: tuple[int, int] = (512, 256)
    dropout: float = 0.5
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 1, "width")
        share(self, "dropout", "label_smoothing")
        if min(self.hidden) < 1:
            raise ConfigError(f"hidden must be two widths of at least 1, not {self.hidden}")

    @property
    def given_class(self) -> bool:
        return self.category

    def names(
        self, classes: Sequence[str], parts: Sequence[str] = (), features: Sequence[str] = ()
    ) -> Names:
        del features
        if not parts:
            raise DataLayoutError(
                "part segmentation needs a part label for each point, which these data do not "
                "have: use shapenetpart, lpsb or shapes, or --task classification"
            )
        names = Names(tuple(classes), tuple(parts))
        parts_by_class(names)
        return names

    def make_head(
        self, config: BackboneConfig, inputs: Sequence[str], names: Names
    ) -> PartSegmentationHead:
        return PartSegmentationHead(config, inputs, names, self)

    def target(self, clouds: Clouds) -> np.ndarray:
        assert clouds.parts is not None  # names() refuses data without
        return clouds.parts

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        flat = output.float().flatten(0, -2)
        return F.cross_entropy(flat, target.flatten(), label_smoothing=self.label_smoothing)

    def predict(self, probabilities: Tensor, category: Tensor | None, names: Names) -> Tensor:
        """(B, N) most probable part of each point, of those that compete."""
        known = probabilities
        if self.restrict and category is not None:
            others = ~part_mask(names).to(known.device)[category.to(known.device)]
            known = known.masked_fill(others.unsqueeze(1), -1.0)
        finite = probabilities.isfinite().all(dim=-1)
        return known.argmax(dim=-1).masked_fill(~finite, -1)

    def score(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> dict[str, Any]:
        return part_scores(predicted, target, names, category)
