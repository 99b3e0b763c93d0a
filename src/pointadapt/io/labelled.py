"""What came of labelling the points of a scene."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SceneLabels:
    """What was labelled.

    Attributes:
        path, out: the scene, and the labelled copy.
        field: what the labels are called in it.
        points, tiles, samples: how many points, tiles, and passes of the network.
        counts: points of each class, by name.
        confidence: mean over the points of their class's probability, 0 to 1.
        seconds: wall time.
        peak_memory_bytes: largest memory of the process so far.
    """

    path: Path
    out: Path
    field: str
    points: int
    tiles: int
    samples: int
    counts: dict[str, int]
    confidence: float
    seconds: float
    peak_memory_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "path": str(self.path), "out": str(self.out)}
