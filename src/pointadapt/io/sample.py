"""Choosing points: from a cloud, at random or spread out, and on the surface of a mesh."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ..core.errors import ConfigError, PointCloudError, UnknownNameError

Sampling = Literal["random", "fps"]
SAMPLINGS: tuple[str, ...] = get_args(Sampling)
POOL = 8  # farthest point sampling looks at a random choice of this many times n


def check_request(n: int, sampling: str) -> None:
    """Check what is asked for, before anything is read.

    Raises:
        UnknownNameError: an unknown sampling.
        ConfigError: n below 1.

    """
    if sampling not in SAMPLINGS:
        raise UnknownNameError("sampling", sampling, SAMPLINGS)
    if n < 1:
        raise ConfigError(f"cannot choose {n} points: ask for 1 or more")


def sample_index(
    points: np.ndarray, n: int, rng: np.random.Generator, sampling: Sampling = "random"
) -> np.ndarray:
    """Choose which of ``points`` (N, 3) to take so that there are ``n``: (n,) int64.

    Of more than n, n different ones: at random, or by farthest point sampling ("fps", spread
    evenly) among 8 n random ones. Of n or fewer all, in order, and then random repetitions.

    Raises:
        UnknownNameError: an unknown sampling.
        ConfigError: n below 1.
        PointCloudError: no points.

    """
    check_request(n, sampling)
    count = len(points)
    if not count:
        raise PointCloudError("there are no points to choose from")
    if count <= n:
        return np.concatenate([np.arange(count), rng.integers(count, size=n - count)])
    pool = rng.choice(count, min(count, POOL * n if sampling == "fps" else n), replace=False)
    return pool if sampling == "random" else pool[_farthest(points[pool], n)]


def sample_points(
    points: np.ndarray, n: int, rng: np.random.Generator, sampling: Sampling = "random"
) -> np.ndarray:
    """Take ``n`` of ``points`` (N, 3) as :func:`sample_index` chooses them: (n, 3), same dtype."""
    return points[sample_index(points, n, rng, sampling)]


def sample_surface(
    points: np.ndarray, faces: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw ``n`` points uniformly from a mesh's surface: (n, 3) float64.

    Args:
        points: (N, 3) vertices.
        faces: (F, 3) indices into ``points``.
        n: how many.
        rng: where the randomness comes from.

    A mesh without area (all triangles are needles) is sampled at its vertices.

    """
    corner, other, third = points.astype(np.float64)[faces.T]
    areas = np.linalg.norm(np.cross(other - corner, third - corner), axis=1)
    if not areas.sum() > 0:
        return sample_points(points.astype(np.float64), n, rng)
    chosen = rng.choice(len(faces), size=n, p=areas / areas.sum())
    u, v = rng.random((2, n, 1))
    flip = u + v > 1  # fold the parallelogram's far half back onto the triangle
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    start = corner[chosen]
    return start + u * (other[chosen] - start) + v * (third[chosen] - start)


def _farthest(points: np.ndarray, n: int) -> np.ndarray:
    import torch

    from ..ops import farthest_point_sample

    cloud = torch.from_numpy(np.ascontiguousarray(points))[None]
    return farthest_point_sample(cloud, n)[0].numpy()
