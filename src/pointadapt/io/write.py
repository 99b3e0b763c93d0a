"""Writing clouds, whole or not at all."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from ..core.errors import FileFormatError, PointCloudError
from ..core.files import atomic
from .cloud import Cloud
from .table import FORMATS, WRITABLE


def write_points(
    path: Path | str, points: np.ndarray, *, faces: np.ndarray | None = None, ascii: bool = False
) -> None:
    """Write ``points`` (N, 3), and triangles ``faces`` (F, 3) if given; see :func:`write_cloud`."""
    write_cloud(path, Cloud(np.asarray(points), faces=faces), ascii=ascii)


def write_cloud(path: Path | str, cloud: Cloud, *, ascii: bool = False) -> None:
    """Write ``cloud`` in the format of the ending; an old file is replaced only by a whole new one.

    float32 and float64 are written exactly (other types as these); text reads back as float64,
    which equals what was written once cast to its type. LAS and LAZ round to a billionth of the
    extent, colours are rounded to 1/255.

    Args:
        path: its ending is one of ``WRITABLE``. Missing folders are made.
        cloud: what to write. Colours, normals, labels and faces are refused where the format
            (or our writer of it) has no place for them.
        ascii: text instead of binary, for PLY and PCD.

    Raises:
        FileFormatError: an ending that we do not write, or no place for something in ``cloud``.
        PointCloudError: points of a wrong shape or type, or NaN or infinite.
        PointAdaptError: the disk is full or the folder cannot be written.

    """
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if form is None or form.write is None:
        raise FileFormatError(
            f"{path}: cannot be written: its ending is none of {' '.join(WRITABLE)}"
        )
    given = {f.name for f in fields(cloud) if getattr(cloud, f.name) is not None} - {"points"}
    if given - form.holds:
        able = " ".join(s for s, f in FORMATS.items() if f.write and given <= f.holds)
        raise FileFormatError(
            f"{path}: cannot be written: {path.suffix} has no place for "
            f"{', '.join(sorted(given - form.holds))}; use {able}"
        )
    ready = _checked(cloud, path)
    with atomic(path) as temporary, temporary.open("wb") as stream:
        form.write(stream, ready, ascii)


def _checked(cloud: Cloud, path: Path) -> Cloud:
    points = np.asarray(cloud.points)
    if (
        points.ndim != 2
        or points.shape[1] != 3
        or not len(points)
        or points.dtype.kind not in "fiu"
    ):
        raise PointCloudError(
            f"{path}: cannot be written: points are {points.dtype} of shape {points.shape}, "
            "not numbers of shape (N, 3)"
        )
    if not np.isfinite(points).all():
        raise PointCloudError(f"{path}: cannot be written: points are NaN or infinite")
    n = len(points)
    for name, shape in {"colors": (n, 3), "normals": (n, 3), "labels": (n,)}.items():
        found = getattr(cloud, name)
        if found is not None and np.shape(found) != shape:
            raise PointCloudError(
                f"{path}: cannot be written: {name} have shape {np.shape(found)}, not {shape}"
            )
    precise = np.float32 if points.dtype.kind == "f" and points.itemsize <= 4 else np.float64
    return Cloud(points.astype(precise), cloud.colors, cloud.normals, cloud.labels, cloud.faces)
