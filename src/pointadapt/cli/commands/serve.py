"""``pointadapt serve``: adapters over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ...core import console
from ...core.errors import PointAdaptError
from ...core.fields import at_least
from ..base import command


@command("serve")
@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve adapters over HTTP: files in, classes or labelled files out; a page for people.

    Send a file with curl -T chair.ply http://127.0.0.1:8000/predict/NAME/chair.ply, or open the
    address in a browser. It stops on Ctrl-C and SIGTERM, once what is under way is done.

    Attributes:
        adapters: adapter folders, and folders of such; each adapter is called as its folder.
            Also hf://owner/name, which is called as its repository.
        backbone: where the backbone is now, if the adapters do not find it.
        host: address to listen on; only this machine reaches the default.
        port: 0 takes a free one.
        token_file: file whose first line clients must send as a bearer token; needed where other
            machines reach the server.
        most: adapters in memory; those that were not asked for longest are let go.
        max_megabytes: size of a file.
        max_seconds: from the first byte of a file to the answer.
        batch: clouds that are predicted together.
        wait: milliseconds that a cloud waits for others.
        waiting: files that may wait for their turn.
        workers: processes that answer; one that dies is replaced. Each holds its own backbone.
        threads: CPU threads of each; 0 leaves it to torch, or shares the cores out to workers; on a
            cluster it is 1.
        cluster: address of a Ray cluster whose nodes answer, as HOST:PORT, or "auto" on one of its
            nodes; "local" starts one here. The workers are its replicas.
    """

    adapters: Annotated[Positional[tuple[Path, ...]], arg(metavar="ADAPTER_OR_DIR …")]
    backbone: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    most: int = 100
    max_megabytes: int = 256
    max_seconds: float = 120.0
    batch: int = 32
    wait: float = 10.0
    waiting: int = 256
    workers: int = 1
    threads: int = 0
    cluster: str = ""

    def run(self) -> int:
        at_least(self, 1, "most", "max_megabytes", "max_seconds", "batch", "waiting", "workers")
        at_least(self, 0, "wait", "threads", "port")
        if not self.adapters:
            raise PointAdaptError("give at least one adapter to serve")
        from ...serving.serve import serve

        options = {f.name: getattr(self, f.name) for f in fields(self)}
        serve(**options, on_start=_tell)
        return 0


def _tell(count: int, address: str) -> None:
    console.output().print(f"{count} adapters at {address}", soft_wrap=True)
