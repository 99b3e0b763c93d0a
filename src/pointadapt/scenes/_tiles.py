"""One tile: which of its points enter the network, and how the votes of tiles are put together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..core.errors import ConfigError, PointAdaptError
from ..core.machine import derive_seed
from ..ops.point_traits import MARGIN, point_traits
from ._features import Channels
from ._nearest import spread
from ._spill import Spill

MOST = 1 << 23  # points of a tile: more would not fit into a small memory
LEAST_WEIGHT = 0.02  # of a vote at a tile's very border, against 1 in its middle


@dataclass(frozen=True)
class Tile:
    """The points of a tile that enter the network.

    Attributes:
        own: place of the cell that has all its votes once this tile is done.
        points: (P, n, 3) float32 metres from the tile's middle, height from the scene's lowest.
        features: (P, n, C) float32; None where the model takes none.
        cells: places of the cells that the points belong to.
        rows: for each of them, which of its points, in the order of the passes.
        weights: for each of them, (k,) float32 how much their votes count.
        order: the places of these points, cell by cell, among the P n.
    """

    own: int
    points: np.ndarray
    features: np.ndarray | None
    cells: tuple[int, ...]
    rows: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]
    order: np.ndarray


@dataclass(frozen=True)
class Cutter:
    """Reads tiles out of the spilled scene.

    A tile's network sees ``passes`` times ``n`` of its points. Where it has more, a fixed random
    number of each point says which; a cell is seen by several tiles, and each begins at another
    place of those numbers, so that together they see as many of the points as they can.

    Attributes:
        spill: the points by cell.
        channels: the features to make.
        n: points that enter the network at a time.
        passes: how often it runs for a tile at most; 0: until it has seen every point.
        seed: fixes the choice.
        width: of a block in training, which traits of points go by; 0: that of a tile.
    """

    spill: Spill
    channels: Channels
    n: int
    passes: int
    seed: int
    width: float = 0.0

    def cut(self, own: np.ndarray, places: np.ndarray) -> Tile:
        """The tile that begins with the cell ``own`` and touches the cells at ``places``."""
        grid, index = self.spill.grid, self.spill.found.cells.index
        self._check_size(int(self.spill.found.cells.counts[places].sum()))
        parts, rows, keys, first = [], [], [], []
        for place in places:
            step = index[place] - own
            part = self.spill.cell(int(place))
            local = part["xyz"].copy()
            local[:, :2] += (step * grid.stride - grid.block / 2).astype(np.float32)
            # The upper border belongs to the next tile; a rounding must not lose a point of ours.
            inside = (local[:, :2] <= grid.block / 2).all(axis=1) | (step == 0).all()
            phase = (step[0] * grid.reach + step[1]) / grid.reach**2
            rows.append(np.flatnonzero(inside))
            parts.append((local[inside], part["more"][inside]))
            keys.append((_ranks(part["id"][inside], self.seed) + phase) % 1.0)
            first.append(len(rows[-1]))
        chosen, padded = self._choose(np.concatenate(keys), own)
        xyz = np.concatenate([local for local, _ in parts])
        read = np.concatenate([more for _, more in parts])
        cell = np.repeat(np.arange(len(places)), first)[chosen]
        order = np.argsort(cell, kind="stable")
        bounds = np.searchsorted(cell[order], np.arange(len(places) + 1))
        inner = np.concatenate(rows)[chosen][order]
        weight = self._weights(xyz[chosen][order])
        cuts = [slice(a, b) for a, b in pairwise(bounds)]
        points = xyz[padded].reshape(-1, self.n, 3)
        return Tile(
            int(places[0]), points, self._features(own, xyz[padded], read[padded]),
            tuple(map(int, places)), tuple(inner[c] for c in cuts),
            tuple(weight[c] for c in cuts), order,
        )  # fmt: skip

    def _check_size(self, count: int) -> None:
        if count > MOST:
            raise ConfigError(
                f"a tile of {self.spill.grid.block} m has {count:,} points, more than {MOST:,}: "
                "make tiles smaller with --block"
            )

    def _choose(self, keys: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which points are seen, and these filled up to whole passes by repetition."""
        count = len(keys)
        passes = math.ceil(count / self.n)
        if self.passes:
            passes = min(passes, self.passes)
        wanted = passes * self.n
        rng = np.random.default_rng(derive_seed(self.seed, *(int(k) % 2**32 for k in own)))
        if wanted < count:
            chosen = np.argpartition(keys, wanted)[:wanted]
            chosen.sort()  # argpartition's own order is no promise
            chosen = rng.permutation(chosen)
            return chosen, chosen
        chosen = rng.permutation(count)
        last = wanted - self.n  # the last pass is filled with points of the others, then any
        fill = chosen[:last] if last >= wanted - count else chosen
        more = rng.choice(fill, wanted - count, replace=len(fill) < wanted - count)
        return chosen, np.concatenate([chosen, more])

    def _features(self, own: np.ndarray, xyz: np.ndarray, read: np.ndarray) -> np.ndarray | None:
        if not self.channels.names:
            return None
        grid, found = self.spill.grid, self.spill.found
        corner = np.append(own * grid.stride + grid.block / 2, found.low[2]) - found.low
        extent = np.maximum(found.high - found.low, 1e-9)
        within = ((xyz + corner) / extent).clip(0, 1).astype(np.float32)  # strays are outside
        traits = self._traits(own, xyz) if self.channels.takes_traits else None
        made = self.channels.make(read / self.channels.tops(found.peaks), within, traits)
        return made.reshape(-1, self.n, len(self.channels.names))

    def _traits(self, own: np.ndarray, xyz: np.ndarray) -> np.ndarray:
        """(m, T) traits of points (m, 3) of the tile, from all points in and around it."""
        grid, cells = self.spill.grid, self.spill.found.cells
        width = self.width or grid.block
        margin = math.ceil(MARGIN * width / grid.stride)
        parts = []
        for place in cells.around(own, margin, margin + grid.reach - 1):
            part = self.spill.cell(int(place))["xyz"].copy()
            step = cells.index[place] - own
            part[:, :2] += (step * grid.stride - grid.block / 2).astype(np.float32)
            parts.append(part)
        unique, back = np.unique(xyz, axis=0, return_inverse=True)
        return point_traits(np.concatenate(parts), width, unique)[back.ravel()]

    def _weights(self, xyz: np.ndarray) -> np.ndarray:
        """A vote counts less near the tile's border, where the network sees no neighbours."""
        half = self.spill.grid.block / 2
        inner = 1.0 - np.abs(xyz[:, :2]).max(axis=1) / half
        return np.maximum(inner, LEAST_WEIGHT).astype(np.float32)


