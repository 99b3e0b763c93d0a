"""``pointadapt inspect``: look inside an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ...core import console
from ...core.config.inspect import InspectConfig
from ...reports import terminal as report
from ..base import command, plain


@command("inspect")
@dataclass(frozen=True, kw_only=True)
class Inspect(InspectConfig):
    """Look inside an adapter: its scale, blocks, prompts, head inputs and features, on one page.

    Attributes:
        json: print what is seen as JSON on standard output.
    """

    adapter: Annotated[Positional[Path], arg(metavar="ADAPTER")]
    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE_OR_DIR …")] = ()
    json: bool = False

    def __post_init__(self) -> None:
        """Checked in :meth:`run`, where a wrong value is answered by one line."""

    def run(self) -> int:
        config = plain(InspectConfig, self)
        from ...reports.inspection import run

        with console.stages("clouds") as stage:
            found = run(config, stage)
        if self.json:
            console.print_json(found)
            return 0
        to = console.output()
        for text in found["summary"]:
            to.print(f"- {text}", soft_wrap=True)
        to.print(f"page: {found['page']}", soft_wrap=True)
        report.next_steps(to, *((step["why"], step["command"]) for step in found["next"]))
        return 0
