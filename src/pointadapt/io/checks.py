"""What is wrong with a cloud that was read, and what is only worth knowing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..core.errors import FileFormatError, PointCloudError
from ..core.notes import note
from .cloud import Cloud
from .place import FEWEST

COPIES = 0.1  # share of the points that one of them must be to be named
USED = 0.9  # share of a mesh's vertices that its faces should use


def checked(cloud: Cloud) -> Cloud:
    """Check that there are points, finite coordinates, and faces among them.

    Raises:
        PointCloudError, FileFormatError: there are not.

    """
    count = len(cloud)
    if not count:
        raise PointCloudError("has no points")
    if not np.isfinite(cloud.points).all():
        finite = np.isfinite(cloud.points).all(axis=1)
        raise PointCloudError(
            f"has NaN or infinite coordinates in {count - int(finite.sum())} of {count} points, "
            f"first in row {int(np.argmin(finite))} (counted from 0): remove or repair them, or "
            "leave them out: predict --nan drop, train --data-options nan=drop"
        )
    if cloud.faces is None or not len(cloud.faces):
        return replace(cloud, faces=None)
    low, high = int(cloud.faces.min()), int(cloud.faces.max())
    if low < 0 or high >= count:
        raise FileFormatError(
            f"has a face with vertex {low if low < 0 else high}, but vertices 0 to {count - 1}"
        )
    return cloud


def finite_part(cloud: Cloud) -> Cloud:
    """Leave out points whose coordinates are not finite, and faces with such a corner.

    Raises:
        PointCloudError: none are left.

    """
    if np.isfinite(cloud.points).all():
        return cloud
    finite: np.ndarray = np.asarray(np.isfinite(cloud.points).all(axis=1))
    if not finite.any():
        raise PointCloudError(f"has NaN or infinite coordinates in all of its {len(cloud)} points")
    faces, rest = cloud.faces, rows(replace(cloud, faces=None), finite)
    if faces is not None and len(faces) and faces.min() >= 0 and faces.max() < len(cloud):
        faces = (np.cumsum(finite) - 1)[faces[np.take(finite, faces).all(axis=1)]]
    return replace(rest, faces=faces)


def rows(cloud: Cloud, at: np.ndarray) -> Cloud:
    """Take some points of a cloud without faces, by an index or a mask."""
    some: dict[str, Any] = {k: None if v is None else v[at] for k, v in vars(cloud).items()}
    return Cloud(**some)


def note_copies(points: np.ndarray, different: np.ndarray, counts: np.ndarray) -> None:
    """Say so where one of (N, 3) points is there again and again, as filling up does.

    Args:
        points: all.
        different: those of some of them that are different.
        counts: how often each occurs among these.

    """
    most, seen = int(counts.argmax()), int(counts.sum())
    again, copies = int(counts[most]) - 1, seen - len(different)
    if seen >= FEWEST and again > copies / 2 and again >= COPIES * seen:
        number = int((points == different[most]).all(axis=1).sum())
        note(
            f"{number:,} of its {len(points):,} points are the same, {_place(different[most])}: "
            "if they stand for points without measurement, take them out"
        )


def note_strays(points: np.ndarray, held: np.ndarray, what: str = "points") -> None:
    """Name the strays among (N, 3) points, those not ``held`` (N,): they make all else small."""
    if not held.all():
        stray = np.flatnonzero(~held)
        tell_strays(len(stray), len(points), int(stray[0]), points[stray[0]], what)


def tell_strays(count: int, total: int, first: int, place: np.ndarray, what: str) -> None:
    """Tell how many strays there are, and the row and the place (3,) of the first."""
    note(
        f"{count:,} of its {total:,} {what} {'is' if count == 1 else 'are'} far away from all "
        f"others, the first in row {first} (counted from 0), {_place(place)}: take out what is a "
        "mistake"
    )


def note_unused(faces: int, used: int, vertices: int) -> None:
    """Say so where a mesh's faces leave many vertices out."""
    if used < USED * vertices:
        note(
            f"its {faces:,} {'face has' if faces == 1 else 'faces have'} {used:,} of its "
            f"{vertices:,} vertices, and only they are sampled: if it is a cloud, save it without "
            "faces"
        )


def _place(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{x:g}" for x in point) + ")"
