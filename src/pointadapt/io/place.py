"""Where the points of a cloud lie: strays, copies, and how to keep float32 from blurring it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.errors import PointCloudError

GAP = 10  # times as far from the middle as all others: a stray
FEWEST = 8  # different points from which one can be told
MOST = 200_000  # points that are looked at; of more, evenly chosen ones
FAR = 64  # times its extent: farther from the origin, sums of float32 numbers blur a cloud
LEAST_IN_CELL, MOST_CELLS = 4, 256  # points of a square on average, once there are so many squares
BLUR = 1e-6  # of its extent: the most that rounding to float32 may move a point
LEAST_EXTENT, LARGEST = 1e-15, 1e18  # between them, squares of float32 coordinates are numbers


@dataclass(frozen=True)
class Bulk:
    """Where most of the different points lie: no farther than ``reach`` from ``centre``.

    Distances are the largest along an axis. Points farther away are strays.

    Attributes:
        centre: (3,) median.
        reach: GAP times as far as the farthest point that is no stray.

    """

    centre: np.ndarray
    reach: float

    @classmethod
    def of(cls, points: np.ndarray) -> Bulk:
        """Find it among (N, 3) points; see :meth:`among`."""
        return cls.among(distinct(some_of(points))[0])

    @classmethod
    def among(cls, points: np.ndarray) -> Bulk:
        """Find it among (N, 3) points of which no two are the same.

        A stray is told by a gap: sorted by their distance from the median, the next point is GAP
        times as far. So long tails, as scanners' points have, are none; up to half of the points
        may be strays, as points without measurement are that are stored as 0, 0, 0.
        """
        centre = np.median(points, axis=0)
        distance = largest(points - centre)
        outer = np.sort(distance)[len(distance) // 2 :]
        gaps = np.flatnonzero(outer[1:] > GAP * outer[:-1]) if len(points) >= FEWEST else []
        if len(gaps):
            inside = points[distance <= outer[gaps[0]]]
            centre = np.median(inside, axis=0)
            distance = largest(inside - centre)
        return cls(centre, GAP * float(distance.max()) or np.inf)  # 0: copies alone were looked at

    def holds(self, points: np.ndarray) -> np.ndarray:
        """(N,) whether each of (N, 3) points is no stray."""
        return largest(points - self.centre) <= self.reach


def largest(steps: np.ndarray) -> np.ndarray:
    """(N,) how long each of (N, 3) is along the axis where it is longest."""
    x, y, z = np.abs(steps).T
    return np.maximum(np.maximum(x, y), z)


def some_of(points: np.ndarray) -> np.ndarray:
    """At most ``MOST`` of (N, 3) points, evenly chosen; more where these are all the same."""
    some = points[:: -(-len(points) // MOST)]
    return points if len(some) < len(points) and (some == some[0]).all() else some


def distinct(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different ones of (N, 3) float64 points, and how often each occurs."""
    bits = np.ascontiguousarray(points + 0.0).view(np.uint64)  # + 0.0: -0 and 0 are the same
    keys = bits[:, 0]
    for k in (1, 2):
        keys = (keys ^ (keys >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) + bits[:, k]
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return points[first], counts


def check_spread(points: np.ndarray, what: str = "points") -> None:
    """Refuse a cloud (N, 3) whose points are all the same: no network can tell it from another.

    Raises:
        PointCloudError: they are.

    """
    if len(points) and (points[-1] == points[0]).all() and (points == points[0]).all():
        raise all_the_same(points[0], len(points), what)


def all_the_same(place: np.ndarray, count: int, what: str = "points") -> PointCloudError:
    """What is said of a cloud of ``count`` points that are all at one place (3,)."""
    at = ", ".join(f"{x:g}" for x in place)
    return PointCloudError(
        f"all of its {count:,} {what} are the same, ({at}): leave it out, or get it again"
    )


def check_unit(cells: int, points: int, width: float, remedy: str) -> None:
    """Refuse a scene with hardly a point in each square: there would be as many tiles as points.

    Args:
        cells: squares that have a point.
        points: of the whole scene.
        width: of a square, in what should be metres.
        remedy: what to do if the unit is right.

    Raises:
        PointCloudError: it is one.

    """
    if cells > max(MOST_CELLS, points / LEAST_IN_CELL):
        raise PointCloudError(
            f"has fewer than {LEAST_IN_CELL} points in a square of {width:g} m on average: are its "
            f"coordinates in millimetres, say? Convert them to metres, or {remedy}"
        )


def local(points: np.ndarray, inner: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(N, 3) float64, moved to a middle if float32 would blur the cloud; else as they are.

    Args:
        points: all.
        inner: those that are no strays.
        centre: (3,) their middle.

    Raises:
        PointCloudError: coordinates that are too large or too small for float32.

    """
    extent = float(np.ptp(inner, axis=0).max())
    with np.errstate(over="ignore"):
        blur = float(np.abs(inner.astype(np.float32) - inner).max())
    if 0 < extent * FAR < np.abs(inner).max() or blur > BLUR * extent > 0:
        points = points - centre
    most = float(np.abs(points).max())
    if most > LARGEST:
        raise PointCloudError(
            f"has coordinates too large for float32, up to {most:g}: use another unit, or take out "
            "what is a mistake"
        )
    if extent < LEAST_EXTENT:
        raise PointCloudError(f"is only {extent:g} wide, too small for float32: use another unit")
    return points
