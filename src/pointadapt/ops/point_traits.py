"""Traits of each point of a scene: its height above what lies below, and the shape around it.

A network that sees blocks of a scene, thinned and scaled to a unit ball, can hardly tell how high a
point is above the ground, or how rough the surface is at the scanner's own density. These numbers
tell it, and are what a forest needs, too. They are taken from all points of the scene, in its unit
(metres), z upright; turning a scene about z changes the heights a little, since squares do not turn
along. As features of points they are called ``trait_low1`` and so on.

Heights (log1p of metres, with sign), w the width of a block:

- ``low1`` to ``low4``: above the lowest, ``high1`` to ``high4``: below the highest point of the
  square of w / 8, w / 4, w and 2 w about the point's cell, cells being w / 32 wide;
- ``ground1`` to ``ground4``: above the surface of lowest points, opened with a square of w / 4,
  w / 2, w and 3/2 w: what is narrower than that is cut away (Zhang et al., A Progressive
  Morphological Filter for Removing Nonground Measurements from Airborne LIDAR Data, IEEE TGRS
  2003);
- ``slope``: how steep the surface of ``ground3`` is around the point, rise over run.

``under``: the share of the points in the square of w / 8 that lie below the point.

Neighbourhoods, of the 10 (``_s``), 24 (``_m``) and 64 (``_l``) nearest points, with l1 ≥ l2 ≥ l3
the standard deviations along their main axes (Weinmann et al., Semantic Point Cloud Interpretation
Based on Optimal Neighborhoods, Relevant Features and Efficient Classifiers, ISPRS J. 2015):

- ``line`` = (l1 - l2) / l1, ``plane`` = (l2 - l3) / l1, ``ball`` = l3 / l1;
- ``upright`` = |z| of the normal; ``rough`` = log of l3, ``spacing`` = log of the distance to the
  farthest of them, in metres, at least a thousandth of w / 32;
- ``above`` = height above their mean, ``rise`` = their range of heights, log1p of metres with sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SQUARES = (8.0, 4.0, 1.0, 0.5)  # w by these: widths of the squares of lowest and highest points
OPENINGS = (4.0, 2.0, 1.0, 2 / 3)  # w by these: what the opened surfaces cut away
SIZES = {"s": 10, "m": 24, "l": 64}  # neighbours
AROUND = ("line", "plane", "ball", "upright", "rough", "spacing", "above", "rise")
PREFIX = "trait_"
_NAMES = (
    *(f"low{k + 1}" for k in range(len(SQUARES))),
    *(f"high{k + 1}" for k in range(len(SQUARES))),
    *(f"ground{k + 1}" for k in range(len(OPENINGS))),
    "slope",
    "under",
    *(f"{name}_{size}" for size in SIZES for name in AROUND),
)
POINT_TRAITS: tuple[str, ...] = tuple(PREFIX + name for name in _NAMES)
CELLS = 32  # of a block's width
MARGIN = 1.5  # blocks: nothing farther than that from a point counts for its traits
MOST_CELLS = 1 << 24  # of a raster; a scene that is wider has coarser cells
CHUNK = 1 << 14  # points whose neighbours are held at a time


def point_traits(points: np.ndarray, block: float, queries: np.ndarray | None = None) -> np.ndarray:
    """The traits of ``queries`` (m, 3), which are some of the points (M, 3); of all by default.

    Args:
        points: finite; in the scene's unit.
        block: w, the width of a block in that unit.
        queries: those that are asked for; the other points are only around them.

    Returns:
        (m, T) float32, columns as in :data:`POINT_TRAITS`; finite.
    """
    wide = np.asarray(points, np.float64)
    asked = wide if queries is None else np.asarray(queries, np.float64)
    if not len(asked):
        return np.empty((0, len(POINT_TRAITS)), np.float32)
    lowest = wide.min(axis=0)
    wide, asked = wide - lowest, asked - lowest
    made = [_heights(wide, asked, block), _around(wide, asked, block)]
    return np.concatenate(made, axis=1).astype(np.float32)


@dataclass(frozen=True)
class _Raster:
    """Square cells over a scene whose lowest corner is 0.

    Attributes:
        shape: cells along both axes.
        width: of a cell.
    """

    shape: tuple[int, int]
    width: float

    @classmethod
    def of(cls, points: np.ndarray, width: float) -> _Raster:
        extent = points[:, :2].max(axis=0)
        while (extent / width + 1).prod() > MOST_CELLS:
            width *= 2
        rows, columns = (np.floor(extent / width).astype(np.int64) + 1).tolist()
        return cls((rows, columns), width)

    def cell(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each of (m, 3) points."""
        place = np.floor(points[:, :2] / self.width).astype(np.int64)
        place = place.clip(0, np.array(self.shape) - 1)
        return place[:, 0], place[:, 1]

    def lowest(self, points: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Lowest z of the points of each cell; infinite where there is none."""
        out = np.full(self.shape, np.inf)
        np.minimum.at(out, self.cell(points), z)
        return out

    def cells(self, width: float) -> int:
        """How many cells a square of that width has on a side: an odd number."""
        return 2 * round(width / self.width / 2) + 1


def _heights(points: np.ndarray, asked: np.ndarray, block: float) -> np.ndarray:
    """Traits of height, and ``under``."""
    from scipy.ndimage import maximum_filter, minimum_filter

    raster = _Raster.of(points, block / CELLS)
    low, high = raster.lowest(points, points[:, 2]), -raster.lowest(points, -points[:, 2])
    squares = [raster.cells(block / part) for part in SQUARES]
    lows = [minimum_filter(low, size, mode="nearest") for size in squares]
    highs = [maximum_filter(high, size, mode="nearest") for size in squares]
    surface = _filled(low)
    opened = [_opened(surface, raster.cells(block / part)) for part in OPENINGS]
    own, at = asked[:, 2], raster.cell(asked)
    columns = [
        *(_log(own - values[at]) for values in lows),
        *(_log(values[at] - own) for values in highs),
        *(_log(own - values[at]) for values in opened),
        _slope(opened[2], raster.width)[at],
        _under(points, asked, block / SQUARES[0]),
    ]
    return np.stack(columns, axis=1)


def _filled(low: np.ndarray) -> np.ndarray:
    """The surface of lowest points, empty cells as the nearest one that is not."""
    from scipy.ndimage import distance_transform_edt

    empty = ~np.isfinite(low)
    if not empty.any():
        return low
    place: Any = distance_transform_edt(empty, return_distances=False, return_indices=True)
    return low[tuple(place)]


def _opened(surface: np.ndarray, size: int) -> np.ndarray:
    """The surface without what is narrower than ``size`` cells."""
    from scipy.ndimage import maximum_filter, minimum_filter

    return maximum_filter(minimum_filter(surface, size, mode="nearest"), size, mode="nearest")


def _slope(surface: np.ndarray, width: float) -> np.ndarray:
    """Rise over run of a surface, from a smoothed copy."""
    from scipy.ndimage import gaussian_filter, sobel

    smooth = gaussian_filter(surface, 2.0, mode="nearest")
    x, y = (sobel(smooth, axis=axis, mode="nearest") / (8 * width) for axis in (0, 1))
    return np.log1p(np.hypot(x, y))


def _under(points: np.ndarray, asked: np.ndarray, width: float) -> np.ndarray:
    """Share of the points of a point's cell of this width that lie below it."""
    columns = int(points[:, 1].max() / width) + 1

    def cell(xyz: np.ndarray) -> np.ndarray:
        place = np.floor(xyz[:, :2] / width).astype(np.int64)
        return place[:, 0] * columns + place[:, 1]

    # Cells one above another on one axis: the height, less than 1 of it, says where in its cell.
    top = float(points[:, 2].max()) + 1.0
    every = np.sort(cell(points) + points[:, 2] / top)
    own = cell(asked)
    first, last = np.searchsorted(every, own), np.searchsorted(every, own + 1)
    below = np.searchsorted(every, own + asked[:, 2] / top) - first
    return below / np.maximum(last - first - 1, 1)


def _around(points: np.ndarray, asked: np.ndarray, block: float) -> np.ndarray:
    """Traits of the neighbourhoods of three sizes."""
    from scipy.spatial import cKDTree  # type: ignore[attr-defined]

    tree, most = cKDTree(points), min(max(SIZES.values()), len(points))
    floor, out = block / CELLS / 1000, []
    for start in range(0, len(asked), CHUNK):
        queries = asked[start : start + CHUNK]
        distance, index = tree.query(queries, k=np.arange(1, most + 1))
        near = points[index] - queries[:, None]
        parts = [
            _shape(near[:, : min(k, most)], distance[:, min(k, most) - 1], floor)
            for k in SIZES.values()
        ]
        out.append(np.concatenate(parts, axis=1))
    return np.concatenate(out)


def _shape(near: np.ndarray, reach: np.ndarray, floor: float) -> np.ndarray:
    """(m, 8) of neighbourhoods (m, k, 3), relative to their point."""
    mean = near.mean(axis=1)
    centred = near - mean[:, None]
    values, vectors = np.linalg.eigh(centred.transpose(0, 2, 1) @ centred / near.shape[1])
    deviation = np.sqrt(np.maximum(values, 0.0))
    first = np.maximum(deviation[:, 2], floor)
    z = near[..., 2]
    return np.stack(
        [
            (deviation[:, 2] - deviation[:, 1]) / first,
            (deviation[:, 1] - deviation[:, 0]) / first,
            deviation[:, 0] / first,
            np.abs(vectors[:, 2, 0]),
            np.log(np.maximum(deviation[:, 0], floor)),
            np.log(np.maximum(reach, floor)),
            _log(-mean[:, 2]),
            _log(z.max(axis=1) - z.min(axis=1)),
        ],
        axis=1,
    )


def _log(metres: np.ndarray) -> np.ndarray:
    """log1p that keeps the sign: fine near zero, and strays do not outweigh all else."""
    return np.sign(metres) * np.log1p(np.abs(metres))
