"""What a folder of labelled files consists of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Sample:
    """One labelled file; ``split`` is None where it is still to be drawn."""

    path: Path
    label: str
    split: str | None = None
