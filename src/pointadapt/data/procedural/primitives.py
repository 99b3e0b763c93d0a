"""Surfaces to draw points from: one kind of patch, out of which every primitive is made.

A *section* is a curve in space, ``c + f(t) x + g(t) y``, where (f, g) is one of a fixed table of
plane curves (a segment, a circle, polygons). A *patch* is the surface swept by the segment between
two sections of the same curve at the same t. A box is six patches over the segment; a cylinder,
sphere, vase, bent tube or extruded polygon is a chain of patches over a closed curve. So one
formula draws the points of any number of objects of any kind at once (see ``_draw``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Vector = tuple[float, float, float]

STEPS = 64  # each plane curve is a polyline of this many equally long pieces
LINE, CIRCLE, TRIANGLE, SQUARE, HEXAGON, SQUIRCLE, STAR = range(7)  # rows of CURVES
RANDOM_CURVES = 24  # irregular polygons, the rows after those
OPEN, BOX_SOLID, ROUND_SOLID, BALL_SOLID = range(4)  # what the inside of a primitive is


def _polyline(corners: np.ndarray, closed: bool = True) -> np.ndarray:
    """(STEPS + 1, 2) points at equal distances along (k, 2) ``corners``, scaled into [-1, 1]."""
    if closed:
        corners = np.concatenate([corners, corners[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    at = np.linspace(0.0, length[-1], STEPS + 1)
    curve = np.stack([np.interp(at, length, corners[:, k]) for k in range(2)], axis=1)
    return curve / np.abs(curve).max(axis=0).clip(1e-9)


def _polar(radii: Sequence[float] | np.ndarray, turn: float = 0.0) -> np.ndarray:
    """(k, 2) corners at equal angles from ``turn`` (radians) at the given ``radii``."""
    angle = turn + 2 * math.pi * np.arange(len(radii)) / len(radii)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.asarray(radii)[:, None]


def _plane_curves() -> np.ndarray:
    angle = 2 * math.pi * np.arange(256) / 256
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    curves = [
        _polyline(np.array([[-1.0, 0.0], [1.0, 0.0]]), closed=False),
        _polyline(circle),
        _polyline(_polar([1.0] * 3, math.pi / 2)),
        _polyline(_polar([1.0] * 4, math.pi / 4)),
        _polyline(_polar([1.0] * 6)),
        _polyline(np.sign(circle) * np.abs(circle) ** 0.5),
        _polyline(_polar([1.0, 0.45] * 5, math.pi / 2)),
    ]
    rng = np.random.default_rng(0)
    for corners in rng.integers(4, 10, RANDOM_CURVES):
        curves.append(_polyline(_polar(rng.uniform(0.35, 1.0, corners))))
    return np.stack(curves).astype(np.float32)


CURVES = _plane_curves()  # (curves, STEPS + 1, 2)


class Shape(NamedTuple):
    """A primitive about its own origin, to be stretched, turned and put somewhere.

    Attributes:
        patches: (m, 6, 3) the two sections c, x, y and c', x', y' of each patch.
        curve: the row of ``CURVES`` that all of its sections follow.
        arc: the part (from, to) of the curve, 0 to 1, that its sections cover.
        solid: OPEN, or which body of extent [-0.5, 0.5] on each axis it encloses.
    """

    patches: np.ndarray
    curve: int
    arc: tuple[float, float] = (0.0, 1.0)
    solid: int = OPEN


class Piece(NamedTuple):
    """A shape in its place.

    Attributes:
        part: index of the part of the object that it belongs to; -1 removes what is inside it.
        shape: the primitive.
        frame: 12 numbers, the rows of the (3, 4) affine map into the object.
    """

    part: int
    shape: Shape
    frame: tuple[float, ...]


def loft(
    sections: np.ndarray,
    curve: int = CIRCLE,
    arc: tuple[float, float] = (0.0, 1.0),
    solid: int = OPEN,
) -> Shape:
    """The surface through (k, 3, 3) ``sections``, each of rows c, x, y."""
    return Shape(np.concatenate([sections[:-1], sections[1:]], axis=1), curve, arc, solid)


def lathe(
    profile: Sequence[tuple[float, float]] | np.ndarray,
    curve: int = CIRCLE,
    arc: tuple[float, float] = (0.0, 1.0),
    solid: int = OPEN,
) -> Shape:
    """The surface of (radius, height) pairs turned about z; end at radius 0 to close it."""
    pairs = np.asarray(profile, dtype=np.float64)
    sections = np.zeros((len(pairs), 3, 3))
    sections[:, 0, 2] = pairs[:, 1]
    sections[:, 1, 0] = sections[:, 2, 1] = pairs[:, 0]
    return loft(sections, curve, arc, solid)


def tube(
    path: np.ndarray, radius: float | np.ndarray, curve: int = CIRCLE, flat: float = 1.0
) -> Shape:
    """A tube about (k, 3) ``path``, of one ``radius`` or (k,) radii, open at its ends.

    A path whose last point is its first makes a ring. ``flat`` is the height of the section over
    its width.
    """
    along = np.empty_like(path)
    along[1:-1] = path[2:] - path[:-2]
    along[0], along[-1] = path[1] - path[0], path[-1] - path[-2]
    if np.abs(path[0] - path[-1]).max() < 1e-9:
        along[0] = along[-1] = path[1] - path[-2]
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-12
    k = int(np.abs(along).max(axis=0).argmin())  # the axis that the path follows least
    across, up = np.zeros_like(along), -along * along[:, k, None]
    across[:, k - 2], across[:, k - 1] = along[:, k - 1], -along[:, k - 2]
    up[:, k] += 1.0
    size = np.asarray(radius, dtype=np.float64) / np.sqrt((1 - along[:, k] ** 2).clip(1e-9))
    across *= size[:, None]
    up *= (flat * size)[:, None]
    return loft(np.stack([path, across, up], axis=1), curve)


def frustum(top: float, curve: int = CIRCLE) -> Shape:
    """A closed prism of extent 1 whose upper end is ``top`` times the size of its lower end."""
    solid = ROUND_SOLID if curve == CIRCLE and abs(top - 1) < 0.01 else OPEN
    ends = [(0, -0.5), (0.5, -0.5), (0.5 * top, 0.5), (0, 0.5)]
    return lathe(ends if top > 0 else ends[:3], curve, solid=solid)


def _box() -> Shape:
    """The six faces of the unit cube."""
    faces = []
    for axis in range(3):
        for side in (-0.5, 0.5):
            start, end, x = np.zeros((3, 3))
            start[axis] = end[axis] = side
            start[axis - 1], end[axis - 1], x[axis - 2] = -0.5, 0.5, 0.5
            faces.append([start, x, np.zeros(3), end, x, np.zeros(3)])
    return Shape(np.array(faces), LINE, solid=BOX_SOLID)


def _ball(below: float = -math.pi / 2, bands: int = 10) -> list[tuple[float, float]]:
    return [
        (0.5 * math.cos(a), 0.5 * math.sin(a)) for a in np.linspace(below, math.pi / 2, bands + 1)
    ]


def _sheet() -> Shape:
    """The unit square in the x-y plane, without thickness."""
    rows = [[0, -0.5, 0], [0.5, 0, 0], [0, 0, 0], [0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]]
    return Shape(np.array([rows]), LINE)


BOX, SHEET = _box(), _sheet()
BALL = lathe(_ball(), solid=BALL_SOLID)
DOME = lathe(_ball(0.0, 6))  # the open upper half of BALL
PRISMS = [frustum(1.0, curve) for curve in range(len(CURVES))]  # PRISMS[LINE] is not a prism
CYLINDER = PRISMS[CIRCLE]


def volume(frame: Sequence[float]) -> float:
    """The volume to which a ``frame`` maps the unit cube."""
    a, b, c, _, d, e, f, _, g, h, i, _ = frame
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def turned(turn: Vector) -> list[list[float]]:
    """The (3, 3) rotation by angles (radians) about x, then y, then z."""
    (sx, sy, sz), (cx, cy, cz) = map(math.sin, turn), map(math.cos, turn)
    return [
        [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
        [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
        [-sy, sx * cy, cx * cy],
    ]


def frame(at: Vector, size: Vector, turn: Vector | None = None) -> tuple[float, ...]:
    """The map that stretches by ``size``, turns as ``turned`` says and moves to ``at``."""
    if turn is None:
        return (size[0], 0.0, 0.0, at[0], 0.0, size[1], 0.0, at[1], 0.0, 0.0, size[2], at[2])
    rows = turned(turn)
    return tuple(v for k in range(3) for v in (*(rows[k][j] * size[j] for j in range(3)), at[k]))


def span(a: Vector, b: Vector, width: float) -> tuple[float, ...]:
    """The map that lays the z axis of a unit shape from ``a`` to ``b``, ``width`` wide."""
    z = [b[k] - a[k] for k in range(3)]
    length = math.sqrt(sum(v * v for v in z)) or 1e-9
    if math.hypot(z[0], z[1]) > 1e-6 * length:
        flat = width / math.hypot(z[0], z[1])
        x = (-z[1] * flat, z[0] * flat, 0.0)
    else:
        x = (width, 0.0, 0.0)
    y = [(z[k - 2] * x[k - 1] - z[k - 1] * x[k - 2]) / length for k in range(3)]
    return tuple(v for k in range(3) for v in (x[k], y[k], z[k], (a[k] + b[k]) / 2))
