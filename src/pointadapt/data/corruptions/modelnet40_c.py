"""The 15 corruptions of ModelNet40-C (Sun et al., 2022, arXiv:2201.12296, section 3 and appendix).

Severities are those of the released generator. Two of its corruptions render the shapes' meshes
with a depth camera; here the visible points of the cloud itself are found (:mod:`..sight`), so
their clouds hold repeated points where the original has new ones. ``density_inc`` takes the double
number of points that it returns.
"""

from __future__ import annotations

import numpy as np

from ..sight import rings, seen, viewpoint
from ._base import ABOUT, About, corruption, keep, nearest, rotations, scaled
from ._bend import free_form, radial

SUITE = "modelnet40_c"
CLUSTER = 100  # points of a region whose density changes
HOLE = 30  # points of a hole

ABOUT[SUITE] = About("mean error: plain mean of the error rates over corruptions and severities")


def cube(points: np.ndarray) -> np.ndarray:
    """(B, N, 3) with the middle of the bounding box at 0 and its longest side of length 2."""
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    size = (high - low).max(axis=2, keepdims=True)
    return (points - (low + high) / 2) * (2 / np.where(size > 0, size, 1.0))


# ---- density


@corruption(SUITE, "occlusion", "density", (1, 2, 3, 4, 5))
def occlusion(points: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """What a camera sees from 30° to 60° above; the severity is the side, not a strength."""
    points, n = cube(points), points.shape[1]
    camera = viewpoint(len(points), side, (30, 60), 3.0, rng)
    return cube(_drawn(points, seen(points, camera), n, rng))


@corruption(SUITE, "lidar", "density", (1, 2, 3, 4, 5))
def lidar(points: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Rings that a scanner sees from 22.5° above; the severity is the side, not a strength."""
    points = cube(points)
    camera = viewpoint(len(points), side, (22.5, 22.5), 5.0, rng)
    ringed, hit = rings(points, camera)
    visible = seen(points, camera)
    hit = np.where((visible & hit).any(axis=1, keepdims=True), visible & hit, visible)
    return _drawn(ringed, hit, points.shape[1] * 3 // 4, rng)


@corruption(SUITE, "density_inc", "density", (1, 2, 3, 4, 5))
def density_inc(points: np.ndarray, regions: int, rng: np.random.Generator) -> np.ndarray:
    """Half of the points are kept: all of some regions, a random choice of the others."""
    n = points.shape[1] // 2
    k, left = scaled(CLUSTER, n), np.ones(points.shape[:2], dtype=bool)
    for _ in range(regions):
        left &= ~nearest(points, left, k, rng)
    dense = keep(points, ~left)
    index = rng.integers(0, left[0].sum(), (len(points), n - dense.shape[1]))
    rest = np.take_along_axis(keep(points, left), index[:, :, None], axis=1)
    return np.concatenate([dense, rest], axis=1)


@corruption(SUITE, "density", "density", (1, 2, 3, 4, 5))
def density(points: np.ndarray, regions: int, rng: np.random.Generator) -> np.ndarray:
    """Three quarters of the points of some regions are dropped."""
    k, left = scaled(CLUSTER, points.shape[1]), np.ones(points.shape[:2], dtype=bool)
    for _ in range(regions):
        region = nearest(points, left, k, rng)
        order = np.where(region, rng.random(region.shape), 2.0).argsort(axis=1)
        np.put_along_axis(left, order[:, : k * 3 // 4], False, axis=1)
    return keep(points, left)


@corruption(SUITE, "cutout", "density", (2, 3, 5, 7, 10))
def cutout(points: np.ndarray, holes: int, rng: np.random.Generator) -> np.ndarray:
    """Holes of 30 points each."""
    left = np.ones(points.shape[:2], dtype=bool)
    for _ in range(holes):
        left &= ~nearest(points, left, scaled(HOLE, points.shape[1]), rng)
    return keep(points, left)


def _drawn(points: np.ndarray, allowed: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    """(B, m, 3) of the ``allowed`` points (B, N), in random order, repeated where they are few."""
    order = np.where(allowed, rng.random(allowed.shape), 2.0).argsort(axis=1)
    place = np.arange(m) % allowed.sum(axis=1, keepdims=True)
    index = np.take_along_axis(order, place, axis=1)
    return np.take_along_axis(points, index[:, :, None], axis=1)


# ---- noise


@corruption(SUITE, "uniform", "noise", (0.01, 0.02, 0.03, 0.04, 0.05))
def uniform(points: np.ndarray, c: float, rng: np.random.Generator) -> np.ndarray:
    """Noise U(-c, c) on every coordinate."""
    return cube(points + rng.uniform(-c, c, points.shape))


@corruption(SUITE, "gaussian", "noise", (0.01, 0.015, 0.02, 0.025, 0.03))
def gaussian(points: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of standard deviation σ, coordinates then clipped to -1 … 1."""
    return (points + sigma * rng.standard_normal(points.shape)).clip(-1, 1)


@corruption(SUITE, "impulse", "noise", (30, 25, 20, 15, 10))
def impulse(points: np.ndarray, every: int, rng: np.random.Generator) -> np.ndarray:
    """One point in ``every`` is moved by 0.1 or -0.1 along each axis."""
    index = _some(points, points.shape[1] // every, rng)
    moved = np.take_along_axis(points, index, axis=1)
    moved = moved + 0.1 * rng.choice((-1.0, 1.0), moved.shape)
    out = points.astype(np.float64)
    np.put_along_axis(out, index, moved, axis=1)
    return cube(out)


@corruption(SUITE, "upsampling", "noise", (5, 4, 3, 2, 1))
def upsampling(points: np.ndarray, every: int, rng: np.random.Generator) -> np.ndarray:
    """One point in ``every`` is added again, off by U(-.05, .05) along each axis."""
    again = np.take_along_axis(points, _some(points, points.shape[1] // every, rng), axis=1)
    return cube(np.concatenate([points, again + rng.uniform(-0.05, 0.05, again.shape)], axis=1))


@corruption(SUITE, "background", "noise", (45, 40, 35, 30, 20))
def background(points: np.ndarray, every: int, rng: np.random.Generator) -> np.ndarray:
    """Points anywhere in the cube from -1 to 1 are added, one for ``every`` of the cloud."""
    count = points.shape[1] // every
    return cube(np.concatenate([points, rng.uniform(-1, 1, (len(points), count, 3))], axis=1))


def _some(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(B, count, 1) indices of different points."""
    return rng.random(points.shape[:2]).argsort(axis=1)[:, :count, None]


# ---- transformation


@corruption(SUITE, "rotation", "transformation", (2.5, 5, 7.5, 10, 15))
def rotation(points: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Turned about x, y and z by angles within 2.5° of ± ``degrees``."""
    angles = np.deg2rad(_signed(degrees, 2.5, (len(points), 3), rng))
    return cube(points @ rotations(angles).transpose(0, 2, 1))


@corruption(SUITE, "shear", "transformation", (0.05, 0.1, 0.15, 0.2, 0.25))
def shear(points: np.ndarray, c: float, rng: np.random.Generator) -> np.ndarray:
    """Both level axes are sheared by amounts within .05 of ± c; heights stay."""
    amounts = _signed(c, 0.05, (4, len(points), 1), rng)
    x, y, z = np.moveaxis(points, 2, 0)
    level = (x + amounts[0] * y + amounts[1] * z, y + amounts[2] * x + amounts[3] * z)
    return cube(np.stack([*level, z], axis=2))


@corruption(SUITE, "distortion", "transformation", (0.1, 0.2, 0.3, 0.4, 0.5))
def distortion(points: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """Free-form deformation: 5³ control points move by U(-most, most) of the box's side, 2."""
    return cube(free_form(points, rng.uniform(-most, most, (len(points), 125, 3)) * 2))


@corruption(SUITE, "distortion_rbf", "transformation", (0.025, 0.05, 0.075, 0.1, 0.125))
def distortion_rbf(points: np.ndarray, way: float, rng: np.random.Generator) -> np.ndarray:
    """5³ control points move by ``way`` in any direction; multiquadric splines in between."""
    return cube(radial(points, _directions(len(points), rng) * way, inverse=False))


@corruption(SUITE, "distortion_rbf_inv", "transformation", (0.025, 0.05, 0.075, 0.1, 0.125))
def distortion_rbf_inv(points: np.ndarray, way: float, rng: np.random.Generator) -> np.ndarray:
    """As ``distortion_rbf``, with inverse multiquadric splines."""
    return cube(radial(points, _directions(len(points), rng) * way, inverse=True))


def _signed(
    middle: float, off: float, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    size = rng.uniform(middle - off, middle + off, shape)
    return size * rng.choice((-1.0, 1.0), shape)


def _directions(b: int, rng: np.random.Generator) -> np.ndarray:
    """(b, 125, 3) unit vectors by two even angles, as in the original: denser at the poles."""
    a, g = rng.uniform(-np.pi, np.pi, (2, b, 125))
    return np.stack([np.cos(a) * np.sin(g), np.sin(a) * np.sin(g), np.cos(g)], axis=2)
