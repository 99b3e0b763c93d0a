"""What the commands of many runs say when one of them is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from ..core import console

if TYPE_CHECKING:
    from ..studies.jobs import Outcome


def tell(outcome: Outcome, to: Console, *, scored: bool = True) -> None:
    """A line: the run, its score where it has one of worth, and how long it took."""
    from ..tasks import TASKS

    name, results = outcome.job.name, outcome.results
    if results is None:
        to.print(f"{name}: failed", style="red")
        return
    measure = TASKS[results["task"]].measures[0]
    score = measure.text(results[measure.key]) if scored else "done"
    how = "kept" if outcome.kept else console.duration(results["seconds"])
    to.print(f"{name}: {score} ({how})")
