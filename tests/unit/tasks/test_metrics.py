"""Scores, against tables worked out by hand."""

import math

import numpy as np
import pytest
import sklearn.metrics
import torch

from pointadapt.tasks.metrics import (
    classification_scores,
    confusion_matrix,
    label_rows,
    parameter_counts,
    top_confusions,
    wilson_interval,
)

CLASSES = ("bed", "cup", "fly", "owl")


def probabilities(predicted):
    return 0.9 * torch.nn.functional.one_hot(torch.tensor(predicted), 4).float() + 0.025


def test_confusion_matrix():
    matrix = confusion_matrix(torch.tensor([0, 1, 1, 2, 0]), torch.tensor([0, 0, 1, 2, 2]), 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_classification_scores():
    # beds: 3 of 4 right; cups: 0 of 1; flies: 1 of 1; owls do not occur, though one is predicted
    target = torch.tensor([0, 0, 0, 0, 1, 2])
    scores = classification_scores(probabilities([0, 0, 0, 3, 2, 2]), target, CLASSES)
    assert scores == {
        "accuracy": pytest.approx(100 * 4 / 6, abs=1e-4),
        "class_accuracy": pytest.approx((75 + 0 + 100) / 3, abs=1e-4),
        # F1: bed 2·3/(4+3), cup 0, fly 2·1/(1+2)
        "macro_f1": pytest.approx(100 * (6 / 7 + 0 + 2 / 3) / 3, abs=1e-4),
        "per_class": {"bed": 75.0, "cup": 0.0, "fly": 100.0},
        "count": 6,
    }


def test_order_of_the_clouds_does_not_matter():
    predicted, target = [0, 1, 2, 3, 3, 0], torch.tensor([0, 1, 1, 3, 2, 0])
    turned = classification_scores(probabilities(predicted[::-1]), target.flip(0), CLASSES)
    assert turned == classification_scores(probabilities(predicted), target, CLASSES)


def test_no_clouds_give_no_number():
    scores = classification_scores(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), CLASSES)
    assert math.isnan(scores["accuracy"])
    assert scores["per_class"] == {}
    assert scores["count"] == 0


def test_parameter_counts():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    module[0].weight.requires_grad_(False)
    assert parameter_counts(module) == (4 + 8 + 2, 12 + 4 + 8 + 2)


def test_rows_of_labels_are_scikit_learns():
    rng = np.random.default_rng(0)
    target, predicted = rng.integers(4, size=200), rng.integers(4, size=200)
    predicted[::2] = target[::2]
    matrix = confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(target), 4)
    assert matrix.tolist() == sklearn.metrics.confusion_matrix(target, predicted).tolist()
    rows = label_rows(matrix, CLASSES)
    want = sklearn.metrics.precision_recall_fscore_support(target, predicted)
    for key, values in zip(("precision", "recall", "f1"), want[:3], strict=True):
        assert [row[key] for row in rows] == pytest.approx(100 * values, abs=1e-3)
    iou = sklearn.metrics.jaccard_score(target, predicted, average=None)
    assert [row["iou"] for row in rows] == pytest.approx(100 * iou, abs=1e-3)
    assert [row["count"] for row in rows] == want[3].tolist()
    assert [row["predicted"] for row in rows] == np.bincount(predicted, minlength=4).tolist()


def test_a_label_that_does_not_occur_has_no_share():
    matrix = torch.tensor([[3, 0, 0], [0, 0, 0], [1, 0, 2]])
    row = label_rows(matrix, ("a", "b", "c"))[1]
    assert (row["recall"], row["precision"], row["f1"], row["iou"]) == (None, None, None, None)


def test_largest_confusions():
    matrix = torch.tensor([[74, 12, 0], [3, 9, 3], [0, 0, 5]])
    rows = top_confusions(matrix, ("night_stand", "dresser", "bed"), most=2)
    assert rows == [
        {"true": "night_stand", "predicted": "dresser", "count": 12, "of": 86},
        {
            "true": "dresser",
            "predicted": "night_stand",
            "count": 3,
            "of": 15,
        },  # the first of equals
    ]
    assert top_confusions(torch.eye(3).long(), CLASSES[:3]) == []
    assert matrix[0, 0] == 74


def test_interval_is_wilsons():
    """50 of 100, from Wilson's formula by hand: 40.38 % to 59.62 %."""
    assert wilson_interval(50, 100) == (
        pytest.approx(40.3832, abs=1e-3),
        pytest.approx(59.6168, abs=1e-3),
    )
    low, high = wilson_interval(20, 20)
    assert (low, high) == (pytest.approx(83.887, abs=1e-2), pytest.approx(100))
