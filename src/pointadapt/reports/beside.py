"""What is said beside a score: how a head was fitted, what training added, what a forest does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..core.console import duration

Row = tuple[str, str]  # title and text of a line in a summary


def beside(results: Mapping[str, Any]) -> list[Row]:
    """The lines of a training run's summary that not every run has."""
    rows = []
    if results.get("fit"):
        rows.append(("fitted", fit_text(results["fit"])))
    if results.get("trial"):
        rows.append(("kept", trial_text(results["trial"])))
    if results.get("baseline"):
        rows += baseline_rows(results, results["protocol"]["test_clouds"])
    return rows


def fit_text(fit: Mapping[str, Any]) -> str:
    """How a head was fitted: linear SVM of each pair on 797 inputs, strength 3 (…), 1.9 s."""
    held = fit["cross_validated"]
    why = "too few clouds to choose"
    if held is not None:
        why = f"best of {len(fit['by_strength'])}, {held:.2f} % in cross-validation on train"
        why += ", groups together" if fit["grouped"] else ""
    what = f"{fit['classifier']} on {fit['inputs']:,} inputs, strength {fit['strength']:g} ({why})"
    return f"{what}, {duration(fit['seconds'])}"


def trial_text(trial: Mapping[str, Any]) -> str:
    """Which of the fit and what was trained from it is kept, and why."""
    what = {"end": "what was trained", "start": "the fit it would start from"}[trial["kept"]]
    return (
        f"{what}: of {trial['held_out']:,} training clouds held out in a run before "
        f"({duration(trial['seconds'])}), {trial['start']:.2f} % are right at the start and "
        f"{trial['end']:.2f} % at the end"
    )


def baseline_rows(results: Mapping[str, Any], clouds: int) -> list[Row]:
    """The forest's score, and how the result stands to it."""
    forest = results["baseline"]
    remark = baseline_remark(results[measured(forest)], forest, clouds, results)
    return [("random forest", baseline_text(forest)), ("", remark)]


def measured(forest: Mapping[str, Any]) -> str:
    """What a result is compared with a forest by: mIoU of points, accuracy of clouds."""
    return "miou" if "miou" in forest else "accuracy"


def baseline_text(forest: Mapping[str, Any]) -> str:
    """Its score and its cost: 78.30 % (mean of classes 61.00 %) from 29 traits of clouds, 1.2 s."""
    if measured(forest) == "miou":
        scores = f"mIoU {forest['miou']:.2f} % ({forest['accuracy']:.2f} % of the points right)"
        return f"{scores} from {forest_inputs(forest)}, {duration(forest['seconds'])}"
    mean = f"{forest['accuracy']:.2f} % (mean of classes {forest['class_accuracy']:.2f} %)"
    return f"{mean} from {forest_inputs(forest)}, {duration(forest['seconds'])}"


def forest_inputs(forest: Mapping[str, Any]) -> str:
    """What a forest was given: 29 traits of the clouds, or so many features of so many points."""
    if measured(forest) == "miou":
        return f"{forest['traits']} features of {forest['points']:,} points"
    return f"{forest['traits']} traits of the clouds"


def baseline_remark(
    accuracy: float, forest: Mapping[str, Any], clouds: int, run: Mapping[str, Any]
) -> str:
    """How a result stands to the forest's, and what would help where that is ahead.

    Args:
        accuracy: of the result, in percent; its mIoU where the forest labels points.
        forest: its scores.
        clouds: how many both were scored on.
        run: results of a training run, which tell what it did not try.
    """
    own = forest[measured(forest)]
    ahead = accuracy - own
    # Points of a scene are no draws by themselves: their number would promise too much.
    error = -1.0 if measured(forest) == "miou" else _error(accuracy, own, clouds)
    sure = f" (less than their standard error, {error:.1f})" if abs(ahead) <= error else ""
    if ahead >= 0:
        return f"{ahead:.1f} points below this result{sure}"
    remedies = _scene_remedies(run) if measured(forest) == "miou" else _remedies(run)
    return f"{-ahead:.1f} points better than this result{sure}: use it, or try {remedies}"


def _error(a: float, b: float, clouds: int) -> float:
    """Standard error, in points, of the difference of two accuracies on so many clouds."""
    shares = (a / 100, b / 100)
    return 100 * math.sqrt(sum(p * (1 - p) for p in shares) / max(clouds, 1))


def _remedies(run: Mapping[str, Any]) -> str:
    """What a run did not have."""
    tried, options = [], run.get("config", {}).get("task_options", ())
    if "size" not in run.get("head_inputs", ()):
        tried.append("size and shape as inputs of the head (--head cls patch_max size shape)")
    if not run.get("fit") and "instant=true" not in options:
        tried.append("a linear fit beside the network (--task-options instant=true)")
    if not any(o.startswith("forest=") for o in options):
        tried.append("a forest beside the network (--task-options forest=100)")
    if "rotate_z" not in run["protocol"].get("augmentation", ()):
        tried.append("--augment rotate_z")
    return ", ".join([*tried, "or more training clouds" if tried else "more training clouds"])


def _scene_remedies(run: Mapping[str, Any]) -> str:
    """What a run on scenes did not have."""
    tried, config = [], run.get("config", {})
    if not any("traits" in option for option in config.get("data_options", ())):
        tried.append("the traits of points (--data-options features=usual,traits)")
    if not any(option.startswith("forest=") for option in config.get("task_options", ())):
        tried.append("a forest beside the network (--task-options forest=50)")
    if not config.get("recipe", "").endswith("-scenes"):
        tried.append("--recipe ptv3-scenes")
    more = "more labelled scenes, or more epochs"
    return ", ".join([*tried, f"or {more}" if tried else more])
