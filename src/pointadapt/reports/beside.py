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
    remark = baseline_remark(results["accuracy"], results["baseline"], clouds, results)
    return [("random forest", baseline_text(results["baseline"])), ("", remark)]


def baseline_text(forest: Mapping[str, Any]) -> str:
    """Its score and its cost: 78.30 % (mean of classes 61.00 %) from 29 traits of clouds, 1.2 s."""
    mean = f"{forest['accuracy']:.2f} % (mean of classes {forest['class_accuracy']:.2f} %)"
    return f"{mean} from {forest['traits']} traits of the clouds, {duration(forest['seconds'])}"


def baseline_remark(
    accuracy: float, forest: Mapping[str, Any], clouds: int, run: Mapping[str, Any]
) -> str:
    """How a result stands to the forest's, and what would help where that is ahead.

    Args:
        accuracy: of the result, in percent.
        forest: its scores.
        clouds: how many both were scored on.
        run: results of a training run, which tell what it did not try.
    """
    ahead, error = accuracy - forest["accuracy"], _error(accuracy, forest["accuracy"], clouds)
    sure = "" if abs(ahead) > error else f" (less than their standard error, {error:.1f})"
    if ahead >= 0:
        return f"{ahead:.1f} points below this result{sure}"
    return f"{-ahead:.1f} points better than this result{sure}: use it, or try {_remedies(run)}"


def _error(a: float, b: float, clouds: int) -> float:
    """Standard error, in points, of the difference of two accuracies on so many clouds."""
    shares = (a / 100, b / 100)
    return 100 * math.sqrt(sum(p * (1 - p) for p in shares) / max(clouds, 1))


def _remedies(run: Mapping[str, Any]) -> str:
    """What a run did not have."""
    tried = []
    if "size" not in run.get("head_inputs", ()):
        tried.append("size and shape as inputs of the head (--head cls patch_max size shape)")
    if not run.get("fit"):
        tried.append("--start instant, --recipe instant-folder (seconds)")
    if "rotate_z" not in run["protocol"].get("augmentation", ()):
        tried.append("--augment rotate_z")
    return ", ".join([*tried, "or more training clouds" if tried else "more training clouds"])
