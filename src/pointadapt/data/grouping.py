"""Splits that keep what belongs together on one side: views of an object, scans of a person."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from ..core.errors import DataLayoutError


def group_folds(
    labels: Sequence[str] | np.ndarray, groups: Sequence[str], count: int, seed: int
) -> np.ndarray:
    """(n,) fold of each cloud, whole groups in one fold, shares of the classes as even as can be.

    There are fewer folds than ``count`` where there are fewer groups.

    Raises:
        DataLayoutError: there is a single group.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    there = len(set(groups))
    if there < 2:
        raise DataLayoutError(
            f"all clouds are of the group {next(iter(groups), '')!r}, and two are needed to split "
            "them: give another group=, or none"
        )
    draw = StratifiedGroupKFold(min(count, there), shuffle=True, random_state=seed)
    fold = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class may have fewer clouds than there are folds
        for k, (_, held) in enumerate(draw.split(np.zeros(len(labels)), labels, groups)):
            fold[held] = k
    return fold


def held_groups(
    labels: Sequence[str] | np.ndarray, groups: Sequence[str], share: float, seed: int
) -> np.ndarray:
    """(n,) bool: about ``share`` of the clouds, whole groups of them.

    Raises:
        DataLayoutError: there is a single group, or all groups of a class would be held out.
    """
    held = group_folds(labels, groups, max(2, round(1 / share)), seed) == 0
    lost = set(np.asarray(labels)[held].tolist()) - set(np.asarray(labels)[~held].tolist())
    if lost:
        raise DataLayoutError(
            f"class {sorted(map(str, lost))[0]!r} is in too few groups to be on both sides of a "
            "split: give a split of your own, or another group="
        )
    return held
