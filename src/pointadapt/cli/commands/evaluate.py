"""``pointadapt evaluate``: score an adapter."""

from __future__ import annotations

from dataclasses import dataclass

from ...core import console
from ...core.config.evaluate import EvaluateConfig
from ...reports import terminal as report
from ..base import command, plain


@command("evaluate")
@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluateConfig):
    """Score an adapter on a data set; by default as at the end of its training.

    Attributes:
        json: print the scores as JSON on standard output.
    """

    json: bool = False

    def __post_init__(self) -> None:
        """Checked in :meth:`run`, where a wrong value is answered by one line."""

    def run(self) -> int:
        config = plain(EvaluateConfig, self)
        from ...reports.evaluation import run

        with console.stages("clouds") as stage:
            done = run(config, lambda k, n: stage(f"scoring {config.split}", k, n))
        if self.json:
            console.print_json(done.scores)
            return 0
        to, data = console.output(), done.facts["protocol"]["title"]
        report.evaluation(done.scores, done.task, f"{data} {config.split}", to)
        for text in done.facts["remarks"]:
            to.print(f"- {text}", soft_wrap=True)
        if config.html is not None:
            to.print(f"page: {config.html}", soft_wrap=True)
        report.next_steps(to, *done.steps)
        return 0
