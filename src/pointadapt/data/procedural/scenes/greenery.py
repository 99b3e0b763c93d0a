"""Trees, bushes, hedges, grass: clouds of leaves, through which rays pass."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from .stage import Stage


def _ball(rng: np.random.Generator, n: int, hollow: float) -> tuple[np.ndarray, np.ndarray]:
    """Points of the unit ball, denser outside, and their directions."""
    way = rng.normal(size=(n, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True) + 1e-9
    return way * (hollow + (1 - hollow) * rng.random((n, 1))) ** 0.6, way


def tree(stage: Stage, at: tuple[float, float]) -> None:
    """A trunk, and a crown that is a ball, a cone, or several balls."""
    rng, thing = stage.rng, stage.thing()
    z = float(stage.ground(np.array([at]))[0])
    high = math.exp(rng.uniform(math.log(3), math.log(26)))
    wide, start = high * rng.uniform(0.12, 0.32), high * rng.uniform(0.08, 0.45)
    stage.rod((*at, z), (*at, z + high * 0.7), 0.02 * high, "tree", thing)
    middle = np.array([*at, z + (start + high) / 2])
    reach = np.array([wide, wide, (high - start) / 2])
    n = int(stage.count(4 * math.pi * wide * wide) * rng.uniform(0.8, 2.5))
    if rng.random() < 0.35:  # a conifer
        t = rng.random(n) ** 0.5
        angle, out = rng.uniform(0, 2 * np.pi, n), wide * t * rng.uniform(0.6, 1.05, n)
        points = np.column_stack([
            at[0] + out * np.cos(angle), at[1] + out * np.sin(angle),
            z + high - (high - start) * t,
        ])  # fmt: skip
        stage.put(points, rng.normal(size=(n, 3)), "tree", thing, clear=True)
        return
    parts = int(rng.integers(1, 6))
    for _ in range(parts):
        here = middle + rng.uniform(-0.5, 0.5, 3) * reach * (parts > 1)
        points, way = _ball(rng, n // parts, rng.uniform(0.1, 0.8))
        own = reach * rng.uniform(0.5, 0.9) if parts > 1 else reach
        stage.put(here + points * own, way, "tree", thing, clear=True)


def bush(stage: Stage, at: tuple[float, float]) -> None:
    """A low ball of leaves."""
    rng, high = stage.rng, stage.rng.uniform(0.4, 3.0)
    z = float(stage.ground(np.array([at]))[0])
    wide = high * rng.uniform(0.4, 1.2)
    points, way = _ball(rng, stage.count(4 * wide * wide + 2), rng.uniform(0.2, 0.9))
    points[:, 2] = np.abs(points[:, 2])
    place = points * [wide, wide, high] + [*at, z]
    stage.put(place, way, "bush", stage.thing(), clear=True)


def hedge(stage: Stage, at: tuple[float, float]) -> None:
    """A long box of leaves."""
    rng, turn = stage.rng, stage.rng.uniform(0, 2 * np.pi)
    size = rng.uniform([3, 0.5, 0.6], [20, 1.5, 2.5])
    n = stage.count(float(size[0] * (size[1] + 2 * size[2])))
    points = rng.uniform([-0.5, -0.5, 0], [0.5, 0.5, 1], (n, 3)) * size
    c, s = math.cos(turn), math.sin(turn)
    xy = points[:, :2] @ np.array([[c, s], [-s, c]]) + at
    z = stage.ground(xy) + points[:, 2]
    stage.put(np.column_stack([xy, z]), rng.normal(size=(n, 3)), "bush", stage.thing(), clear=True)


def grass(stage: Stage, at: np.ndarray, reach: float) -> None:
    """Blades and low plants over a patch of ground."""
    rng, n = stage.rng, stage.count(reach * reach * stage.rng.uniform(0.3, 1.5))
    xy = at + rng.normal(0, reach / 2, (n, 2))
    z = stage.ground(xy) + rng.exponential(rng.uniform(0.05, 0.3), n) + 0.05
    stage.put(np.column_stack([xy, z]), rng.normal(size=(n, 3)), "low plants", clear=True)


def plant(stage: Stage) -> None:
    """A single plant with a stem and curved leaves, which fills the stage."""
    rng, high = stage.rng, stage.size * stage.rng.uniform(0.7, 1.2)
    middle = np.array([stage.size / 2] * 2)
    lean = rng.normal(0, 0.05, 2)
    radius = high * rng.uniform(0.008, 0.03)
    t = np.linspace(0, 1, 7)
    path = np.column_stack([middle + t[:, None] ** 2 * lean * high, t * high])
    for a, b in pairwise(path):
        stage.rod(a, b, radius, "stem", -1)
    for k in range(int(rng.integers(3, 14))):
        _leaf(stage, path, k * 2.4 + rng.normal(0, 0.4), high)


def _leaf(stage: Stage, path: np.ndarray, turn: float, high: float) -> None:
    """A blade that rises and droops."""
    rng, at = stage.rng, stage.rng.uniform(0.1, 0.95)
    start = np.array([np.interp(at, np.linspace(0, 1, len(path)), path[:, k]) for k in range(3)])
    long, wide = high * rng.uniform(0.2, 0.6), high * rng.uniform(0.01, 0.06)
    rise, droop = rng.uniform(0.2, 1.5), rng.uniform(0.5, 2.5)
    n = max(20, stage.count(long * wide * 2))
    t, side = rng.random(n), rng.uniform(-1, 1, n)
    width = wide * side * np.sin(np.pi * (0.15 + 0.85 * t) ** 0.8)
    c, s = math.cos(turn), math.sin(turn)
    out = long * t
    z = long * (rise * t - droop * t * t)
    points = start + np.column_stack([out * c - width * s, out * s + width * c, z])
    slope = rise - 2 * droop * t
    normal = np.column_stack([-slope * c, -slope * s, np.ones(n)])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    stage.put(points, normal, "leaf", stage.thing())
