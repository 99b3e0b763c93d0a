"""The simplest thing that may label the points of scenes: a random forest on their features.

It sees each point by itself: the features that the network is told of it
(:mod:`pointadapt.ops.point_traits` among them, where they were asked for), of at most 40,000
training points, 100 trees, scikit-learn's other defaults, nothing tuned. Seconds on one core, and
the same for the same seed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from ..data import Clouds
from ..data.reading.block_data import BlockData
from ..data.reading.blocks import Scene
from ..tasks.forest import fitted_forest
from ..tasks.metrics import confusion_matrix, segmentation_scores

TREES = 100
AT_ONCE = 1 << 17  # points that are predicted at a time
KEYS = ("miou", "accuracy", "class_accuracy")
Labelled = tuple[np.ndarray, np.ndarray]  # features (m, C) and labels (m,), -1 where unknown


def forest_on_blocks(train: Clouds, test: Clouds, seed: int = 0) -> dict[str, Any]:
    """Scores on the points of blocks, as training ends with them; nothing without features.

    Args:
        train: blocks with labelled points.
        test: others.
        seed: of the points that are taken, and of the forest.

    Returns:
        ``name``, ``miou``, ``accuracy`` and ``class_accuracy`` in percent, ``seconds`` of fitting
        and scoring, ``traits`` (features of a point), ``points`` and ``trees`` (how many), and
        ``seed``.
    """
    if train.features is None or test.features is None:
        return {}
    return _scored(_flat(train), [_flat(test)], train.part_names, seed)


def forest_on_scenes(data: BlockData, seed: int = 0) -> dict[str, Any]:
    """Scores on every point of the test scenes; see :func:`forest_on_blocks`."""
    known = [_whole(scene) for scene, _ in data.whole_scenes("train")]
    names = data.label_names()
    if not data.feature_names():
        return {}
    each = (_whole(scene) for scene, _ in data.whole_scenes("test"))
    features, labels = (np.concatenate(parts) for parts in zip(*known, strict=True))
    return _scored((features, labels), each, names, seed)


def _flat(clouds: Clouds) -> Labelled:
    """The points of all blocks."""
    assert clouds.features is not None and clouds.parts is not None
    return clouds.features.reshape(-1, clouds.features.shape[2]), clouds.parts.ravel()


def _whole(scene: Scene) -> Labelled:
    """All points of a scene."""
    every = np.arange(len(scene))
    return scene.features(every), scene.labels


def _scored(
    train: Labelled, test: Iterable[Labelled], names: tuple[str, ...], seed: int
) -> dict[str, Any]:
    began = time.monotonic()
    forest, used = fitted_forest(*train, TREES, seed)
    matrix = torch.zeros(len(names), len(names), dtype=torch.int64)
    for features, labels in test:
        for x, y in _pieces(features, labels):
            found = torch.from_numpy(forest.predict(x).astype(np.int64))
            matrix += confusion_matrix(found, torch.from_numpy(y.astype(np.int64)), len(names))
    scores = segmentation_scores(matrix, names)
    return {
        "name": "random forest",
        **{key: scores[key] for key in KEYS},
        "seconds": round(time.monotonic() - began, 2),
        "traits": train[0].shape[1],
        "points": used,
        "trees": TREES,
        "seed": seed,
    }


def _pieces(features: np.ndarray, labels: np.ndarray) -> Iterator[Labelled]:
    """The labelled points, some at a time."""
    known = np.flatnonzero(labels >= 0)
    for start in range(0, len(known), AT_ONCE):
        at = known[start : start + AT_ONCE]
        yield features[at], labels[at]
