"""Labelled scenes from files of many formats, with the other columns that they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from ...core.errors import FileFormatError, PointCloudError
from ...io.arrays import MOST_COLUMNS, PICKLE
from ...io.cloud import COLORS, LABELS, column_name, unit_colors
from ...io.las import las_columns
from ...io.layout import XYZ, Layout, find_layout
from ...io.ply import _parse
from ...io.read import _named
from ...io.text import HEAD_LINES, _encoding, _numbers

# How columns of labels are usually called, apart from what CloudCompare puts before it (scalar_).
USUAL = (*(name for (name,) in LABELS), "semantic", "semantic_label", "sem_class", "semclass")
LAS = ("classification", "intensity", "red", "green", "blue")


@dataclass(frozen=True)
class Labelled:
    """A file's points.

    Attributes:
        path: the file.
        points: (M, 3) float32 metres from the lowest corner, which was taken off in float64.
        labels: (M,) int64 as the file has them.
        columns: the other columns (M,) float32 by name; red, green and blue from 0 to 1, any other
            as stored. Those of a bare array are called by their place: 3, 4, ….
    """

    path: Path
    points: np.ndarray
    labels: np.ndarray
    columns: Mapping[str, np.ndarray]


def read_labelled(path: Path, label: str | None = None) -> Labelled:
    """A scene with labels.

    Args:
        path: a file whose ending is one of ``SUFFIXES``.
        label: the column of the labels, by name or, of bare arrays and text, by its place from 0
            (-1 is the last). By default the one with a usual name, or the last of bare ones.

    Raises:
        FileFormatError: the file is damaged, or has no such column of whole numbers.
        PointCloudError: it has no points, or NaN or infinite coordinates.
    """
    with _named(path):
        columns, bare = _READERS[path.suffix.lower()](path)
        return _labelled(path, columns, _label_of(list(columns), label, bare))


def _label_of(names: list[str], label: str | None, bare: bool) -> str:
    """The name of the column of labels."""
    wanted = column_name(label) if label is not None else None
    if wanted is None:
        found = [name for name in USUAL if name in names]
        if bare and not found:
            if len(names) < 4:
                raise FileFormatError("has x, y and z only: a column of labels is needed")
            return names[-1]
    else:
        found = [wanted] if wanted in names else []
        if bare and wanted.lstrip("-").isdigit() and -len(names) <= int(wanted) < len(names):
            found = [names[int(wanted)]]
    if not found:
        what = f"called {wanted}" if wanted is not None else f"of labels ({', '.join(USUAL)})"
        raise FileFormatError(
            f"has no column {what}; it has: {', '.join(names)}: name the column of labels with "
            "label=NAME"
        )
    return found[0]


def _labelled(path: Path, columns: dict[str, np.ndarray], label: str) -> Labelled:
    missing = [name for name in XYZ if name not in columns]
    if missing:
        raise FileFormatError(f"has no columns x, y, z, only: {', '.join(columns) or 'none'}")
    points = np.stack([columns.pop(name).astype(np.float64) for name in XYZ], axis=1)
    if not len(points):
        raise PointCloudError("has no points")
    if not np.isfinite(points).all():
        row = int(np.argmin(np.isfinite(points).all(axis=1)))
        raise PointCloudError(f"has NaN or infinite coordinates in row {row} (counted from 0)")
    points -= points.min(axis=0)
    raw = columns.pop(label)
    labels = raw.astype(np.int64)
    wrong = np.flatnonzero(labels != raw)
    if len(wrong):
        raise FileFormatError(
            f"labels must be whole numbers: column {label} has {raw[wrong[0]]:g} in row "
            f"{wrong[0]} (counted from 0); name another column with label=NAME"
        )
    return Labelled(path, points.astype(np.float32), labels, _others(columns))


def _others(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Colours under their usual names from 0 to 1, and the rest as it is."""
    for names in COLORS:
        if set(names) <= set(columns):
            colors = unit_colors(np.stack([columns.pop(name) for name in names], axis=1))
            columns |= dict(zip(COLORS[0], colors.T, strict=True))
            break
    return {name: values.astype(np.float32) for name, values in columns.items()}


def _read_las(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    return las_columns(path, LAS), False


def _read_ply(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    ply = _parse(path)
    if "vertex" not in ply:
        raise FileFormatError("has no 'vertex' element")
    rows = ply["vertex"].data
    return _fields(rows), False


def _fields(rows: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of numbers of a structured array."""
    names = [n for n in rows.dtype.names or () if rows[n].ndim == 1 and rows[n].dtype.kind in "fiu"]
    return {column_name(name): np.array(rows[name]) for name in names}


def _read_npy(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise FileFormatError(PICKLE if "pickle" in str(error) else str(error)) from error
    if array.dtype.names:
        return _fields(array.reshape(-1)), False
    if array.ndim != 2 or array.shape[1] < 4 or array.dtype.kind not in "fiu":
        raise FileFormatError(
            f"must be numbers (N, 4 or more), x y z … label, not {array.dtype} {array.shape}"
        )
    if array.shape[1] > MOST_COLUMNS and len(array) < array.shape[1]:
        raise FileFormatError(f"has shape {array.shape}: transpose it to (N, 4 or more)")
    return _bare(array), True


def _bare(array: np.ndarray) -> dict[str, np.ndarray]:
    names = (*XYZ, *map(str, range(3, array.shape[1])))
    return dict(zip(names, array.T, strict=True))


def _read_text(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    encoding = _encoding(path)
    with path.open(encoding=encoding, errors="replace") as stream:
        head = list(islice(stream, HEAD_LINES))
    layout = find_layout(head)
    rows = [_words(line, layout) for line in head[: layout.skip + 1]]
    headers = [[column_name(word) for word in row] for row in rows[:-1]]
    named = [row for row in headers if set(XYZ) <= set(row) and len(row) == len(rows[-1])]
    names = named[-1] if named else [*XYZ, *map(str, range(3, len(rows[-1])))]
    layout = replace(layout, columns={name: k for k, name in enumerate(names)})
    with path.open(encoding=encoding, errors="replace") as stream:
        lines = islice(stream, layout.skip, None)
        if layout.decimal_comma:
            lines = (line.replace(",", ".") for line in lines)
        table = _numbers(lines, layout)
    return dict(zip(names, table.T, strict=True)), not named


def _words(line: str, layout: Layout) -> list[str]:
    line = line.strip().lstrip("#/%!").strip()
    line = line.replace(",", ".") if layout.decimal_comma else line
    words = [word.strip().strip('"') for word in line.split(layout.delimiter)]
    return words[:-1] if words and not words[-1] else words


_READERS = {
    ".las": _read_las, ".laz": _read_las, ".ply": _read_ply, ".npy": _read_npy,
    ".txt": _read_text, ".xyz": _read_text, ".pts": _read_text, ".csv": _read_text,
}  # fmt: skip
SUFFIXES = tuple(_READERS)
