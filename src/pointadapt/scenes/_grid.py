"""Cutting a scene into overlapping tiles: which cells it has, and in which order they are done."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..core.errors import ConfigError, PointCloudError

FARTHEST = 2**40  # cells from zero; beyond it a coordinate is a mistake, and int64 may overflow


@dataclass(frozen=True)
class Grid:
    """Square tiles on a grid of the file's own coordinates, unbounded in height.

    Tile (i, j) begins at (i, j) times ``stride`` and is ``block`` wide, so that tiles overlap where
    ``stride`` is less. Cell (i, j) begins at the same corner and is ``stride`` wide: cells do not
    overlap, and tile (i, j) holds cell (i, j) and parts of its neighbours above. So a tile for each
    cell that is not empty labels every point.

    Attributes:
        block: width of a tile, in the file's unit (metres).
        overlap: share of a tile's width that the next one covers too, 0 to 0.75.

    Raises:
        ConfigError: a value out of range.
    """

    block: float
    overlap: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.block) and self.block > 0):
            raise ConfigError(f"block={self.block}: a tile's width must be above 0")
        if not 0 <= self.overlap <= 0.75:
            raise ConfigError(f"overlap={self.overlap}: it must lie between 0 and 0.75")

    @property
    def stride(self) -> float:
        """From one tile to the next."""
        return self.block * (1.0 - self.overlap)

    @property
    def reach(self) -> int:
        """How many cells a tile touches along each axis."""
        return math.ceil(self.block / self.stride - 1e-9)

    def cells_of(self, xyz: np.ndarray) -> np.ndarray:
        """(n, 2) int64 cell of each of (n, 3) float64 points.

        Raises:
            PointCloudError: a coordinate is too large for tiles of this width.
        """
        cells = np.floor(xyz[:, :2] / self.stride)
        if np.abs(cells).max(initial=0.0) > FARTHEST:
            raise PointCloudError(
                f"has coordinates too large for tiles of {self.block} m: is it another unit?"
            )
        return cells.astype(np.int64)


@dataclass(frozen=True)
class Cells:
    """The cells of a scene that are not empty, in the order in which their tiles are done.

    Tiles are done row by row, rows along the scene's shorter side: then a cell has all its votes
    when its own tile is done, and only cells of the next rows wait in memory.

    Attributes:
        index: (C, 2) int64 cells, in order.
        counts: (C,) int64 points in each.
        starts: (C + 1,) int64 how many points the cells before have.
    """

    index: np.ndarray
    counts: np.ndarray
    starts: np.ndarray
    _order: np.ndarray
    _keys: np.ndarray
    _base: np.ndarray
    _width: int

    @classmethod
    def of(cls, index: np.ndarray, counts: np.ndarray) -> Cells:
        """From (C, 2) different cells in any order, and the points in each."""
        low, high = index.min(axis=0), index.max(axis=0)
        outer = int(np.argmax(high - low))
        order = np.lexsort((index[:, 1 - outer], index[:, outer]))
        index, counts = index[order], counts[order].astype(np.int64)
        width = int(high[1] - low[1]) + 1
        if width * (int(high[0] - low[0]) + 1) > 2**62:
            raise PointCloudError("has points too far apart for tiles of this width")
        keys = (index[:, 0] - low[0]) * width + index[:, 1] - low[1]
        by_key = np.argsort(keys)
        starts = np.concatenate([[0], np.cumsum(counts)])
        return cls(index, counts, starts, by_key, keys[by_key], low, width)

    def __len__(self) -> int:
        return len(self.index)

    def find(self, index: np.ndarray) -> np.ndarray:
        """(n,) place in the order of each of (n, 2) cells; -1 where it is empty."""
        shifted = index - self._base
        keys = shifted[:, 0] * self._width + shifted[:, 1]
        place = np.minimum(np.searchsorted(self._keys, keys), len(self) - 1)
        inside = (shifted[:, 1] >= 0) & (shifted[:, 1] < self._width)
        known = (self._keys[place] == keys) & inside
        return np.where(known, self._order[place], -1)

    def around(self, own: np.ndarray, before: int, after: int) -> np.ndarray:
        """Places of the cells from ``before`` cells below to ``after`` above the cell ``own``."""
        steps = np.arange(-before, after + 1)
        square = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
        places = self.find(own + square)
        return places[places >= 0]

    def tiles(self, reach: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The tiles in order: the (2,) cell each begins with, and places of the cells it touches.

        The first of those is the tile's own cell.
        """
        steps = np.stack(np.meshgrid(np.arange(reach), np.arange(reach), indexing="ij"), axis=-1)
        steps = steps.reshape(-1, 2)
        for own in self.index:
            places = self.find(own + steps)
            yield own, places[places >= 0]
