"""Buildings: walls, roofs of several forms, and what stands on them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .stage import Stage

Roof = Callable[[np.ndarray], np.ndarray]  # (n, 2) places from -1 to 1 to heights above the walls


def building(stage: Stage, at: tuple[float, float], size: tuple[float, float], turn: float) -> None:
    """One to three wings of one building, each with its own roof."""
    rng, thing = stage.rng, stage.thing()
    high = math.exp(rng.uniform(math.log(2.3), math.log(22)))
    high = min(high, 2.5 * min(size))
    low = float(stage.ground(np.array([at])).min())
    _wing(stage, at, size, turn, low, high, thing)
    c, s = math.cos(turn), math.sin(turn)
    for _ in range(int(rng.integers(0, 3)) if min(size) > 5 else 0):
        u, v = rng.choice([-1, 1]) * size[0] * 0.5, rng.uniform(-0.4, 0.4) * size[1]
        middle = (at[0] + c * u - s * v, at[1] + s * u + c * v)
        part = (size[0] * rng.uniform(0.2, 0.6), size[1] * rng.uniform(0.2, 0.6))
        _wing(stage, middle, part, turn, low, high * rng.uniform(0.3, 1.0), thing)


def _wing(
    stage: Stage, at: tuple[float, float], size: tuple[float, float], turn: float, low: float,
    high: float, thing: int,
) -> None:  # fmt: skip
    c, s = math.cos(turn), math.sin(turn)
    axes = np.array([[c, s], [-s, c]]) * np.array(size)[:, None] / 2
    roof = _form(stage.rng, size)
    _walls(stage, np.array(at), axes, low, high, roof, thing)
    _roof(stage, np.array(at), axes, low + high, roof, thing)
    _on_top(stage, np.array(at), axes, low + high, roof, turn, thing)


def _form(rng: np.random.Generator, size: tuple[float, float]) -> Roof:
    """Flat, gabled, hipped, mono-pitched, round, or stepped."""
    kind, rise = rng.random(), min(size) / 2 * math.tan(rng.uniform(0.15, 0.95))
    along = 0 if size[0] < size[1] else 1
    if kind < 0.3:
        return lambda uv: np.zeros(len(uv))
    if kind < 0.62:
        return lambda uv: rise * (1 - np.abs(uv[:, along]))
    if kind < 0.78:
        stretch = max(size) / min(size)
        return lambda uv: (
            rise * np.minimum(1 - np.abs(uv[:, along]), (1 - np.abs(uv[:, 1 - along])) * stretch)
        )
    if kind < 0.88:
        return lambda uv: 0.4 * rise * (1 + uv[:, along])
    if kind < 0.94:
        return lambda uv: 0.7 * rise * np.sqrt((1 - uv[:, along] ** 2).clip(0))
    return lambda uv: rise * 0.6 * (np.abs(uv[:, along]) < 0.5)


def _walls(
    stage: Stage, at: np.ndarray, axes: np.ndarray, low: float, high: float, roof: Roof, thing: int
) -> None:
    rng = stage.rng
    for axis in (0, 1):
        for side in (-1, 1):
            long = 2 * float(np.linalg.norm(axes[1 - axis]))
            n = stage.count(long * high)
            uv = np.empty((n, 2))
            uv[:, axis], uv[:, 1 - axis] = side, rng.uniform(-1, 1, n)
            z = low + rng.random(n) * (high + roof(uv * 0.999))
            normal = axes[axis] / np.linalg.norm(axes[axis])
            stage.put(np.column_stack([at + uv @ axes, z]), (*normal, 0), "facade", thing)


def _roof(
    stage: Stage, at: np.ndarray, axes: np.ndarray, top: float, roof: Roof, thing: int
) -> None:
    over = 1 + stage.rng.uniform(0, 0.6) / np.linalg.norm(axes, axis=1)  # eaves
    half = np.linalg.norm(axes, axis=1)
    uv = stage.rng.uniform(-1, 1, (stage.count(4.4 * float(half.prod())), 2))
    z, step = roof(uv), 1e-3
    slopes = []
    for k in (0, 1):
        moved = uv.copy()
        moved[:, k] -= step * np.sign(uv[:, k])
        slopes.append((roof(moved) - z) / (-step * np.sign(uv[:, k])) / half[k])
    flat = axes / half[:, None]
    normal = np.column_stack([-np.stack(slopes, axis=1) @ flat, np.ones(len(uv))])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    stage.put(np.column_stack([at + (uv * over) @ axes, top + z]), normal, "roof", thing)


def _on_top(
    stage: Stage, at: np.ndarray, axes: np.ndarray, top: float, roof: Roof, turn: float, thing: int
) -> None:
    """Chimneys, dormers, machines."""
    rng = stage.rng
    for _ in range(int(rng.poisson(0.8))):
        uv = rng.uniform(-0.8, 0.8, (1, 2))
        size = rng.uniform([0.4, 0.4, 0.4], [2.5, 2.0, 1.8])
        place = (*(at + uv @ axes)[0], top + float(roof(uv)[0]) - 0.2)
        stage.box(place, tuple(size.tolist()), turn, "roof structure", thing)
