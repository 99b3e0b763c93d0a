"""``pointadapt train``: adapt a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...core import console
from ...core.config import TrainConfig
from ...reports import terminal as report
from ..base import command, plain


@command("train")
@dataclass(frozen=True, kw_only=True)
class Train(TrainConfig):
    """Adapt a backbone to a labelled data set.

    Attributes:
        recipe: start from this preset; see "pointadapt list recipes". Flags override it.
        config: start from this YAML file, such as an earlier run's config.yaml. Flags override it.
        json: print the results as JSON on standard output, all else on standard error.
        summary: print the summary at the end.
    """

    config: Path | None = None
    json: bool = False
    summary: bool = True

    def __post_init__(self) -> None:
        """Checked in :meth:`run`, where a wrong value is answered by one line."""

    def run(self) -> int:
        config = plain(TrainConfig, self)
        from ...training.trainer import train

        results = train(config)
        if "adapter" not in results:  # not the main process of several
            return 0
        if self.summary:
            report.train_summary(results, console.output(stderr=self.json))
        if self.json:
            console.print_json(results)
        return 0
