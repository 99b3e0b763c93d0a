"""Surfaces to draw points from: one kind of patch, out of which every primitive is made.

A *section* is a curve in space, ``c + f(t) x + g(t) y``, where (f, g) is one of a fixed table of
plane curves (a segment, a circle, polygons). A *patch* is the surface swept by the segment between
two sections of the same curve at the same t. A box is six patches over the segment; a cylinder,
sphere, vase, bent tube or extruded polygon is a chain of patches over a closed curve. So one
vectorised formula draws the points of any number of objects of any kind at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Vector = tuple[float, float, float]

STEPS = 64  # each plane curve is a polyline of this many equally long pieces
CHORDS = 8  # pieces of a curve by which the area of a patch is measured
MOST_SOLIDS = 8  # solids of one object whose inside is cleared, the largest first
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
_CURVES_BY_AXIS = CURVES.reshape(-1, 2).T.copy()


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


def tube(path: np.ndarray, radius: float | np.ndarray, curve: int = CIRCLE, flat: float = 1.0) -> Shape:
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
    """The map that stretches by ``size``, turns by ``turn`` (see ``turned``) and moves to ``at``."""
    if turn is None:
        return (size[0], 0.0, 0.0, at[0], 0.0, size[1], 0.0, at[1], 0.0, 0.0, size[2], at[2])
    rows = turned(turn)
    return tuple(v for k in range(3) for v in (*(rows[k][j] * size[j] for j in range(3)), at[k]))


def span(a: Vector, b: Vector, width: float) -> tuple[float, ...]:
    """The map that puts the z axis of a unit shape from ``a`` to ``b`` and makes it ``width`` wide."""
    z = [b[k] - a[k] for k in range(3)]
    length = math.sqrt(sum(v * v for v in z)) or 1e-9
    if math.hypot(z[0], z[1]) > 1e-6 * length:
        flat = width / math.hypot(z[0], z[1])
        x = (-z[1] * flat, z[0] * flat, 0.0)
    else:
        x = (width, 0.0, 0.0)
    y = [(z[k - 2] * x[k - 1] - z[k - 1] * x[k - 2]) / length for k in range(3)]
    return tuple(v for k in range(3) for v in (x[k], y[k], z[k], (a[k] + b[k]) / 2))


@dataclass(frozen=True)
class _Surfaces:
    """The patches of several objects side by side, in the order of the objects.

    Attributes:
        patches: (m, 6, 3) sections of all patches in their place, float32.
        curve: (m,) row of ``CURVES``.
        arc: (m, 2) start and length of the part of the curve.
        part: (m,) part of the object.
        share: (m,) area over that of the whole object.
        owner: (m,) index of the object.
    """

    patches: np.ndarray
    curve: np.ndarray
    arc: np.ndarray
    part: np.ndarray
    share: np.ndarray
    owner: np.ndarray


def _gather(objects: Sequence[Sequence[Piece]], frames: np.ndarray) -> _Surfaces:
    pieces = [piece for pieces in objects for piece in pieces]
    # A cutter (part -1) has no surface of its own.
    counts = [len(p.shape.patches) if p.part >= 0 else 0 for p in pieces]
    patches = np.concatenate([p.shape.patches for p in pieces if p.part >= 0])
    maps = np.repeat(frames, counts, axis=0)
    patches = patches @ maps[:, :, :3].transpose(0, 2, 1)
    patches[:, ::3] += maps[:, None, :, 3]
    patches = patches.astype(np.float32)
    table = np.array([(p.shape.curve, *p.shape.arc, p.part) for p in pieces])
    table = np.repeat(table, counts, axis=0)
    owner = np.repeat(np.repeat(np.arange(len(objects)), [len(o) for o in objects]), counts)
    curve = table[:, 0].astype(np.int64)
    arc = np.stack([table[:, 1], table[:, 2] - table[:, 1]], axis=1).astype(np.float32)

    t = arc[:, :1] + arc[:, 1:] * (np.arange(CHORDS + 1, dtype=np.float32) / CHORDS)
    plane = CURVES[curve[:, None], np.rint(t * STEPS).astype(np.int64)]  # (m, CHORDS + 1, 2)
    basis = np.concatenate([np.ones_like(plane[:, :, :1]), plane], axis=2)
    lower, upper = basis @ patches[:, :3], basis @ patches[:, 3:]
    middle, across = lower + upper, upper - lower
    around = np.diff(middle, axis=1) * 0.5
    across = (across[:, 1:] + across[:, :-1]) * 0.5
    dot = np.einsum("mkd,mkd->mk", around, across)
    square = (around**2).sum(axis=2) * (across**2).sum(axis=2) - dot**2
    area = np.sqrt(square.clip(0)).sum(axis=1).astype(np.float64) + 1e-12
    total = np.bincount(owner, weights=area, minlength=len(objects))
    part = table[:, 3].astype(np.int64)
    return _Surfaces(patches, curve, arc, part, area / total[owner], owner)


def _solids(pieces: Sequence[Piece]) -> list[Piece]:
    """The solids whose inside is to be cleared, sorted by kind: cutters, then the largest."""
    solids = [piece for piece in pieces if piece.shape.solid]
    if len(solids) > MOST_SOLIDS:
        solids.sort(key=lambda piece: (piece.part >= 0, -volume(piece.frame)))
        solids = solids[:MOST_SOLIDS]
    solids.sort(key=lambda piece: piece.shape.solid)
    return solids


def _hidden(pieces: Sequence[Piece], points: np.ndarray) -> np.ndarray:
    """(q,) whether each of (3, q) ``points`` of an object lies well within one of its solids."""
    solids = _solids(pieces)
    if len(solids) < 2:
        return np.zeros(points.shape[1], dtype=bool)
    maps = np.array([piece.frame for piece in solids]).reshape(-1, 3, 4)
    inverse = np.linalg.inv(maps[:, :, :3])
    offset = (inverse @ maps[:, :, 3:]).transpose(1, 0, 2)  # (3, solids, 1)
    linear = inverse.transpose(1, 0, 2).reshape(-1, 3).astype(np.float32)
    local = (linear @ points).reshape(3, len(solids), -1)
    local -= offset.astype(np.float32)
    local *= local
    x, y, z = local  # (solids, q) each: squares of the coordinates in the solid's own frame
    kinds = [piece.shape.solid for piece in solids]
    boxes, balls = kinds.count(BOX_SOLID), kinds.count(BALL_SOLID)
    np.maximum(x[:boxes], y[:boxes], out=x[:boxes])
    x[boxes:] += y[boxes:]
    flat = len(solids) - balls
    np.maximum(x[:flat], z[:flat], out=x[:flat])
    x[flat:] += z[flat:]
    return x.min(axis=0) < 0.25 * 0.95


def draw(
    objects: Sequence[Sequence[Piece]],
    generators: Sequence[np.random.Generator],
    points: int,
    spare: float = 1.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Points on the visible surfaces of objects, equally dense everywhere, in random order.

    Args:
        objects: the pieces of each of b objects.
        generators: the source of randomness of each object; an object's points depend on no other.
        points: N, points to draw of each.
        spare: candidates drawn for each point asked for; those inside a solid are dropped.

    Returns:
        (b, N, 3) float32 points and (b, N) int64 part of each. Points repeat only where fewer than
        N candidates are left.
    """
    many = round(points * spare)
    chance = np.stack([g.random((2, many), dtype=np.float32) for g in generators])
    shift = np.array([g.random() for g in generators])
    frames = np.array([p.frame for pieces in objects for p in pieces]).reshape(-1, 3, 4)
    of = _gather(objects, frames)
    # The k-th candidate belongs to the patch in which the share of area up to there falls.
    last = np.empty(len(of.owner), dtype=np.int64)
    ends = np.searchsorted(of.owner, np.arange(len(objects) + 1))
    for row, (low, high) in enumerate(zip(ends[:-1], ends[1:], strict=True)):
        last[low:high] = np.minimum(np.cumsum(of.share[low:high]) * many + shift[row], many)
        last[high - 1] = many
        last[low:high] += row * many
    patch = np.repeat(np.arange(len(last)), np.diff(last, prepend=0))

    # One row per number of a patch, one column per candidate, so that all below is on long rows.
    lower, upper = of.patches[:, :3], of.patches[:, 3:]
    wide = [np.sqrt((end[:, 1:] ** 2).sum(axis=(1, 2))) + 1e-9 for end in (lower, upper)]
    each = [lower.reshape(-1, 9), (upper - lower).reshape(-1, 9), np.stack(wide, axis=1), of.arc]
    table = np.concatenate(each, axis=1).T.take(patch, axis=1)
    (start, section, (a, b, first, length)) = table[:9], table[9:18], table[18:]
    u, v = chance.transpose(1, 0, 2).reshape(2, -1)
    v *= (a + b) / (a + np.sqrt(a * a + v * (b * b - a * a)))  # wider sections hold more points
    t = (first + length * u) * STEPS
    step = np.minimum(t.astype(np.int64), STEPS - 1)
    t -= step
    step += of.curve.take(patch) * (STEPS + 1)
    plane = _CURVES_BY_AXIS.take(step, axis=1)
    plane += (_CURVES_BY_AXIS.take(step + 1, axis=1) - plane) * t
    section *= v
    section += start
    centre, x, y = section.reshape(3, 3, -1)
    found = centre + plane[0] * x + plane[1] * y  # (3, b * many)

    pick = np.empty((len(objects), points), dtype=np.int64)
    for row, (pieces, generator) in enumerate(zip(objects, generators, strict=True)):
        seen = np.flatnonzero(~_hidden(pieces, found[:, row * many : (row + 1) * many]))
        if len(seen) == 0:
            seen = np.arange(many)
        spread = (generator.permutation(points) + shift[row]) * (len(seen) / points)
        pick[row] = row * many + seen[spread.astype(np.int64)]
    drawn = np.ascontiguousarray(found.take(pick, axis=1).transpose(1, 2, 0))
    return drawn, of.part[patch[pick]]


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """(b, N, 3) clouds about their mean, the farthest point of each at distance 1."""
    mean = np.full((1, points.shape[1]), 1 / points.shape[1], dtype=points.dtype) @ points
    points = points - mean
    reach = np.sqrt(np.einsum("bnd,bnd->bn", points, points).max(axis=1))
    points /= np.maximum(reach, 1e-9)[:, None, None]
    return points
