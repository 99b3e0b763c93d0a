"""How rows are told to a person: as lines or panels, counted, and what to do next; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..core.console import command_line
from .rows import Prediction, ScenePrediction, percent


class Told:
    """How rows of any kind are told."""

    counts: ClassVar[str] = "files"  # what progress counts
    panels: ClassVar[bool] = False  # what is said of a file fills a panel, not a line of a table

    def next_steps(self, rows: Sequence[Any]) -> tuple[tuple[str, str], ...]:
        """Commands (why, command) to go on with."""
        del rows
        return ()

    def tally(self, rows: Sequence[Any]) -> list[dict[str, str]]:
        """How many of many files are what: lines of a table; empty where that says nothing."""
        del rows
        return []


class CloudsTold(Told):
    """Of files as a whole."""

    def tally(self, rows: Sequence[Prediction]) -> list[dict[str, str]]:
        """How many files are of each label, where they have one, and how sure that is."""
        good = [row for row in rows if row.error is None]
        groups: dict[str, list[float]] = {}
        for row in good:
            if row.confidence is not None:
                groups.setdefault(row.label, []).append(row.confidence)
        lines = [*sorted(groups.items()), ("all", [p for sure in groups.values() for p in sure])]
        return [
            {good[0].kind: name, "files": str(len(sure)),
             "mean confidence": percent(sum(sure) / len(sure))}
            for name, sure in lines if sure
        ]  # fmt: skip


class ScenesTold(Told):
    """Of scenes."""

    counts: ClassVar[str] = "points"
    panels: ClassVar[bool] = True

    def next_steps(self, rows: Sequence[ScenePrediction]) -> tuple[tuple[str, str], ...]:
        """Look at the first copy."""
        done = [row.labels.out for row in rows if row.labels is not None]
        return tuple(("Look at it in CloudCompare", command_line("CloudCompare", out))
                     for out in done[:1])  # fmt: skip
