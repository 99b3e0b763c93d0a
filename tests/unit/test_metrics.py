"""Scores, against tables worked out by hand."""

import math

import pytest
import torch

from pointadapt.metrics import classification_scores, confusion_matrix, parameter_counts

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
