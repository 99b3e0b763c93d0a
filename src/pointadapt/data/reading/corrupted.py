"""What the two benchmarks of corrupted ModelNet40 test clouds have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ...core.errors import ConfigError, DataLayoutError
from ..base import Clouds, Dataset
from ..corruptions import SEVERITIES, SUITES
from ..sets.modelnet40 import CLASSES
from .benchmark import Benchmark, check_choice
from .files import RawClouds

CLEAN = "clean"


@dataclass
class CorruptedTest(Benchmark):
    """Base of both: corrupted copies of ModelNet40's test clouds, a file a severity.

    There is nothing to train on: a model trained on ModelNet40 is scored. Corruptions change the
    number of points.

    Attributes:
        points: points of a cloud; 0, the default, returns all that are stored.
        corruption: which corruption, or ``clean``.
        severity: 1 (mild) to 5; of no meaning for ``clean``.
    """

    splits: ClassVar[tuple[str, ...]] = ("test",)
    CLASSES: ClassVar[tuple[str, ...]] = CLASSES
    FOLDER: ClassVar[str] = ""

    points: int = 0
    corruption: str = CLEAN
    severity: int = 1

    def names(self) -> tuple[str, ...]:
        """The corruptions, in the benchmark's order."""
        return tuple(SUITES[self.name])

    def official_counts(self) -> dict[str, int]:
        """Number of clouds of the official release, in each of its files."""
        return {"test": 2468}

    def file(self, folder: Path) -> Path:
        """Where the chosen clouds lie in ``folder``."""
        raise NotImplementedError

    def read(self, path: Path) -> RawClouds:
        """The clouds of a file."""
        raise NotImplementedError

    def raw(self, split: str) -> RawClouds:
        """The chosen clouds as stored."""
        check_choice("split", split, self.splits)
        check_choice("corruption", self.corruption, (CLEAN, *self.names()))
        if self.severity not in SEVERITIES:
            raise ConfigError(f"severity={self.severity}: use 1 to 5")
        root = self.found_root()
        for folder in (root, root / self.FOLDER):
            if self.file(folder).is_file():
                return self.read(self.file(folder))
        raise DataLayoutError(f"{root}: no {self.file(root).name} is there. {self.where}")

    def load(self, split: str) -> Clouds:
        """The chosen clouds, coordinates as stored; see :meth:`Benchmark.load`."""
        if self.points:
            return super().load(split)
        return replace(self, points=self.stored_points(split)).load(split)

    def variants(self) -> Iterator[tuple[str, Dataset]]:
        """Every file, the clean clouds first."""
        yield self._variant(CLEAN, 1)
        for name in self.names():
            yield from (self._variant(name, severity) for severity in SEVERITIES)

    def _variant(self, name: str, severity: int) -> tuple[str, Dataset]:
        chosen = replace(self, corruption=name, severity=severity, points=0)
        return chosen.file(Path()).name, chosen
