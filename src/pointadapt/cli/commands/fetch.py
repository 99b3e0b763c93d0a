"""``pointadapt fetch``: published weights into the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ...core import console
from ...reports import terminal as report
from ..base import command


@command("fetch")
@dataclass(frozen=True, kw_only=True)
class Fetch:
    """Download published weights, convert them, and keep them for --backbone TAG.

    They are kept in POINTADAPT_CACHE, by default ~/.cache/pointadapt. A broken download
    goes on with the same command. Above 10 GB or 12 hours, use a browser and --file.

    Attributes:
        tag: which ones, see "pointadapt list backbones"; or the address of a published file,
            https://… or hf://owner/repository/file.
        file: the published file, where you downloaded it yourself.
        again: fetch also what is in the cache.
        offline: use no network; fails where the weights are not in the cache.
        timeout: seconds without a byte after which a connection counts as broken.
        json: print the record as JSON on standard output.
    """

    tag: Annotated[Positional[str], arg(metavar="TAG")]
    file: Path | None = None
    again: bool = False
    offline: bool = False
    timeout: float = 30.0
    json: bool = False

    def run(self) -> int:
        from ...pretrained.fetch import fetch

        done = fetch(
            self.tag, file=self.file, again=self.again, offline=self.offline or None,
            timeout=self.timeout,
        )  # fmt: skip
        if self.json:
            console.print_json(done)
        else:
            report.fetch_summary(done, self.tag, console.output())
        return 0
