"""The vocabulary in which objects are described: a sketch collects pieces, a recipe fills a sketch.

Coordinates: x to the right, y to the back (an object faces -y), z up. Lengths are in any unit, as
clouds are normalised afterwards; angles are in radians.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from .primitives import (
    BALL,
    BOX,
    CIRCLE,
    PRISMS,
    SQUARE,
    SQUIRCLE,
    Piece,
    Shape,
    Vector,
    frame,
    frustum,
    lathe,
    span,
    tube,
)

T = TypeVar("T")
HALF_PI = math.pi / 2


class Sketch:
    """Pieces of one object, with the source of randomness from which its proportions are drawn.

    Args:
        rng: the source of randomness.
        parts: names of the parts that pieces may belong to.
    """

    def __init__(self, rng: random.Random, parts: Sequence[str] = ("",)) -> None:
        self.rng, self.pieces = rng, list[Piece]()
        self._part = {name: index for index, name in enumerate(parts)}

    def between(self, low: float, high: float) -> float:
        """A number, equally likely anywhere in the range."""
        return low + (high - low) * self.rng.random()

    def maybe(self, chance: float) -> bool:
        """True with this probability."""
        return self.rng.random() < chance

    def pick(self, *choices: T) -> T:
        """One of the choices."""
        return choices[int(self.rng.random() * len(choices))]

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.rng.random() * (high - low + 1))

    def put(
        self,
        part: str,
        shape: Shape,
        at: Vector = (0, 0, 0),
        size: Vector = (1, 1, 1),
        turn: Vector | None = None,
    ) -> None:
        """Any shape, stretched by ``size``, turned about its origin, its origin moved to ``at``."""
        self.pieces.append(Piece(self._part[part], shape, frame(at, size, turn)))

    def box(self, part: str, at: Vector, size: Vector, turn: Vector | None = None) -> None:
        """A box about its middle ``at``."""
        self.put(part, BOX, at, size, turn)

    def ball(self, part: str, at: Vector, size: Vector, turn: Vector | None = None) -> None:
        """An ellipsoid about its middle ``at``, of diameters ``size``."""
        self.put(part, BALL, at, size, turn)

    def slab(self, part: str, at: Vector, size: Vector, curve: int = CIRCLE) -> None:
        """An upright disc or prism about its middle ``at``."""
        self.put(part, PRISMS[curve], at, size)

    def rod(
        self, part: str, a: Vector, b: Vector, radius: float, taper: float = 1, curve: int = CIRCLE
    ) -> None:
        """A bar from ``a`` to ``b``, at ``b`` ``taper`` times as thick as at ``a``."""
        shape = PRISMS[curve] if taper == 1 else frustum(taper, curve)
        self.pieces.append(Piece(self._part[part], shape, span(a, b, 2 * radius)))

    def wheel(self, part: str, at: Vector, radius: float, width: float) -> None:
        """A disc about the x axis."""
        x, y, z = at
        self.rod(part, (x - width / 2, y, z), (x + width / 2, y, z), radius)

    def turned(
        self, part: str, profile: Sequence[tuple[float, float]], at: Vector = (0, 0, 0)
    ) -> None:
        """The surface of (radius, height) pairs about a vertical axis through ``at``."""
        self.put(part, lathe(profile), at)

    def bent(self, part: str, path: Sequence[Vector] | np.ndarray, radius: float) -> None:
        """A tube along a smooth curve through the points of ``path``."""
        self.put(part, tube(smooth(path), radius))

    def flat(self, part: str, path: Sequence[Vector] | np.ndarray, widths: Sequence[float]) -> None:
        """A blade along a smooth curve through ``path``, of half the given width at each point."""
        curve = smooth(path)
        at = np.linspace(0, len(widths) - 1, len(curve))
        self.put(part, tube(curve, np.interp(at, range(len(widths)), widths), flat=0.15))

    def corners(
        self, part: str, wide: float, deep: float, top: float, radius: float, bottom: float = 0.0
    ) -> None:
        """Four legs at the corners of a rectangle: square, rounded, round or splayed."""
        curve = self.pick(SQUARE, SQUIRCLE, CIRCLE, CIRCLE)
        splay = self.pick(0.0, self.between(0, 0.25))
        taper = self.pick(1.0, self.between(0.4, 1.0))
        for sx in (-0.5, 0.5):
            for sy in (-0.5, 0.5):
                low = (sx * (wide + splay * (top - bottom)), sy * (deep + splay * (top - bottom)))
                self.rod(part, (sx * wide, sy * deep, top), (*low, bottom), radius, taper, curve)


def smooth(path: Sequence[Vector] | np.ndarray, steps: int = 4) -> np.ndarray:
    """(k, 3) points on a smooth curve through ``path``, ``steps`` for each of its segments."""
    p = np.asarray(path, dtype=np.float64)
    ends = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = (np.arange(steps) / steps)[:, None]
    a, b, c, d = (ends[k : len(p) - 1 + k, None] for k in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 3), p[-1:]])


def rounded(profile: Sequence[tuple[float, float]], steps: int = 3) -> list[tuple[float, float]]:
    """(radius, height) pairs on a smooth curve through ``profile``, radii at least 0."""
    curve = smooth([(r, 0.0, z) for r, z in profile], steps)
    return [(max(float(r), 0.0), float(z)) for r, _, z in curve]


class Recipe(NamedTuple):
    """How to make a random object of one class.

    Attributes:
        name: the class.
        parts: names of its parts.
        make: fills a sketch.
    """

    name: str
    parts: tuple[str, ...]
    make: Callable[[Sketch], None]

    def pieces(self, rng: random.Random) -> list[Piece]:
        """One random object."""
        sketch = Sketch(rng, self.parts)
        self.make(sketch)
        return sketch.pieces


RECIPES: dict[str, Recipe] = {}


def recipe(parts: str) -> Callable[[Callable[[Sketch], None]], Callable[[Sketch], None]]:
    """Enter the function as the recipe of the class that it is called after, with these parts."""

    def enter(make: Callable[[Sketch], None]) -> Callable[[Sketch], None]:
        name = make.__name__
        RECIPES[name] = Recipe(name, tuple(parts.split()), make)
        return make

    return enter
