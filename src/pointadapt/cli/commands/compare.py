"""``pointadapt compare``: many methods, one protocol, one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from tyro.conf import Suppress

from ...core import console
from ...reports import terminal as report
from ...studies.compare import CompareConfig
from ..base import command, plain
from ..outcomes import tell
from ..study import Study


@command("compare")
@dataclass(frozen=True, kw_only=True)
class Compare(Study, CompareConfig):
    """Train many methods under one protocol and put them into one table and one picture.

    Each run is a process of its own. The same command goes on after an interruption or a kill, and
    repeats what failed; finished runs are kept, and methods and seeds may be added.
    """

    # These differ from run to run.
    method: Annotated[str, Suppress] = "dapt"
    options: Annotated[tuple[str, ...], Suppress] = ()
    seed: Annotated[int, Suppress] = 0

    def run(self) -> int:
        config = plain(CompareConfig, self)
        from ...studies.compare import compare

        to = console.output(stderr=self.json)
        board = compare(config, on_done=lambda outcome: tell(outcome, to))
        _show(board, config, to)
        if self.json:
            console.print_json(board)
        failed = [row["error"] for row in board["methods"] if row["error"]]
        for error in failed:
            console.error_line(error)
        return 2 if failed else 0


def _show(board: Mapping[str, Any], config: CompareConfig, to: Console) -> None:
    from ...reports.beside import baseline_rows
    from ...studies.compare.tables import protocol_lines, ranked, to_terminal

    to.print(to_terminal(board, narrow=to.width < report.NARROW))
    for line in protocol_lines(board):
        to.print(line, soft_wrap=True)
    to.print(f"{config.out}/board.json, .csv, .md and .png", soft_wrap=True)
    best = ranked(board)[0]
    if board["baseline"]:
        run = {**best, "protocol": board["protocol"], "baseline": board["baseline"]}
        for title, text in baseline_rows(run, board["protocol"]["test_clouds"])[1:]:
            to.print(f"random forest{title}: {text}", soft_wrap=True)
    folder = Path(best["runs"][0]) / "adapter"
    report.next_steps(
        to,
        (
            "Use the best",
            console.command_line("pointadapt predict FILE --adapter", folder),
        ),
        (
            "See where it errs",
            console.command_line("pointadapt evaluate --adapter", folder),
        ),
    )
