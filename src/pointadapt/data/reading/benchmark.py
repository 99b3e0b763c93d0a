"""Published benchmarks: a fixed release on disk, with known classes and numbers of clouds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from ...core.errors import (
    ConfigError,
    FileFormatError,
    PointAdaptError,
    PointCloudError,
    UnknownNameError,
)
from ..base import Clouds, Dataset
from .files import RawClouds, SamplingRule
from .point_cache import cached_points

SPLITS = ("train", "test")
BATCH = 64  # clouds that are sampled at a time


@dataclass
class Release(Dataset):
    """Base of what was published once, with known classes and numbers of clouds.

    Class attributes:
        CLASSES: the official ones in order; empty where they come with the files.
    """

    CLASSES: ClassVar[tuple[str, ...]] = ()

    def raw(self, split: str) -> Any:
        """The clouds of ``split`` as stored, among them ``labels`` (n,) of clouds."""
        raise NotImplementedError

    def official_counts(self) -> dict[str, int]:
        """Number of clouds of each split in the official release; empty where it is not known."""
        return {}

    def verify(self) -> list[str]:
        """What differs from the official release, a line each; empty if nothing does.

        Looks at splits, classes and labels of clouds; the rest is checked by :meth:`load`.
        """
        notes = []
        for split, official in self.official_counts().items():
            try:
                notes += [f"{split}: {note}" for note in self._compare(self.raw(split), official)]
            except PointAdaptError as error:
                notes.append(f"{split}: {error}")
        return notes

    def _compare(self, raw: Any, official: int) -> Iterable[str]:
        if len(raw.labels) != official:
            yield f"{len(raw.labels)} clouds, the official release has {official}"
        classes = getattr(raw, "classes", self.CLASSES)  # where the files name them
        if self.CLASSES and classes != self.CLASSES:
            yield f"{len(classes)} classes, not the {len(self.CLASSES)} official ones in order"
        absent = len(classes) - len(np.unique(raw.labels))
        if absent:
            yield f"{absent} of {len(classes)} classes have no cloud"


@dataclass
class Benchmark(Release):
    """Base of the benchmarks. A subclass says where its clouds lie (:meth:`raw`); this loads them.

    Attributes:
        sampling: how a cloud with more than ``points`` points is brought down: ``fps`` (farthest
            point sampling from the first point), ``first`` (the first ones in stored order),
            ``random`` (without replacement, fixed by ``seed``), or ``auto``: what fits the files.
        cache: where the points of files that are slow to read are kept: a folder, "no", or "auto",
            which keeps what took more than five seconds in the user's cache folder.
    """

    sampling: Literal["auto", "fps", "first", "random"] = "auto"
    cache: str = "auto"

    def raw(self, split: str) -> RawClouds:
        """The clouds of ``split`` as stored."""
        raise NotImplementedError

    def stored_points(self, split: str) -> int:
        """Number of points that the first cloud of ``split`` has on disk."""
        check_choice("split", split, self.splits)
        return len(self.raw(split).read(0))

    def point_counts(self, split: str) -> np.ndarray:
        """(n,) points of each cloud on disk."""
        check_choice("split", split, self.splits)
        raw = self.raw(split)
        return np.array([len(raw.read(i)) for i in range(len(raw.labels))])

    def load(self, split: str) -> Clouds:
        """Clouds of ``split``, each of exactly ``points`` points, coordinates as stored.

        Raises:
            DataLayoutError: something needed is missing under ``root``.
            FileFormatError: a file is damaged or of the wrong kind.
            PointCloudError: clouds with fewer points than asked for, NaN or infinite coordinates.
            UnknownNameError: no such split, or an option with a value that does not exist.
        """
        check_choice("split", split, self.splits)
        check_choice("sampling", self.sampling, ("auto", *get_args(SamplingRule)))
        if self.points < 1 or self.seed < 0:
            raise ConfigError(f"points={self.points}, seed={self.seed}: use points >= 1, seed >= 0")
        raw = self.raw(split)
        rule = raw.sampling if self.sampling == "auto" else self.sampling
        points = cached_points(
            self.cache, f"{self.name} {raw.source.resolve()} {split}", raw.slow,
            {"points": self.points, "rule": rule, "seed": self.seed},
            lambda: self._points(raw, rule, split),
        )  # fmt: skip
        return Clouds(points, raw.labels, raw.classes, raw.ids)

    def _points(self, raw: RawClouds, rule: SamplingRule, split: str) -> np.ndarray:
        rng = np.random.default_rng((self.seed, SPLITS.index(split)))
        n = len(raw.labels)
        points = np.empty((n, self.points, 3), np.float32)
        for start in range(0, n, BATCH):
            batch = range(start, min(start + BATCH, n))
            points[batch.start : batch.stop] = sample(_stack(raw, batch), self.points, rule, rng)
        return points


def check_choice(kind: str, value: str, known: Iterable[str]) -> None:
    """Raises :class:`UnknownNameError` if ``value`` is not among ``known``."""
    known = tuple(known)
    if value not in known:
        raise UnknownNameError(kind, value, known)


def sample(points: np.ndarray, m: int, rule: SamplingRule, rng: np.random.Generator) -> np.ndarray:
    """``m`` of the N points of each cloud: (B, N, 3) to (B, m, 3); all of them, in order, if m = N.

    Raises:
        PointCloudError: N < m.
    """
    n = points.shape[1]
    if n < m:
        raise PointCloudError(
            f"clouds have {n} points but {m} are asked for: pass --points {n}, and --available no "
            f"higher; or, with an adapter, --data-options points={n}"
        )
    if n == m or rule == "first":
        return points[:, :m]
    if rule == "random":
        index = rng.random(points.shape[:2]).argsort(axis=1)[:, :m]
    else:
        index = _farthest(points, m)
    return np.take_along_axis(points, index[..., None], axis=1)


def _farthest(points: np.ndarray, m: int) -> np.ndarray:
    import torch

    from ...ops import farthest_point_sample

    return farthest_point_sample(torch.from_numpy(points), m).numpy()


def _stack(raw: RawClouds, batch: range) -> np.ndarray:
    """(B, N, 3) float32 coordinates of the clouds of ``batch``, checked."""
    clouds = [raw.read(i) for i in batch]
    size = len(clouds[0]) if clouds[0].ndim else 0
    for i, cloud in zip(batch, clouds, strict=True):
        if cloud.ndim != 2 or cloud.shape[1] < 3 or cloud.dtype.kind != "f":
            what = f"must be real numbers (N, 3 or more), not {cloud.dtype} {cloud.shape}"
            raise FileFormatError(f"{raw.source}: cloud {raw.ids[i]} {what}")
        if len(cloud) != size:
            what = f"has {len(cloud)} points, where {raw.ids[batch[0]]} has {size}"
            raise FileFormatError(f"{raw.source}: cloud {raw.ids[i]} {what}; get it again")
    points = np.stack([cloud[:, :3] for cloud in clouds]).astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(points).reshape(len(points), -1).all(axis=1))
    if len(bad):
        name = raw.ids[batch[bad[0]]]
        raise PointCloudError(f"{raw.source}: cloud {name} has NaN or infinite coordinates")
    return points
