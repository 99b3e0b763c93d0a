"""Recipes of vessels, tools and instruments."""

from __future__ import annotations

import numpy as np

from .primitives import CIRCLE, HEXAGON, SQUARE, SQUIRCLE, lathe, loft, tube
from .sketch import Sketch, recipe, rounded, smooth


@recipe("body neck cap")
def bottle(s: Sketch) -> None:
    """A body that narrows into a neck, with or without a cap."""
    high, radius = s.between(0.55, 1.1), s.between(0.1, 0.24)
    neck, shoulder = radius * s.between(0.2, 0.55), s.between(0.45, 0.75)
    start = min(0.92, shoulder + s.between(0.08, 0.25))
    waist = radius * s.pick(1.0, s.between(0.75, 1.0))
    curve, size = s.pick((CIRCLE, 1.0), (CIRCLE, 1.0), (SQUIRCLE, s.between(0.5, 1.0)))
    wall = rounded([(radius, 0), (waist, shoulder * 0.5), (radius, shoulder), (neck, start)])
    body = lathe([(0, 0), *((r, z * high) for r, z in wall)], curve)
    s.put("body", body, (0, 0, 0), (1, size, 1))
    s.put("neck", lathe([(neck, start * high), (neck, high)], curve), (0, 0, 0), (1, size, 1))
    if s.maybe(0.6):
        s.slab("cap", (0, 0, high), (2.4 * neck, 2.4 * neck * size, s.between(0.04, 0.1)))


@recipe("body rim foot")
def vase(s: Sketch) -> None:
    """An open vessel with a curved wall, taller than wide."""
    high = s.between(0.5, 1.1)
    foot, belly = s.between(0.07, 0.2), s.between(0.14, 0.32)
    neck, rim = s.between(0.06, 0.2), s.between(0.08, 0.28)
    at = s.between(0.25, 0.6)
    profile = rounded([(foot, 0), (belly, at * high), (neck, (at + 0.3) * high), (rim, high)], 5)
    curve = s.pick(CIRCLE, CIRCLE, CIRCLE, HEXAGON)
    s.put("body", lathe([(0, 0), *profile[:-2]], curve))
    s.put("rim", lathe([*profile[-3:], (profile[-1][0] * 0.85, high)], curve))
    s.put("foot", lathe([(0, -0.03), (foot * 1.15, -0.03), (foot, 0)], curve))


def _ear(s: Sketch, part: str, radius: float, low: float, high: float, thick: float) -> None:
    """A handle on the +x side of a vessel."""
    out = radius + (high - low) * s.between(0.35, 0.8)
    path = [
        (radius * 0.95, 0, high),
        (out, 0, high * 0.95 + low * 0.05),
        (out, 0, low + 0.1 * high),
    ]
    s.bent(part, [*path, (radius * 0.9, 0, low)], thick)


@recipe("body handle saucer")
def cup(s: Sketch) -> None:
    """A mug or tea cup with a handle, at times on a saucer."""
    high, top = s.between(0.5, 1.1), s.between(0.32, 0.55)
    base = top * s.between(0.5, 1.0)
    wall = [(base, 0), (base + (top - base) * s.between(0.3, 0.9), high * 0.5), (top, high)]
    inner = [(r * 0.88, z + 0.06 * high) for r, z in wall]
    inner[-1] = (top * 0.9, high)
    s.turned("body", [(0, 0), *rounded(wall), *reversed(rounded(inner)), (0, 0.06 * high)])
    if s.maybe(0.92):
        low = high * s.between(0.1, 0.3)
        _ear(
            s,
            "handle",
            base + (top - base) * 0.6,
            low,
            high * s.between(0.7, 0.92),
            s.between(0.03, 0.06),
        )
    if s.maybe(0.25):
        wide = top * s.between(1.4, 2.0)
        s.turned("saucer", [(0, -0.04), (base, -0.04), (wide, 0.06)])


@recipe("body foot")
def bowl(s: Sketch) -> None:
    """A wide open vessel on a low foot."""
    high, top = s.between(0.2, 0.55), s.between(0.4, 0.6)
    base = top * s.between(0.25, 0.6)
    full = s.between(0.5, 0.95)
    wall = rounded([(base, 0.03), (base + (top - base) * full, high * 0.45), (top, high)])
    inner = [(r * 0.92, z + 0.03) for r, z in wall[:-1]]
    curve = s.pick(CIRCLE, CIRCLE, CIRCLE, HEXAGON, SQUIRCLE)
    s.put("body", lathe([(0, 0.03), *wall, *reversed(inner), (0, 0.06)], curve))
    s.put("foot", lathe([(base * 0.9, -0.02), (base, 0.03)], curve))


