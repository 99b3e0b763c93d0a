"""Scores of predictions, by the field's definitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .errors import PointCloudError


def confusion_matrix(predicted: Tensor, target: Tensor, classes: int) -> Tensor:
    """(classes, classes) counts: row = true class, column = predicted class."""
    cells = torch.bincount(target.long() * classes + predicted.long(), minlength=classes**2)
    return cells.view(classes, classes)


def classification_scores(
    probabilities: Tensor, target: Tensor, classes: Sequence[str]
) -> dict[str, Any]:
    """Overall and per-class accuracy in percent.

    Args:
        probabilities: (n, C).
        target: (n,) class indices.
        classes: C names.

    Returns:
        ``accuracy`` (overall, the papers' OA), ``class_accuracy`` (mean over classes that occur,
        mAcc), ``per_class`` by name, ``count``.
    """
    matrix = confusion_matrix(probabilities.argmax(dim=1), target, len(classes)).double()
    per_class = 100.0 * matrix.diagonal() / matrix.sum(dim=1)
    present = matrix.sum(dim=1) > 0
    return {
        "accuracy": round(100.0 * float(matrix.diagonal().sum() / matrix.sum()), 4),
        "class_accuracy": round(float(per_class[present].mean()), 4),
        "per_class": {
            name: round(float(value), 2)
            for name, value, seen in zip(classes, per_class.tolist(), present.tolist(), strict=True)
            if seen
        },
        "count": len(target),
    }


def segmentation_scores(matrix: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """Scores of labelled points from the confusion matrix over all of them, in percent.

    IoU of a class is (true and predicted) / (true or predicted). A class that is neither true nor
    predicted anywhere has none and is left out of the mean; one that is predicted but never true
    counts 0. On the areas of S3DIS, where every class occurs, that is the field's mean over all 13.

    Args:
        matrix: (K, K) counts: row = true, column = predicted.
        names: K names.

    Returns:
        ``miou``, ``accuracy`` (overall, OA), ``class_accuracy`` (mean of the recalls of the classes
        that occur, mAcc), ``per_class`` (IoU by name), ``confusion`` (the matrix's rows by name;
        sums of such matrices are scored by this function again), ``labelled`` points.

    Raises:
        PointCloudError: no point is labelled.
    """
    cells = matrix.double()
    if not cells.sum():
        raise PointCloudError("no point of this split is labelled, so there is nothing to score")
    both, true, found = cells.diagonal(), cells.sum(dim=1), cells.sum(dim=0)
    either = true + found - both
    iou, seen = 100.0 * both / either, either > 0
    recall = 100.0 * both / true
    return {
        "miou": round(float(iou[seen].mean()), 4),
        "accuracy": round(100.0 * float(both.sum() / cells.sum()), 4),
        "class_accuracy": round(float(recall[true > 0].mean()), 4),
        "per_class": {names[k]: round(float(iou[k]), 2) for k in seen.nonzero().flatten().tolist()},
        "confusion": dict(zip(names, matrix.tolist(), strict=True)),
        "labelled": int(cells.sum()),
    }


def parameter_counts(module: torch.nn.Module) -> tuple[int, int]:
    """(trainable, total) parameters of ``module``."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, train in sizes if train), sum(n for n, _ in sizes)
