"""Part segmentation: which part of its object each point belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.errors import DataLayoutError
from .base import TASKS, Measure, Names
from .parts import part_mask, part_scores, parts_by_class, shape_ious
from .point_head import PointTask, most_probable

if TYPE_CHECKING:
    from ..data import Clouds


@TASKS.register("part_segmentation")
@dataclass(frozen=True)
class PartSegmentation(PointTask):
    """Cross-entropy on the part of each point; scored by mean IoU.

    Head, and what else there is to choose: see :mod:`pointadapt.tasks.point_head`.

    Attributes:
        category: tell the head the class of each cloud (one-hot, embedded), as the field does.
        restrict: only the parts of the cloud's class compete in prediction, as in the field.
    """

    measures = (
        Measure("instance_miou", "instance mIoU"),
        Measure("class_miou", "mean of classes"),
        Measure("accuracy", "points right"),
    )
    class_measure = "mIoU %"
    answers = "part"

    category: bool = True
    restrict: bool = True

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

    def fitted(self, clouds: Clouds) -> PartSegmentation:
        """The task as it is.

        Raises:
            DataLayoutError: a point has no label.
        """
        target = self.target(clouds)
        _check_labelled(int((target < 0).sum()), target.size)
        return self

    def predict(self, probabilities: Tensor, category: Tensor | None, names: Names) -> Tensor:
        """(B, N) most probable part of each point, of those that compete."""
        others = self._others(probabilities, category, names)
        known = probabilities if others is None else probabilities.masked_fill(others, -1.0)
        return most_probable(known, probabilities)

    def competing(self, probabilities: Tensor, category: Tensor | None, names: Names) -> Tensor:
        """(B, N, parts): shared among the parts of the cloud's class where only these compete."""
        others = self._others(probabilities, category, names)
        if others is None:
            return probabilities
        own = probabilities.masked_fill(others, 0.0)
        return own / own.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(own.dtype).tiny)

    def _others(self, known: Tensor, category: Tensor | None, names: Names) -> Tensor | None:
        """(B, 1, parts) bool, the parts that do not compete; None if all do."""
        if not self.restrict or category is None:
            return None
        return ~part_mask(names).to(known.device)[category.to(known.device)].unsqueeze(1)

    def score(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> dict[str, Any]:
        _check_labelled(int((target < 0).sum()), target.numel())
        return part_scores(predicted, target, names, category)

    def cloud_scores(
        self, predicted: Tensor, target: Tensor, names: Names, category: Tensor
    ) -> Tensor:
        """(n,) IoU of each cloud in percent, of which the mean is the instance mIoU."""
        return 100 * shape_ious(predicted, target, part_mask(names)[category])


def _check_labelled(without: int, points: int) -> None:
    if without:
        raise DataLayoutError(
            f"{without:,} of {points:,} points have no part (-1): label them, or use --task "
            "scene_segmentation, which leaves them out"
        )
