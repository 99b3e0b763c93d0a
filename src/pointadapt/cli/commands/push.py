"""``pointadapt push``: an adapter to the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ...core import console
from ...reports import terminal as report
from ..base import command


@command("push")
@dataclass(frozen=True, kw_only=True)
class Push:
    """Put an adapter on the Hugging Face Hub, for pointadapt predict --adapter hf://owner/name.

    Your token is that of HF_TOKEN, or of hf auth login. Places of this machine are not told.

    Attributes:
        adapter: the folder that training wrote.
        to: hf://owner/name; the repository is made if there is none.
        private: make it so that only its owner sees it; one that is there stays as it is.
        licence: of the adapter, as the Hub calls it, such as mit or cc-by-4.0.
        card_file: a README.md of your own, instead of the one that is made.
        json: print what was done as JSON on standard output.
    """

    adapter: Annotated[Positional[Path], arg(metavar="ADAPTER")]
    to: Annotated[Positional[str], arg(metavar="hf://OWNER/NAME")]
    private: bool = False
    licence: str = ""
    card_file: Path | None = None
    json: bool = False

    def run(self) -> int:
        from ...adapters.push import push

        done = push(
            self.adapter, self.to, private=self.private, licence=self.licence,
            card_file=self.card_file,
        )  # fmt: skip
        if self.json:
            console.print_json(done)
        else:
            report.push_summary(done, console.output())
        return 0
