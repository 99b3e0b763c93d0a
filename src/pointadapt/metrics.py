"""Scores of predictions, by the field's definitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


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


def parameter_counts(module: torch.nn.Module) -> tuple[int, int]:
    """(trainable, total) parameters of ``module``."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, train in sizes if train), sum(n for n, _ in sizes)
