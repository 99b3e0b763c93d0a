"""Points on the surfaces of many objects at once, without the points that other solids hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .primitives import BALL_SOLID, BOX_SOLID, CURVES, STEPS, Piece, volume

CHORDS = 8  # pieces of a curve by which the area of a patch is measured
MOST_SOLIDS = 8  # solids of one object whose inside is cleared, the largest first
_CURVES_BY_AXIS = CURVES.reshape(-1, 2).T.copy()


@dataclass(frozen=True)
class _Surfaces:
    """The patches of several objects side by side, in the order of the objects.

    Attributes:
        patches: (m, 6, 3) sections of all patches in their place, float32.
        curve: (m,) row of ``CURVES``.
        arc: (m, 2) start and length of the part of the curve.
        part: (m,) part of the object.
        share: (m,) area over that of the whole object.
        owner: (m,) index of the object.
    """

    patches: np.ndarray
    curve: np.ndarray
    arc: np.ndarray
    part: np.ndarray
    share: np.ndarray
    owner: np.ndarray


def _gather(objects: Sequence[Sequence[Piece]], frames: np.ndarray) -> _Surfaces:
    pieces = [piece for pieces in objects for piece in pieces]
    # A cutter (part -1) has no surface of its own.
    counts = [len(p.shape.patches) if p.part >= 0 else 0 for p in pieces]
    patches = np.concatenate([p.shape.patches for p in pieces if p.part >= 0])
    maps = np.repeat(frames, counts, axis=0)
    patches = patches @ maps[:, :, :3].transpose(0, 2, 1)
    patches[:, ::3] += maps[:, None, :, 3]
    patches = patches.astype(np.float32)
    table = np.array([(p.shape.curve, *p.shape.arc, p.part) for p in pieces])
    table = np.repeat(table, counts, axis=0)
    owner = np.repeat(np.repeat(np.arange(len(objects)), [len(o) for o in objects]), counts)
    curve = table[:, 0].astype(np.int64)
    arc = np.stack([table[:, 1], table[:, 2] - table[:, 1]], axis=1).astype(np.float32)

    t = arc[:, :1] + arc[:, 1:] * (np.arange(CHORDS + 1, dtype=np.float32) / CHORDS)
    plane = CURVES[curve[:, None], np.rint(t * STEPS).astype(np.int64)]  # (m, CHORDS + 1, 2)
    basis = np.concatenate([np.ones_like(plane[:, :, :1]), plane], axis=2)
    lower, upper = basis @ patches[:, :3], basis @ patches[:, 3:]
    middle, across = lower + upper, upper - lower
    around = np.diff(middle, axis=1) * 0.5
    across = (across[:, 1:] + across[:, :-1]) * 0.5
    dot = np.einsum("mkd,mkd->mk", around, across)
    square = (around**2).sum(axis=2) * (across**2).sum(axis=2) - dot**2
    area = np.sqrt(square.clip(0)).sum(axis=1).astype(np.float64) + 1e-12
    total = np.bincount(owner, weights=area, minlength=len(objects))
    part = table[:, 3].astype(np.int64)
    return _Surfaces(patches, curve, arc, part, area / total[owner], owner)


def _solids(pieces: Sequence[Piece]) -> list[Piece]:
    """The solids whose inside is to be cleared, sorted by kind: cutters, then the largest."""
    solids = [piece for piece in pieces if piece.shape.solid]
    if len(solids) > MOST_SOLIDS:
        solids.sort(key=lambda piece: (piece.part >= 0, -volume(piece.frame)))
        solids = solids[:MOST_SOLIDS]
    solids.sort(key=lambda piece: piece.shape.solid)
    return solids


def _hidden(pieces: Sequence[Piece], points: np.ndarray) -> np.ndarray:
    """(q,) whether each of (3, q) ``points`` of an object lies well within one of its solids."""
    solids = _solids(pieces)
    if not solids or len(pieces) == 1:
        return np.zeros(points.shape[1], dtype=bool)
    maps = np.array([piece.frame for piece in solids]).reshape(-1, 3, 4)
    inverse = np.linalg.inv(maps[:, :, :3])
    offset = (inverse @ maps[:, :, 3:]).transpose(1, 0, 2)  # (3, solids, 1)
    linear = inverse.transpose(1, 0, 2).reshape(-1, 3).astype(np.float32)
    local = (linear @ points).reshape(3, len(solids), -1)
    local -= offset.astype(np.float32)
    local *= local
    x, y, z = local  # (solids, q) each: squares of the coordinates in the solid's own frame
    kinds = [piece.shape.solid for piece in solids]
    boxes, balls = kinds.count(BOX_SOLID), kinds.count(BALL_SOLID)
    np.maximum(x[:boxes], y[:boxes], out=x[:boxes])
    x[boxes:] += y[boxes:]
    flat = len(solids) - balls
    np.maximum(x[:flat], z[:flat], out=x[:flat])
    x[flat:] += z[flat:]
    return x.min(axis=0) < 0.25 * 0.95


def draw(
    objects: Sequence[Sequence[Piece]],
    generators: Sequence[np.random.Generator],
    points: int,
    spare: float = 1.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Points on the visible surfaces of objects, equally dense everywhere, in random order.

    Args:
        objects: the pieces of each of b objects.
        generators: the source of randomness of each object; an object's points depend on no other.
        points: N, points to draw of each.
        spare: candidates drawn for each point asked for; those inside a solid are dropped.

    Returns:
        (b, N, 3) float32 points and (b, N) int64 part of each. Points repeat only where fewer than
        N candidates are left.
    """
    many = round(points * spare)
    chance = np.stack([g.random((2, many), dtype=np.float32) for g in generators])
    shift = np.array([0.999 * g.random() for g in generators])
    frames = np.array([p.frame for pieces in objects for p in pieces]).reshape(-1, 3, 4)
    of = _gather(objects, frames)
    # The k-th candidate belongs to the patch in which the share of area up to there falls.
    last = np.empty(len(of.owner), dtype=np.int64)
    ends = np.searchsorted(of.owner, np.arange(len(objects) + 1))
    for row, (low, high) in enumerate(pairwise(ends)):
        last[low:high] = np.minimum(np.cumsum(of.share[low:high]) * many + shift[row], many)
        last[high - 1] = many
        last[low:high] += row * many
    patch = np.repeat(np.arange(len(last)), np.diff(last, prepend=0))

    # One row per number of a patch, one column per candidate, so that all below is on long rows.
    lower, upper = of.patches[:, :3], of.patches[:, 3:]
    wide = [np.sqrt((end[:, 1:] ** 2).sum(axis=(1, 2))) + 1e-9 for end in (lower, upper)]
    each = [lower.reshape(-1, 9), (upper - lower).reshape(-1, 9), np.stack(wide, axis=1), of.arc]
    table = np.concatenate(each, axis=1).T.take(patch, axis=1)
    (start, section, (a, b, first, length)) = table[:9], table[9:18], table[18:]
    u, v = chance.transpose(1, 0, 2).reshape(2, -1)
    v *= (a + b) / (a + np.sqrt(a * a + v * (b * b - a * a)))  # wider sections hold more points
    t = (first + length * u) * STEPS
    step = np.minimum(t.astype(np.int64), STEPS - 1)
    t -= step
    step += of.curve.take(patch) * (STEPS + 1)
    plane = _CURVES_BY_AXIS.take(step, axis=1)
    plane += (_CURVES_BY_AXIS.take(step + 1, axis=1) - plane) * t
    section *= v
    section += start
    centre, x, y = section.reshape(3, 3, -1)
    found = centre + plane[0] * x + plane[1] * y  # (3, b * many)

    pick = np.empty((len(objects), points), dtype=np.int64)
    for row, (pieces, generator) in enumerate(zip(objects, generators, strict=True)):
        seen = np.flatnonzero(~_hidden(pieces, found[:, row * many : (row + 1) * many]))
        if len(seen) < points // 2:  # too little to go by: show the inside as well
            seen = np.arange(many)
        spread = (generator.permutation(points) + shift[row]) * (len(seen) / points)
        pick[row] = row * many + seen[spread.astype(np.int64)]
    drawn = np.ascontiguousarray(found.take(pick, axis=1).transpose(1, 2, 0))
    return drawn, of.part[patch[pick]]


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """(b, N, 3) clouds about their mean, the farthest point of each at distance 1."""
    mean = np.full((1, points.shape[1]), 1 / points.shape[1], dtype=points.dtype) @ points
    points = points - mean
    reach = np.sqrt(np.einsum("bnd,bnd->bn", points, points).max(axis=1))
    points /= np.maximum(reach, 1e-9)[:, None, None]
    return points
