"""Few labels of a set: which clouds are known and which are held out, whole groups on one side."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from pointadapt.data import Clouds


def groups_of(clouds: Clouds) -> np.ndarray:
    """(n,) the number of each cloud's group; each its own where none are known."""
    names = clouds.groups or tuple(map(str, range(len(clouds))))
    return np.unique(names, return_inverse=True)[1]


def drawn(clouds: Clouds, shots: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of ``shots`` clouds of each class, and of those that are held out: half of all."""
    halves = StratifiedGroupKFold(2, shuffle=True, random_state=draw)
    some, held = next(halves.split(clouds.labels, clouds.labels, groups_of(clouds)))
    some = np.random.default_rng(draw).permutation(some)
    few = [some[clouds.labels[some] == k][:shots] for k in range(len(clouds.classes))]
    return np.concatenate(few), held
