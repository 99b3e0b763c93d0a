"""Sentences beside a score."""

import pytest

from pointadapt.reports.beside import baseline_remark, beside, fit_text, trial_text

FOREST = {"accuracy": 80.0, "class_accuracy": 70.0, "traits": 29, "seconds": 1.25}
RUN = {"protocol": {"augmentation": ["scale_shift"], "test_clouds": 1000}, "head_inputs": ["cls"]}


def test_a_result_that_is_ahead():
    assert baseline_remark(90.0, FOREST, 1000, RUN) == "10.0 points below this result"
    close = baseline_remark(80.4, FOREST, 1000, RUN)
    assert close == "0.4 points below this result (less than their standard error, 1.8)"


def test_a_result_that_is_behind_says_what_it_lacks():
    said = baseline_remark(70.0, FOREST, 1000, RUN)
    assert said.startswith("10.0 points better than this result: use it, or try size and shape")
    assert "instant=true" in said and "rotate_z" in said
    own = {"augmentation": ["rotate_z"]}
    whole = {"protocol": own, "head_inputs": ["size"], "fit": {"x": 1}}
    assert "--task-options forest=100" in baseline_remark(70.0, FOREST, 1000, whole)
    whole["config"] = {"task_options": ["forest=50"]}
    assert baseline_remark(70.0, FOREST, 1000, whole).endswith("try more training clouds")


def test_how_a_head_was_fitted():
    fit = {"classifier": "linear SVM of each pair", "inputs": 797, "strength": 3.0}
    fit |= {"seconds": 1.94, "cross_validated": 94.2, "grouped": True}
    fit["by_strength"] = {"1": 90.0, "3": 94.2}
    assert fit_text(fit) == (
        "linear SVM of each pair on 797 inputs, strength 3 (best of 2, 94.20 % in cross-validation "
        "on train, groups together), 1.9 s"
    )
    assert "too few clouds to choose" in fit_text({**fit, "cross_validated": None})


@pytest.mark.parametrize(("kept", "said"), [("end", "what was trained"), ("start", "the fit it")])
def test_what_a_trial_found(kept, said):
    trial = {"kept": kept, "held_out": 55, "start": 90.0, "end": 95.0, "seconds": 61}
    assert trial_text(trial).startswith(said)
    assert "55 training clouds" in trial_text(trial) and "1 min 1 s" in trial_text(trial)


def test_only_what_there_is_is_said():
    assert beside({"protocol": {}}) == []
    run = {**RUN, "accuracy": 90.0, "baseline": FOREST}
    assert [title for title, _ in beside(run)] == ["random forest", ""]


POINTS = {"name": "random forest", "miou": 80.0, "accuracy": 90.0, "class_accuracy": 85.0,
          "traits": 39, "points": 40_000, "trees": 100, "seconds": 12.0}  # fmt: skip


def test_a_forest_on_points_is_judged_by_its_miou():
    results = {"miou": 82.5, "accuracy": 70.0, "baseline": POINTS, "protocol": {"test_clouds": 3}}
    (title, text), (_, remark) = beside(results)
    assert (title, remark) == ("random forest", "2.5 points below this result")
    want = "mIoU 80.00 % (90.00 % of the points right) from 39 features of 40,000 points"
    assert text.startswith(want)


def test_a_better_forest_on_points_says_what_would_help():
    plain = {"config": {"data_options": ["block=20"], "recipe": ""}}
    said = baseline_remark(75.0, POINTS, 3, plain)
    assert said.startswith(
        "5.0 points better than this result: use it, or try the traits of points"
    )
    assert "--recipe ptv3-scenes" in said
    assert "--task-options forest=50" in said
    whole = {
        "data_options": ["features=usual,traits"], "task_options": ["forest=50"],
        "recipe": "dapt-scenes",
    }  # fmt: skip
    said = baseline_remark(75.0, POINTS, 3, {"config": whole})
    assert said.endswith("use it, or try more labelled scenes, or more epochs")
