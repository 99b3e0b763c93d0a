"""Recipes of parts of a house and of things that stand in it."""

from __future__ import annotations

import math

from .primitives import CIRCLE, HEXAGON, SQUARE, SQUIRCLE, TRIANGLE, lathe
from .sketch import HALF_PI, Sketch, recipe, rounded


@recipe("frame panel handle")
def door(s: Sketch) -> None:
    """A leaf with raised panels and a handle, in a frame, shut or ajar."""
    wide, high = s.between(0.7, 1.1), s.between(1.8, 2.2)
    thick = s.between(0.04, 0.08)
    for side in (-0.5, 0.5):
        s.box("frame", (side * (wide + 0.08), 0, high / 2), (0.09, 0.12, high + 0.1))
    s.box("frame", (0, 0, high + 0.05), (wide + 0.16, 0.12, 0.09))
    ajar = s.pick(0.0, s.between(0.1, 1.3))
    cos, sin = math.cos(ajar), math.sin(ajar)
    turn = (0.0, 0.0, -ajar)

    def leaf(x: float, y: float, z: float) -> tuple[float, float, float]:
        """A point of the leaf: x from the hinge, y from its middle plane."""
        return (x * cos + y * sin - wide / 2, y * cos - x * sin, z)

    s.box("panel", leaf(wide / 2, 0, high / 2), (wide, thick, high), turn)
    rows, columns = s.whole(0, 3), s.whole(1, 2)
    for r in range(rows):
        for c in range(columns):
            x, z = (c + 0.5) / columns * wide, (r + 0.5) / rows * high
            size = (wide / columns * 0.65, thick + 0.05, high / rows * 0.7)
            s.box("panel", leaf(x, 0, z), size, turn)
    for y in (-0.06, 0.06):
        if s.maybe(0.5):
            s.ball("handle", leaf(wide * 0.92, y, high * 0.48), (0.07, 0.07, 0.07))
        else:
            s.box("handle", leaf(wide * 0.87, y, high * 0.48), (0.14, 0.03, 0.03), turn)


@recipe("base pole shade bulb")
def lamp(s: Sketch) -> None:
    """A floor or table lamp with a shade, or a desk lamp on a bent arm."""
    shade, drop = s.between(0.12, 0.25), s.between(0.12, 0.3)
    foot = s.between(0.08, 0.17)
    narrow = shade * s.between(0.3, 0.95)
    if s.maybe(0.3):  # desk lamp
        reach, high = s.between(0.2, 0.45), s.between(0.35, 0.6)
        s.slab("base", (0, 0, 0.02), (2 * foot, 2 * foot, 0.04))
        elbow, tip = (-reach * s.between(0, 0.5), 0, high * 0.6), (reach, 0, high)
        if s.maybe(0.5):
            s.rod("pole", (0, 0, 0), elbow, 0.012)
            s.rod("pole", elbow, tip, 0.012)
        else:
            s.bent("pole", [(0, 0, 0), elbow, (reach * 0.5, 0, high * 1.05), tip], 0.012)
        end = (reach + drop * 0.5, 0, high - drop * 0.6)
        s.rod("shade", tip, end, narrow * 0.5, shade / narrow)
        return
    high = s.between(1.1, 1.7) if s.maybe(0.5) else s.between(0.3, 0.6)
    if high < 0.8 and s.maybe(0.6):
        belly = s.between(0.06, 0.14)
        profile = [
            (0.0, 0.0),
            (foot * 0.7, 0.0),
            (belly, high * 0.3),
            (0.03, high * 0.75),
            (0.015, high),
        ]
        s.turned("base", [*profile[:1], *rounded(profile[1:])])
    else:
        curve = s.pick(CIRCLE, CIRCLE, SQUARE)
        s.slab("base", (0, 0, 0.02), (2 * foot, 2 * foot, 0.04), curve)
        s.rod("pole", (0, 0, 0), (0, 0, high), s.between(0.008, 0.025))
    if s.maybe(0.85):
        s.turned("shade", [(shade, high - drop * 0.5), (narrow, high + drop * 0.5)])
    else:
        s.ball("shade", (0, 0, high + shade * 0.8), (2 * shade, 2 * shade, 2 * shade))
    s.ball("bulb", (0, 0, high), (0.06, 0.06, 0.09))


