"""Findings in words: what to look at, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.config.evaluate import EvaluateConfig
from ...core.console import command_line, invocation

SMALL = 20  # fewer test clouds than this say little of a class
OFF = 3.0  # percentage points between confidence and accuracy that are worth a word


def confusion(row: Mapping[str, Any], unit: str = "clouds") -> str:
    """``12 of 86 night_stand taken for dresser``."""
    what = "points of " if unit == "points" else ""
    return f"{row['count']:,} of {row['of']:,} {what}{row['true']} taken for {row['predicted']}"


def remarks(facts: Mapping[str, Any]) -> list[str]:
    """Sentences on what stands out, the most useful first."""
    if "calibration" not in facts:
        return [_worst(row) for row in facts["worst"][:3]]
    found = [_mistakes(facts), _weak(facts), _sureness(facts), _kept(facts), _few(facts)]
    found.append(_forest(facts))
    return [text for text in found if text]


def _worst(row: Mapping[str, Any]) -> str:
    return f"Far off: {row['id']} is {row['true']}, predicted {row['predicted']}."


def _mistakes(facts: Mapping[str, Any]) -> str:
    rows = facts["confusions"]
    if not rows:
        return "Nothing is confused."
    wrong = facts["calibration"]["count"] - sum(row["right"] for row in facts["per_label"])
    some = rows[:3]
    share = 100 * sum(row["count"] for row in some) / wrong
    text = "; ".join(confusion(row, facts["unit"]) for row in some)
    return f"Most confused: {text} ({share:.0f} % of the errors)."


def _weak(facts: Mapping[str, Any]) -> str:
    key = "iou" if facts["unit"] == "points" else "recall"
    rows = [r for r in facts["per_label"] if r["count"] and r[key] < 100]
    rows = sorted(rows, key=lambda r: r[key])[:3]
    if not rows:
        return ""
    if key == "iou":
        text = ", ".join(f"{r['name']} (IoU {r['iou']:.0f} %)" for r in rows)
    else:
        text = ", ".join(f"{r['name']} ({r['right']:,} of {r['count']:,} right)" for r in rows)
    return f"Weakest: {text}."


def _sureness(facts: Mapping[str, Any]) -> str:
    c = facts["calibration"]
    gap = c["confidence"] - c["accuracy"]
    how = "fits the accuracy" if abs(gap) < OFF else "is too high" if gap > 0 else "is too low"
    return (
        f"Confidence {how}: {c['confidence']:.1f} % on average, where {c['accuracy']:.1f} % are "
        f"right; calibration error (ECE) {c['ece']:.1f} points."
    )


def _kept(facts: Mapping[str, Any]) -> str:
    row = next(r for r in facts["calibration"]["kept"] if r["above"] == 0.9)
    if not row["share"]:
        return "No prediction is 90 % confident."
    return (
        f"At 90 % confidence or more, {row['accuracy']:.1f} % are right; "
        f"that is {row['share']:.1f} % of the {facts['unit']}."
    )


def _few(facts: Mapping[str, Any]) -> str:
    if facts["unit"] == "points":
        return ""
    few = [r["name"] for r in facts["per_label"] if 0 < r["count"] < SMALL]
    if not few:
        return ""
    names = ", ".join(few[:5]) + (" and others" if len(few) > 5 else "")
    return f"Fewer than {SMALL} test clouds, so that a class's figure says little: {names}."


def _forest(facts: Mapping[str, Any]) -> str:
    return f"Random forest: {facts['baseline']['remark']}." if "baseline" in facts else ""


def next_steps(command: EvaluateConfig) -> list[tuple[str, str]]:
    """Commands (why, command) after this ``evaluate`` command."""
    steps = []
    if command.html is None:
        page = replace(command, html=Path("report.html"))
        steps.append(("See the errors and the calibration", invocation("evaluate", page)))
    if command.votes == 0:
        votes = invocation("evaluate", replace(command, votes=10))
        steps.append(("Score the mean over ten augmented copies", votes))
    if command.split == "test":
        fitted = replace(command, split="train", html=None, report_json=None, picture=None)
        steps.append(("See whether it fits its own training data", invocation("evaluate", fitted)))
    use = command_line("pointadapt predict FILES --adapter", command.adapter)
    return [*steps, ("Use it", use)]
