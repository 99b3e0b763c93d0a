"""Recipes of furniture."""

from __future__ import annotations

import math
from itertools import pairwise

from .primitives import CIRCLE, HEXAGON, SQUARE, SQUIRCLE
from .sketch import Sketch, recipe


def _pedestal(s: Sketch, part: str, top: float, spread: float, radius: float) -> None:
    """A column on a disc, or on three to five feet, at times with castors."""
    s.rod(part, (0, 0, 0.04), (0, 0, top), radius)
    if s.maybe(0.5):
        s.slab(part, (0, 0, 0.02), (2 * spread, 2 * spread, 0.04), s.pick(CIRCLE, CIRCLE, SQUARE))
        return
    feet = s.whole(3, 5)
    for k in range(feet):
        a = 2 * math.pi * k / feet
        end = (spread * math.cos(a), spread * math.sin(a), 0.03)
        s.rod(part, (0, 0, 0.1), end, radius * 0.6)
        s.ball(part, end, (0.06, 0.06, 0.06))


def _back(s: Sketch, wide: float, at: float, low: float, high: float, lean: float) -> None:
    """The back of a chair or bench: a panel, upright or level slats, or a frame."""
    top = at + lean * (high - low)
    middle, tall = (at + top) / 2, (high - low) / math.cos(math.atan(lean))
    turn = (-math.atan(lean), 0.0, 0.0)
    style = s.whole(0, 3)
    if style == 0:
        gap = s.pick(0.0, s.between(0, 0.3)) * tall
        z = (low + high + gap) / 2
        s.box("back", (0, middle, z), (wide, s.between(0.02, 0.08), tall - gap), turn)
        return
    for side in (-0.47, 0.47):
        s.rod("back", (side * wide, at, low), (side * wide, top, high), 0.02)
    count = s.whole(3, 7) if style == 1 else s.whole(2, 4)
    for k in range(count):
        t = (k + 0.5) / count
        if style == 1:
            x = (t - 0.5) * wide * 0.9
            s.rod("back", (x, at, low), (x, top, high), 0.012)
        else:
            z = low + (high - low) * (0.25 + 0.75 * t)
            y = at + (top - at) * (0.25 + 0.75 * t)
            s.box("back", (0, y, z), (wide, 0.02, tall * 0.5 / count), turn)
    s.box("back", (0, top, high), (wide, 0.04, 0.06), turn)


def _sled(s: Sketch, x: float, y: float, seat: float) -> None:
    """A bent bar on each side: down in front, along the floor, and up behind or forward again."""
    rear = s.pick(y, -y)
    for side in (-x, x):
        path = [(side, -y, seat), (side, -y, 0.02), (side, y, 0.02), (side, rear, seat)]
        for a, b in pairwise(path):
            s.rod("leg", a, b, 0.014)


def _arms(s: Sketch, x: float, deep: float, seat: float) -> None:
    """Arms of a chair: panels, or rests on posts."""
    rest = seat + s.between(0.15, 0.28)
    solid = s.maybe(0.3)
    for side in (-x, x):
        if solid:
            s.box("arm", (side, 0, (rest + seat) / 2), (0.06, deep, rest - seat))
        else:
            s.box("arm", (side, 0, rest), (0.05, deep * 0.9, 0.03))
            s.rod("arm", (side, -deep * 0.4, seat), (side, -deep * 0.4, rest), 0.014)


