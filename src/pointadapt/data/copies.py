"""Clouds that are there twice: told by a number of all points of each, whatever their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

PACKED = 4  # float32 numbers that hold a digest, 16 bits each, so that nothing rounds it
_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)  # large odd numbers


def digest_of(points: np.ndarray) -> int:
    """A number of 64 bits that is the same for the same (N, 3) float32 points in any order.

    Each point is mixed into 64 bits (the finisher of SplitMix64, Steele et al., OOPSLA 2014), and
    these are added up.
    """
    bits = (np.asarray(points, np.float32) + np.float32(0)).view(np.uint32)  # -0 becomes 0
    mixed = np.full(len(bits), len(bits), np.uint64)
    for column, odd in zip(bits.T, _ODD, strict=True):
        mixed = _finished((mixed ^ column.astype(np.uint64)) * np.uint64(odd))
    return int(mixed.sum(dtype=np.uint64))


def _finished(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def packed(digest: int) -> np.ndarray:
    """(PACKED,) float32 that hold a digest exactly."""
    return np.array([digest >> 16 * k & 0xFFFF for k in range(PACKED)], np.float32)


def unpacked(rows: np.ndarray) -> np.ndarray:
    """(n,) uint64 digests of (n, PACKED) float32."""
    parts = rows.astype(np.uint64)
    found = np.zeros(len(rows), np.uint64)
    for k in range(PACKED):
        found |= parts[:, k] << np.uint64(16 * k)
    return found


def first_of(digests: np.ndarray) -> np.ndarray:
    """(n,) for each cloud the index of the first one with the same points: often its own."""
    _, first, place = np.unique(digests, return_index=True, return_inverse=True)
    return first[place.reshape(-1)]


def with_copies(first: np.ndarray, draw: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(n,) what ``draw`` gives to each of the clouds that are no copies; copies take the same.

    Args:
        first: what :func:`first_of` says.
        draw: takes the indices of those that are no copies, and gives a value for each.
    """
    own = np.flatnonzero(first == np.arange(len(first)))
    values = draw(own)
    place = np.zeros(len(first), np.int64)
    place[own] = np.arange(len(own))
    return values[place[first]]


def merged_groups(groups: Sequence[str], first: np.ndarray) -> tuple[str, ...]:
    """(n,) the groups; those with copies of each other's clouds are one, of its first name."""
    parent = {name: name for name in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for k in np.flatnonzero(first != np.arange(len(first))).tolist():
        low, high = sorted((root(groups[k]), root(groups[int(first[k])])))
        parent[high] = low
    return tuple(map(root, groups))
