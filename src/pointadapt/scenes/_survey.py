"""A first look at a scene: which cells it has, how far it reaches, whether its unit is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import PointCloudError
from ..core.notes import note
from ..io.checks import tell_strays
from ..io.place import MOST, Bulk, all_the_same, check_unit
from ._grid import Cells, Grid
from ._source import Source

CHUNK = 1 << 20  # points read at a time
Tell = Callable[[int], None]


@dataclass(frozen=True)
class Survey:
    """What a first pass finds.

    Attributes:
        cells: those that are not empty.
        low, high: (3,) float64 bounds of the coordinates; strays do not count.
        peaks: (C,) largest value of each column.
        dropped: points that are left out, since they are not finite.
    """

    cells: Cells
    low: np.ndarray
    high: np.ndarray
    peaks: np.ndarray
    dropped: int


@dataclass(frozen=True)
class Part:
    """A piece of a scene.

    Attributes:
        xyz, more: (m, 3) float64 coordinates and (m, C) float32 columns, finite.
        ids: (m,) numbers of the points in the file.
        done: points of the file that have been read.
    """

    xyz: np.ndarray
    more: np.ndarray
    ids: np.ndarray
    done: int


def finite_chunks(source: Source, columns: Sequence[str], chunk: int, drop: bool) -> Iterator[Part]:
    """The points in pieces of at most ``chunk``; those that are not finite are left out or refused.

    Raises:
        PointCloudError: a coordinate or feature is NaN or infinite, and not to be dropped.
    """
    done = 0
    for xyz, more in source.chunks(columns, chunk):
        ids = np.arange(done, done + len(xyz))
        good: Any = np.isfinite(np.concatenate([xyz, more], axis=1)).all(axis=1)
        done += len(good)
        if good.all():
            yield Part(xyz, more, ids, done)
        elif drop:
            yield Part(xyz[good], more[good], ids[good], done)
        else:
            raise _not_finite(xyz, ids, columns, int(np.argmin(good)))


def survey(
    source: Source, grid: Grid, columns: Sequence[str], tell: Tell, chunk: int = CHUNK,
    drop: bool = False,
) -> Survey:  # fmt: skip
    """Count the points of each cell.

    Raises:
        PointCloudError: no point, all at one place, too few in each cell, or a coordinate or
            feature is NaN or infinite.
    """
    counts: dict[tuple[int, int], int] = {}
    low, high, peaks = np.full(3, np.inf), np.full(3, -np.inf), np.zeros(len(columns))
    step, sample = -(-source.count // MOST), []
    for part in finite_chunks(source, columns, chunk, drop):
        if len(part.xyz):
            low = np.minimum(low, part.xyz.min(axis=0))
            high = np.maximum(high, part.xyz.max(axis=0))
            peaks = np.maximum(peaks, part.more.max(axis=0, initial=0.0))
            sample.append(part.xyz[part.ids % step == 0])
            _count(counts, grid.cells_of(part.xyz))
        wider = f"pass a --block wider than {grid.block:g}"
        check_unit(len(counts), source.count, grid.stride, wider)
        tell(part.done)
    finite = sum(counts.values())
    if not finite:
        raise PointCloudError("has no points" + (" with finite coordinates" if drop else ""))
    if (low == high).all():
        raise all_the_same(low, finite)
    if finite < source.count:
        note(f"{source.count - finite:,} of its {source.count:,} points are not finite: no class")
    cells = Cells.of(np.array(list(counts), np.int64), np.array(list(counts.values())))
    low, high = _without_strays(source, np.concatenate(sample), low, high, chunk, drop)
    return Survey(cells, low, high, peaks, source.count - finite)


def _without_strays(
    source: Source, sample: np.ndarray, low: np.ndarray, high: np.ndarray, chunk: int, drop: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The bounds (3,) of the points that are no strays; where there are any, in another pass."""
    bulk = Bulk.of(sample if len(sample) else np.stack([low, high]))
    if bulk.holds(np.stack([low, high])).all():
        return low, high
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    strays, first = 0, (0, low)
    for part in finite_chunks(source, (), chunk, drop):
        held = bulk.holds(part.xyz)
        if held.any():
            low = np.minimum(low, part.xyz[held].min(axis=0))
            high = np.maximum(high, part.xyz[held].max(axis=0))
        if not held.all():
            away = int(np.argmin(held))
            first = first if strays else (int(part.ids[away]), part.xyz[away])
            strays += int((~held).sum())
    tell_strays(strays, source.count, *first, "points")
    return low, high


def _count(counts: dict[tuple[int, int], int], cells: np.ndarray) -> None:
    found, number = _distinct(cells)
    for cell, n in zip(map(tuple, found.tolist()), number.tolist(), strict=True):
        counts[cell] = counts.get(cell, 0) + n


def _distinct(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of (n, 2) cells, and how often each occurs."""
    low = cells.min(axis=0)
    span = cells.max(axis=0) - low + 1
    if int(span[0]) * int(span[1]) > 2**62:
        raise PointCloudError("has points too far apart for tiles of this width")
    keys, number = np.unique(
        (cells[:, 0] - low[0]) * span[1] + cells[:, 1] - low[1], return_counts=True
    )
    return np.stack(np.divmod(keys, span[1]), axis=1) + low, number


def _not_finite(
    xyz: np.ndarray, ids: np.ndarray, columns: Sequence[str], row: int
) -> PointCloudError:
    what = "features (" + ", ".join(columns) + ")"
    if not np.isfinite(xyz[row]).all():
        what = "coordinates"
    return PointCloudError(
        f"has NaN or infinite {what}, first in point {ids[row]} (counted from 0): remove or repair "
        "them, or leave them without a class (--nan drop)"
    )
