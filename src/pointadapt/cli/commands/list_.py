"""``pointadapt list``: what there is to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from ...core import console
from ...reports import terminal as report
from ..base import command

Kind = Literal["all", "backbones", "methods", "tasks", "data", "recipes", "augmentations"]


@command("list")
@dataclass(frozen=True, kw_only=True)
class List:
    """Show what there is to choose from.

    Attributes:
        kind: what to show.
        json: print it as JSON on standard output.
    """

    kind: Positional[Kind] = "all"
    json: bool = False

    def run(self) -> int:
        from ..listing import NOTES, available

        tables = available(self.kind)
        if self.json:
            console.print_json(tables if self.kind == "all" else tables[self.kind])
        else:
            for kind, rows in tables.items():
                report.listing(kind, rows, console.output(), NOTES.get(kind, ""))
        return 0
