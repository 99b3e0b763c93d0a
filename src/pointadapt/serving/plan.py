"""What a server answers with and takes: what each worker is told before it imports the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..inference.rows import CopyForm

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client looks at it when it is first imported
LOCAL = ("localhost", "127.0.0.1", "::1", "[::1]")  # names of a server that is this machine's
TOLD = "X-Pointadapt-Answer"  # the header beside a labelled copy
MOST_TOP = 100  # labels that are told of a cloud


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
class Asked:
    """What a client asks besides its file.

    Attributes:
        top: labels of a cloud that are told.
        category: the cloud's class, for an adapter of parts that is told it.
        copy: ending of the labelled copy of parts; by default that of the file.
    """

    top: int = 5
    category: str | None = None
    copy: CopyForm | None = None


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
