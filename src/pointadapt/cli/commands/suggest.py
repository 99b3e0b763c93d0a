"""``pointadapt suggest``: which files to label next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ...core import console
from ...core.fields import at_least
from ...reports import terminal as report
from ..base import command
from ..features import check, embedded, tell_bad


@command("suggest")
@dataclass(frozen=True, kw_only=True)
class Suggest:
    """Say which files to label next: unlike the others chosen, and those the adapter doubts.

    Attributes:
        paths: files and folders without labels; folders are searched with their sub-folders.
        adapter: the folder that training wrote, or hf://owner/name.
        count: how many files.
        backbone: where the backbone is now, if the adapter does not find it.
        threads: CPU threads; 0 leaves it to torch.
        json: print the files as JSON on standard output.
    """

    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE_OR_DIR …")]
    adapter: Path
    count: int = 20
    backbone: str | None = None
    threads: int = 0
    json: bool = False

    def run(self) -> int:
        at_least(self, 1, "count")
        check(self)
        from ...inference.embed import choose

        found = embedded(self)
        rows = choose(found, self.count)
        if self.json:
            console.print_json(rows)
        else:
            lines = [
                [("label next", row["path"]), ("unlike the others", f"{row['distance']:.2f}"),
                 ("doubt", "-" if row["doubt"] is None else f"{100 * row['doubt']:.0f} %")]
                for row in rows
            ]  # fmt: skip
            report.lines(lines, console.output())
        return tell_bad(found)
