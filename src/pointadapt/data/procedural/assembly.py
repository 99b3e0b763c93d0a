"""Random assemblies of primitives: the variety of forms on which a backbone is pre-trained."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .primitives import (
    BALL,
    BOX,
    CIRCLE,
    CURVES,
    CYLINDER,
    DOME,
    HEXAGON,
    PRISMS,
    SHEET,
    SQUARE,
    TRIANGLE,
    Piece,
    Shape,
    Vector,
    frame,
    frustum,
    lathe,
    loft,
    tube,
)
from .sketch import HALF_PI, Sketch, rounded, smooth

# Each maker returns a shape of about extent 1 about its origin.


def _unit(shape: Shape) -> Shape:
    """The shape moved and stretched evenly into [-0.5, 0.5]."""
    centre = shape.patches[:, ::3].reshape(-1, 3)
    reach = np.abs(shape.patches[:, 1:3]).max()
    low, high = centre.min(axis=0), centre.max(axis=0)
    patches = shape.patches.copy()
    patches[:, ::3] -= (low + high) / 2
    patches /= max(float((high - low).max()), 2 * float(reach))
    return shape._replace(patches=patches)


def _curve(s: Sketch) -> int:
    """A plane curve: mostly a circle or a regular polygon, sometimes an irregular one."""
    return s.pick(CIRCLE, CIRCLE, TRIANGLE, SQUARE, HEXAGON, s.whole(SQUARE, len(CURVES) - 1))


def _turned(s: Sketch) -> Shape:
    """A vase-like surface of a random profile, open or closed, of any cross-section."""
    count = s.whole(3, 6)
    profile = [(s.between(0.1, 0.5), k / (count - 1) - 0.5) for k in range(count)]
    profile = profile if s.maybe(0.3) else rounded(profile)
    ends = s.whole(0, 3)
    bottom, top = [(0.0, profile[0][1])] * (ends & 1), [(0.0, profile[-1][1])] * (ends >> 1)
    arc = (0.0, s.between(0.3, 0.9)) if s.maybe(0.15) else (0.0, 1.0)
    return lathe([*bottom, *profile, *top], _curve(s) if s.maybe(0.4) else CIRCLE, arc)


def _bent(s: Sketch) -> Shape:
    """A tube along a random curve, of even or changing thickness."""
    path = np.cumsum([[s.rng.gauss(0, 1) for _ in range(3)] for _ in range(s.whole(3, 6))], axis=0)
    path = smooth(path)
    size = s.between(0.03, 0.12) * float(np.ptp(path, axis=0).max())
    radius = np.linspace(size, size * s.between(0.2, 1.5), len(path))
    return _unit(tube(path, radius, _curve(s), s.pick(1.0, s.between(0.2, 1.0))))


def _ring(s: Sketch) -> Shape:
    """A torus, or a spiral of some turns."""
    rise = s.pick(0.0, 0.0, s.between(0.1, 0.4))
    turns = s.between(1.5, 3.0) if rise else 1.0
    t = np.linspace(0, 2 * math.pi * turns, 17 + 8 * round(turns))
    path = np.stack([np.cos(t), np.sin(t), rise * t], axis=1)
    return _unit(tube(path, s.between(0.05, 0.45 if not rise else 0.15), _curve(s)))


def _superquadric(s: Sketch) -> Shape:
    """Anything between a ball, a rounded box and a spindle."""
    power = s.between(0.3, 1.7)
    angle = np.linspace(-HALF_PI, HALF_PI, 11)
    radius, height = np.cos(angle).clip(0) ** power, np.abs(np.sin(angle)) ** power
    return lathe(np.stack([radius, height * np.sign(angle)], axis=1) * 0.5, _curve(s))


def _twisted(s: Sketch) -> Shape:
    """A prism that turns, leans and narrows on its way up."""
    twist, top = s.between(-2, 2), s.between(0.2, 1.2)
    lean = (s.between(-0.4, 0.4), s.between(-0.4, 0.4))
    sections = np.zeros((9, 3, 3))
    for k, (size, h) in enumerate([(0, 0.0), *((1, j / 6) for j in range(7)), (0, 1.0)]):
        width = 0.5 * (1 + (top - 1) * h)
        c, sn = size * width * math.cos(twist * h), size * width * math.sin(twist * h)
        sections[k] = [(lean[0] * h, lean[1] * h, h - 0.5), (c, sn, 0), (-sn, c, 0)]
    return loft(sections, _curve(s))


MAKERS: tuple[tuple[Callable[[Sketch], Shape], int], ...] = (
    (lambda s: BOX, 5),
    (lambda s: CYLINDER, 3),
    (lambda s: BALL, 2),
    (lambda s: frustum(s.pick(0.0, s.between(0.1, 0.95)), _curve(s)), 3),
    (lambda s: PRISMS[_curve(s)], 3),
    (lambda s: DOME, 1),
    (lambda s: SHEET, 1),
    (_turned, 3),
    (_bent, 2),
    (_ring, 1),
    (_superquadric, 2),
    (_twisted, 2),
)
_WEIGHTED = [maker for maker, weight in MAKERS for _ in range(weight)]


def _size(s: Sketch) -> Vector:
    """Extents: even, or drawn for each axis, so that plates and bars are common."""
    style = s.whole(0, 3)
    if style == 0:
        return (1, 1, s.between(0.5, 1.5))
    if style == 1:  # a plate
        return (s.between(0.6, 1.4), s.between(0.6, 1.4), s.between(0.05, 0.2))
    if style == 2:  # a bar
        width = s.between(0.1, 0.35)
        return (width, width, s.between(0.8, 1.6))
    return (s.between(0.3, 1.2), s.between(0.3, 1.2), s.between(0.3, 1.2))


def _turn(s: Sketch) -> Vector | None:
    """Mostly along the axes, at times a right angle or any turn."""
    style = s.rng.random()
    if style < 0.6:
        return None
    if style < 0.85:
        return s.pick((HALF_PI, 0, 0), (0, HALF_PI, 0), (0, 0, HALF_PI), (math.pi, 0, 0))
    return (s.between(0, 6.3), s.between(0, 6.3), s.between(0, 6.3))


class Host(NamedTuple):
    """The box that holds a piece to which others are attached: its middle and half its extents."""

    middle: Vector
    half: Vector


Places = list[tuple[list[float], bool]]  # the middle of each copy, and whether it is mirrored


def _within(s: Sketch, host: Host, reach: float) -> list[float]:
    """A place in the box of the host, stretched by ``reach``."""
    return [m + s.between(-reach, reach) * h for m, h in zip(*host, strict=True)]


def _on(s: Sketch, host: Host, half: Vector) -> Places:
    """On one side of the host, mostly on top."""
    at = _within(s, host, s.pick(0.0, 0.7))
    axis, side = s.pick((2, 1), (2, 1), (2, 1), (s.whole(0, 2), s.pick(-1, 1)))
    at[axis] = host.middle[axis] + side * (host.half[axis] + half[axis] * s.between(0.6, 1.0))
    return [(at, False)]


def _inside(s: Sketch, host: Host, half: Vector) -> Places:
    """Overlapping the host."""
    return [(_within(s, host, 1.0), False)]


def _pair(s: Sketch, host: Host, half: Vector) -> Places:
    """Two, mirrored left and right of the host."""
    _, y, z = _within(s, host, s.pick(0.0, 0.9))
    x = host.half[0] * s.between(0.4, 1.0) + half[0] * s.between(0, 0.95)
    return [([host.middle[0] - x, y, z], True), ([host.middle[0] + x, y, z], False)]


def _feet(s: Sketch, host: Host, half: Vector) -> Places:
    """Four at the corners below the host."""
    x, y = (host.half[k] * s.between(0.4, 0.95) for k in range(2))
    z = host.middle[2] - host.half[2] - 0.95 * half[2]
    corners = [(a, b) for a in (-1, 1) for b in (-1, 1)]
    return [([host.middle[0] + a * x, host.middle[1] + b * y, z], a < 0) for a, b in corners]


def _around(s: Sketch, host: Host, half: Vector) -> Places:
    """Three to eight on a ring about the host."""
    count, wide, z = s.whole(3, 8), s.between(0.6, 1.3), _within(s, host, 1.0)[2]
    (x, y, _), (a, b, _) = host
    turns = [2 * math.pi * k / count for k in range(count)]
    return [([x + a * wide * math.cos(t), y + b * wide * math.sin(t), z], False) for t in turns]


def _row(s: Sketch, host: Host, half: Vector) -> Places:
    """Three to seven along a line: rungs, slats, shelves, stairs."""
    count, axis = s.whole(3, 7), s.whole(0, 2)
    gap = max(2 * half[axis] * s.between(1.0, 2.0), 2 * host.half[axis] / count)
    lean = s.pick(0.0, 0.0, s.between(-1, 1) * gap)
    start, places = _within(s, host, s.pick(0.0, 0.9)), Places()
    for k in range(count):
        at = list(start)
        at[axis] = host.middle[axis] + gap * (k - (count - 1) / 2)
        at[axis - 1] += lean * (k - (count - 1) / 2)
        places.append((at, False))
    return places


# How a group is attached, and how large it is against the first one (least, most).
WAYS: tuple[tuple[Callable[[Sketch, Host, Vector], Places], float, float], ...] = (
    (_on, 0.4, 1.0),
    (_on, 0.4, 1.0),
    (_inside, 0.4, 1.0),
    (_pair, 0.25, 0.8),
    (_pair, 0.25, 0.8),
    (_feet, 0.1, 0.3),
    (_around, 0.1, 0.4),
    (_row, 0.15, 0.4),
)


def _moved(linear: tuple[float, ...], at: Sequence[float], mirrored: bool) -> tuple[float, ...]:
    """The frame with its origin at ``at``, mirrored left and right about it if asked."""
    a, b, c, _, d, e, f, _, g, h, i, _ = linear
    if mirrored:
        a, b, c = -a, -b, -c
    return (a, b, c, at[0], d, e, f, at[1], g, h, i, at[2])


def random_assembly(rng: random.Random) -> list[Piece]:
    """One to eight groups of primitives, attached to one another; each group is one part.

    At times a cutter removes the points of the others that lie within it.
    """
    s = Sketch(rng)
    pieces: list[Piece] = []
    hosts: list[Host] = []
    for group in range(s.whole(1, 8)):
        shape, size, turn = s.pick(*_WEIGHTED)(s), _size(s), _turn(s)
        way, least, most = s.pick(*WAYS)
        if group:
            scale = s.between(least, most)
            # Feet and the like are slender as long as they are upright.
            long = scale * (s.between(2, 5) if way is _feet else 1)
            size = (size[0] * scale, size[1] * scale, size[2] * long)
        linear = frame((0, 0, 0), size, turn)
        rows = (linear[0:3], linear[4:7], linear[8:11])
        x, y, z = (sum(map(abs, row)) / 2 for row in rows)
        places = (
            way(s, s.pick(hosts[0], s.pick(*hosts)), (x, y, z)) if group else [([0.0] * 3, False)]
        )
        pieces += [Piece(group, shape, _moved(linear, at, mirrored)) for at, mirrored in places]
        middle = places[-1][0]
        hosts.append(Host((middle[0], middle[1], middle[2]), (x, y, z)))
    if s.maybe(0.2):
        at, size = _within(s, hosts[0], 1.0), _size(s)
        hole = frame((0, 0, 0), size, _turn(s))
        pieces.append(Piece(-1, s.pick(BOX, CYLINDER, BALL), _moved(hole, at, False)))
    return pieces
