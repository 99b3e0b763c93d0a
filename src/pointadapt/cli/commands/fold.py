"""``pointadapt fold``: move an adapter into its backbone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ...core import console
from ...reports import terminal as report
from ..base import command


@command("fold")
@dataclass(frozen=True, kw_only=True)
class Fold:
    """Fold an adapter into a copy of its backbone, which then computes the same with less.

    Attributes:
        adapter: the folder that training wrote, or hf://owner/name; it is left as it is.
        out: folder to write: an adapter that brings its own backbone.
        backbone: where the adapter's backbone is now, if the adapter does not find it.
        json: print what was done as JSON on standard output.
    """

    adapter: Annotated[Positional[Path], arg(metavar="ADAPTER")]
    out: Path
    backbone: str | None = None
    json: bool = False

    def run(self) -> int:
        from ...adapters.fold import fold

        done = fold(self.adapter, self.out, self.backbone)
        if self.json:
            console.print_json(done)
        else:
            report.fold_summary(done, console.output())
        return 0
