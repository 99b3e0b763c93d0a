"""What a file holds, and how named columns (PLY, PCD, LAS, text with a header) become it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ..core.errors import FileFormatError
from .columns import COLORS, LABELS, NORMALS, find_optional, need_xyz

_LABELS = tuple((name,) for name in LABELS)


@dataclass(frozen=True)
class Cloud:
    """A point cloud, or a mesh where ``faces`` is given, as stored: not moved, not scaled.

    Attributes:
        points: (N, 3) float32 or float64 coordinates, in the file's own unit.
        colors: (N, 3) float32 red, green, blue from 0 to 1.
        normals: (N, 3) float32, as stored: not always unit length, not checked for NaN.
        labels: (N,) int64 class of each point.
        faces: (F, 3) int64 triangles, indices into ``points``.

    """

    points: np.ndarray
    colors: np.ndarray | None = None
    normals: np.ndarray | None = None
    labels: np.ndarray | None = None
    faces: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)


def as_float(values: np.ndarray) -> np.ndarray:
    """Convert to native float32 where that holds them, otherwise float64."""
    small = np.result_type(values.dtype, np.float32) == np.float32
    return np.asarray(values, dtype=np.float32 if small else np.float64)


def unit_colors(colors: np.ndarray) -> np.ndarray:
    """Bring colours to 0..1 from 0..255 or 0..65535, told by their type and largest value."""
    peak = float(colors.max(initial=0))
    top = 65535.0 if peak > 255 else 255.0 if peak > 1 or colors.dtype.kind in "iu" else 1.0
    return (colors / top).astype(np.float32)


def whole_labels(labels: np.ndarray) -> np.ndarray | None:
    """Convert to int64; None if they are not whole numbers, and so no labels."""
    if labels.dtype.kind == "f" and not (np.isfinite(labels) & (labels == np.floor(labels))).all():
        return None
    return labels.astype(np.int64)


def known_columns(names: Sequence[str]) -> list[int]:
    """Places of the columns that :func:`cloud_from_columns` makes use of, in order.

    Raises:
        FileFormatError: no x, y and z, or two columns that may equally well be one of them.

    """
    places = set(need_xyz(names))
    for candidates in (COLORS, NORMALS, _LABELS):
        places |= set(find_optional(names, candidates) or ())
    return sorted(places)


def cloud_from_columns(
    columns: Sequence[tuple[str, np.ndarray]], faces: np.ndarray | None = None
) -> Cloud:
    """Find coordinates, colours, normals and labels among columns by their usual names.

    Raises:
        FileFormatError: as :func:`known_columns`.

    """
    columns = [(name, values) for name, values in columns if values.ndim == 1]
    names = [name for name, _ in columns]

    def stacked(places: Sequence[int] | None) -> np.ndarray | None:
        return None if places is None else np.stack([columns[k][1] for k in places], axis=1)

    points = stacked(need_xyz(names))
    assert points is not None
    colors, normals, labels = (
        stacked(find_optional(names, candidates)) for candidates in (COLORS, NORMALS, _LABELS)
    )
    return Cloud(
        points=as_float(points),
        colors=None if colors is None else unit_colors(colors),
        normals=None if normals is None else normals.astype(np.float32),
        labels=None if labels is None else whole_labels(labels[:, 0]),
        faces=faces,
    )


def columns_from_cloud(cloud: Cloud) -> dict[str, np.ndarray]:
    """Undo :func:`cloud_from_columns`; colours become 0..255."""
    columns = dict(zip("xyz", cloud.points.T, strict=True))
    if cloud.normals is not None:
        columns |= zip(NORMALS[0], cloud.normals.astype(np.float32).T, strict=True)
    if cloud.colors is not None:
        bytes_ = np.rint(np.clip(cloud.colors, 0, 1) * 255).astype(np.uint8)
        columns |= zip(COLORS[0], bytes_.T, strict=True)
    if cloud.labels is not None:
        columns["label"] = cloud.labels.astype(np.int32)
    return columns


def structured(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Make one little-endian structured array, a field for each column, as PLY and PCD store it."""
    dtype = [(name, values.dtype.newbyteorder("<")) for name, values in columns.items()]
    table = np.empty(len(next(iter(columns.values()))), dtype=dtype)
    for name, values in columns.items():
        table[name] = values
    return table


def need(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    Raises:
        FileFormatError: it is not installed; says how to.

    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FileFormatError(
            f"reading and writing this needs {module}: pip install 'pointadapt[{extra}]'"
        ) from error
