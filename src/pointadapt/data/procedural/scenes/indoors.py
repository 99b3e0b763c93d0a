"""Rooms: floor, walls, doors and windows, ceiling, furniture and what stands on it."""

from __future__ import annotations

import numpy as np

from .stage import Stage

FURNITURE = {  # class of the shapes: label, least and largest width, depth, height
    "chair": ("seat", (0.4, 0.4, 0.75), (0.65, 0.65, 1.1)),
    "stool": ("seat", (0.3, 0.3, 0.4), (0.45, 0.45, 0.8)),
    "table": ("table", (0.6, 0.6, 0.4), (2.2, 1.1, 0.8)),
    "desk": ("table", (1.0, 0.5, 0.7), (1.8, 0.9, 1.1)),
    "sofa": ("bed or sofa", (1.2, 0.7, 0.6), (2.4, 1.1, 1.0)),
    "bed": ("bed or sofa", (0.9, 1.9, 0.5), (2.0, 2.2, 1.1)),
    "bookshelf": ("storage", (0.5, 0.25, 0.8), (1.8, 0.5, 2.2)),
    "cabinet": ("storage", (0.4, 0.35, 0.5), (1.6, 0.65, 2.0)),
    "bathtub": ("thing", (0.7, 1.5, 0.5), (0.9, 1.9, 0.7)),
    "plant": ("thing", (0.3, 0.3, 0.5), (0.8, 0.8, 1.8)),
    "lamp": ("thing", (0.3, 0.3, 1.0), (0.6, 0.6, 1.8)),
    "ladder": ("thing", (0.4, 0.5, 1.2), (0.6, 1.0, 2.0)),
}
ON_TOP = ("monitor", "laptop", "cup", "bottle", "vase", "bowl", "teapot", "plant", "lamp")


def indoors(stage: Stage) -> None:
    """Fill the stage with a room of its width, or with two beside each other."""
    rng, high = stage.rng, stage.rng.uniform(2.2, 3.5)
    w, d = stage.size, stage.size * rng.uniform(0.6, 1.0)
    _shell(stage, (w, d, high))
    for _ in range(int(rng.integers(0, 3))):
        x = rng.uniform(0.25, 0.75) * w
        stage.rect((x, 0, 0), (0, d * rng.uniform(0.3, 0.8), 0), (0, 0, high), "wall")
    spots: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(3, 6 + int(w * d / 3)))):
        _place(stage, (w, d), spots)


def _shell(stage: Stage, size: tuple[float, float, float]) -> None:
    rng, (w, d, h) = stage.rng, size
    stage.rect((0, 0, 0), (w, 0, 0), (0, d, 0), "floor")
    if rng.random() < 0.5:
        stage.rect((0, 0, h), (w, 0, 0), (0, d, 0), "ceiling")
    sides = [((0, 0), (w, 0)), ((0, 0), (0, d)), ((0, d), (w, 0)), ((w, 0), (0, d))]
    for (x, y), (a, b) in sides:
        if rng.random() < 0.9:
            stage.rect((x, y, 0), (a, b, 0), (0, 0, h), "wall")
        for _ in range(int(rng.integers(0, 3))):
            _opening(stage, (x, y), (a, b), h)


def _opening(
    stage: Stage, at: tuple[float, float], along: tuple[float, float], high: float
) -> None:
    """A door or a window that stands out of its wall, or lies within it."""
    rng, door = stage.rng, stage.rng.random() < 0.5
    long = abs(along[0]) + abs(along[1])
    wide = min(rng.uniform(0.7, 1.8), 0.5 * long)
    low, top = (0.0, 2.05) if door else (rng.uniform(0.6, 1.1), high - rng.uniform(0.2, 0.5))
    start = rng.uniform(0.05, 0.9 - wide / long)
    way = np.array([*along, 0]) / long
    out = np.array([-way[1], way[0], 0]) * rng.uniform(-0.12, 0.12)
    corner = np.array([*at, low]) + start * long * way + out
    stage.rect(corner, way * wide, (0, 0, top - low), "door or window", stage.thing())


def _place(
    stage: Stage, floor: tuple[float, float], spots: list[tuple[float, float, float]]
) -> None:
    """A piece of furniture where there is room, at times with something on it."""
    rng = stage.rng
    name = list(FURNITURE)[rng.integers(len(FURNITURE))]
    label, least, largest = FURNITURE[name]
    size = rng.uniform(least, largest)
    reach = 0.5 * float(max(size[:2]))
    for _ in range(8):
        x, y = rng.uniform(reach, np.maximum(np.array(floor) - reach, reach + 1e-3))
        if rng.random() < 0.5:  # along a wall
            x, y = (x, size[1] / 2) if rng.random() < 0.5 else (size[1] / 2, y)
        if all((x - a) ** 2 + (y - b) ** 2 > (reach + r) ** 2 for a, b, r in spots):
            break
    else:
        return
    spots.append((x, y, reach))
    turn = np.pi / 2 * rng.integers(4) + rng.normal(0, 0.1)
    stage.made(name, (x, y, 0.0), tuple(size.tolist()), turn, label)
    if label in ("table", "storage") and rng.random() < 0.6:
        small = rng.uniform([0.08, 0.08, 0.08], [0.5, 0.4, 0.5])
        thing = ON_TOP[rng.integers(len(ON_TOP))]
        stage.made(thing, (x, y, float(size[2])), tuple(small.tolist()), turn, "thing")
