"""Clouds that are in the data twice: tested on what was trained on, a score is too good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.notes import note
from ..base import Clouds
from ..copies import first_of


def shared_clouds(train: Clouds, test: Clouds) -> list[tuple[int, int]]:
    """(i, j) for each test cloud j whose points are exactly those of the training cloud i."""
    seen = {digest: i for i, digest in enumerate(train.known_digests.tolist())}
    pairs = [(seen.get(digest), j) for j, digest in enumerate(test.known_digests.tolist())]
    return [(i, j) for i, j in pairs if i is not None]


def repeated_clouds(clouds: Clouds) -> list[tuple[int, int]]:
    """(i, j) for each cloud j whose points are exactly those of an earlier one, i the first."""
    first = first_of(clouds.known_digests)
    return [(int(i), j) for j, i in enumerate(first) if i != j]


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
        so = (
            "copies are in one fold"
            if clouds.digests is not None
            else "a fold may be trained on what it is tested on"
        )
        note(
            f"{len(pairs)} of {len(clouds)} clouds repeat another one, such as {_name(clouds, j)} "
            f"({_name(clouds, i)}): {so}"
        )


def tell_copies(names: Sequence[str], labels: Sequence[str], first: np.ndarray, root: Path) -> None:
    """Say in a note how many files have the points of another, if any: a split keeps them together.

    Args:
        names: of the files.
        labels: their classes.
        first: (n,) for each file the index of the first with the same points.
        root: their folder.
    """
    copies = np.flatnonzero(first != np.arange(len(first)))
    if len(copies):
        j, i = int(copies[0]), int(first[copies[0]])
        other = sum(labels[int(k)] != labels[int(first[k])] for k in copies)
        odd = f", {other:,} of them in another class" if other else ""
        note(
            f"{root}: {len(copies):,} of {len(names):,} files have the same points as another one, "
            f"such as {names[j]} and {names[i]}{odd}: they are kept on one side of the split"
        )


def _name(clouds: Clouds, at: int) -> str:
    kind = clouds.classes[clouds.labels[at]]
    return f"{clouds.ids[at]}, {kind}" if clouds.ids else f"number {at}, {kind}"