class Votes:
    """Sums of the probabilities of the points of cells whose tiles are not all done.

    Args:
        spill: the points by cell.
        classes: number of classes.
    """

    def __init__(self, spill: Spill, classes: int) -> None:
        self.spill, self.classes = spill, classes
        self.open: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, tile: Tile, probabilities: np.ndarray) -> None:
        """Add a tile's (P, n, K) probabilities.

        Raises:
            PointAdaptError: there is a NaN in them, or they have another shape.
        """
        if probabilities.shape != (*tile.points.shape[:2], self.classes):
            raise PointAdaptError(
                f"predicted shape {probabilities.shape}, but {tile.points.shape[:2]} points of "
                f"{self.classes} classes were asked"
            )
        if not np.isfinite(probabilities).all():
            raise PointAdaptError("the model predicts NaN")
        votes = probabilities.reshape(-1, self.classes)[tile.order]
        start = 0
        for place, rows, weights in zip(tile.cells, tile.rows, tile.weights, strict=True):
            sums, weight = self._of(place)
            part = votes[start : start + len(rows)]
            sums[rows] += part * weights[:, None]
            weight[rows] += weights
            start += len(rows)

    def close(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """(n,) numbers of the points of the tile's own cell, and their (n, K) probabilities.

        Points that no tile's network saw take those of the three nearest ones that it did: of
        their cell, or of the tile where it saw none of the cell.
        """
        sums, weight = self._of(tile.own)
        cell, seen = self.spill.cell(tile.own), weight > 0
        mean = sums / np.maximum(weight, 1e-12)[:, None]
        if not seen.all():
            known, values = cell["xyz"][seen], mean[seen]
            if not len(known):
                known, values = self._around(tile)
            mean[~seen] = spread(np.ascontiguousarray(cell["xyz"][~seen]), known, values)
        del self.open[tile.own]
        return cell["id"], mean

    def _of(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        if place not in self.open:
            count = int(self.spill.found.cells.counts[place])
            sums = np.zeros((count, self.classes), np.float32)
            self.open[place] = sums, np.zeros(count, np.float32)
        return self.open[place]

    def _around(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """What the network saw in the tile, from the corner of its own cell."""
        known, values = [], []
        cells = self.spill.found.cells.index
        for place, rows in zip(tile.cells, tile.rows, strict=True):
            if len(rows):
                sums, weight = self._of(place)
                xyz = self.spill.cell(place)["xyz"][rows].copy()
                step = cells[place] - cells[tile.own]
                xyz[:, :2] += (step * self.spill.grid.stride).astype(np.float32)
                known.append(xyz)
                values.append(sums[rows] / weight[rows][:, None])
        return np.concatenate(known), np.concatenate(values)


def _ranks(ids: np.ndarray, seed: int) -> np.ndarray:
    """A random number in [0, 1) for each point, the same in every tile (SplitMix64)."""
    x = ids.astype(np.uint64) + np.uint64(derive_seed(seed) * 0x9E3779B97F4A7C15 % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53
