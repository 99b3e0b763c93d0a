"""Recipes of vehicles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .primitives import CIRCLE, LINE, SQUARE, SQUIRCLE, Vector, lathe, loft, tube
from .sketch import HALF_PI, Sketch, recipe, rounded

LYING = (-HALF_PI, 0.0, 0.0)  # the turn that lays what stood upright along +y


def _wing(s: Sketch, part: str, root: Vector, tip: Vector, chords: tuple[float, float]) -> None:
    """A flat wing from ``root`` to ``tip``, the middles of chords of the two given lengths."""
    sections = np.zeros((4, 3, 3))
    for k, (end, chord) in enumerate(
        [(root, 0.0), (root, chords[0]), (tip, chords[1]), (tip, 0.0)]
    ):
        sections[k, 0], sections[k, 1, 1] = end, chord / 2
        across = (0, 0, 1) if abs(tip[0] - root[0]) > abs(tip[2] - root[2]) else (1, 0, 0)
        sections[k, 2] = np.multiply(across, 0.06 * chord)
    s.put(part, loft(sections, CIRCLE))


@recipe("fuselage wing tail engine")
def airplane(s: Sketch) -> None:
    """An airliner, a light plane with a propeller, or a fighter."""
    long, thick = s.between(1.6, 2.4), s.between(0.16, 0.3)
    nose = s.between(0.06, 0.2)
    body = [(0, 0), (0.35, nose * 0.3), (0.5, nose), (0.5, 0.65), (0.3, 0.88), (0.06, 1)]
    s.put("fuselage", lathe(rounded(body)), (0, -long / 2, 0), (thick, thick, long), LYING)
    half, sweep = s.between(0.5, 1.2), s.between(-0.05, 0.75)
    chord, rise = s.between(0.25, 0.5), s.pick(0.0, s.between(-0.1, 0.2))
    height = s.pick(-0.3, 0.0, 0.45) * thick
    start = s.between(-0.15, 0.1) * long
    tip = chord * s.between(0.25, 1.0)
    for side in (-1, 1):
        end = (side * half, start + sweep * half, height + rise)
        _wing(s, "wing", (0, start, height), end, (chord, tip))
    back, fin = long * 0.44, s.between(0.25, 0.45)
    _wing(s, "tail", (0, back - 0.05, 0), (0, back + 0.1, fin), (0.3, 0.18))
    high = s.pick(0.0, 0.0, fin * 0.95)
    for side in (-1, 1):
        end = (side * half * s.between(0.3, 0.42), back + 0.12, high)
        _wing(s, "tail", (0, back, high), end, (0.22, 0.12))
    style = s.whole(0, 2)
    size = thick * s.between(0.2, 0.32)
    if style == 0:
        pairs = s.whole(1, 2)
        for side in (-1, 1):
            for k in range(pairs):
                t = (k + 0.8) / (pairs + 1)
                y, z = start + sweep * half * t - chord * 0.4, height + rise * t - size
                s.rod("engine", (side * half * t, y, z), (side * half * t, y + 0.28, z), size, 0.7)
    elif style == 1:
        s.box("engine", (0, -long / 2 - 0.02, 0), (0.5, 0.02, 0.05), (0, s.between(0, 3), 0))
        s.ball("engine", (0, -long / 2, 0), (0.08, 0.12, 0.08))
    else:
        for side in (-1, 1):
            x = side * thick * 0.75
            s.rod("engine", (x, back * 0.55, 0.03), (x, back * 0.55 + 0.3, 0.03), size, 0.8)


@recipe("body cabin wheel")
def car(s: Sketch) -> None:
    """A saloon, van, pick-up or sports car."""
    long, wide = s.between(1.6, 2.3), s.between(0.75, 0.95)
    sill, belt = s.between(0.12, 0.25), s.between(0.45, 0.65)
    roof = belt + s.between(0.2, 0.55)
    radius = s.between(0.14, 0.22)
    s.box("body", (0, 0, (sill + belt) / 2), (wide, long, belt - sill))
    front, rear = s.between(0.1, 0.35) * long, s.pick(0.02, s.between(0.02, 0.4)) * long
    pillar, screen = s.between(0.02, 0.2), s.between(0.1, 0.4)  # how far both windows lean
    sections = np.zeros((3, 3, 3))
    for k, (lean, z, size) in enumerate([(0, belt, 0.95), (1, roof, 0.8), (1, roof, 0)]):
        low, high = -long / 2 + front + lean * screen, long / 2 - rear - lean * pillar
        sections[k] = [(0, (low + high) / 2, z), (size * wide / 2, 0, 0), (0, (high - low) / 2, 0)]
        sections[k, 2] *= size > 0
    s.put("cabin", loft(sections, s.pick(SQUARE, SQUIRCLE)))
    for side in (-1, 1):
        for y in (-0.31, 0.31):
            s.wheel("wheel", (side * wide * 0.47, y * long, radius), radius, 0.14)


@recipe("hull deck mast sail")
def boat(s: Sketch) -> None:
    """A hull with sails, or with a cabin and a funnel."""
    long, wide, deep = s.between(1.4, 2.2), s.between(0.4, 0.7), s.between(0.2, 0.4)
    stern = s.between(0.3, 0.9)
    sections = np.zeros((8, 3, 3))
    for k, t in enumerate(np.linspace(0, 1, 8)):
        bow, aft = max(0.0, t - 0.35) / 0.65, min(1.0, t / 0.35)
        beam = wide / 2 * (1 - bow**2) * (stern + (1 - stern) * aft)
        sections[k] = [(0, (0.5 - t) * long, 0), (beam, 0, 0), (0, 0, deep * (1 - 0.5 * t**4))]
    s.put("hull", loft(sections, CIRCLE, (0.5, 1.0)))
    s.put("deck", loft(sections * [1, 1, 0], LINE), (0, 0, -0.02))
    y = -long * s.between(-0.05, 0.15)
    if s.maybe(0.55):
        mast = s.between(1.0, 1.8)
        s.rod("mast", (0, y, 0), (0, y, mast), 0.02)
        s.rod("mast", (0, y, 0.15), (0, y + long * 0.4, 0.15), 0.015)
        _sail(s, (y + 0.03, 0.18), (y + long * 0.4, 0.18), (y + 0.03, mast * 0.97))
        if s.maybe(0.6):
            _sail(s, (y - 0.05, 0.12), (-long * 0.48, 0.08), (y - 0.03, mast * 0.85))
    else:
        tall, length = s.between(0.15, 0.35), long * s.between(0.25, 0.45)
        s.box("deck", (0, 0.1, tall / 2), (wide * 0.6, length, tall))
        if s.maybe(0.6):
            s.box("deck", (0, 0.05, tall * 1.3), (wide * 0.5, length * 0.5, tall * 0.6))
        s.rod("mast", (0, 0.15, tall), (0, 0.2, tall + s.between(0.25, 0.6)), s.between(0.02, 0.07))


def _sail(s: Sketch, a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> None:
    """A triangle in the plane of symmetry, corners given by (y, z), slightly full of wind."""
    corner = np.array([[0.0, *p] for p in (a, b, c)])
    full = np.array([0.5 * abs(b[0] - a[0]) * s.between(-0.4, 0.4), 0, 0])
    sections = np.zeros((5, 3, 3))
    for k, t in enumerate(np.linspace(0, 1, 5)):
        low, high = corner[0] + t * (corner[1] - corner[0]), corner[2] + t * (corner[1] - corner[2])
        low, high = low + full * t * (1 - t), high + full * t * (1 - t)
        sections[k, 0], sections[k, 1] = (low + high) / 2, (high - low) / 2
    s.put("sail", loft(sections, LINE))


@recipe("frame wheel handlebar saddle")
def bicycle(s: Sketch) -> None:
    """Two wheels in a frame with a handlebar and a saddle, along y."""
    radius, base = s.between(0.28, 0.36), s.between(0.95, 1.15)
    circle = [2 * math.pi * k / 24 for k in range(25)]
    for y in (-base / 2, base / 2):
        rim = np.array(
            [(0, y + radius * math.cos(a), radius + radius * math.sin(a)) for a in circle]
        )
        s.put("wheel", tube(rim, s.between(0.015, 0.035)))
        for k in range(s.pick(0, 4)):
            a = math.pi * k / 4
            dy, dz = radius * math.cos(a), radius * math.sin(a)
            s.rod("wheel", (0, y - dy, radius - dz), (0, y + dy, radius + dz), 0.005)
    rear, front = (0.0, base / 2, radius), (0.0, -base / 2, radius)
    crank, seat = (
        (0.0, base * 0.08, radius * 0.85),
        (0.0, base * 0.2, radius + s.between(0.35, 0.5)),
    )
    head = (0.0, -base * 0.34, radius + s.between(0.4, 0.5))
    low = (0.0, -base * 0.37, radius + 0.28)
    for a, b in [
        (rear, crank),
        (rear, seat),
        (crank, seat),
        (crank, low),
        (seat, head),
        (head, front),
    ]:
        s.rod("frame", a, b, s.between(0.013, 0.022))
    s.ball("saddle", (0, seat[1] + 0.03, seat[2] + 0.07), (0.12, 0.26, 0.06))
    bar = s.between(0.2, 0.32)
    z, y, back = head[2] + s.between(0.05, 0.15), head[1] + 0.03, s.between(-0.1, 0.15)
    s.rod("handlebar", head, (0, y, z), 0.016)
    s.bent(
        "handlebar",
        [(-bar, y + back, z), (-bar * 0.5, y, z), (bar * 0.5, y, z), (bar, y + back, z)],
        0.015,
    )


@recipe("body nose fin engine")
def rocket(s: Sketch) -> None:
    """A slender body with a pointed nose and fins, at times with boosters."""
    high, radius = s.between(1.2, 2.2), s.between(0.12, 0.22)
    top, shape = s.between(0.25, 0.6), s.between(0.4, 0.9)
    s.turned("body", [(0, 0), (radius * 0.9, 0), (radius, high * 0.3), (radius, high)])
    s.turned("nose", rounded([(radius, high), (radius * shape, high + top * 0.6), (0, high + top)]))
    fins, reach = s.whole(3, 4), radius + s.between(0.1, 0.35)
    low = s.between(-0.2, 0.1)
    for k in range(fins):
        a = 2 * math.pi * k / fins
        c, sn = math.cos(a), math.sin(a)
        sections = np.zeros((2, 3, 3))
        sections[0, 0], sections[0, 1] = (radius * c, radius * sn, 0.25), (0, 0, 0.22)
        sections[1, 0], sections[1, 1] = (reach * c, reach * sn, low + 0.1), (0, 0, 0.1)
        s.put("fin", loft(sections, LINE))
    s.turned("engine", [(radius * 0.3, 0), (radius * 0.75, -0.15)])
    if s.maybe(0.3):
        for side in (-1, 1):
            x = side * radius * 1.6
            s.rod("engine", (x, 0, -0.05), (x, 0, high * 0.6), radius * 0.55)
            s.rod("engine", (x, 0, high * 0.6), (x, 0, high * 0.6 + 0.2), radius * 0.55, 0)
