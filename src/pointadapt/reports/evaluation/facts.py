"""What an examination found, as plain values: the page and the JSON file tell the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...tasks.metrics import confusion_matrix, label_rows, top_confusions, wilson_interval
from ..calibration import calibration
from .look import Examination

CONFUSIONS = 10


def facts_of(seen: Examination, most: int = 12) -> dict[str, Any]:
    """The findings of an examination, for :func:`write_page` and for JSON.

    Args:
        seen: the predictions.
        most: clouds in each list of single clouds.

    Returns:
        ``scores``, ``unit`` ("clouds" or "points"), ``labels``, ``confusion_matrix`` (rows true,
        columns predicted), ``per_label``, ``confusions``, ``calibration``; of clouds also
        ``interval`` (95 %), ``confident_errors`` and ``doubtful_right``; of points ``worst`` and
        ``best`` clouds.
    """
    known, names = seen.known, seen.names
    target, predicted = seen.target[known], seen.predicted[known]
    matrix = confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(target), len(names))
    facts: dict[str, Any] = {
        "scores": seen.scores,
        "unit": "points" if seen.per_point else "clouds",
        "labels": list(names),
        "confusion_matrix": matrix.tolist(),
        "per_label": label_rows(matrix, names),
        "confusions": top_confusions(matrix, names, CONFUSIONS),
        "calibration": calibration(seen.confidence[known], predicted == target),
    }
    if seen.per_point:
        ranked = np.argsort(seen.cloud_scores, kind="stable")
        order = [i for i in ranked if known[i].any()]  # one without a label is neither good nor bad
        facts["worst"] = [_shape(seen, i) for i in order[:most]]
        facts["best"] = [_shape(seen, i) for i in order[::-1][: most // 2]]
    else:
        facts["interval"] = list(wilson_interval(int((predicted == target).sum()), len(target)))
        facts["confident_errors"] = _clouds(seen, confident_errors(seen, most))
        facts["doubtful_right"] = _clouds(seen, doubtful_right(seen, most // 2))
    return facts


def confident_errors(seen: Examination, most: int) -> np.ndarray:
    """(≤ most,) numbers of the wrong clouds, the surest first."""
    wrong = np.flatnonzero(seen.predicted != seen.target)
    return wrong[np.argsort(-seen.confidence[wrong], kind="stable")][:most]


def doubtful_right(seen: Examination, most: int) -> np.ndarray:
    """(≤ most,) numbers of the right clouds, the least sure first."""
    right = np.flatnonzero(seen.predicted == seen.target)
    return right[np.argsort(seen.confidence[right], kind="stable")][:most]


def _clouds(seen: Examination, index: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "index": int(i), "id": seen.name_of(i), "true": seen.names[seen.target[i]],
            "predicted": seen.names[seen.predicted[i]],
            "confidence": round(100 * float(seen.confidence[i]), 4),
        }
        for i in index
    ]  # fmt: skip


def _shape(seen: Examination, i: int) -> dict[str, Any]:
    """A cloud whose points are labelled: its score, and what is mostly taken for what in it."""
    known = seen.known[i]
    target, predicted = seen.target[i][known], seen.predicted[i][known]
    pairs = np.stack([target, predicted])[:, target != predicted]
    mistake = None
    if pairs.size:
        both, counts = np.unique(pairs, axis=1, return_counts=True)
        true, taken = both[:, counts.argmax()]
        mistake = {
            "true": seen.names[true], "predicted": seen.names[taken],
            "count": int(counts.max()), "of": int((target == true).sum()),
        }  # fmt: skip
    return {
        "index": int(i), "id": seen.name_of(i), "class": seen.clouds.classes[seen.clouds.labels[i]],
        "score": round(float(seen.cloud_scores[i]), 4),
        "confidence": round(100 * float(seen.confidence[i].mean()), 4),
        "points_wrong": int(pairs.shape[1]), "points": len(target), "mistake": mistake,
    }  # fmt: skip
