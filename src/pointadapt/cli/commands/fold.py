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
        share: of the adapted weights, from 0 to 1: the rest are the pre-trained ones, whose width
            of knowledge a share below 1 keeps more of (WiSE-FT); for methods that fold wholly.
        json: print what was done as JSON on standard output.
    """

    adapter: Annotated[Positional[Path], arg(metavar="ADAPTER")]
    out: Path
    backbone: str | None = None
    share: float = 1.0
    json: bool = False

    def run(self) -> int:
        from ...adapters.fold import fold

        done = fold(self.adapter, self.out, self.backbone, self.share)
        if self.json:
            console.print_json(done)
        else:
            report.fold_summary(done, console.output())
        return 0
