"""What training shows while it runs: a bar or lines, a JSON line an epoch, trackers."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from ..core import console
from ..core.config import TrainConfig
from ..core.files import append_line
from ..core.progress_lines import ProgressLines
from .trackers import Trackers


class TrainingDisplay:
    """Live progress on standard error, ``log.jsonl`` and what trackers write in the run folder.

    Only the main process shows and writes anything; one of several runs at once is ``shown``.
    """

    def __init__(
        self, config: TrainConfig, steps: int, epoch: int, main: bool, shown: bool = True
    ) -> None:  # fmt: skip
        self.config, self.steps, self.main = config, steps, main
        to = console.output(stderr=True)
        self.progress = Progress(
            console.Words("{task.description}"), BarColumn(), MofNCompleteColumn(),
            console.Words("{task.fields[note]}"), TimeRemainingColumn(),
            console=to, disable=not (main and shown and to.is_terminal), transient=True,
        )  # fmt: skip
        self.all = self.progress.add_task(
            config.method, total=config.epochs * steps, completed=epoch * steps, note=""
        )
        self.epoch, self.note = epoch, ""
        self.trackers: Trackers | None = None
        self.lines: ProgressLines | None = None
        if main and shown and not to.is_terminal:
            total = config.epochs * steps
            self.lines = console.progress_lines(
                f"training {config.method}", total, "steps", epoch * steps
            )

    def __enter__(self) -> TrainingDisplay:
        if self.main:
            self.trackers = Trackers(self.config, self.epoch)
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.progress.__exit__(kind, error, trace)
        if self.trackers is not None:
            self.trackers.close()

    def step_done(self, step: int, loss: float) -> None:
        """``step`` steps of this epoch are done with mean loss ``loss``."""
        done = self.epoch * self.steps + step
        self.progress.update(self.all, completed=done, note=f"loss {loss:.3f}{self.note}")
        if self.lines is not None:
            self.lines.tell(done, f" · loss {loss:.3f}{self.note}")

    def epoch_done(self, row: dict[str, Any]) -> None:
        """An epoch is over; ``row`` is its line of the log."""
        self.epoch = row["epoch"]
        self.note = f" · epoch {row['epoch']}/{self.config.epochs}"
        told = {key: value for key, value in row.items() if key.startswith("train_")}
        self.note += "".join(f" · {key.replace('_', ' ')} {v:.4g}" for key, v in told.items())
        if not self.main:
            return
        append_line(self.config.out / "log.jsonl", json.dumps(row))
        if self.trackers is not None:
            self.trackers.log(row, row["epoch"])
