"""``pointadapt few-shot``: n-way k-shot classification, all folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ...core import console
from ...core.config import together_text, votes_text
from ...core.config.few_shot import FewShotConfig
from ...reports import terminal as report
from ..base import command, plain
from ..outcomes import tell
from ..study import Study


@command("few-shot")
@dataclass(frozen=True, kw_only=True)
class FewShot(Study, FewShotConfig):
    """Train on a few clouds of a few classes, in ten folds; mean and standard deviation.

    A run that was interrupted or killed goes on with the same command; finished folds are kept.
    """

    def run(self) -> int:
        config = plain(FewShotConfig, self)
        from ...studies.few_shot import few_shot

        to = console.output(stderr=self.json)
        results = few_shot(config, on_done=lambda outcome: tell(outcome, to))
        _show(results, config, to)
        if self.json:
            console.print_json(results)
        return 0


def _show(results: Mapping[str, Any], config: FewShotConfig, to: Console) -> None:
    from ...reports.beside import baseline_rows
    from ...studies.few_shot import RESULTS, table

    p = results["protocol"]
    to.print(table(results))
    augmentation = ", ".join(p["augmentation"]) or "none"
    trained = report.share(results["trainable_parameters"], results["total_parameters"])
    lines = (
        f"{results['method']} on {results['title']}, {results['way']}-way {results['shot']}-shot, "
        f"{results['queries']} queries a class, from the backbone {results['backbone']}",
        f"trained: {trained} parameters, {p['epochs']} epochs, seed {p['seed']}{together_text(p)}",
        f"selection: {p['selection']}; augmentation {augmentation}; {votes_text(p)}",
        f"episodes: {p['episodes']}",
        f"results: {config.out / RESULTS}",
    )
    if results["baseline"]:
        count = results["way"] * results["queries"] * len(results["folds"])
        (title, text), (_, remark) = baseline_rows(results, count)
        lines = (*lines, f"{title}: {text}; {remark}")
    for line in lines:
        to.print(line, soft_wrap=True)
    report.next_steps(to, *_next(results, config))


def _next(results: Mapping[str, Any], config: FewShotConfig) -> tuple[tuple[str, str], ...]:
    """What to do next: (why, command)."""
    other = replace(config, method="METHOD", options=(), head=(), recipe="")
    other = replace(other, out=config.out.with_name(f"{config.out.name}-METHOD"))
    if results["protocol"]["episode_seed"] is not None:  # they were drawn here
        other = replace(other, episodes=Path(results["protocol"]["episodes"]))
    best = max(results["folds"], key=lambda row: row[results["metric"]])
    use = console.command_line("pointadapt predict FILE --adapter", best["adapter"])
    again = console.invocation("few-shot", other)
    return ("Another method on the same episodes", again), ("Use an adapter", use)
