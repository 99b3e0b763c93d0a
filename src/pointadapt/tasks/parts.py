"""What segmentation tasks share: propagation from patches to points, and IoU of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import DataLayoutError
from ..ops import interpolate
from .base import Names


class Propagation(nn.Module):
    """Features of patches carried to all points (PointNet++, §3.4), then two layers on each point.

    Linear(3 + F + C → hidden) BN ReLU on each point's coordinates, its own F features if it has
    any, and the features of its three nearest centres, weighted by inverse squared distance; then
    Linear(hidden → width) BN ReLU.

    Args:
        channels: C of the centres' features.
        hidden: width of the first layer.
        width: of the result.
        own: F of the points' own features.
    """

    def __init__(self, channels: int, hidden: int, width: int, own: int = 0) -> None:
        super().__init__()
        self.linear1, self.norm1 = nn.Linear(3 + own + channels, hidden), nn.BatchNorm1d(hidden)
        self.linear2, self.norm2 = nn.Linear(hidden, width), nn.BatchNorm1d(width)

    def forward(
        self, points: Tensor, centers: Tensor, features: Tensor, own: Tensor | None = None
    ) -> Tensor:
        """(B, N, width) of points (B, N, 3), centres (B, G, 3), their features (B, G, C), and the
        points' own (B, N, F).
        """
        b, n, _ = points.shape
        # The weights sum to 1, so interpolating commutes with a linear layer: it is computed for
        # the G patches instead of the N points.
        skip = points if own is None else torch.cat([points, own], dim=-1)
        w_own, w_patch = self.linear1.weight.split([skip.shape[-1], features.shape[-1]], dim=1)
        carried = F.linear(features, w_patch).float()
        if centers is not points:  # else each point has its own
            carried = interpolate(points, centers, carried)
        x = carried + F.linear(skip, w_own, self.linear1.bias)
        x = F.relu(self.norm1(x.view(b * n, -1)), inplace=True)
        return F.relu(self.norm2(self.linear2(x)), inplace=True).view(b, n, -1)


def parts_by_class(names: Names) -> tuple[tuple[int, ...], ...]:
    """The parts of each class: those called "class/part".

    Raises:
        DataLayoutError: a class has no part.
    """
    found = []
    for name in names.classes:
        own = [i for i, part in enumerate(names.parts) if part.rpartition("/")[0] == name]
        if not own:
            raise DataLayoutError(
                f"class {name!r} has no part among the part names, which must read "
                f"'class/part' (such as {', '.join(names.parts[:2]) or 'chair/leg'})"
            )
        found.append(tuple(own))
    return tuple(found)


def part_mask(names: Names) -> Tensor:
    """(classes, parts) bool: which parts a cloud of each class may have."""
    mask = torch.zeros(len(names.classes), len(names.parts), dtype=torch.bool)
    for row, parts in enumerate(parts_by_class(names)):
        mask[row, list(parts)] = True
    return mask


def shape_ious(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """(n,) IoU of each cloud: the mean over the parts of its class.

    A part that is neither in the cloud nor predicted counts 1 (PointNet, §5.1).

    Args:
        predicted: (n, N) part of each point.
        target: (n, N) its true part.
        mask: (n, parts) bool, the parts that the class of each cloud has.
    """
    n, parts = mask.shape
    first = parts * torch.arange(n).unsqueeze(1)

    def count(labels: Tensor) -> Tensor:
        return torch.bincount(labels.flatten(), minlength=n * parts).view(n, parts).double()

    both = count((first + target)[predicted == target])
    either = count(first + target) + count(first + predicted) - both
    iou = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    return (iou * mask).sum(dim=1) / mask.sum(dim=1)


def part_scores(
    predicted: Tensor, target: Tensor, names: Names, category: Tensor
) -> dict[str, Any]:
    """The field's scores of part segmentation, in percent.

    Returns:
        ``instance_miou`` (mean IoU over clouds), ``class_miou`` (mean over classes of the mean over
        their clouds), ``accuracy`` (of points), ``per_class`` (IoU by class name), ``count``.
    """
    ious = 100.0 * shape_ious(predicted, target, part_mask(names)[category])
    per_class = {
        name: float(ious[category == k].mean())
        for k, name in enumerate(names.classes)
        if (category == k).any()
    }
    return {
        "instance_miou": round(float(ious.mean()), 4),
        "class_miou": round(sum(per_class.values()) / len(per_class), 4),
        "accuracy": round(100.0 * float((predicted == target).double().mean()), 4),
        "per_class": {name: round(value, 2) for name, value in per_class.items()},
        "count": len(target),
    }


def thirds(depth: int) -> tuple[int, ...]:
    """Numbers, from 0, of the blocks that end the first and the second third: 3 and 7 of 12."""
    return tuple(sorted({max(1, round(depth * k / 3)) - 1 for k in (1, 2)} - {depth - 1}))


def one_hot(category: Tensor, classes: Sequence[str]) -> Tensor:
    """(B,) class numbers to (B, classes) float32."""
    return F.one_hot(category, len(classes)).float()
