"""``pointadapt robustness``: score an adapter on corrupted clouds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Console
from rich.table import Table

from ...core import console
from ...core.config.robustness import RobustnessConfig
from ...reports import terminal as report
from ..base import command, plain


@command("robustness")
@dataclass(frozen=True, kw_only=True)
class Robustness(RobustnessConfig):
    """Score an adapter under the corruptions of ModelNet-C or ModelNet40-C, at five severities.

    Corrupts the adapter's own test set, or reads a benchmark's official files: --data modelnet_c
    --root DIR. The same command goes on after an interruption.

    Attributes:
        json: print all as JSON on standard output, all else on standard error.
    """

    restarts: ClassVar[bool] = True  # as it is, by the same command
    resume: ClassVar[bool] = True

    json: bool = False

    def __post_init__(self) -> None:
        """Checked in :meth:`run`, where a wrong value is answered by one line."""

    def run(self) -> int:
        config = plain(RobustnessConfig, self)
        from ...reports.robustness_picture import heat_map
        from ...studies.robustness import PICTURE, RESULTS, cells_of, robustness

        with console.progress("corruptions", len(cells_of(config))) as done:
            results = robustness(config, on_cell=lambda k, _: done(k))
        picture = heat_map(results, config.out / PICTURE)
        if self.json:
            console.print_json(results)
        to = console.output(stderr=self.json)
        _show(results, to)
        to.print(f"{config.out / RESULTS}, {picture}", soft_wrap=True)
        return 0


def _show(results: Mapping[str, Any], to: Console) -> None:
    from ...tasks import TASKS

    summary, about = results["summary"], results["settings"]
    measure = TASKS[results["task"]].measures[0]
    rows = summary["corruptions"]
    told = all("error" in row for row in rows.values())
    ratio = all("ce" in row for row in rows.values())
    table = Table(padding=(0, 1 if to.width >= report.NARROW else 0))
    table.add_column(measure.head, no_wrap=True)
    more = (*(("error",) if told else ()), *(("CE",) if ratio else ()))
    for head in ("1", "2", "3", "4", "5", "mean", *more, "points"):
        table.add_column(head, justify="right")
    for name, scores in results["cells"].items():
        row = rows[name]
        cells = [measure.number(score[measure.key], 1) for score in (*scores, row)]
        cells += [f"{row['error']:.1f}"] if told else []
        cells += [f"{row['ce']:.3f}"] if ratio else []
        low, high = (f(score["points"] for score in scores) for f in (min, max))
        table.add_row(name, *cells, f"{low:,}" if low == high else f"{low:,} to {high:,}")
    to.print(table)
    title, clouds = results.get("title", about["data"]), f"{about['clouds']:,} clouds"
    to.print(f"{about['suite']}: {about['corruptions']}; {title}, {clouds}")
    if not told:
        clean, mean = measure.text(summary["clean"]), measure.text(summary["mean"])
        to.print(f"{measure.name}: clean {clean}, mean over all corruptions {mean}")
        return
    to.print(f"clean accuracy {summary['clean_accuracy']:.2f} %")
    to.print(
        f"mean error     {summary['mean_error']:.2f} % (accuracy {summary['mean_accuracy']:.2f} %)"
    )
    if ratio:
        to.print(f"mCE {summary['mce']:.3f}, RmCE {summary['rmce']:.3f} (DGCNN: 1)")
    to.print(summary["definition"], style="dim", soft_wrap=True)
