"""Landscapes, villages and towns: terrain, buildings, trees, vehicles, poles, wires, fences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .buildings import building
from .greenery import bush, grass, hedge, tree
from .stage import Stage

WAVES = 12


@dataclass(frozen=True)
class Terrain:
    """Hills of waves of all lengths, at times with steps (quarries, terraces, river banks).

    Attributes:
        waves: (k, 2) wave vectors.
        phases, heights: (k,) of each.
        steps: (j, 5) direction (2), place along it, width and height of each step.
    """

    waves: np.ndarray
    phases: np.ndarray
    heights: np.ndarray
    steps: np.ndarray

    def __call__(self, xy: np.ndarray) -> np.ndarray:
        z = np.sin(xy @ self.waves.T + self.phases) @ self.heights
        for x, y, place, width, height in self.steps:
            z = z + height * 0.5 * (1 + np.tanh((xy @ [x, y] - place) / width))
        return z


def terrain(rng: np.random.Generator, size: float) -> Terrain:
    """A random one: often nearly flat, at times steep."""
    lengths = size * 2.0 ** rng.uniform(-4.5, 1.5, WAVES)
    turn = rng.uniform(0, 2 * np.pi, WAVES)
    waves = (2 * np.pi / lengths)[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    steep = 10 ** rng.uniform(-2.5, -0.3)
    heights = steep * lengths / (2 * np.pi) * rng.uniform(0.1, 1, WAVES) / math.sqrt(WAVES)
    count = int(rng.integers(1, 4)) if rng.random() < 0.3 else 0
    angle = rng.uniform(0, 2 * np.pi, count)
    place = rng.uniform(0.1, 0.9, count) * size
    high = rng.uniform(-1, 1, count) * min(20.0, 0.1 * size)
    columns = [np.cos(angle), np.sin(angle), place, np.abs(high) * rng.uniform(0.1, 1, count), high]
    return Terrain(waves, rng.uniform(0, 2 * np.pi, WAVES), heights, np.stack(columns, axis=1))


def outdoors(stage: Stage) -> None:
    """Fill the stage, whose ground is then the terrain."""
    rng, size = stage.rng, stage.size
    stage.ground = terrain(rng, size)
    area = size * size
    _ground(stage)
    town = rng.random() * (rng.random() < 0.85)  # how much of it is built
    taken: list[tuple[float, float, float]] = []
    turn = rng.uniform(0, np.pi)
    for _ in range(min(120, int(rng.poisson(town * area / 400)))):
        _building(stage, taken, turn + rng.normal(0, 0.1))
    woods = 10 ** rng.uniform(-3.7, -1.5)
    clusters = rng.uniform(0, size, (int(rng.integers(1, 6)), 2))
    for _ in range(min(400, int(rng.poisson(woods * area)))):
        _green(stage, taken, clusters)
    for _ in range(min(60, int(rng.poisson(town * area / 250)))):
        _furnish(stage, taken)
    if rng.random() < 0.15:
        _wires(stage)
    if rng.random() < 0.1:
        _bridge(stage)


def _ground(stage: Stage) -> None:
    rng = stage.rng
    xy = rng.uniform(0, stage.size, (stage.count(stage.size**2), 2))
    z, step = stage.ground(xy), 0.05
    slope = [(stage.ground(xy + d) - z) / step for d in ([step, 0], [0, step])]
    normal = np.stack([-slope[0], -slope[1], np.ones(len(xy))], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    stage.put(np.column_stack([xy, z]), normal, "ground")
    for _ in range(int(rng.integers(0, 6))):
        grass(stage, rng.uniform(0, stage.size, 2), rng.uniform(0.05, 0.3) * stage.size)


def _free(taken: list[tuple[float, float, float]], x: float, y: float, reach: float) -> bool:
    return all((x - a) ** 2 + (y - b) ** 2 > (reach + r) ** 2 for a, b, r in taken)


def _building(stage: Stage, taken: list[tuple[float, float, float]], turn: float) -> None:
    rng = stage.rng
    w, d = np.exp(rng.uniform(np.log(3), np.log(45), 2))
    x, y = rng.uniform(0, stage.size, 2)
    reach = 0.45 * math.hypot(w, d)
    if _free(taken, x, y, reach):
        taken.append((x, y, reach))
        quarter = turn + np.pi / 2 * rng.integers(2)
        building(stage, (x, y), (w, d), quarter)


def _green(stage: Stage, taken: list[tuple[float, float, float]], clusters: np.ndarray) -> None:
    rng, kind = stage.rng, stage.rng.random()
    x, y = rng.uniform(0, stage.size, 2)
    if rng.random() < 0.6:
        x, y = clusters[rng.integers(len(clusters))] + rng.normal(0, 0.1 * stage.size, 2)
    if not _free(taken, x, y, 1.0):
        return
    if kind < 0.6:
        tree(stage, (x, y))
    elif kind < 0.93:
        bush(stage, (x, y))
    else:
        hedge(stage, (x, y))


def _furnish(stage: Stage, taken: list[tuple[float, float, float]]) -> None:
    """A vehicle, a pole, a fence, or something else of a street."""
    rng, kind = stage.rng, stage.rng.random()
    x, y = rng.uniform(0, stage.size, 2)
    if not _free(taken, x, y, 2.0):
        return
    z, turn = float(stage.ground(np.array([[x, y]]))[0]), rng.uniform(0, 2 * np.pi)
    if kind < 0.45:
        long = rng.uniform(3.4, 5.2)
        size = (rng.uniform(1.6, 2.0), long, rng.uniform(1.3, 2.0))
        stage.made("car", (x, y, z), size, turn, "vehicle")
    elif kind < 0.5:
        size = (rng.uniform(2.3, 2.6), rng.uniform(6, 14), rng.uniform(2.6, 3.8))
        stage.box((x, y, z + 0.4), size, turn, "vehicle", stage.thing())
    elif kind < 0.75:
        _pole(stage, x, y, z, turn)
    elif kind < 0.92:
        _fence(stage, x, y, turn)
    else:
        stage.made("bench", (x, y, z), (rng.uniform(1.2, 2), 0.6, 0.8), turn, "thing")


def _pole(stage: Stage, x: float, y: float, z: float, turn: float) -> None:
    rng, thing = stage.rng, stage.thing()
    high, radius = rng.uniform(2, 10), rng.uniform(0.04, 0.2)
    top = (x, y, z + high)
    stage.rod((x, y, z), top, radius, "pole", thing)
    if rng.random() < 0.5:
        arm = rng.uniform(0.3, 2)
        end = (x + arm * math.cos(turn), y + arm * math.sin(turn), z + high)
        stage.rod(top, end, radius, "pole", thing)
    elif rng.random() < 0.5:
        stage.box((x, y, z + high - 0.8), (0.8, 0.05, 0.8), turn, "pole", thing)


def _fence(stage: Stage, x: float, y: float, turn: float) -> None:
    rng, thing = stage.rng, stage.thing()
    long, high = rng.uniform(3, 25), rng.uniform(0.6, 2.5)
    n = stage.count(long * high)
    t = rng.uniform(-0.5, 0.5, n) * long
    xy = np.array([x, y]) + t[:, None] * [math.cos(turn), math.sin(turn)]
    z = stage.ground(xy) + rng.uniform(0, high, n)
    normal = (-math.sin(turn), math.cos(turn), 0)
    clear = bool(rng.random() < 0.5)
    stage.put(np.column_stack([xy, z]), normal, "fence", thing, clear)


def _wires(stage: Stage) -> None:
    """A row of masts with sagging wires between them."""
    rng, turn = stage.rng, stage.rng.uniform(0, 2 * np.pi)
    way = np.array([math.cos(turn), math.sin(turn)])
    gap, high = rng.uniform(20, 60), rng.uniform(6, 18)
    start = rng.uniform(0.2, 0.8, 2) * stage.size
    masts = [start + k * gap * way for k in range(-4, 5)]
    tops = [(*m, float(stage.ground(m[None])[0]) + high) for m in masts]
    for m, top in zip(masts, tops, strict=True):
        stage.rod((*m, top[2] - high), top, 0.15, "pole", stage.thing())
    for side in np.linspace(-1, 1, int(rng.integers(1, 4))):
        for a, b in pairwise(tops):
            n = int(rng.poisson(gap * min(20.0, math.sqrt(stage.density) * 2)))
            t = rng.random((n, 1))
            line = np.array(a) * (1 - t) + np.array(b) * t
            line[:, 2] -= (4 * t * (1 - t))[:, 0] * 0.03 * gap
            line[:, :2] += side * np.array([-way[1], way[0]])
            stage.put(line, (0, 0, 1), "wire", clear=True)


def _bridge(stage: Stage) -> None:
    rng, turn = stage.rng, stage.rng.uniform(0, 2 * np.pi)
    x, y = rng.uniform(0.3, 0.7, 2) * stage.size
    z = float(stage.ground(np.array([[x, y]]))[0]) + rng.uniform(3, 8)
    size = (rng.uniform(15, 60), rng.uniform(4, 12), 1.0)
    thing = stage.thing()
    stage.box((x, y, z), size, turn, "bridge", thing)
    for side in (-0.35, 0.35):
        at = (x + side * size[0] * math.cos(turn), y + side * size[0] * math.sin(turn))
        low = float(stage.ground(np.array([at]))[0])
        stage.box((*at, low), (1.0, size[1] * 0.8, max(0.1, z - low)), turn, "bridge", thing)
