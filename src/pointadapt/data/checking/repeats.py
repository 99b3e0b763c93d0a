"""Clouds that are in the data twice: tested on what was trained on, a score is too good."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from ...core.notes import note
from ..base import Clouds


def shared_clouds(train: Clouds, test: Clouds) -> list[tuple[int, int]]:
    """(i, j) for each test cloud j whose points are exactly those of the training cloud i."""
    seen = {_digest(points): i for i, points in enumerate(train.points)}
    pairs = [(seen.get(_digest(points)), j) for j, points in enumerate(test.points)]
    return [(i, j) for i, j in pairs if i is not None]


def repeated_clouds(clouds: Clouds) -> list[tuple[int, int]]:
    """(i, j) for each cloud j whose points are exactly those of an earlier one, i the first."""
    seen: dict[bytes, int] = {}
    pairs = [(seen.setdefault(_digest(points), j), j) for j, points in enumerate(clouds.points)]
    return [(i, j) for i, j in pairs if i != j]


def tell_shared(train: Clouds, test: Clouds) -> None:
    """Say in a note how many test clouds are in the training set, if any."""
    pairs = shared_clouds(train, test)
    if pairs:
        i, j = pairs[0]
        note(
            f"{len(pairs)} of {len(test)} test clouds are in the training set, too, such as "
            f"{_name(test, j)} ({_name(train, i)}): the score is too good by them"
        )


def tell_repeated(clouds: Clouds) -> None:
    """Say in a note how many clouds are there more than once, if any."""
    pairs = repeated_clouds(clouds)
    if pairs:
        i, j = pairs[0]
        note(
            f"{len(pairs)} of {len(clouds)} clouds repeat another one, such as {_name(clouds, j)} "
            f"({_name(clouds, i)}): a fold may be trained on what it is tested on"
        )


def _digest(points: np.ndarray) -> bytes:
    return blake2b(points.tobytes(), digest_size=16).digest()


def _name(clouds: Clouds, at: int) -> str:
    kind = clouds.classes[clouds.labels[at]]
    return f"{clouds.ids[at]}, {kind}" if clouds.ids else f"number {at}, {kind}"