@recipe("body spout handle lid")
def teapot(s: Sketch) -> None:
    """A round body with a spout, a handle on the other side or above, and a lid."""
    high, belly, top = s.between(0.5, 0.9), s.between(0.38, 0.55), s.between(0.18, 0.3)
    base = s.between(0.22, 0.4)
    wall = rounded([(base, 0), (belly, high * s.between(0.35, 0.55)), (top, high)], 5)
    s.turned("body", [(0, 0), *wall])
    s.turned("lid", [(top * 1.05, high), (top * 0.8, high + 0.07), (0, high + 0.1)])
    s.ball("lid", (0, 0, high + 0.14), (0.1, 0.1, 0.1))
    reach, tip = belly + s.between(0.25, 0.45), high * s.between(0.75, 1.1)
    path = smooth(
        [(-belly * 0.85, 0, high * 0.25), (-belly * 1.15, 0, high * 0.4), (-reach, 0, tip)]
    )
    s.put("spout", tube(path, np.linspace(0.12, 0.05, len(path))))
    if s.maybe(0.7):
        _ear(s, "handle", belly * 0.85, high * 0.25, high * 0.85, 0.04)
    else:
        rise = high + s.between(0.3, 0.5)
        x = belly * 0.75
        s.bent(
            "handle",
            [(-x, 0, high * 0.75), (-x * 0.8, 0, rise), (x * 0.8, 0, rise), (x, 0, high * 0.75)],
            0.03,
        )


@recipe("body neck head string")
def guitar(s: Sketch) -> None:
    """A body with a waist, a long neck and a head, upright."""
    wide, waist, upper = s.between(0.2, 0.28), s.between(0.11, 0.17), s.between(0.14, 0.22)
    long, thick, neck = s.between(0.5, 0.65), s.between(0.04, 0.14), s.between(0.45, 0.65)
    radii = rounded([(0.02, 0), (wide, 0.25), (waist, 0.58), (upper, 0.82), (0.02, 1)], 5)
    sections = np.zeros((len(radii), 3, 3))
    for k, (r, z) in enumerate(radii):
        sections[k] = [(0, 0, z * long), (r, 0, 0), (0, min(thick / 2, r), 0)]
    s.put("body", loft(sections, SQUIRCLE))
    front = -thick / 2
    s.box("neck", (0, front, long + neck / 2 - 0.1), (0.055, 0.03, neck + 0.2))
    end = long + neck
    s.box("head", (0, front + 0.01, end + 0.07), (s.between(0.07, 0.11), 0.025, 0.15), (0.15, 0, 0))
    for side in (-1, 1):
        for k in range(3):
            z = end + 0.03 + 0.04 * k
            s.rod("head", (side * 0.04, front, z), (side * 0.08, front, z), 0.008)
    s.box("string", (0, front - 0.01, long * 0.22), (0.14, 0.02, 0.025))
    for x in (-0.015, 0.015):
        s.rod("string", (x, front - 0.015, long * 0.22), (x, front - 0.02, end), 0.003)


@recipe("head handle")
def hammer(s: Sketch) -> None:
    """A handle across a head: a claw hammer, a mallet or an axe."""
    long, thick = s.between(0.6, 1.0), s.between(0.02, 0.035)
    s.rod("handle", (0, 0, 0), (0, 0, long), thick, s.between(0.6, 1.0), s.pick(CIRCLE, SQUIRCLE))
    size, reach = s.between(0.04, 0.1), s.between(0.12, 0.22)
    style = s.whole(0, 2)
    if style == 0:  # claw
        s.rod("head", (-reach * 0.3, 0, long), (reach, 0, long), size * 0.8)
        s.slab("head", (reach, 0, long), (0.03, size * 2, size * 2), SQUARE)
        for side in (-1, 1):
            y = side * size * 0.4
            path = [
                (-reach * 0.2, y, long),
                (-reach * 0.8, y, long),
                (-reach * 1.3, y, long - 0.08),
            ]
            s.flat("head", path, [size * 0.4, size * 0.35, 0.005])
    elif style == 1:  # mallet
        s.rod("head", (-reach, 0, long), (reach, 0, long), size * 1.2, 1, s.pick(CIRCLE, SQUARE))
    else:  # axe
        sections = np.zeros((4, 3, 3))
        blade = [(-0.05, 0, 0), (-0.05, 0.05, 0.03), (0.06, 0.05, 0.025), (reach, 0.14, 0.002)]
        for k, (x, tall, wide) in enumerate(blade):
            sections[k] = [(x, 0, long * 0.95), (0, 0, tall), (0, wide, 0)]
        s.put("head", loft(sections, SQUARE))


@recipe("weight bar")
def dumbbell(s: Sketch) -> None:
    """Weights at both ends of a bar: balls, prisms or discs."""
    half, grip = s.between(0.25, 0.9), s.between(0.02, 0.05)
    s.rod("bar", (-half, 0, 0), (half, 0, 0), grip)
    radius, style = s.between(0.14, 0.28), s.whole(0, 2)
    count = s.whole(1, 3)
    for side in (-1, 1):
        if style == 0:
            s.ball("weight", (side * half, 0, 0), (2 * radius, 2 * radius, 2 * radius))
        elif style == 1:
            x = side * half
            s.rod("weight", (x - 0.1, 0, 0), (x + 0.1, 0, 0), radius * 0.8, 1, HEXAGON)
        else:
            for k in range(count):
                s.wheel("weight", (side * (half - 0.08 * k), 0, 0), radius * (1 - 0.15 * k), 0.05)
