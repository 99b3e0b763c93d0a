"""What a folder of labelled files consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "test")


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
