"""What a folder of labelled files consists of."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Sample:
    """One labelled file; ``split`` is None where it is still to be drawn."""

    path: Path
    label: str
    split: str | None = None


def one_form(name: str) -> str:
    """A name in one form of its accents, which disks and programs write in two ways (NFC, NFD)."""
    return unicodedata.normalize("NFC", name)
