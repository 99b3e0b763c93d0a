"""Scene segmentation: what each point of a block of a scene belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import DataLayoutError
from ..core.fields import at_least
from .base import TASKS, Measure, Names
from .metrics import confusion_matrix, segmentation_scores
from .point_head import IGNORE, PointTask

if TYPE_CHECKING:
    from ..data import Clouds


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
        balance: rare classes weigh more in the loss, by (largest count / own count) to this power
            over the training points: 0 not at all, 1/3 as in that code.
        class_weights: what ``balance`` comes to, one for each label; training sets it.
    """

    measures = (
        Measure("miou", "mIoU"),
        Measure("accuracy", "points right"),
        Measure("class_accuracy", "mean of classes"),
    )
    class_measure = "IoU %"
    answers = "class"
    predictor = "scenes"

    features: bool = True
    balance: float = 0.0
    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 0, "balance")

    def names(
        self, classes: Sequence[str], parts: Sequence[str] = (), features: Sequence[str] = ()
    ) -> Names:
        if not parts:
            raise DataLayoutError(
                "scene segmentation needs a label for each point, which these data do not have: "
                "use s3dis or folder_segmentation, or --task classification"
            )
        return Names(tuple(classes), tuple(parts), tuple(features) if self.features else ())

    def fitted(self, clouds: Clouds) -> SceneSegmentation:
        """The task with its ``class_weights``; classes that do not occur weigh 1."""
        if not self.balance:
            return self
        labels = self.target(clouds)
        counts = np.bincount(labels[labels != IGNORE], minlength=len(clouds.part_names))
        weights = (counts.max() / np.maximum(counts, 1)) ** self.balance
        return replace(self, class_weights=tuple(np.where(counts, weights, 1.0).tolist()))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Weighted mean over the labelled points; 0 where there is none."""
        flat, labels = output.float().flatten(0, -2), target.flatten()
        known = labels != IGNORE
        weight = _on(self.class_weights, flat.device) if self.class_weights else None
        total = F.cross_entropy(
            flat, labels, weight, label_smoothing=self.label_smoothing, ignore_index=IGNORE,
            reduction="sum",
        )  # fmt: skip
        # Products, not a choice of rows, whose number a captured step could not know.
        whole = (known if weight is None else weight[labels.clamp(min=0)] * known).sum()
        return total / whole.clamp(min=1e-6)

    def score(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> dict[str, Any]:
        """See :func:`pointadapt.tasks.metrics.segmentation_scores`; ``count`` is the number of
        blocks.
        """
        del category
        known = target != IGNORE
        matrix = confusion_matrix(predicted[known], target[known], len(names.parts))
        return {**segmentation_scores(matrix, names.parts), "count": len(target)}


@lru_cache(maxsize=8)
def _on(weights: tuple[float, ...], device: torch.device) -> Tensor:
    """The weights, copied there once: a captured step may not copy from the host."""
    return torch.tensor(weights, dtype=torch.float32, device=device)