@recipe("leg seat back arm")
def chair(s: Sketch) -> None:
    """Four legs, a pedestal or a sled; a panel, slats or bars behind; with or without arms."""
    wide, deep, seat = s.between(0.38, 0.6), s.between(0.36, 0.55), s.between(0.34, 0.55)
    high, lean = seat + s.between(0.25, 0.75), s.between(0, 0.3)
    thick = s.pick(0.03, s.between(0.03, 0.14))
    if s.maybe(0.2):
        s.slab("seat", (0, 0, seat), (wide, deep, thick), s.pick(CIRCLE, SQUIRCLE))
    else:
        s.box("seat", (0, 0, seat), (wide, deep, thick))
    style = s.rng.random()
    if style < 0.6:
        s.corners("leg", wide * 0.88, deep * 0.88, seat, s.between(0.012, 0.035))
        if s.maybe(0.4):
            for side in (-0.44, 0.44):
                rung = seat * s.between(0.2, 0.6)
                front, rear = (side * wide, -0.44 * deep, rung), (side * wide, 0.44 * deep, rung)
                s.rod("leg", front, rear, 0.012)
    elif style < 0.85:
        _pedestal(s, "leg", seat, s.between(0.2, 0.32), s.between(0.02, 0.05))
    else:
        _sled(s, wide * 0.45, deep * 0.45, seat)
    _back(s, wide * s.between(0.8, 1), deep * 0.47, seat, high, lean)
    if s.maybe(0.45):
        _arms(s, wide / 2, deep, seat)


@recipe("leg seat")
def stool(s: Sketch) -> None:
    """A seat without a back, low or as high as a bar."""
    wide, seat = s.between(0.28, 0.45), s.between(0.25, 0.8)
    deep = wide * s.pick(1.0, s.between(0.7, 1.0))
    thick = s.pick(0.03, s.between(0.03, 0.12))
    round_ = s.maybe(0.65)
    s.slab(
        "seat", (0, 0, seat), (wide, deep, thick), CIRCLE if round_ else s.pick(SQUIRCLE, SQUARE)
    )
    inset = 0.6 if round_ else 0.68
    if s.maybe(0.65):
        s.corners("leg", wide * inset, deep * inset, seat, s.between(0.012, 0.03))
        if s.maybe(0.5):
            z, x, y = seat * s.between(0.25, 0.5), wide * inset / 2, deep * inset / 2
            for a, b in pairwise([(-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z), (-x, -y, z)]):
                s.rod("leg", a, b, 0.01)
    else:
        _pedestal(s, "leg", seat, wide * s.between(0.4, 0.6), s.between(0.015, 0.05))


@recipe("leg top shelf")
def table(s: Sketch) -> None:
    """A rectangular or round top on legs, a pedestal or trestles."""
    wide, deep, high = s.between(0.6, 1.8), s.between(0.5, 0.9), s.between(0.35, 0.8)
    thick = s.between(0.02, 0.08)
    curve = s.pick(None, None, CIRCLE, CIRCLE, HEXAGON, SQUIRCLE)
    if curve:
        wide = deep * s.pick(1.0, s.between(1.0, 1.6))
        s.slab("top", (0, 0, high), (wide, deep, thick), curve)
    else:
        s.box("top", (0, 0, high), (wide, deep, thick))
    inset = 0.62 if curve else 0.9
    style = s.rng.random()
    if style < 0.55:
        s.corners("leg", wide * inset, deep * inset, high, s.between(0.015, 0.05))
        if s.maybe(0.3):
            size = (wide * inset, deep * inset, 0.02)
            s.box("shelf", (0, 0, high * s.between(0.2, 0.5)), size)
    elif style < 0.8:
        _pedestal(s, "leg", high, deep * s.between(0.25, 0.45), s.between(0.025, 0.08))
    else:
        for side in (-0.36, 0.36):
            x = side * wide
            if s.maybe(0.5):
                s.box("leg", (x, 0, high / 2), (0.05, deep * 0.7, high))
            else:
                s.rod("leg", (x, 0, high), (x, -deep * 0.4, 0), 0.025)
                s.rod("leg", (x, 0, high), (x, deep * 0.4, 0), 0.025)


