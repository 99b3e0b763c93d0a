"""Labelled scenes from files of many formats, with the other columns that they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import FileFormatError, PointCloudError
from ...io.arrays import check_table, load_npy, table_columns
from ...io.checks import note_strays
from ...io.cloud import unit_colors
from ...io.columns import (
    COLORS,
    LABELS,
    XYZ,
    column_name,
    column_names,
    each_column,
    find_column,
    find_optional,
    names_of_xyz,
    need_xyz,
    xyz_called,
)
from ...io.las import las_columns
from ...io.opening import format_of, naming
from ...io.place import Bulk, check_spread
from ...io.ply import read_elements, vertex_columns
from ...io.text import read_columns, read_form

Columns = list[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Labelled:
    """A file's points.

    Attributes:
        path: the file.
        points: (M, 3) float32 metres from the lowest corner, which was taken off in float64;
            strays, far away from all others, do not count for it.
        extent: (3,) of the points that are no strays.
        labels: (M,) int64 as the file has them.
        label: the name of their column.
        columns: the other columns (M,) float32 by name; red, green and blue from 0 to 1, any other
            as stored. Those of a bare array are called by their place: 3, 4, ….
    """

    path: Path
    points: np.ndarray
    extent: np.ndarray
    labels: np.ndarray
    label: str
    columns: Mapping[str, np.ndarray]


def read_labelled(path: Path, label: str | None = None, columns: Sequence[str] = ()) -> Labelled:
    """A scene with labels.

    Args:
        path: a file whose ending is one of ``SUFFIXES``.
        label: the column of the labels, by name or, of bare arrays and text, by its place from 0
            (-1 is the last). By default the one with a usual name, or the last of bare ones.
        columns: what x, y and z are called, where that is not x, y and z.

    Raises:
        FileFormatError: the file is damaged, or has no such column of whole numbers.
        PointCloudError: it has no points, NaN or infinite coordinates, or one place alone.
    """
    with naming(path), xyz_called(() if format_of(path).fixed else columns):
        found, bare = _READERS[path.suffix.lower()](path)
        return _labelled(path, found, _label_of([name for name, _ in found], label, bare))


def _label_of(names: Sequence[str], label: str | None, bare: bool) -> int:
    """The place of the column of labels."""
    if label is not None:
        found = find_column(names, label)
        if found is None and bare and label.removeprefix("-").isdecimal():
            place = int(label)
            found = place % len(names) if -len(names) <= place < len(names) else None
    else:
        usual = (find_column(names, name) for name in LABELS)
        found = next((place for place in usual if place is not None), None)
        if bare and found is None:
            if len(names) < 4:
                raise FileFormatError("has x, y and z only: a column of labels is needed")
            return len(names) - 1
    if found is None:
        what = f"called {label}" if label is not None else f"of labels ({', '.join(LABELS)})"
        raise FileFormatError(
            f"has no column {what}; it has: {', '.join(column_names(names))}: name the column of "
            "labels with label=NAME"
        )
    return found


def _labelled(path: Path, columns: Columns, label: int) -> Labelled:
    names = [name for name, _ in columns]
    xyz = need_xyz(names)
    points = np.stack([columns[k][1].astype(np.float64) for k in xyz], axis=1)
    _check(points)
    bulk = Bulk.of(points)
    held = bulk.holds(points)
    note_strays(points, held)
    inside = points[held]
    low = inside.min(axis=0)
    rest = [column for k, column in enumerate(columns) if k not in (*xyz, label)]
    return Labelled(
        path, (points - low).astype(np.float32), inside.max(axis=0) - low,
        _whole(columns[label][1], names[label]), column_name(names[label]), _others(rest),
    )  # fmt: skip


def _check(points: np.ndarray) -> None:
    if not len(points):
        raise PointCloudError("has no points")
    if not np.isfinite(points).all():
        row = int(np.argmin(np.isfinite(points).all(axis=1)))
        raise PointCloudError(f"has NaN or infinite coordinates in row {row} (counted from 0)")
    check_spread(points)


def _whole(raw: np.ndarray, name: str) -> np.ndarray:
    labels = raw.astype(np.int64)
    wrong = np.flatnonzero(labels != raw)
    if len(wrong):
        raise FileFormatError(
            f"labels must be whole numbers: column {name} has {raw[wrong[0]]:g} in row "
            f"{wrong[0]} (counted from 0); name another column with label=NAME"
        )
    return labels


def _others(columns: Columns) -> dict[str, np.ndarray]:
    """Colours under their usual names from 0 to 1, and the rest as it is, by normalised names."""
    names = [name for name, _ in columns]
    colours = find_optional(names, COLORS) or []
    found: dict[str, np.ndarray] = {}
    for name, place in each_column(names).items():
        if place not in colours and name not in XYZ:
            found[name] = columns[place][1].astype(np.float32)
    if colours:
        colors = unit_colors(np.stack([columns[k][1] for k in colours], axis=1))
        found |= dict(zip(COLORS[0], colors.T, strict=True))
    return found


def _read_las(path: Path) -> tuple[Columns, bool]:
    return list(las_columns(path, lambda names: names).items()), False


def _read_ply(path: Path) -> tuple[Columns, bool]:
    header, data = read_elements(path, ("vertex",))
    return vertex_columns(header.vertices()[1], data["vertex"]), False


def _read_npy(path: Path) -> tuple[Columns, bool]:
    array = load_npy(path)
    if array.dtype.names:
        return table_columns(array), False
    check_table(array, 4, "x y z … label, (N, 4 or more),")
    names = (*names_of_xyz(), *map(str, range(3, array.shape[1])))
    return list(zip(names, array.T, strict=True)), True


def _read_text(path: Path) -> tuple[Columns, bool]:
    form = read_form(path)
    places = [k for k, numeric in enumerate(form.numeric) if numeric]
    table = read_columns(path, form, places)
    names = [form.names[k] for k in places]
    return list(zip(names, table.T, strict=True)), form.bare


_READERS = {
    ".las": _read_las, ".laz": _read_las, ".ply": _read_ply, ".npy": _read_npy,
    ".txt": _read_text, ".xyz": _read_text, ".pts": _read_text, ".asc": _read_text,
    ".csv": _read_text,
}  # fmt: skip
SUFFIXES = tuple(_READERS)
