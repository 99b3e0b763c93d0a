"""What of a cloud can be seen from a place, and what a turning laser scanner would hit of it.

Stands in for a rendered mesh: a point is hidden if the cloud has another one near its line of
sight, and clearly nearer.
"""

from __future__ import annotations

import numpy as np

FINE = 3.0  # side of a cell of the depth image, in units of 1 / √N: holes of a surface close
BEHIND = 2.0  # cells behind the nearest point from which on a point is hidden
RING = np.deg2rad(1.0)


def viewpoint(
    b: int,
    side: int | np.ndarray,
    above: tuple[float, float],
    far: float | np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(b, 3) places from which to look at the origin.

    Args:
        b: how many.
        side: 1 to 5, which fifth of the circle, for all or (b,) of each.
        above: degrees of the elevation, from and to.
        far: distance, of all or (b, 1) of each.
        rng: draws.
    """
    turn = 2 * np.pi * side / 5 + rng.uniform(-np.pi / 5, np.pi / 5, b)
    tilt = np.deg2rad(rng.uniform(*above, b))
    flat = np.cos(tilt)
    return far * np.stack([flat * np.cos(turn), flat * np.sin(turn), np.sin(tilt)], axis=1)


def seen(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """(B, N) bool: the points (B, N, 3) around the origin that are seen from ``camera`` (B, 3)."""
    b, n = points.shape[:2]
    cell = FINE / np.sqrt(n)
    u, v, depth = _projected(points, camera)
    columns = int(np.ceil(4 / cell)) + 3  # what projects beyond 2 from the middle is at the edge
    place = [(np.floor((w + 2) / cell).astype(int) + 1).clip(0, columns - 1) for w in (u, v)]
    image = np.full((b, columns, columns), np.inf)
    row = np.arange(b)[:, None]
    np.minimum.at(image, (row, *place), depth)
    for axis in (1, 2):  # a point hides what is behind its own cell and the eight around it
        around = np.pad(image, [(0, 0) if k != axis else (1, 1) for k in range(3)], "edge")
        parts = [np.take(around, range(s, s + columns), axis=axis) for s in range(3)]
        image = np.minimum.reduce(parts)
    return depth <= image[(row, *place)] + BEHIND * cell


def _projected(points: np.ndarray, camera: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(B, N) right, up and depth; right and up as large as in a plane through the origin."""
    far = np.linalg.norm(camera, axis=1, keepdims=True)
    toward = -camera / far
    right = np.cross(toward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    axes = np.stack([right, np.cross(right, toward), toward], axis=2)
    u, v, depth = np.moveaxis((points - camera[:, None]) @ axes, 2, 0)
    return u * far / depth, v * far / depth, depth


def rings(points: np.ndarray, scanner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points as on rings 1° apart around a scanner (B, 3), and (B, N) which of them are near one.

    Those within a quarter of a degree of a ring move onto it; the others are not near.
    """
    ray = points - scanner[:, None]
    radius = np.linalg.norm(ray, axis=2)
    polar = np.arccos((ray[..., 2] / radius).clip(-1, 1))
    turn = np.arctan2(ray[..., 1], ray[..., 0])
    above = (polar - polar.min(axis=1, keepdims=True)) / RING
    near = abs(above - np.floor(above) - 0.5) <= 0.25
    polar = polar + (np.floor(above) + 0.5 - above) * RING
    flat = radius * np.sin(polar)
    moved = [flat * np.cos(turn), flat * np.sin(turn), radius * np.cos(polar)]
    return np.stack(moved, axis=2) + scanner[:, None], near