@recipe("step rail side")
def stairs(s: Sketch) -> None:
    """A straight flight of steps, solid or open, at times with a railing."""
    count, wide = s.whole(4, 9), s.between(0.6, 1.6)
    run, rise = s.between(0.22, 0.32), s.between(0.14, 0.22)
    solid, rail = s.maybe(0.5), s.maybe(0.5)
    for k in range(count):
        y, z = k * run, (k + 1) * rise
        if solid:
            s.box("step", (0, y, z / 2), (wide, run, z))
        else:
            s.box("step", (0, y, z), (wide, run * 1.1, 0.04))
    end = ((count - 1) * run, count * rise)
    for side in (-0.5, 0.5):
        x = side * wide
        if not solid:
            s.rod("side", (x, 0, rise * 0.6), (x, end[0], end[1] - rise * 0.4), 0.04, 1, SQUARE)
        if rail:
            s.rod("rail", (x, 0, rise + 0.8), (x, end[0], end[1] + 0.8), 0.025)
            for k in range(0, count, 2):
                s.rod(
                    "rail", (x, k * run, (k + 1) * rise), (x, k * run, (k + 1) * rise + 0.8), 0.015
                )


@recipe("rail rung")
def ladder(s: Sketch) -> None:
    """Two rails with rungs, leaning, or two such halves as a step ladder."""
    wide, high = s.between(0.35, 0.6), s.between(1.2, 2.4)
    count, lean = s.whole(4, 9), s.between(0.0, 0.45)
    halves = (1, -1) if s.maybe(0.4) else (1,)
    lean = max(lean, 0.2) if len(halves) == 2 else lean
    for half in halves:
        for side in (-0.5, 0.5):
            x = side * wide
            s.rod("rail", (x * 1.2, -half * lean * high, 0), (x, 0, high), 0.03, 1, SQUARE)
        for k in range(count if half > 0 else s.whole(1, count)):
            t = (k + 0.7) / (count + 0.4)
            y, z = -half * lean * high * (1 - t), t * high
            s.box("rung", (0, y, z), (wide * 1.1, 0.06, 0.03))


@recipe("tub rim tap foot")
def bathtub(s: Sketch) -> None:
    """A long open basin, boxed in or on feet, with a tap at one end."""
    wide, long, high = s.between(0.6, 0.95), s.between(1.3, 1.9), s.between(0.4, 0.65)
    foot = s.pick(0.0, s.between(0.06, 0.16))
    slope = s.between(0.65, 0.9)
    curve = s.pick(CIRCLE, SQUIRCLE, SQUIRCLE)
    tub = [(0, 0.06), (0.38, 0.06), (0.45 * slope + 0.02, 0.1), (0.46, 0.95), (0.5, 1)]
    s.put("tub", lathe(tub, curve), (0, 0, foot), (wide, long, high))
    if not foot:
        s.box("rim", (0, 0, 0.0), (wide, long, 0.02))
        for sx, sy, size in [(0.5, 0, (0.02, long, high)), (0, 0.5, (wide, 0.02, high))]:
            for side in (-1, 1):
                s.box("rim", (side * sx * wide, side * sy * long, high / 2), size)
    else:
        s.corners("foot", wide * 0.55, long * 0.6, foot + 0.06, 0.035)
    y, top = long * 0.5, foot + high
    s.bent(
        "tap",
        [(0, y, top), (0, y, top + 0.15), (0, y - 0.1, top + 0.2), (0, y - 0.2, top + 0.12)],
        0.025,
    )
    for x in (-0.12, 0.12):
        s.rod("tap", (x, y, top), (x, y, top + 0.08), 0.03)


