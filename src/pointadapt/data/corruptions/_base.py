"""What a corruption is, the table of all, and the one function that applies them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.errors import ConfigError, PointCloudError, UnknownNameError
from ..sets.folder import UPRIGHT, Axis, upright

SEVERITIES = (1, 2, 3, 4, 5)
NUMBER = 1024  # points of a cloud that the suites' numbers of points are meant for
CHUNK = 64  # clouds that share a generator: enough for speed, few enough for memory
FEWEST = 64  # points of a cloud; with fewer, numbers of points round to nothing

# Points (B, N, 3) float32 in the unit sphere, z up; the severity's value; draws.
Apply = Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """One way to spoil a cloud.

    Attributes:
        suite: the benchmark that defines it.
        name: its name in that benchmark's files.
        kind: what it changes, in the benchmark's words.
        values: what the five severities mean, the mildest first.
        apply: (B, N, 3) to (B, M, 3); M is the same for all clouds.
        about: what it does, in one line.
    """

    suite: str
    name: str
    kind: str
    values: tuple[Any, ...]
    apply: Apply
    about: str


SUITES: dict[str, dict[str, Corruption]] = {}


@dataclass(frozen=True)
class About:
    """What else there is to know of a suite.

    Attributes:
        definition: what its figures are, in words.
        reference: accuracies (0 to 1), by corruption and "clean", of the network to whose errors
            the suite compares; empty where it compares to none.
    """

    definition: str
    reference: Mapping[str, float] = field(default_factory=dict)


ABOUT: dict[str, About] = {}  # of each suite


def corruption(suite: str, name: str, kind: str, values: Sequence[Any]) -> Callable[[Apply], Apply]:
    """Decorator that enters a function as the corruption ``name`` of ``suite``."""

    def enter(apply: Apply) -> Apply:
        about = (apply.__doc__ or "").strip().splitlines()[0]
        entry = Corruption(suite, name, kind, tuple(values), apply, about)
        SUITES.setdefault(suite, {})[name] = entry
        return apply

    return enter


def get_corruption(suite: str, name: str) -> Corruption:
    """The corruption of that name.

    Raises:
        UnknownNameError: no such suite, or no such corruption in it.
    """
    if suite not in SUITES:
        raise UnknownNameError("suite of corruptions", suite, SUITES)
    if name not in SUITES[suite]:
        raise UnknownNameError(f"corruption of {suite}", name, SUITES[suite])
    return SUITES[suite][name]


def corrupt(
    points: np.ndarray, suite: str, name: str, severity: int, *, seed: int = 0, up: Axis = "z",
    back: bool = False,
) -> np.ndarray:  # fmt: skip
    """Corrupted copies of clouds, each first moved and scaled into the unit sphere.

    Numbers of points that a suite states for clouds of 1,024 are scaled with N. What becomes of
    cloud i depends on its points, i and the arguments, not on the other clouds.

    Args:
        points: (n, N, 3) floats, finite, N of at least 64.
        suite: ``modelnet40_c`` (15 corruptions) or ``modelnet_c`` (7).
        name: one of its corruptions.
        severity: 1 (mild) to 5.
        seed: fixes all draws.
        up: the clouds' axis that points up.
        back: move and scale them back afterwards, for models that take coordinates as stored.

    Returns:
        (n, M, 3) float32 with the axes of ``points``; M may differ from N.

    Raises:
        UnknownNameError: no such suite, corruption or axis.
        ConfigError: a severity or seed out of range.
        PointCloudError: another shape, too few points, NaN or infinite coordinates.
    """
    entry = get_corruption(suite, name)
    if severity not in SEVERITIES or seed < 0:
        raise ConfigError(f"severity={severity}, seed={seed}: use severity 1 to 5, seed >= 0")
    if up not in UPRIGHT:
        raise UnknownNameError("up axis", up, UPRIGHT)
    points = _checked(points)
    value, key = entry.values[severity - 1], zlib.crc32(f"{suite}/{name}".encode())
    out: list[np.ndarray] = []
    for start in range(0, len(points), CHUNK):
        chunk = upright(unit_sphere(points[start : start + CHUNK]), up)
        rng = np.random.default_rng((seed, key, severity, start // CHUNK))
        # The last chunk is filled up: otherwise its draws would depend on how many clouds it has.
        filled = chunk[np.arange(CHUNK) % len(chunk)]
        made = _back(entry.apply(filled, value, rng)[: len(chunk)], up)
        if back:
            center, radius = _frame(points[start : start + CHUNK])
            made = made * radius + center
        out.append(made.astype(np.float32))
    return np.concatenate(out)


def _checked(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points)
    if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind != "f" or not len(points):
        raise PointCloudError(
            f"points must be real numbers (n, N, 3), not {points.dtype} {points.shape}"
        )
    if points.shape[1] < FEWEST:
        raise PointCloudError(
            f"clouds of {points.shape[1]} points are too few to corrupt: use {FEWEST} or more"
        )
    if not np.isfinite(points).all():
        raise PointCloudError("points have NaN or infinite coordinates")
    return points


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """(B, N, 3) float32: mean 0, the farthest point of each cloud at distance 1."""
    center, radius = _frame(points)
    return ((points - center) / radius).astype(np.float32)


def _frame(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (B, 1, 3) and radius (B, 1, 1) about it of clouds; radius 1 where there is none."""
    points = points.astype(np.float64)
    center = points.mean(axis=1, keepdims=True)
    radius = np.linalg.norm(points - center, axis=2).max(axis=1)[:, None, None]
    return center, np.where(radius > 0, radius, 1.0)


def _back(points: np.ndarray, up: Axis) -> np.ndarray:
    """The inverse of :func:`upright`, which is a rotation of columns with signs."""
    columns, signs = UPRIGHT[up]
    out = np.empty_like(points)
    out[..., columns] = points * np.array(signs, dtype=points.dtype)
    return out


def rotations(angles: np.ndarray) -> np.ndarray:
    """(B, 3, 3) Rz·Ry·Rx for angles (B, 3) in radians about x, y and z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    ]  # fmt: skip
    return np.stack(rows, axis=1).reshape(-1, 3, 3)


def scaled(count: int, n: int) -> int:
    """``count`` of 1,024 points, for clouds of ``n``; at least one."""
    return max(1, round(count * n / NUMBER))


def nearest(
    points: np.ndarray, left: np.ndarray, k: int | np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(B, N) bool: of those ``left`` (B, N), the ``k`` nearest to a random one of them, itself too.

    ``k`` is one number, or one for each cloud (B,).
    """
    start = np.where(left, rng.random(left.shape), -1.0).argmax(axis=1)
    center = points[np.arange(len(points)), start]
    distance = ((points - center[:, None]) ** 2).sum(axis=2)
    distance[~left] = np.inf
    out = np.zeros(left.shape, dtype=bool)
    if isinstance(k, int):
        np.put_along_axis(out, distance.argpartition(k - 1, axis=1)[:, :k], True, axis=1)
    else:
        chosen = np.arange(left.shape[1]) < np.reshape(k, (-1, 1))
        np.put_along_axis(out, distance.argsort(axis=1), chosen, axis=1)
    return out


def keep(points: np.ndarray, left: np.ndarray) -> np.ndarray:
    """(B, M, 3) of the points that are ``left``, M of each cloud, in their order."""
    return points[left].reshape(len(points), -1, 3)