@recipe("leg top drawer handle")
def desk(s: Sketch) -> None:
    """A top with drawers below one or both sides, at times a panel behind."""
    wide, deep, high = s.between(1.0, 1.7), s.between(0.5, 0.8), s.between(0.65, 0.8)
    s.box("top", (0, 0, high), (wide, deep, s.between(0.02, 0.06)))
    both = s.maybe(0.35)
    block, drop = wide * s.between(0.2, 0.33), high * s.between(0.3, 0.95)
    for side in (-1, 1) if both else (s.pick(-1, 1),):
        x = side * (wide - block) / 2 * 0.96
        s.box("drawer", (x, 0, high - drop / 2), (block, deep * 0.92, drop))
        count = s.whole(1, 4)
        for k in range(count):
            z = high - drop * (k + 0.5) / count
            s.box("handle", (x, -deep * 0.48, z), (block * 0.4, 0.03, 0.03))
        if not both:
            x = -side * wide * 0.46
            if s.maybe(0.5):
                s.box("leg", (x, 0, high / 2), (0.04, deep * 0.9, high))
            else:
                for y in (-0.42, 0.42):
                    s.rod("leg", (x, y * deep, 0), (x, y * deep, high), 0.025)
    if drop < 0.7 * high:
        s.corners("leg", wide * 0.93, deep * 0.85, high, 0.022)
    if s.maybe(0.5):
        s.box("leg", (0, deep * 0.44, high * 0.7), (wide * 0.9, 0.02, high * 0.5))


@recipe("frame mattress headboard pillow")
def bed(s: Sketch) -> None:
    """A mattress in a frame, with pillows against a headboard."""
    wide, long, low = s.between(0.9, 2.0), s.between(1.8, 2.2), s.between(0.15, 0.4)
    thick = s.between(0.12, 0.3)
    s.box("frame", (0, 0, low), (wide, long, s.between(0.06, 0.2)))
    s.corners("frame", wide * 0.9, long * 0.92, low, s.between(0.03, 0.06))
    s.box("mattress", (0, 0, low + thick / 2 + 0.03), (wide * 0.95, long * 0.96, thick))
    head = low + thick + s.between(0.1, 0.8)
    for y, high in [(long / 2, head), (-long / 2, s.pick(0, s.between(low, low + 0.5)))]:
        if high and s.maybe(0.75):
            s.box("headboard", (0, y, high / 2), (wide * s.between(1, 1.1), 0.05, high))
        elif high:
            for k in range(7):
                x = (k / 6 - 0.5) * wide
                s.rod("headboard", (x, y, 0), (x, y, high), 0.02)
            s.rod("headboard", (-wide / 2, y, high), (wide / 2, y, high), 0.03)
    pillows = 2 if wide > 1.3 else 1
    for k in range(pillows * s.whole(0, 1)):
        x = (k - (pillows - 1) / 2) * wide * 0.46
        size = (wide * 0.8 / pillows, 0.4, s.between(0.1, 0.2))
        s.ball("pillow", (x, long * 0.36, low + thick + 0.08), size)


@recipe("seat back arm leg")
def sofa(s: Sketch) -> None:
    """One to three cushions between two arms, at times a corner piece."""
    wide, deep, seat = s.between(0.9, 2.4), s.between(0.7, 1.0), s.between(0.3, 0.5)
    arm, thick = s.between(0.1, 0.28), s.between(0.15, 0.3)
    base = s.pick(0.0, s.between(0.05, 0.15))
    s.box("seat", (0, 0, (seat + base) / 2), (wide, deep, seat - base))
    back = seat + s.between(0.25, 0.5)
    turn = (-s.between(0, 0.25), 0, 0)
    s.box("back", (0, deep / 2 - thick / 2, (back + base) / 2), (wide, thick, back - base), turn)
    inner = wide - 2 * arm
    count = s.whole(1, 3)
    for k in range(count):
        x = ((k + 0.5) / count - 0.5) * inner
        s.box("seat", (x, -thick / 2, seat + 0.06), (inner / count * 0.96, deep - thick, 0.12))
    rest = seat + s.between(0.1, 0.3)
    curved = s.maybe(0.4)
    for side in (-1, 1):
        x = side * (wide - arm) / 2
        s.box("arm", (x, 0, (rest + base) / 2), (arm, deep, rest - base))
        if curved:
            s.rod("arm", (x, -deep / 2, rest), (x, deep / 2, rest), arm * 0.6)
    if base:
        s.corners("leg", wide * 0.9, deep * 0.85, base + 0.02, 0.03)
    if s.maybe(0.2):
        side, long = s.pick(-1, 1), s.between(0.4, 0.9)
        at = (side * (wide / 2 - deep / 3), -deep / 2 - long / 2, (seat + base) / 2)
        s.box("seat", at, (deep * 0.66, long, seat - base))


