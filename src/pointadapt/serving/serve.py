"""The one call that serves adapters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from ..core.errors import ConfigError
from .plan import Limits, Plan
from .token import read_token


def serve(
    adapters: Iterable[Path | str], *, backbone: Path | str | None = None,
    host: str = "127.0.0.1", port: int = 8000, token_file: Path | None = None, most: int = 100,
    max_megabytes: int = 256, max_seconds: float = 120.0, batch: int = 32, wait: float = 10.0,
    waiting: int = 256, workers: int = 1, threads: int = 0, cluster: str = "",
    on_start: Callable[[int, str], None] = lambda *_: None,
) -> None:  # fmt: skip
    """Serve adapters over HTTP until SIGTERM or Ctrl-C, then finish what is under way.

    Args:
        adapters: adapter folders, and folders of such; each adapter is called as its folder. Also
            "hf://owner/name", which is called as its repository.
        backbone: where the backbone is now, if the adapters do not find it.
        host: address to listen on; only this machine reaches the default.
        port: 0 takes a free one.
        token_file: file whose first line clients must send as a bearer token.
        most: adapters in memory.
        max_megabytes: size of a file.
        max_seconds: from the first byte of a file to the answer.
        batch: clouds that are predicted together.
        wait: milliseconds that a cloud waits for others.
        waiting: files that may wait for their turn.
        workers: processes that answer, each with its own copy of the backbone; one that dies is
            replaced, and what it had in hand breaks off.
        threads: CPU threads of each; 0 leaves it to torch, or shares the cores out to workers; on a
            cluster it is 1.
        cluster: address of a Ray cluster whose nodes answer, or "local"; the workers are its
            replicas. Its nodes see the adapters and the backbone under the same paths.
        on_start: called with the number of adapters and the server's address once it listens.

    Raises:
        ConfigError: a package is missing, or others reach the address and there is no token.
        AdapterError: a place holds no adapter.
        FetchError: an adapter cannot be had from the Hub.
        PointAdaptError: it cannot listen there.
    """
    try:
        from .run import run
    except ImportError as error:
        raise ConfigError(f"serving needs {error.name}: pip install 'pointadapt[serve]'") from error
    limits = Limits(
        bytes=max_megabytes << 20, seconds=max_seconds, batch=batch, wait=wait / 1e3,
        waiting=waiting,
    )  # fmt: skip
    token = "" if token_file is None else read_token(token_file)
    if workers > 1 and not threads and not cluster:
        threads = max(1, (os.cpu_count() or 1) // workers)
    plan = Plan(tuple(map(Path, adapters)), backbone, most, limits, token, threads=threads)
    run(plan, host, port, workers, on_start, cluster)
