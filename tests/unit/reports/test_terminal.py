"""What the summary of a training run names."""

import pytest

from pointadapt.core import console
from pointadapt.reports import terminal as report
from pointadapt.tasks import TASKS

PROTOCOL = {"test_clouds": 30, "votes": 0, "selection": "last epoch", "selected_epoch": 3,
            "epochs": 3, "seed": 0, "batch_size": 25, "augmentation": []}  # fmt: skip


@pytest.mark.parametrize(
    ("count", "title", "absent"), [(3, "classes", "worst"), (14, "worst of 14", "class13")]
)
def test_summary_names_the_worst_classes_first(capsys, count, title, absent):
    per_class = {f"class{k}": 100.0 - (count - k) for k in reversed(range(count))}
    results = {
        "method": "dapt", "task": "classification", "data": "folder", "protocol": PROTOCOL,
        "title": "scans", "adapter": "a",
        "trainable_parameters": 1, "total_parameters": 2, "seconds": 1.0, "accuracy": 90.0,
        "class_accuracy": 85.5, "macro_f1": 84.25, "per_class": per_class,
        "peak_memory_bytes": 1, "adapter_bytes": 1,
    }  # fmt: skip
    report.train_summary(results, console.output())
    out = capsys.readouterr().out
    assert "90.00 % (mean of classes 85.50 %, macro F1 84.25 %)" in out
    assert title in out and absent not in out and "seed 0, batch 25, augmentation none" in out
    assert f"class0 {100.0 - count:.1f}, class1 {101.0 - count:.1f}, " in out


def test_classes_that_no_test_point_has_are_named(capsys):
    scores = {
        "per_class": {"a": 90.0}, "confusion": {"a": [9, 1], "b": [0, 0]}, "labelled": 10,
        "count": 1, "miou": 90.0, "accuracy": 90.0, "class_accuracy": 90.0,
    }  # fmt: skip
    report.scene_scores(scores, TASKS["scene_segmentation"], "x", console.output())
    assert "not tested: b: no test point has it" in capsys.readouterr().out
