"""The 7 atomic corruptions of ModelNet-C (Ren, Pan, Liu, ICML 2022, arXiv:2202.03377).

Definitions and severities: https://pointcloud-c.github.io/details.html, and, where it differs from
them, the arithmetic of the released files. Levels 0 to 4 of those files are severities 1 to 5.
"""

from __future__ import annotations

import math

import numpy as np

from ._base import ABOUT, About, corruption, keep, nearest, rotations, scaled, unit_sphere

SUITE = "modelnet_c"
MOST_CLUSTERS = 7  # the page says U{1, 8}; the files were drawn from 1 to 7
CLUSTER_POINTS = (100, 200, 300, 400, 500)

ABOUT[SUITE] = About(
    "mean error: plain mean of the error rates over corruptions and severities; CE: error summed "
    "over severities / DGCNN's published one, mCE: mean over corruptions; RmCE: the same of the "
    "losses against clean clouds",
    # DGCNN's overall accuracies, means over the severities, that the authors publish.
    {"clean": 0.926, "scale": 0.906, "jitter": 0.684, "rotate": 0.785, "dropout_global": 0.752,
     "dropout_local": 0.793, "add_global": 0.705, "add_local": 0.725},
)  # fmt: skip


@corruption(SUITE, "scale", "transformation", (1.6, 1.7, 1.8, 1.9, 2.0))
def scale(points: np.ndarray, s: float, rng: np.random.Generator) -> np.ndarray:
    """Each axis is scaled by U(1/s, s); then the cloud is brought back into the unit sphere."""
    return unit_sphere(points * rng.uniform(1 / s, s, (len(points), 1, 3)))


@corruption(SUITE, "rotate", "transformation", (30, 15, 10, 7.5, 6))
def rotate(points: np.ndarray, part: float, rng: np.random.Generator) -> np.ndarray:
    """Turned about x, y and z by angles U(-π/part, π/part)."""
    angles = rng.uniform(-math.pi / part, math.pi / part, (len(points), 3))
    return points @ rotations(angles)


@corruption(SUITE, "jitter", "jitter", (0.01, 0.02, 0.03, 0.04, 0.05))
def jitter(points: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of standard deviation σ on every coordinate."""
    return points + sigma * rng.standard_normal(points.shape)


@corruption(SUITE, "dropout_global", "drop", (0.25, 0.375, 0.5, 0.625, 0.75))
def dropout_global(points: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the points, drawn at random, is dropped."""
    kept = int(points.shape[1] * (1 - share))
    index = rng.random(points.shape[:2]).argsort(axis=1)[:, :kept]
    return np.take_along_axis(points, index[:, :, None], axis=1)


@corruption(SUITE, "dropout_local", "drop", CLUSTER_POINTS)
def dropout_local(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points are dropped around 1 to 7 random ones, as many in all for every cloud."""
    left = np.ones(points.shape[:2], dtype=bool)
    for sizes in _cluster_sizes(len(points), scaled(count, points.shape[1]), rng).T:
        left &= ~nearest(points, left, sizes, rng)
    return keep(points, left)


@corruption(SUITE, "add_global", "add", (10, 20, 30, 40, 50))
def add_global(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points drawn evenly in the unit ball are added."""
    way = rng.standard_normal((len(points), scaled(count, points.shape[1]), 3))
    way /= np.linalg.norm(way, axis=2, keepdims=True)
    radius = rng.random((*way.shape[:2], 1)) ** (1 / 3)
    return np.concatenate([points, way * radius], axis=1)


@corruption(SUITE, "add_local", "add", CLUSTER_POINTS)
def add_local(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian clusters, σ of U(.075, .125), are added around 1 to 7 random points."""
    b, count = len(points), scaled(count, points.shape[1])
    sizes = _cluster_sizes(b, count, rng)
    # Cluster of each added point: as many of the first as it has, then the second's, and so on.
    cluster = (np.arange(count)[None, :, None] >= sizes.cumsum(axis=1)[:, None, :-1]).sum(axis=2)
    index = rng.random(points.shape[:2]).argsort(axis=1)[:, :MOST_CLUSTERS]
    centers = np.take_along_axis(points, index[:, :, None], axis=1)
    sigma = rng.uniform(0.075, 0.125, (b, MOST_CLUSTERS))
    added = np.take_along_axis(centers, cluster[:, :, None], axis=1)
    noise = rng.standard_normal(added.shape)
    added = added + np.take_along_axis(sigma, cluster, axis=1)[:, :, None] * noise
    # As in the released files, points outside the unit ball are divided by their squared norm.
    outside = np.maximum((added**2).sum(axis=2, keepdims=True), 1.0)
    return np.concatenate([points, added / outside], axis=1)


def _cluster_sizes(b: int, total: int, rng: np.random.Generator) -> np.ndarray:
    """(b, 7) sizes of clusters: a random number of them, each point in any of those alike."""
    number = rng.integers(1, MOST_CLUSTERS + 1, b)
    member = (rng.random((b, total)) * number[:, None]).astype(int)
    return (member[:, :, None] == np.arange(MOST_CLUSTERS)).sum(axis=1)
