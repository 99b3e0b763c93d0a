"""Scores of predictions, by the field's definitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.errors import PointCloudError


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
        mAcc), ``macro_f1`` (mean F1 of these classes), ``per_class`` accuracy by name, ``count``.
    """
    matrix = confusion_matrix(probabilities.argmax(dim=1), target, len(classes)).double()
    per_class = 100.0 * matrix.diagonal() / matrix.sum(dim=1)
    f1 = 200.0 * matrix.diagonal() / (matrix.sum(dim=0) + matrix.sum(dim=1))
    present = matrix.sum(dim=1) > 0
    return {
        "accuracy": round(100.0 * float(matrix.diagonal().sum() / matrix.sum()), 4),
        "class_accuracy": round(float(per_class[present].mean()), 4),
        "macro_f1": round(float(f1[present].mean()), 4),
        "per_class": {
            name: round(float(value), 2)
            for name, value, seen in zip(classes, per_class.tolist(), present.tolist(), strict=True)
            if seen
        },
        "count": len(target),
    }


def label_rows(matrix: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
    """What a confusion matrix says of each label.

    Args:
        matrix: (C, C) counts, see :func:`confusion_matrix`.
        names: of the C labels.

    Returns:
        A row a label: ``count`` (how often it is true), ``predicted``, ``right``, and in percent
        ``recall`` (the field's per-class accuracy), ``precision``, ``f1`` and ``iou``; None for
        what would be 0 / 0.
    """
    rows = []
    for k, name in enumerate(names):
        count, predicted, right = (
            int(x) for x in (matrix[k].sum(), matrix[:, k].sum(), matrix[k, k])
        )
        rows.append(
            {
                "name": name,
                "count": count,
                "predicted": predicted,
                "right": right,
                "recall": _percent(right, count),
                "precision": _percent(right, predicted),
                "f1": _percent(2 * right, count + predicted),
                "iou": _percent(right, count + predicted - right),
            }
        )
    return rows


def top_confusions(matrix: Tensor, names: Sequence[str], most: int = 10) -> list[dict[str, Any]]:
    """The largest cells beside the diagonal: so many of a label are taken for another one."""
    errors = matrix.clone()
    errors.fill_diagonal_(0)
    order = torch.argsort(errors.flatten(), descending=True, stable=True)[:most].tolist()
    cells = [(*divmod(cell, len(names)), int(errors.flatten()[cell])) for cell in order]
    return [
        {"true": names[i], "predicted": names[j], "count": n, "of": int(matrix[i].sum())}
        for i, j, n in cells
        if n > 0
    ]


def wilson_interval(right: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share, in percent (Wilson, 1927): what chance in the test set allows.

    Raises:
        ZeroDivisionError: nothing was counted.
    """
    share, width = right / count, z * z / count
    middle = (share + width / 2) / (1 + width)
    half = z * (share * (1 - share) / count + width / (4 * count)) ** 0.5 / (1 + width)
    return round(100 * (middle - half), 4), round(100 * (middle + half), 4)


def _percent(part: int, whole: int) -> float | None:
    return round(100.0 * part / whole, 4) if whole else None


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
