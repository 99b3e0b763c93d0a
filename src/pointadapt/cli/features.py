"""What commands share that ask a network for features of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..core import console
from ..core.errors import PointAdaptError
from ..core.fields import at_least


class Asked(Protocol):
    """The options that such a command has."""

    @property
    def paths(self) -> tuple[Path, ...]: ...
    @property
    def adapter(self) -> Path: ...
    @property
    def backbone(self) -> str | None: ...
    @property
    def threads(self) -> int: ...


def check(asked: Asked) -> None:
    """Refuse what no files can be asked for, before anything is loaded."""
    at_least(asked, 0, "threads")
    if not asked.paths:
        raise PointAdaptError("give at least one file or folder")


def embedded(asked: Asked, **more: Any) -> dict[str, Any]:
    """The arrays of :func:`pointadapt.embed`, with its progress on the screen."""
    from ..core.machine import use_threads
    from ..inference.embed import embed

    use_threads(asked.threads)
    with console.stages("files") as stage:
        return embed(
            asked.paths, asked.adapter, backbone=asked.backbone, **more,
            on_batch=lambda done, of: stage("embedding", done, of),
        )  # fmt: skip


def tell_bad(found: Mapping[str, Any]) -> int:
    """Say which files could not be read; the exit status."""
    for error in found["errors"]:
        console.error_line(str(error))
    return 2 if len(found["errors"]) else 0
