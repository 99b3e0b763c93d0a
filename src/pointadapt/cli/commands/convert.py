"""``pointadapt convert``: read a published checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ...core import console
from ...core.config import Published
from ...reports import terminal as report
from ..base import command, plain


@command("convert")
@dataclass(frozen=True, kw_only=True)
class Convert(Published):
    """Turn a published checkpoint into a backbone folder, and an adapter if it was fine-tuned.

    Attributes:
        file: the published .pth or .safetensors file; told apart by its tensors.
        out: folder to write.
        backbone: for a DAPT checkpoint, the backbone it was trained from, to be shared.
        backbone_only: of a fine-tuned model, write the backbone alone, whatever its head is.
        json: print the report as JSON on standard output.
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    out: Path
    backbone: str | None = None
    backbone_only: bool = False
    json: bool = False

    def run(self) -> int:
        from ...adapters.convert import convert

        facts = plain(Published, self)
        done = convert(self.file, self.out, facts, self.backbone, backbone_only=self.backbone_only)
        if self.json:
            console.print_json(done)
        else:
            report.convert_summary(done, console.output())
        return 0
