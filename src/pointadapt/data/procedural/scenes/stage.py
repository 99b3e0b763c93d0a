"""What a made-up scene is put together on: surfaces as points, with what is known of each."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..draw import draw
from ..sketch import RECIPES

CLASSES = (
    "ground", "low plants", "bush", "tree", "roof", "roof structure", "facade", "vehicle", "pole",
    "wire", "fence", "bridge", "floor", "ceiling", "wall", "door or window", "seat", "table",
    "bed or sofa", "storage", "thing", "stem", "leaf",
)  # fmt: skip
LABEL = {name: number for number, name in enumerate(CLASSES)}
Vectors = np.ndarray | Sequence[float]
Ground = Callable[[np.ndarray], np.ndarray]  # (n, 2) places to (n,) heights


def flat(xy: np.ndarray) -> np.ndarray:
    """The ground of rooms."""
    return np.zeros(len(xy))


@dataclass
class Stage:
    """Surfaces of a scene, in metres, z up.

    Attributes:
        rng: the source of randomness.
        size: the scene lies in [0, size]².
        density: points of a surface for each square metre.
        ground: the height of the ground.
        most: points of one surface at most.
    """

    rng: np.random.Generator
    size: float
    density: float
    ground: Ground = flat
    most: int = 150_000
    _rows: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    _things: int = 0

    def count(self, area: float) -> int:
        """How many points an area is given."""
        return min(self.most, int(self.rng.poisson(min(area * self.density, 1e7))))

    def put(
        self, points: np.ndarray, normals: Vectors, label: str, thing: int = -1,
        clear: bool = False,
    ) -> None:  # fmt: skip
        """Add (n, 3) points.

        Args:
            points: in the scene.
            normals: (n, 3) or (3,), of either sign.
            label: one of :data:`CLASSES`.
            thing: number of the object, see :meth:`thing`; -1 for none.
            clear: a ray may pass, as through leaves.
        """
        n = len(points)
        if n:
            facing = np.broadcast_to(np.asarray(normals, np.float32), (n, 3))
            whole = (np.full(n, LABEL[label]), np.full(n, thing), np.full(n, clear))
            self._rows.append((points.astype(np.float32), facing, *whole))

    def thing(self) -> int:
        """The number of a new object."""
        self._things += 1
        return self._things - 1

    def rect(
        self, corner: Vectors, a: Vectors, b: Vectors, label: str,
        thing: int = -1,
    ) -> None:  # fmt: skip
        """A parallelogram spanned by ``a`` and ``b`` from ``corner``."""
        across = np.cross(a, b)
        area = float(np.linalg.norm(across))
        if area <= 0:
            return
        uv = self.rng.random((self.count(area), 2))
        self.put(np.asarray(corner) + uv @ np.array([a, b]), across / area, label, thing)

    def box(
        self, middle: Sequence[float], size: Sequence[float], turn: float, label: str, thing: int
    ) -> None:
        """Top and four sides of an upright box; ``middle`` is that of its bottom."""
        (w, d, h), c, s = size, math.cos(turn), math.sin(turn)
        x, y, z = np.array([c, s, 0]) * w, np.array([-s, c, 0]) * d, np.array([0, 0, h])
        low = np.asarray(middle, float) - (x + y) / 2
        for corner, a, b in (
            (low + z, x, y), (low, x, z), (low + y, x, z), (low, y, z), (low + x, y, z),
        ):  # fmt: skip
            self.rect(corner, a, b, label, thing)

    def rod(self, a: Sequence[float], b: Sequence[float], radius: float, label: str,
            thing: int) -> None:  # fmt: skip
        """The side of a cylinder from ``a`` to ``b``."""
        start, along = np.asarray(a, float), np.subtract(b, a).astype(float)
        length = float(np.linalg.norm(along)) or 1e-6
        n = max(self.count(2 * math.pi * radius * length), min(6, int(self.density)))
        across = np.cross(along, [0.3, 0.5, 0.8] if abs(along[2]) > abs(along[0]) else [0, 0, 1])
        across /= np.linalg.norm(across)
        third = np.cross(along / length, across)
        t, angle = self.rng.random(n), self.rng.random(n) * 2 * math.pi
        normal = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * third
        self.put(start + t[:, None] * along + radius * normal, normal, label, thing)

    def made(
        self, recipe: str, at: Sequence[float], size: Sequence[float], turn: float, label: str
    ) -> None:
        """An object of the class ``recipe`` of the shapes, brought to ``size``, standing ``at``."""
        pieces = RECIPES[recipe].pieces(random.Random(int(self.rng.integers(2**62))))
        w, d, h = size
        n = max(24, self.count(1.5 * (w * d + h * (w + d))))
        points = draw([pieces], [self.rng], n)[0][0].astype(np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        scale = np.array(size) / np.maximum(high - low, 1e-6)
        points = (points - [*((low + high) / 2)[:2], low[2]]) * scale
        c, s = math.cos(turn), math.sin(turn)
        points = points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + at
        self.put(points, facing(points), label, self.thing())

    def gathered(self) -> tuple[np.ndarray, ...]:
        """Points (n, 3), normals (n, 3), labels, things and clear (n,) of all that was put."""
        points, normals, labels, things, clear = (
            np.concatenate(column) for column in zip(*self._rows, strict=True)
        )
        inside = ((points[:, :2] >= 0) & (points[:, :2] <= self.size)).all(axis=1)
        return tuple(x[inside] for x in (points, normals, labels, things, clear))


def facing(points: np.ndarray, k: int = 9) -> np.ndarray:
    """(n, 3) normals of either sign from the ``k`` nearest points."""
    from scipy.spatial import cKDTree  # type: ignore[attr-defined]

    _, near = cKDTree(points).query(points, k=np.arange(1, min(k, len(points)) + 1))
    around = points[near] - points[near].mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(around.transpose(0, 2, 1) @ around)
    return axes[:, :, 0]