@recipe("leg seat back")
def bench(s: Sketch) -> None:
    """A long seat of one board or of slats, with or without a back."""
    wide, deep, seat = s.between(1.0, 2.0), s.between(0.3, 0.5), s.between(0.35, 0.5)
    boards = s.pick(1, s.whole(2, 5))
    for k in range(boards):
        y = ((k + 0.5) / boards - 0.5) * deep
        s.box("seat", (0, y, seat), (wide, deep / boards * (1 if boards == 1 else 0.7), 0.04))
    if s.maybe(0.5):
        s.corners("leg", wide * 0.88, deep * 0.85, seat, s.between(0.02, 0.05))
    else:
        for side in (-0.38, 0.38):
            s.box("leg", (side * wide, 0, seat / 2), (s.between(0.04, 0.12), deep * 0.8, seat))
    if s.maybe(0.5):
        _back(s, wide, deep * 0.45, seat, seat + s.between(0.3, 0.5), s.between(0.05, 0.3))


@recipe("frame shelf content")
def bookshelf(s: Sketch) -> None:
    """Shelves between sides, open or closed behind, at times with some books."""
    wide, deep, high = s.between(0.5, 1.5), s.between(0.22, 0.4), s.between(0.8, 2.1)
    for side in (-0.5, 0.5):
        s.box("frame", (side * wide, 0, high / 2), (0.03, deep, high))
    if s.maybe(0.6):
        s.box("frame", (0, deep / 2, high / 2), (wide, 0.02, high))
    count = s.whole(3, 6)
    books = s.maybe(0.5)
    for k in range(count + 1):
        z = 0.03 + (high - 0.05) * k / count
        s.box("shelf", (0, 0, z), (wide, deep, 0.025))
        if books and k < count and s.maybe(0.6):
            long, tall = wide * s.between(0.2, 0.8), high / count * s.between(0.5, 0.85)
            x = s.pick(-1, 1) * (wide - long) / 2 * 0.95
            s.box("content", (x, 0.02, z + tall / 2), (long, deep * 0.7, tall))
    if s.maybe(0.35):
        s.box("frame", (0, 0, high / 2), (0.03, deep, high))


@recipe("body front handle leg")
def cabinet(s: Sketch) -> None:
    """A chest of drawers, a night stand or a wardrobe: fronts with handles."""
    wide, deep, high = s.between(0.4, 1.4), s.between(0.35, 0.6), s.between(0.4, 1.9)
    foot = s.pick(0.0, s.between(0.05, 0.2))
    s.box("body", (0, 0, foot + high / 2), (wide, deep, high))
    if foot:
        s.corners("leg", wide * 0.85, deep * 0.85, foot + 0.01, 0.025)
    doors = high > wide * 1.3 or s.maybe(0.3)
    columns, rows = (s.whole(1, 3), 1) if doors else (s.whole(1, 2), s.whole(2, 5))
    knob = s.maybe(0.4)
    cell, tall, y = wide / columns, high / rows, -deep / 2
    for c in range(columns):
        for r in range(rows):
            x, z = (c + 0.5) * cell - wide / 2, foot + (r + 0.5) * tall
            s.box("front", (x, y - 0.012, z), (cell * 0.93, 0.024, tall * 0.93))
            if doors:
                x += cell * 0.36 * (1 if c % 2 == 0 else -1)
            if knob:
                s.ball("handle", (x, y - 0.045, z), (0.05, 0.05, 0.05))
            else:
                size = (0.025, 0.03, tall * 0.2) if doors else (cell * 0.4, 0.03, 0.025)
                s.box("handle", (x, y - 0.045, z), size)
