"""A made-up scene of any kind, scanned: what a file of a scan would hold, and what it would not."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .greenery import plant
from .indoors import indoors
from .outdoors import outdoors
from .scanner import Hits, evenly, from_a_place, from_above
from .stage import CLASSES, Stage

KINDS = ("airborne", "street", "room", "plant")
SHARES = (0.55, 0.15, 0.22, 0.08)


@dataclass(frozen=True)
class MadeScene:
    """A scan of n points.

    Attributes:
        kind: one of :data:`KINDS`.
        points: (n, 3) float32 metres, z up.
        labels: (n,) of ``CLASSES``.
        normals: (n, 3) of either sign.
        heights: (n,) above the ground, metres.
        centers: (n, 3) the middle of the object that each point is of, NaN where it is of none.
        color: (n, 3) from 0 to 1.
        intensity: (n,).
        returns: (n, 2) number of the return, and of how many.
    """

    kind: str
    points: np.ndarray
    labels: np.ndarray
    normals: np.ndarray
    heights: np.ndarray
    centers: np.ndarray
    color: np.ndarray
    intensity: np.ndarray
    returns: np.ndarray

    def some(self, rows: np.ndarray) -> MadeScene:
        """Only these points."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "kind"}
        return MadeScene(self.kind, **{name: part[rows] for name, part in parts.items()})


def make_scene(seed: tuple[int, ...], points: int, kind: str = "") -> MadeScene:
    """A random scene.

    Args:
        seed: the scene depends on it alone.
        points: about so many, at times half or twice as many.
        kind: one of :data:`KINDS`; any by default.
    """
    rng = np.random.default_rng(seed)
    kind = kind or str(rng.choice(KINDS, p=SHARES))
    stage, hits = _built(rng, kind, points)
    every = stage.gathered()
    rows = hits(every[0], every[4])
    if len(rows.rows) < points // 4:  # a scan that saw next to nothing
        rows = evenly(len(every[0]), points, rng)
    return _scanned(stage, every, rows, kind)


def _built(rng: np.random.Generator, kind: str, points: int):  # noqa: ANN202
    """The stage, and how it is scanned: (points, clear) to :class:`Hits`."""
    if kind == "airborne":
        density = np.exp(rng.uniform(np.log(0.15), np.log(30)))
        stage = Stage(rng, float(np.sqrt(points / density)), 2.5 * density)
        outdoors(stage)
        return stage, lambda x, clear: _strips(x, clear, density, rng)
    if kind == "street":
        stage = Stage(rng, rng.uniform(30, 70), points / 900)
        outdoors(stage)
        return stage, lambda x, clear: _stations(x, clear, stage, points, rng)
    if kind == "room":
        size = rng.uniform(2.5, 9)
        stage = Stage(rng, size, 4 * points / (size * (4 * size + 8)))
        indoors(stage)
        if rng.random() < 0.5:
            return stage, lambda x, clear: evenly(len(x), points, rng)
        return stage, lambda x, clear: _stations(x, clear, stage, points, rng)
    size = np.exp(rng.uniform(np.log(0.3), np.log(2.0)))
    stage = Stage(rng, size, 3 * points / (size * size))
    plant(stage)
    return stage, lambda x, clear: evenly(len(x), points, rng)


def _strips(x: np.ndarray, clear: np.ndarray, density: float, rng: np.random.Generator) -> Hits:
    """One or two overlapping strips."""
    count = int(rng.integers(1, 3))
    return _joined([from_above(x, clear, np.sqrt(count / density), rng) for _ in range(count)])


def _stations(
    x: np.ndarray, clear: np.ndarray, stage: Stage, points: int, rng: np.random.Generator
) -> Hits:
    """Turning scanners at one to three places."""
    scans = []
    count = int(rng.integers(1, 4))
    for _ in range(count):
        xy = rng.uniform(0.3, 0.7, 2) * stage.size
        place = np.array([*xy, float(stage.ground(xy[None])[0]) + rng.uniform(1.2, 2.2)])
        step = np.sqrt(2 * np.pi * 1.2 * count / points)
        stretch = np.exp(rng.uniform(0, 0.8))  # rings are farther apart than points on them
        scans.append(from_a_place(x, clear, place, (step / stretch, step * stretch), rng))
    return _joined(scans)


def _joined(scans: list[Hits]) -> Hits:
    names = ("rows", "number", "total", "way")
    return Hits(*(np.concatenate([getattr(s, n) for s in scans]) for n in names))


def _scanned(stage: Stage, every: tuple[np.ndarray, ...], hits: Hits, kind: str) -> MadeScene:
    rng, (x, normals, labels, things, _) = stage.rng, every
    centers = _centers(x, things)
    rows = hits.rows
    near, far = stage.size * 10 ** rng.uniform(-4.5, -3), rng.uniform(0.01, 0.08)
    noise = far if kind == "airborne" else near
    points = x[rows] + hits.way * rng.normal(0, noise, (len(rows), 1))
    heights = points[:, 2] - stage.ground(points[:, :2])
    color, intensity = _painted(labels[rows], things[rows], normals[rows], hits.way, rng)
    returns = np.stack([hits.number, hits.total], axis=1)
    parts = (points, labels[rows], normals[rows], heights, centers[rows], color, intensity, returns)
    order = rng.permutation(len(rows))
    return MadeScene(kind, *(part[order] for part in parts))


def _centers(x: np.ndarray, things: np.ndarray) -> np.ndarray:
    """(n, 3) the middle of each point's object."""
    out = np.full((len(x), 3), np.nan, np.float32)
    own = things >= 0
    if own.any():
        counts = np.bincount(things[own])
        sums = [np.bincount(things[own], x[own, k]) for k in range(3)]
        out[own] = (np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None])[things[own]]
    return out


def _painted(
    labels: np.ndarray, things: np.ndarray, normals: np.ndarray, way: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Colours and intensities: of each class about one, another for each object; plants green."""
    palette = rng.uniform(0.15, 0.85, (len(CLASSES), 3))
    palette[[1, 2, 3, 21, 22]] = rng.uniform([0.1, 0.25, 0.05], [0.4, 0.6, 0.3], (5, 3))
    own = rng.normal(0, 0.12, (int(things.max(initial=0)) + 2, 3))
    color = palette[labels] + own[things] + rng.normal(0, 0.05, (len(labels), 3))
    shade = 0.6 + 0.4 * np.abs(normals @ np.array([0.3, 0.4, 0.87]))
    glossy = rng.uniform(0.1, 1, len(CLASSES))[labels] * np.abs((normals * way).sum(axis=1))
    intensity = glossy + rng.normal(0, 0.08, len(labels))
    return (color * shade[:, None]).clip(0, 1), intensity
