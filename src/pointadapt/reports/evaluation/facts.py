"""What an examination found, as plain values: the page and the JSON file tell the same."""

from __future__ import annotations

from collections.abc import Iterable
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
        ``scores``, ``measures`` (key, name and text of those that the task is judged by), ``unit``
        ("clouds" or "points"), ``answers`` and ``class_measure`` (what the task calls them). Of
        tasks that choose a label: ``labels``, ``confusion_matrix`` (rows true, columns predicted),
        ``per_label``, ``confusions`` and ``calibration``. Of clouds with a label also ``interval``
        (95 %), ``confident_errors`` and ``doubtful_right``; else ``worst`` and ``best`` clouds.
    """
    task, scores = seen.task, seen.scores
    facts: dict[str, Any] = {
        "task": task.name,
        "scores": scores,
        "measures": [
            {"key": m.key, "name": m.name, "text": m.text(scores[m.key])} for m in task.measures
            if m.key in scores
        ],
        "unit": "points" if task.per_point else "clouds",
        "answers": task.answers,
        "class_measure": task.class_measure,
    }  # fmt: skip
    if seen.chosen is not None and seen.confidence is not None:
        facts |= _choices(seen, seen.chosen, seen.confidence)
        if not task.per_point:
            return facts | _of_labelled_clouds(seen, seen.chosen, seen.confidence, most)
    ranked = np.argsort(seen.cloud_scores, kind="stable")
    if task.per_point:  # a cloud without a label is neither good nor bad
        ranked = ranked[(seen.target >= 0).any(dim=1).numpy()[ranked]]
    tell = _shapes if task.per_point else _clouds
    worst, best = ranked[:most], ranked[::-1][: most // 2]
    return {**facts, "worst": tell(seen, worst), "best": tell(seen, best)}


def _choices(seen: Examination, chosen: np.ndarray, confidence: np.ndarray) -> dict[str, Any]:
    """What is taken for what, and how surely."""
    labels, target = seen.task.labels(seen.names), seen.target.numpy()
    known = target >= 0
    true, found = target[known], chosen[known]
    matrix = confusion_matrix(torch.from_numpy(found), torch.from_numpy(true), len(labels))
    return {
        "labels": list(labels),
        "confusion_matrix": matrix.tolist(),
        "per_label": label_rows(matrix, labels),
        "confusions": top_confusions(matrix, labels, CONFUSIONS),
        "calibration": calibration(confidence[known], found == true),
    }


def _of_labelled_clouds(
    seen: Examination, chosen: np.ndarray, confidence: np.ndarray, most: int
) -> dict[str, Any]:
    """The surest errors, and the right clouds that the model is least sure of."""
    right = chosen == seen.target.numpy()
    wrong, good = np.flatnonzero(~right), np.flatnonzero(right)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    good = good[np.argsort(confidence[good], kind="stable")][: most // 2]
    return {
        "interval": list(wilson_interval(int(right.sum()), len(right))),
        "confident_errors": _clouds(seen, wrong),
        "doubtful_right": _clouds(seen, good),
    }


def _clouds(seen: Examination, index: Iterable[int]) -> list[dict[str, Any]]:
    """Clouds with what is said of each beside the truth."""
    rows = []
    for i in index:
        said = seen.task.answer(seen.predicted[i], seen.names)
        true = seen.task.truth(seen.target[i], seen.names)
        rows.append(
            {
                "index": int(i),
                "id": seen.name_of(i),
                "true": true,
                "predicted": said.label,
                "right": said.label == true if seen.task.labels(seen.names) else None,
                "confidence": None if said.confidence is None else round(100 * said.confidence, 4),
                "score": round(float(seen.cloud_scores[i]), 4),
            }
        )
    return rows


def _shapes(seen: Examination, index: Iterable[int]) -> list[dict[str, Any]]:
    return [_shape(seen, i) for i in index]


def _shape(seen: Examination, i: int) -> dict[str, Any]:
    """A cloud whose points are labelled: its score, and what is mostly taken for what in it."""
    assert seen.chosen is not None and seen.confidence is not None
    labels, target = seen.task.labels(seen.names), seen.target[i].numpy()
    known = target >= 0
    target, predicted = target[known], seen.chosen[i][known]
    pairs = np.stack([target, predicted])[:, target != predicted]
    mistake = None
    if pairs.size:
        both, counts = np.unique(pairs, axis=1, return_counts=True)
        true, taken = both[:, counts.argmax()]
        mistake = {
            "true": labels[true], "predicted": labels[taken],
            "count": int(counts.max()), "of": int((target == true).sum()),
        }  # fmt: skip
    return {
        "index": int(i), "id": seen.name_of(i), "class": seen.class_of(i),
        "score": round(float(seen.cloud_scores[i]), 4),
        "confidence": round(100 * float(seen.confidence[i].mean()), 4),
        "points_wrong": int(pairs.shape[1]), "points": len(target), "mistake": mistake,
    }  # fmt: skip
