"""Benchmarks whose points carry part labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ...core.errors import ConfigError, FileFormatError, PointCloudError
from ...io import sample_index
from ..base import Clouds
from .benchmark import SPLITS, Release, check_choice


@dataclass(frozen=True)
class RawParts:
    """Part-labelled clouds as they lie on disk.

    Attributes:
        source: the file or folder they come from, for messages.
        labels: (n,) int64, indices into the classes.
        ids: (n,) name of each cloud.
        read: index of a cloud to its points (N, 3) and the part (N,) of each.
    """

    source: Path
    labels: np.ndarray
    ids: tuple[str, ...]
    read: Callable[[int], tuple[np.ndarray, np.ndarray]]


@dataclass
class PartBenchmark(Release):
    """Base of the part benchmarks. A subclass says where its clouds lie; this loads them.

    Attributes:
        points: points of a cloud: all in their order where there are as many, a choice fixed by
            ``seed`` where there are more, and random repetitions where there are fewer.
        sampling: how to choose: ``random``, or ``fps`` (farthest point sampling, slower).
    """

    PARTS: ClassVar[tuple[str, ...]] = ()  # "class/part"

    points: int = 2048
    sampling: Literal["random", "fps"] = "random"

    def raw(self, split: str) -> RawParts:
        """The clouds of ``split`` as stored."""
        raise NotImplementedError

    def point_counts(self, split: str) -> np.ndarray:
        """(n,) points of each cloud on disk."""
        check_choice("split", split, SPLITS)
        raw = self.raw(split)
        return np.array([len(raw.read(i)[0]) for i in range(len(raw.labels))])

    def load(self, split: str) -> Clouds:
        """Clouds of ``split`` ("train" or "test") with ``parts``, coordinates as stored.

        Raises:
            DataLayoutError: something needed is missing under ``root``.
            FileFormatError: a file is damaged, of the wrong kind, or has a label out of range.
            PointCloudError: NaN or infinite coordinates.
            UnknownNameError: no such split, or an option with a value that does not exist.
        """
        check_choice("split", split, SPLITS)
        check_choice("sampling", self.sampling, ("random", "fps"))
        if self.points < 1 or self.seed < 0:
            raise ConfigError(f"points={self.points}, seed={self.seed}: use points >= 1, seed >= 0")
        raw = self.raw(split)
        n = len(raw.labels)
        points = np.empty((n, self.points, 3), np.float32)
        parts = np.empty((n, self.points), np.int64)
        for i in range(n):
            cloud, labels = self._checked(raw, i)
            rng = np.random.default_rng((self.seed, SPLITS.index(split), i))
            keep = slice(None)
            if len(cloud) != self.points:
                keep = sample_index(cloud, self.points, rng, self.sampling)
            points[i], parts[i] = cloud[keep], labels[keep]
        return Clouds(points, raw.labels, self.CLASSES, raw.ids, parts, self.PARTS)

    def _checked(self, raw: RawParts, i: int) -> tuple[np.ndarray, np.ndarray]:
        cloud, labels = raw.read(i)
        where = f"{raw.source}: cloud {raw.ids[i]}"
        if not len(cloud):
            raise PointCloudError(f"{where} has no points")
        if not np.isfinite(cloud).all():
            raise PointCloudError(f"{where} has NaN or infinite coordinates")
        if not (labels == np.floor(labels)).all():  # False for NaN, too
            raise FileFormatError(f"{where} has part labels that are no whole numbers")
        name = self.CLASSES[raw.labels[i]]
        own = [k for k, part in enumerate(self.PARTS) if part.rpartition("/")[0] == name]
        wrong = np.flatnonzero(~np.isin(labels, own))
        if len(wrong):
            raise FileFormatError(
                f"{where} has part label {labels[wrong[0]]:g} in row {wrong[0]} (counted from 0), "
                f"but the class {name} has parts {own[0]} to {own[-1]} only"
            )
        return cloud, labels
