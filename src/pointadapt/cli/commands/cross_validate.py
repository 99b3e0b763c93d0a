"""``pointadapt cross-validate``: an honest score for a small data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ...core import console
from ...core.config import together_text
from ...core.config.cross_validate import CrossValidateConfig
from ...reports import terminal as report
from ...studies.cross_validate import FINAL
from ..base import command, plain
from ..outcomes import tell
from ..study import Study

if TYPE_CHECKING:
    from ...tasks import Measure


@command("cross-validate")
@dataclass(frozen=True, kw_only=True)
class CrossValidate(Study, CrossValidateConfig):
    """Train on all folds but one, again and again; mean and deviation, and every cloud predicted.

    A run that was interrupted or killed goes on with the same command; finished folds are kept.
    """

    def run(self) -> int:
        config = plain(CrossValidateConfig, self)
        from ...studies.cross_validate import cross_validate

        to = console.output(stderr=self.json)
        results = cross_validate(config, on_done=lambda o: tell(o, to, scored=o.job.name != FINAL))
        _show(results, config, to)
        if self.json:
            console.print_json(results)
        return 0


def _show(results: Mapping[str, Any], config: CrossValidateConfig, to: Console) -> None:
    from ...reports.beside import baseline_rows
    from ...studies.cross_validate import PREDICTIONS, RESULTS
    from ...tasks import TASKS

    p, pooled, task = results["protocol"], results["pooled"], TASKS[results["task"]]
    if "confusion" in pooled:
        to.print(_class_table(pooled["confusion"], "points" if task.per_point else "clouds"))
    to.print(_fold_table(results, task.measures[0]))
    trained = report.share(results["trainable_parameters"], results["total_parameters"])
    augmentation = ", ".join(p["augmentation"]) or "none"
    lines = [
        f"{results['method']} on {results['title']}, {p['folds']}-fold cross-validation of "
        f"{p['clouds']:,} clouds, from the backbone {results['backbone']}",
        f"trained: {trained} parameters, {p['epochs']} epochs, seed {p['seed']}{together_text(p)}",
        f"selection: {p['selection']}; augmentation {augmentation}",
    ]
    lines.append(f"all held-out clouds: {' '.join(task.headline(pooled))}")
    if not task.per_point:
        lines.append(f"each cloud's prediction: {config.out / PREDICTIONS}")
    if results["baseline"]:
        (title, text), (_, remark) = baseline_rows(results, p["clouds"])
        lines.append(f"{title}: {text}; {remark}")
    lines.append(f"results: {config.out / RESULTS}")
    for line in lines:
        to.print(line, soft_wrap=True)
    report.next_steps(to, *_next(results, config))


def _fold_table(results: Mapping[str, Any], measure: Measure) -> Table:
    """The folds, and mean ± standard deviation below."""
    metric = measure.key
    mean = measure.mean(results[metric], results[f"{metric}_sd"])
    rows = Table("fold", show_footer=True)
    rows.columns[0].footer = "mean ± sd"
    rows.add_column("clouds", str(results["protocol"]["clouds"]), justify="right")
    rows.add_column(measure.head, mean, justify="right")
    rows.add_column("epoch", justify="right")
    rows.add_column("time", console.duration(results["seconds"]), justify="right")
    for row in results["folds"]:
        cells = [str(row["fold"]), str(row["clouds"]), measure.number(row[metric])]
        rows.add_row(*cells, str(row["selected_epoch"]), console.duration(row["seconds"]))
    return rows


def _class_table(confusion: Mapping[str, Any], what: str) -> Table:
    """Each class with its accuracy while held out and what it is taken for, the worst first."""
    rows = Table("class")
    rows.add_column(what, justify="right")
    rows.add_column("accuracy %", justify="right")
    rows.add_column("taken for")
    lines = []
    for k, (name, counts) in enumerate(confusion.items()):
        others = [(n, c) for n, c in zip(counts, confusion, strict=True) if n and c != name]
        wrong = ", ".join(f"{other} {n:,}" for n, other in sorted(others, reverse=True)[:3])
        if sum(counts):
            lines.append((100 * counts[k] / sum(counts), name, f"{sum(counts):,}", wrong))
    for value, name, count, wrong in sorted(lines):
        rows.add_row(name, count, f"{value:.1f}", wrong)
    return rows


def _next(results: Mapping[str, Any], config: CrossValidateConfig) -> tuple[tuple[str, str], ...]:
    """What to do next: (why, command)."""
    from dataclasses import replace

    if "final_adapter" in results:
        adapter = results["final_adapter"]
        return (("Use it", console.command_line("pointadapt predict FILE --adapter", adapter)),)
    again = console.invocation("cross-validate", replace(config, final=True))
    return (("Train an adapter on all clouds", again),)
