"""Scene segmentation: what each point of a block of a scene belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..errors import DataLayoutError
from ..metrics import confusion_matrix, segmentation_scores
from ._base import TASKS, Names
from ._point_head import PointTask

IGNORE = -1  # the label of points that nobody labelled


@TASKS.register("scene_segmentation")
@dataclass(frozen=True)
class SceneSegmentation(PointTask):
    """Cross-entropy on the label of each point; scored by OA, mAcc and mIoU over all of them.

    The head is Point-MAE's segmentation head without a class of the cloud, as in the released code
    of ACT (Dong et al., ICLR 2023) for S3DIS. The frozen backbone sees coordinates alone; colours
    and whatever else the data have of each point join them at the propagation's skip connection.
    Points with the label -1 count neither in the loss nor in the scores.

    Attributes:
        features: use them. Released code of Point-MAE's line (ACT) uses coordinates alone.
    """

    metric = "miou"

    features: bool = True

    def names(
        self, classes: Sequence[str], parts: Sequence[str] = (), features: Sequence[str] = ()
    ) -> Names:
        if not parts:
            raise DataLayoutError(
                "scene segmentation needs a label for each point, which these data do not have: "
                "use s3dis or folder_segmentation, or --task classification"
            )
        return Names(tuple(classes), tuple(parts), tuple(features) if self.features else ())

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over the labelled points; 0 where there is none."""
        flat, labels = output.float().flatten(0, -2), target.flatten()
        total = F.cross_entropy(
            flat, labels, label_smoothing=self.label_smoothing, ignore_index=IGNORE,
            reduction="sum",
        )  # fmt: skip
        return total / (labels != IGNORE).sum().clamp(min=1)

    def accuracy(self, output: Tensor, target: Tensor) -> Tensor:
        known = target != IGNORE
        right = (output.argmax(dim=-1) == target) & known
        return right.sum() / known.sum().clamp(min=1)

    def score(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> dict[str, Any]:
        """See :func:`pointadapt.metrics.segmentation_scores`; ``count`` is the number of blocks."""
        del category
        known = target != IGNORE
        matrix = confusion_matrix(predicted[known], target[known], len(names.parts))
        return {**segmentation_scores(matrix, names.parts), "count": len(target)}
