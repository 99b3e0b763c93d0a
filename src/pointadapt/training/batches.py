"""What the network gets of a step: points, targets and what else its head is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Generator, Tensor

from ..adapters.model import Adapter, told_of
from ..data import Clouds
from ..data.transforms import augment_along, resample_along
from .device_arrays import Resident
from .sampled_once import FirstPoints


@dataclass(frozen=True)
class Batch:
    """A share of the training clouds, augmented.

    Attributes:
        points: (B, n, 3).
        target: (B, …) the truth of clouds, or (B, n, …) of points.
        told: what else the model takes, by name: see :func:`told_of`.
    """

    points: Tensor
    target: Tensor
    told: dict[str, Tensor]


def training_batch(
    clouds: Clouds, truth: np.ndarray, at: np.ndarray, adapter: Adapter, n: int,
    augmentations: Sequence[str], g: Generator, there: Resident, first: FirstPoints | None = None,
) -> Batch:  # fmt: skip
    """The clouds ``at``, prepared, ``n`` points of each, augmented with draws from ``g``.

    They come from ``there``, and are where it is. ``truth`` is the task's target of all clouds.
    ``first`` remembers the sampling of clouds from epoch to epoch, where coordinates are all.
    """

    def put(array: np.ndarray | None) -> Tensor | None:
        return None if array is None else there.rows(array, at)

    task = adapter.task
    points, target = put(clouds.points), put(truth)
    category = put(clouds.labels) if task.given_class else None
    features = put(clouds.features) if adapter.names.features else None
    traits = put(clouds.known_traits) if adapter.head.takes_traits else None
    assert points is not None and target is not None
    # Whatever belongs to points goes where they go.
    along = [x for x in (target if task.per_point else None, features) if x is not None]
    points = adapter.prepared(points)
    if first is not None and not along:
        points = first(at, points)
    points, along = resample_along(points, along, n, g)
    points, along = augment_along(points, along, augmentations, g)
    target = along[0] if task.per_point else target
    features = None if features is None else along[-1]
    return Batch(points, target, told_of(adapter, category, features, traits))