@recipe("screen stand base")
def monitor(s: Sketch) -> None:
    """A flat or bulky screen on a stand with a foot."""
    wide = s.between(0.4, 0.8)
    tall, lift = wide * s.between(0.5, 0.8), s.between(0.06, 0.25)
    thick = s.between(0.02, 0.06)
    turn = (-s.between(-0.1, 0.25), 0.0, 0.0)
    z = lift + tall / 2
    s.box("screen", (0, 0, z), (wide, thick, tall), turn)
    s.box("screen", (0, -thick / 2, z), (wide * 0.92, 0.01, tall * 0.88), turn)
    if s.maybe(0.25):  # a tube behind the screen
        s.rod("screen", (0, 0, z), (0, wide * s.between(0.3, 0.7), z), tall * 0.6, 0.6, SQUARE)
    if s.maybe(0.6):
        s.rod(
            "stand", (0, 0.04, 0), (0, 0.04, z), s.between(0.015, 0.04), 1, s.pick(CIRCLE, SQUARE)
        )
        size = (wide * s.between(0.3, 0.6), s.between(0.14, 0.25), 0.02)
        s.slab("base", (0, 0.02, 0.01), size, s.pick(CIRCLE, SQUARE, SQUIRCLE))
    else:
        for side in (-1, 1):
            x = side * wide * s.between(0.25, 0.4)
            s.rod("stand", (x, 0, lift + 0.05), (x, -0.1, 0), 0.012)
            s.rod("stand", (x, 0, lift + 0.05), (x, 0.1, 0), 0.012)


@recipe("screen keyboard")
def laptop(s: Sketch) -> None:
    """A screen hinged to a keyboard, open to some angle."""
    wide = s.between(0.3, 0.42)
    deep, thick = wide * s.between(0.6, 0.78), s.between(0.012, 0.03)
    s.box("keyboard", (0, 0, 0), (wide, deep, thick))
    for k in range(s.whole(3, 5)):
        s.box(
            "keyboard", (0, deep * (0.38 - 0.13 * k), thick * 0.6), (wide * 0.86, deep * 0.09, 0.01)
        )
    s.box("keyboard", (0, -deep * 0.33, thick * 0.6), (wide * 0.3, deep * 0.2, 0.006))
    lean = s.between(-0.3, 0.8)  # 0 is upright
    y, z = deep / 2 + deep / 2 * math.sin(lean), deep / 2 * math.cos(lean)
    s.box("screen", (0, y, z), (wide, thick * 0.6, deep), (-lean, 0, 0))


@recipe("canopy pole handle")
def umbrella(s: Sketch) -> None:
    """An open canopy on a pole, with a crook or a foot."""
    radius, high = s.between(0.45, 0.65), s.between(0.7, 1.1)
    sag = radius * s.between(0.3, 0.7)
    profile = rounded([(0, high), (radius * 0.6, high - sag * 0.35), (radius, high - sag)], 4)
    s.put("canopy", lathe(profile, s.pick(CIRCLE, HEXAGON, SQUIRCLE)))
    s.rod("pole", (0, 0, 0), (0, 0, high * 1.06), 0.012)
    for k in range(s.pick(0, 6)):
        a = k * math.pi / 3
        end = (radius * 0.95 * math.cos(a), radius * 0.95 * math.sin(a), high - sag * 0.95)
        s.rod("canopy", (0, 0, high * 0.7), end, 0.006)
    if s.maybe(0.6):
        hook = s.between(0.05, 0.09)
        angles = [HALF_PI * 0.7 * k for k in range(4)]
        path = [(hook - hook * math.cos(a), 0.0, -hook * math.sin(a)) for a in angles]
        s.bent("handle", path, 0.02)
    elif s.maybe(0.5):
        s.slab("handle", (0, 0, 0.02), (0.4, 0.4, 0.06))
    else:
        s.rod("handle", (0, 0, -0.02), (0, 0, 0.12), 0.025)


