"""What a server answers with and takes: what each worker is told before it imports the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client looks at it when it is first imported


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        bytes: of an upload.
        seconds: from its first byte to the answer.
        batch: clouds that are predicted at a time.
        wait: seconds that a cloud waits for others.
        waiting: files that may wait for their turn.
    """

    bytes: int = 256 << 20
    seconds: float = 120.0
    batch: int = 32
    wait: float = 0.01
    waiting: int = 256


@dataclass(frozen=True)
class Plan:
    """What each worker answers with.

    Attributes:
        places: see :class:`Shelf`.
        backbone: where the backbone is now.
        most: adapters in memory of each.
        limits: of each.
        token: what clients must send.
        hosts: the names that it answers to, any if there are none.
        threads: CPU threads of each; 0 leaves it to torch.
    """

    places: tuple[Path, ...]
    backbone: Path | str | None = None
    most: int = 100
    limits: Limits = Limits()
    token: str = ""
    hosts: tuple[str, ...] = ()
    threads: int = 0
