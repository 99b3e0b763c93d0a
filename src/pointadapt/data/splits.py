"""Splits that are drawn: which clouds are held out."""

from __future__ import annotations

import numpy as np

from ..core.errors import DataLayoutError
from .base import SCENE, Clouds
from .copies import with_copies
from .grouping import held_groups
from .reading.blocks import scene_of


def held_out(clouds: Clouds, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (kept, held out) of clouds: whole groups, scenes of blocks, or a share of each class.

    Copies of a cloud are on its side.

    Blocks of one scene may overlap, so that some of them say little about the others. Only where
    there is a single scene are blocks held out themselves.
    """
    scenes = np.array([scene_of(name) for name in clouds.ids])
    names = np.unique(scenes)
    if clouds.groups:
        held = held_groups(clouds.labels, clouds.together, share, seed)
        return np.flatnonzero(~held), np.flatnonzero(held)
    if clouds.classes != (SCENE,) or len(names) < 2:

        def draw(own: np.ndarray) -> np.ndarray:
            out = stratified_split(clouds.labels[own], share, seed)[1]
            return np.isin(np.arange(len(own)), out)

        held = with_copies(clouds.first, draw)
        return np.flatnonzero(~held), np.flatnonzero(held)
    count = min(max(1, round(share * len(names))), len(names) - 1)
    held = np.isin(scenes, np.random.default_rng(seed).permutation(names)[:count])
    return np.flatnonzero(~held), np.flatnonzero(held)


def few_of_each(labels: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """Indices, in order, of ``shots`` clouds of every class; all of a class that has no more.

    With the same seed more shots are the fewer ones and others.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == k))[:shots] for k in np.unique(labels)]
    return np.sort(np.concatenate(drawn))


def stratified_split(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (kept, held out): ``share`` of every class, at least one where it has two.

    Raises:
        DataLayoutError: no class has two.
    """
    rng, held = np.random.default_rng(seed), []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held.append(members[: min(max(1, round(share * len(members))), len(members) - 1)])
    out = np.sort(np.concatenate(held))
    if not len(out):
        raise DataLayoutError("no class has a second cloud to hold out: use --select last")
    return np.setdiff1d(np.arange(len(labels)), out), out
