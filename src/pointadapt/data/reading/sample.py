"""What a folder of labelled files consists of."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "test")
# What folders and manifests call them, in any case of letters.
CALLED = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation"),
}


@dataclass(frozen=True)
class Sample:
    """One labelled file.

    Attributes:
        path: the file.
        label: its class.
        split: train or test; None where it is still to be drawn.
        numbers: what else is known of it, by name.
        group: what it belongs with; empty if that is not known.
    """

    path: Path
    label: str
    split: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    group: str = ""


def split_of(name: str) -> str | None:
    """The split, one of ``CALLED``, that a name means; None if it means none."""
    return next((split for split, names in CALLED.items() if name.lower() in names), None)


def one_form(name: str) -> str:
    """A name in one form of its accents, which disks and programs write in two ways (NFC, NFD)."""
    return unicodedata.normalize("NFC", name)
