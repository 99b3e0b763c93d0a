"""How wide the blocks of scenes are to be, from the density of their points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

CENTRES = 100  # places looked at in each scene
CROWD = 2  # times as many points in the median block as enter the network
STEPS = 30  # halvings of the interval: more than float32 can tell


class Width(float):
    """A width in metres; "auto", which counts as 0, where it is to be chosen."""

    called = "a width in metres, or auto"

    def __new__(cls, value: Any = "auto") -> Width:
        return super().__new__(cls, 0.0 if value == "auto" else value)

    def __repr__(self) -> str:
        return f"{float(self):g}" if self else "auto"

    __str__ = __repr__


METRE, AUTO = Width(1.0), Width("auto")


def fitting_width(scenes: Sequence[np.ndarray], n: int) -> float:
    """The width of a block about a point that holds, in the median, twice ``n`` points.

    Points are thinned to ``n``, so that each look at a block is another one, and all of them are
    seen in two. Never wider than the widest scene.

    Args:
        scenes: (M, 3) points of each.
        n: points that enter the network.

    Returns:
        Two significant digits, in the unit of the points.
    """
    from scipy.spatial import cKDTree  # type: ignore[attr-defined]

    flat = [points[:, :2].astype(np.float64) for points in scenes]
    looked = [xy[np.random.default_rng(0).integers(len(xy), size=CENTRES)] for xy in flat]
    trees = [cKDTree(xy) for xy in flat]

    def median(width: float) -> float:
        counts = [
            tree.query_ball_point(at, width / 2, p=np.inf, return_length=True)
            for tree, at in zip(trees, looked, strict=True)
        ]
        return float(np.median(np.concatenate(counts)))

    widest = max(float(np.ptp(xy, axis=0).max()) for xy in flat)
    low, high = widest * 1e-6, widest
    if median(high) > CROWD * n:
        for _ in range(STEPS):
            middle = float(np.sqrt(low * high))
            low, high = (middle, high) if median(middle) < CROWD * n else (low, middle)
    return float(f"{high:.2g}")
