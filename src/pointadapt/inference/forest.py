"""The simplest thing that may do: a random forest on traits of the clouds.

It never sees the backbone: 29 numbers of each cloud's size, shape and profile
(:mod:`pointadapt.ops.traits`), 300 trees, scikit-learn's other defaults, nothing tuned. Seconds on
one core, and the same for the same seed. A result that is no better has not earned its cost.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..data import Clouds, Dataset
from ..tasks import Task
from ..tasks.metrics import classification_scores
from .point_forest import forest_on_blocks

TREES = 300
KEYS = ("accuracy", "class_accuracy", "macro_f1")
SPREAD = ("accuracy", "miou")
MEANS = ("miou", *KEYS, "seconds")  # of what there is, over several runs


def baseline_of(
    task: Task, data: Dataset, train: Clouds, test: Clouds, seed: int = 0
) -> dict[str, Any]:
    """A forest where it says something, on a user's own files; else nothing.

    :func:`random_forest` of clouds, :func:`.point_forest.forest_on_blocks` of points of scenes.
    """
    origin = data.origin()
    if task.one_class and origin.own_files:
        return random_forest(train, test, seed)
    if task.predictor == "scenes" and origin.own_scenes:
        return forest_on_blocks(train, test, seed)
    return {}


def random_forest(train: Clouds, test: Clouds, seed: int = 0) -> dict[str, Any]:
    """Scores on ``test`` of a forest that is fitted to ``train``.

    Args:
        train: labelled clouds.
        test: others, of the same classes.
        seed: of the forest.

    Returns:
        ``name``, ``accuracy``, ``class_accuracy`` and ``macro_f1`` in percent, ``seconds`` of
        fitting and scoring, ``traits`` and ``trees`` (how many), ``seed``.
    """
    from sklearn.ensemble import RandomForestClassifier

    began = time.monotonic()
    x, y = train.known_traits, test.known_traits
    forest = RandomForestClassifier(TREES, random_state=seed).fit(x, train.labels)
    probabilities = np.zeros((len(test), len(train.classes)))
    probabilities[:, forest.classes_] = forest.predict_proba(y)
    scores = classification_scores(
        torch.from_numpy(probabilities), torch.from_numpy(test.labels), train.classes
    )
    return {
        "name": "random forest",
        **{key: scores[key] for key in KEYS},
        "seconds": round(time.monotonic() - began, 2),
        "traits": x.shape[1],
        "trees": TREES,
        "seed": seed,
    }


def mean_of(runs: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """What several runs have as ``baseline``: mean scores and seconds; nothing where none has one.

    ``accuracy_sd`` and ``miou_sd`` are standard deviations of those scores, None for a single one.
    """
    found = [run["baseline"] for run in runs if run and run.get("baseline")]
    if not found:
        return {}
    there = [k for k in MEANS if k in found[0]]
    means = {k: round(statistics.mean(one[k] for one in found), 4) for k in there}
    spread = {f"{k}_sd": _deviation([one[k] for one in found]) for k in there if k in SPREAD}
    own = {k: found[0][k] for k in ("name", "traits", "trees", "points") if k in found[0]}
    return {**own, **means, **spread, "runs": len(found)}


def _deviation(values: list[float]) -> float | None:
    return round(statistics.stdev(values), 4) if len(values) > 1 else None
