"""Smooth deformations of space by 5 x 5 x 5 control points in the cube from -1 to 1."""

from __future__ import annotations

from functools import cache

import numpy as np

SIDE = 5
RADIUS = 0.5  # of the splines: the default of PyGeM, with which the files were made


def free_form(points: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Free-form deformation (Sederberg and Parry, SIGGRAPH 1986), in Bernstein polynomials.

    Args:
        points: (B, N, 3) in the cube from -1 to 1; others stay where they are.
        shifts: (B, 125, 3) of the control points, x slowest.
    """
    inside = np.all(abs(points) <= 1, axis=2, keepdims=True)
    t = ((points + 1) / 2).clip(0, 1)
    s = 1 - t
    weights = np.stack([s**4, 4 * t * s**3, 6 * t**2 * s**2, 4 * t**3 * s, t**4], axis=3)
    shifts = shifts.astype(points.dtype)
    out = points.astype(np.float64)
    for i, (x, y, z) in enumerate(np.moveaxis(weights, 2, 1)):  # one cloud fits into the cache
        product = (x[:, :, None] * y[:, None])[..., None] * z[:, None, None]
        out[i] += np.where(inside[i], product.reshape(len(x), -1) @ shifts[i], 0)
    return out


def radial(points: np.ndarray, shifts: np.ndarray, *, inverse: bool) -> np.ndarray:
    """Interpolates the control points' shifts by radial basis functions and a linear map.

    The basis is √(d² + r²) of the distance d (multiquadric; Hardy 1971), or its inverse.

    Args:
        points: (B, N, 3).
        shifts: (B, 125, 3) of the control points.
        inverse: take the inverse basis.
    """
    control = grid()
    weights = np.einsum("ij,bjc->bic", _solver(inverse), shifts)
    out = points + weights[:, -4:-3] + points @ weights[:, -3:]
    for i, cloud in enumerate(points.astype(np.float64)):  # one cloud fits into the cache
        out[i] += _basis(cloud, control, inverse) @ weights[i, :-4]
    return out


@cache
def grid() -> np.ndarray:
    """(125, 3) control points, x slowest."""
    axis = np.linspace(-1, 1, SIDE)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def _basis(points: np.ndarray, control: np.ndarray, inverse: bool) -> np.ndarray:
    squared = (points**2).sum(axis=1)[:, None] + (control**2).sum(axis=1) - 2 * points @ control.T
    values = np.sqrt(squared.clip(0) + RADIUS**2)
    return 1 / values if inverse else values


@cache
def _solver(inverse: bool) -> np.ndarray:
    """(129, 125) from shifts of the control points to weights: basis, constant, linear map."""
    control = grid()
    tail = np.concatenate([np.ones((len(control), 1)), control], axis=1)
    matrix = np.block([[_basis(control, control, inverse), tail], [tail.T, np.zeros((4, 4))]])
    return np.linalg.inv(matrix)[:, : len(control)]
