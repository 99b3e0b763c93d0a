"""Which points of a scene a scanner hits: rays in a grid of directions, up to what is solid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_RETURNS = 5
GAP = 0.6  # metres between two returns of one pulse


@dataclass(frozen=True)
class Hits:
    """What a scan found.

    Attributes:
        rows: (m,) of the scene's points.
        number: (m,) which return of its pulse each is, from 1.
        total: (m,) how many returns its pulse has.
        way: (m, 3) direction of the ray.
    """

    rows: np.ndarray
    number: np.ndarray
    total: np.ndarray
    way: np.ndarray


def from_above(
    points: np.ndarray, clear: np.ndarray, spacing: float, rng: np.random.Generator
) -> Hits:
    """A strip of an airborne scan: parallel rays, tilted by up to 20°, ``spacing`` metres apart."""
    turn, tilt = rng.uniform(0, 2 * np.pi), np.tan(np.deg2rad(rng.uniform(0, 20)))
    lean = tilt * np.array([np.cos(turn), np.sin(turn)])
    uv = points[:, :2] - points[:, 2:] * lean
    c, s = np.cos(turn + 0.4), np.sin(turn + 0.4)
    stretch = np.exp(rng.uniform(-0.5, 0.5))  # along and across the flight
    cell = np.floor(uv @ np.array([[c, -s], [s, c]]) / (spacing * np.array([stretch, 1 / stretch])))
    way = np.array([lean[0], lean[1], 1.0]) / np.sqrt(1 + tilt * tilt)
    rows, number, total = _pulses(cell, -points[:, 2], clear, rng)
    return Hits(rows, number, total, np.broadcast_to(-way, (len(rows), 3)))


def from_a_place(
    points: np.ndarray, clear: np.ndarray, place: np.ndarray, step: tuple[float, float],
    rng: np.random.Generator, reach: float = 120.0,
) -> Hits:  # fmt: skip
    """A turning scanner: rays ``step`` radians apart in azimuth and in elevation."""
    ray = points - place
    far = np.linalg.norm(ray, axis=1) + 1e-9
    azimuth = np.arctan2(ray[:, 1], ray[:, 0])
    elevation = np.arcsin((ray[:, 2] / far).clip(-1, 1))
    cell = np.floor(np.stack([azimuth / step[0], elevation / step[1]], axis=1))
    rows, number, total = _pulses(cell, far, clear, rng)
    near = (far[rows] < reach) & (far[rows] > 0.3)
    rows = rows[near]
    return Hits(rows, number[near], total[near], ray[rows] / far[rows, None])


def evenly(n: int, count: int, rng: np.random.Generator) -> Hits:
    """Points of all surfaces alike, as from a mesh or many photographs."""
    rows = rng.permutation(n)[:count]
    one = np.ones(len(rows), int)
    return Hits(rows, one, one, np.broadcast_to(np.array([0.0, 0, -1]), (len(rows), 3)))


def _pulses(
    cell: np.ndarray, depth: np.ndarray, clear: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that are hit, which return each is, and of how many."""
    low = cell.min(axis=0)
    wide = int(cell[:, 1].max() - low[1]) + 1
    ray = ((cell[:, 0] - low[0]) * wide + (cell[:, 1] - low[1])).astype(np.int64)
    # In clear things only some of the points are met.
    kept = np.flatnonzero(~clear | (rng.random(len(clear)) < rng.uniform(0.15, 0.6)))
    order = kept[np.lexsort((depth[kept], ray[kept]))]
    ray = ray[order]
    first = np.diff(ray, prepend=-1) != 0
    begin = np.flatnonzero(first)[np.cumsum(first) - 1]
    walls = np.cumsum(~clear[order])  # up to and with this one
    before = walls - ~clear[order] - (walls[begin] - ~clear[order][begin])
    met = before == 0  # nothing solid stands before it
    rank = np.cumsum(met) - (np.cumsum(met)[begin] - met[begin])
    apart = first | (np.diff(depth[order], prepend=-np.inf) > GAP)
    apart_rank = np.cumsum(apart & met) - (np.cumsum(apart & met)[begin] - (apart & met)[begin])
    hit = met & apart & (apart_rank <= MOST_RETURNS) & (rank > 0)
    number, ray = apart_rank[hit], ray[hit]
    _, inverse, counts = np.unique(ray, return_inverse=True, return_counts=True)
    return order[hit], number, counts[inverse]
