"""Labelled files as rows of numbers: what is known of each that the cache can keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...core.errors import PointAdaptError
from ...io import Cloud
from ..copies import PACKED, packed, unpacked
from .bad_files import Skip, read_each, reasons, refuse, tell_skipped
from .point_cache import cached_points
from .sample import Sample


@dataclass(frozen=True)
class Measured:
    """One file: the points that were chosen, and what is known of all of its points."""

    cloud: Cloud
    traits: np.ndarray
    digest: int

    def row(self) -> np.ndarray:
        """(3 N + T + PACKED,) float32: the coordinates, the traits, the digest."""
        own = self.cloud.points.reshape(-1)
        return np.concatenate([own, self.traits, packed(self.digest)]).astype(np.float32)


@dataclass(frozen=True)
class FileRows:
    """The files that could be read.

    Attributes:
        samples: their paths and labels, in order.
        points: (n, N, 3) float32.
        traits: (n, T) float32 of all points of each.
        digests: (n,) uint64, the same for files of the same points.
        clouds: what else they hold; empty where they came from the cache.
        wrong: what is wrong with each file that was left out, by its path under the root.
    """

    samples: tuple[Sample, ...]
    points: np.ndarray
    traits: np.ndarray
    digests: np.ndarray
    clouds: tuple[Cloud, ...] = ()
    wrong: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        root: their folder.
        read: reads one.
        points: points N of each.
        skip: "bad" leaves out what cannot be read.
        cache: where rows are kept, see :func:`cached_points`.
        options: what the rows depend on.
        watched: shows how far the reading is.
    """

    root: Path
    read: Callable[[Path], Measured]
    points: int
    skip: Skip
    cache: str
    options: Mapping[str, str]
    watched: Callable[[Sequence[Path]], Iterable[Path]]

    def rows(self, part: str, samples: Sequence[Sample], others: Sequence[Sample] = ()) -> FileRows:
        """What the files of ``samples`` hold.

        Args:
            part: what the cache calls them.
            samples: the files.
            others: more of the same data set: where one of ``samples`` is bad, those of them that
                are bad, too, are told with it.

        Raises:
            PointAdaptError: files cannot be read, and are not to be left out.
        """
        paths, seen = [sample.path for sample in samples], {}
        bad: dict[Path, PointAdaptError] = {}

        def fresh() -> np.ndarray:
            good, wrong = read_each(self.watched(paths), self.read)
            seen.update(good)
            bad.update(wrong)
            if bad and self.skip == "none":
                more = [sample.path for sample in others]
                bad.update(read_each(more, self.read)[1])
                refuse(bad, len(paths) + len(more), self.root)
            if not good:
                refuse(bad, len(paths), self.root)
            empty = np.full_like(next(iter(good.values())).row(), np.nan)
            return np.stack([good[p].row() if p in good else empty for p in paths])

        rows = cached_points(
            self.cache, f"folder {self.root.resolve()} {part}", paths, self.options, fresh
        )
        lost: np.ndarray = np.asarray(np.isnan(rows).any(axis=1))
        if lost.any() and not bad:  # of the cache, which does not know why
            again = [path for path, gone in zip(paths, lost, strict=True) if gone]
            bad.update(read_each(again, self.read)[1])
        tell_skipped(bad, len(paths), self.root)
        return self._split(samples, rows, lost, seen, reasons(bad, self.root))

    def _split(
        self, samples: Sequence[Sample], rows: np.ndarray, lost: np.ndarray,
        seen: Mapping[Path, Measured], wrong: Mapping[str, str],
    ) -> FileRows:  # fmt: skip
        good = tuple(s for s, gone in zip(samples, lost, strict=True) if not gone)
        kept = rows[~lost] if lost.any() else rows  # which the cache maps from the disk
        own = 3 * self.points
        return FileRows(
            good,
            kept[:, :own].reshape(-1, self.points, 3),
            kept[:, own:-PACKED],
            unpacked(kept[:, -PACKED:]),
            tuple(seen[sample.path].cloud for sample in good) if seen else (),
            wrong,
        )
