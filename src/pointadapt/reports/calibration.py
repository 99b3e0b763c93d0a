"""Whether a model's confidence can be taken at its word."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 15
THRESHOLDS = (0.5, 0.7, 0.9, 0.95, 0.99)


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """Expected calibration error, and what it is made of (Guo et al., ICML 2017, §2).

    Predictions are put into ``bins`` intervals (a, b] of confidence, of equal width. The error is
    the mean over predictions of the distance between the accuracy and the mean confidence of their
    bin.

    Args:
        confidence: any shape, probability of what is predicted, 0 to 1.
        right: of that shape, whether it is right.
        bins: number of intervals.

    Returns:
        In percent ``ece``, ``confidence`` (mean) and ``accuracy``; ``count``; ``bins``, each with
        its limits ``from`` and ``to``, ``count``, ``right``, and mean ``confidence`` and
        ``accuracy`` (None if it is empty); ``kept``: for some limits ``above``, the ``share`` of
        predictions at least so confident, and their ``accuracy``.
    """
    sure, hit = np.ravel(confidence).astype(np.float64), np.ravel(right).astype(bool)
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.searchsorted(edges[1:-1], sure, side="left")  # the first edge that is not below
    counts = np.bincount(place, minlength=bins)
    hits = np.bincount(place[hit], minlength=bins)
    sums = np.bincount(place, weights=sure, minlength=bins)
    return {
        "ece": _percent(np.abs(hits - sums).sum(), len(sure)),
        "confidence": _percent(sure.sum(), len(sure)),
        "accuracy": _percent(hit.sum(), len(sure)),
        "count": len(sure),
        "bins": [
            {
                "from": round(float(edges[k]), 4), "to": round(float(edges[k + 1]), 4),
                "count": int(counts[k]), "right": int(hits[k]),
                "confidence": _percent(sums[k], counts[k]),
                "accuracy": _percent(hits[k], counts[k]),
            }
            for k in range(bins)
        ],
        "kept": [_kept(sure, hit, limit) for limit in THRESHOLDS],
    }  # fmt: skip


def _kept(sure: np.ndarray, hit: np.ndarray, limit: float) -> dict[str, Any]:
    kept = sure >= limit
    share, accuracy = _percent(kept.sum(), len(sure)), _percent(hit[kept].sum(), kept.sum())
    return {"above": limit, "share": share, "accuracy": accuracy}


def _percent(part: float, whole: float) -> float | None:
    return round(100.0 * float(part) / float(whole), 4) if whole else None