@recipe("body ridge door")
def tent(s: Sketch) -> None:
    """A ridge tent, a pyramid or a dome, open in front."""
    wide, long, high = s.between(1.2, 2.0), s.between(1.4, 2.6), s.between(0.9, 1.5)
    style = s.whole(0, 2)
    if style == 0:
        edge, slope = math.hypot(wide / 2, high), math.atan2(high, wide / 2)
        for side in (-1, 1):
            at = (side * wide / 4, 0, high / 2)
            s.box("body", at, (edge, long, 0.02), (0, side * slope, 0))
        s.rod("ridge", (0, -long * 0.55, high), (0, long * 0.55, high), 0.025)
        for y in (-0.5, 0.5):
            s.rod("ridge", (0, y * long, 0), (0, y * long, high), 0.025)
        back = lathe([(0, 0), (0.5, 0)], TRIANGLE)
        s.put("door", back, (0, long / 2, high / 3), (wide, high * 4 / 3, 1), (HALF_PI, 0, 0))
    elif style == 1:
        sides = s.pick(SQUARE, HEXAGON, CIRCLE)
        s.put("body", lathe([(0.5, 0), (0, high)], sides), size=(wide, wide, 1))
        s.rod("ridge", (0, 0, 0), (0, 0, high * 1.12), 0.03)
        for k in range(3):
            a = 2 * math.pi * k / 3 + 0.5
            s.rod(
                "ridge",
                (wide * math.cos(a) * 0.65, wide * math.sin(a) * 0.65, 0),
                (0, 0, high),
                0.008,
            )
        s.box("door", (0, -wide * 0.3, high * 0.2), (wide * 0.25, 0.02, high * 0.4), (-0.35, 0, 0))
    else:
        arc = (0.0, s.between(0.8, 0.95))
        profile = rounded([(0.5, 0), (0.46, 0.35), (0.3, 0.75), (0, 1)])
        turn = (0.0, 0.0, -HALF_PI + math.pi * (1 - arc[1]))
        s.put("body", lathe(profile, CIRCLE, arc), (0, 0, 0), (wide, long, high), turn)
        for side in (-1, 1):
            path = [
                (wide * 0.36 * r * side, -long * 0.36 * r, high * h)
                for r, h in [(1, 0), (0.86, 0.45), (0, 1.02), (-0.86, 0.45), (-1, 0)]
            ]
            s.bent("ridge", path, 0.02)
        s.box("door", (0, -long * 0.55, 0.01), (wide * 0.4, long * 0.25, 0.02))


@recipe("pot stem leaf")
def plant(s: Sketch) -> None:
    """A pot with a bush, long leaves or a small tree."""
    wide, tall = s.between(0.12, 0.25), s.between(0.15, 0.35)
    base = wide * s.between(0.5, 1.0)
    profile = [
        (0, 0),
        (base, 0),
        (wide, tall),
        (wide * 0.88, tall),
        (wide * 0.85, tall * 0.9),
        (0, tall * 0.9),
    ]
    s.put("pot", lathe(profile, s.pick(CIRCLE, CIRCLE, SQUARE)))
    style = s.whole(0, 2)
    count = s.whole(5, 11)
    if style == 0:  # long leaves from the middle
        for k in range(count):
            a, out = 6.28 * k / count + s.between(0, 0.4), s.between(0.15, 0.5)
            up = s.between(0.3, 0.9)
            c, sn = math.cos(a), math.sin(a)
            path = [
                (0, 0, tall * 0.9),
                (out * 0.5 * c, out * 0.5 * sn, tall + up),
                (out * c, out * sn, tall + up * 0.7),
            ]
            s.flat("leaf", path, [0.015, 0.05, 0.004])
        return
    stem = s.between(0.2, 0.7)
    s.bent(
        "stem",
        [(0, 0, tall * 0.8), (s.between(-0.05, 0.05), 0, tall + stem / 2), (0, 0, tall + stem)],
        0.02,
    )
    crown = s.between(0.2, 0.4)
    if style == 1:  # a cloud of leaves
        for _ in range(count):
            at = [s.rng.gauss(0, crown * 0.45) for _ in range(3)]
            size = crown * s.between(0.4, 0.9)
            s.ball("leaf", (at[0], at[1], tall + stem + crown * 0.3 + at[2]), (size, size, size))
    else:  # tiers of a conifer
        tiers = s.whole(2, 4)
        for k in range(tiers):
            z, r = tall + stem * (0.4 + 0.6 * k / tiers), crown * (1 - 0.7 * k / tiers)
            s.rod("leaf", (0, 0, z), (0, 0, z + stem * 0.6), r, 0)
