"""NumPy files: ``.npy``, and ``.npz`` with one array of points. Pickles are never loaded."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.errors import FileFormatError, first_line
from .cloud import Cloud, as_float, cloud_from_columns, unit_colors, whole_labels
from .columns import COLORS, LABELS, NORMALS, XYZ, column_name, find_column, names_of_xyz
from .limits import check_expansion, check_present

POINT_NAMES = (
    "points", "xyz", "pts", "pos", "coord", "coords", "coordinates", "point", "positions",
    "position", "vertices", "verts", "point_cloud", "pointcloud", "pc",
)  # fmt: skip
COLOR_NAMES = ("colors", "color", "colours", "colour", "rgb")
NORMAL_NAMES = ("normals", "normal")
LABEL_NAMES = ("labels", *(name for name in LABELS if name != "labels"))
FACE_NAMES = ("faces", "face", "triangles")
WIDE = {**dict.fromkeys(POINT_NAMES, XYZ), **dict.fromkeys(COLOR_NAMES, COLORS[0]),
        **dict.fromkeys(NORMAL_NAMES, NORMALS[0])}  # fmt: skip
MOST_COLUMNS = 16  # more columns than this, and fewer rows than columns: a transposed array
PICKLE = "holds Python objects (a pickle), which could run code: save plain numbers with np.save"
MAGIC = b"\x93NUMPY"


def read_npy(path: Path) -> Cloud:
    """Read an array (N, 3 or more), or a structured array with fields x, y, z."""
    return _cloud(load_npy(path))


def read_npz(path: Path) -> Cloud:
    """Read the array of points by its name, such as points, xyz or coord, or the only table."""
    arrays = load_npz(path, _wanted)
    names = list(arrays)
    cloud = _cloud(arrays[_points_name(arrays)])
    found = {
        field: _fitting(arrays, names, known, cloud, width)
        for field, known, width in (
            ("colors", COLOR_NAMES, 3), ("normals", NORMAL_NAMES, 3), ("labels", LABEL_NAMES, 0),
        )
    }  # fmt: skip
    colors, normals, labels = found.values()
    faces = _first(names, FACE_NAMES)
    return Cloud(
        points=cloud.points,
        colors=cloud.colors if colors is None else unit_colors(colors),
        normals=cloud.normals if normals is None else normals.astype(np.float32),
        labels=cloud.labels if labels is None else whole_labels(labels),
        faces=None if faces is None else _faces(arrays[faces]),
    )


def write_npy(stream: BinaryIO, cloud: Cloud, _ascii: bool) -> None:
    """Write the coordinates, (N, 3)."""
    np.save(stream, cloud.points, allow_pickle=False)


def write_npz(stream: BinaryIO, cloud: Cloud, _ascii: bool) -> None:
    """Write every field that is given, under its own name."""
    np.savez_compressed(stream, **{k: v for k, v in vars(cloud).items() if v is not None})


def load_npy(path: Path, *, mapped: bool = False) -> np.ndarray:
    """The array of a file; ``mapped`` leaves it on the disk.

    Raises:
        FileFormatError: it is none, holds objects, or is shorter than its header says.

    """
    with path.open("rb") as stream:
        start = stream.read(6)
        if start != MAGIC:
            raise FileFormatError(PICKLE if start[:1] == b"\x80" else "is not a NumPy array")
        stream.seek(0)
        shape, dtype = _header(stream)
        promised = dtype.itemsize * _product(shape)
        check_present(path.stat().st_size - stream.tell(), promised)
    try:
        return np.load(path, mmap_mode="r" if mapped and promised else None, allow_pickle=False)
    except ValueError as error:
        raise FileFormatError(_why(error)) from error


def load_npz(
    path: Path, choose: Callable[[Sequence[str]], Iterable[str]] = lambda names: names
) -> dict[str, np.ndarray]:
    """The arrays of an archive by name: those that ``choose`` picks of all names.

    Raises:
        FileFormatError: it is none, or holds objects, or far more than its size allows.

    """
    with path.open("rb") as stream:
        if stream.read(2) != b"PK":
            raise FileFormatError("is not a NumPy .npz archive")
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            found = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            names = {info.filename.removesuffix(".npy"): info for info in found}
            chosen = list(choose(list(names)))
            check_expansion(sum(names[name].file_size for name in chosen), size)
            return {name: _member(archive, names[name], name) for name in chosen}
    except zipfile.BadZipFile as error:
        raise FileFormatError(f"is damaged: {first_line(error)}") from error


def table_columns(array: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The columns of a structured array (N,) or (N, 1): a field of three numbers gives three."""
    rows = array.reshape(-1)
    columns: list[tuple[str, np.ndarray]] = []
    for name in rows.dtype.names or ():
        values: Any = rows[name]
        values = values.reshape(len(rows), -1) if values.ndim > 1 else values
        parts = parts_of(name)
        if values.ndim == 1:
            columns.append((name, values))
        elif values.shape[1] == 1:
            columns.append((name, values[:, 0]))
        elif len(parts) <= values.shape[1]:
            columns += zip(parts, values.T[: len(parts)], strict=True)
    return [(name, values) for name, values in columns if values.dtype.kind in "fiu"]


def parts_of(name: str) -> tuple[str, ...]:
    """What the numbers of a field of three are called; nothing where its name does not tell."""
    parts = WIDE.get(name.lower(), ())
    return names_of_xyz() if parts == XYZ else parts


def check_table(array: np.ndarray, least: int, what: str) -> None:
    """Refuse what is no table of numbers with ``least`` columns and a point in each row.

    Raises:
        FileFormatError: it is not; says that ``what`` is needed.

    """
    if array.dtype.kind not in "fiu":
        raise FileFormatError(f"holds {array.dtype}, not numbers")
    shape: tuple[int, ...] = array.shape
    if len(shape) != 2 or shape[1] < least:
        raise FileFormatError(f"has shape {shape}: {what} is needed")
    if shape[1] > MOST_COLUMNS and shape[0] < shape[1]:
        raise FileFormatError(f"has shape {shape}: transpose it to (N, {least})")


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and type that an array's header promises."""
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version, np.lib.format.read_array_header_2_0)
        shape, _, dtype = read(stream)
    except Exception as error:  # it is Python text, which fails in many ways
        raise FileFormatError(f"has a damaged header: {_why(error)}") from error
    if dtype.hasobject:
        raise FileFormatError(PICKLE)
    return shape, dtype


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(info) as stream:
        try:
            shape, dtype = _header(stream)  # type: ignore[arg-type]
            promised = dtype.itemsize * _product(shape)
            check_present(info.file_size - stream.tell(), promised)
        except FileFormatError as error:
            raise FileFormatError(f"array {name!r} {error}") from error
    with archive.open(info) as stream:
        try:
            return np.lib.format.read_array(stream, allow_pickle=False)  # type: ignore[arg-type]
        except ValueError as error:
            raise FileFormatError(f"array {name!r} {_why(error)}") from error


def _product(shape: Sequence[int]) -> int:
    result = 1
    for length in shape:
        result *= int(length)
    return result


def _why(error: BaseException) -> str:
    text = first_line(error)
    if "pickle" in text:
        return PICKLE
    return ("is cut short: " if text.startswith("Failed to read all data") else "") + text


def _first(names: Sequence[str], known: Iterable[str]) -> str | None:
    """The first of the ``known`` names that is there, however its letters are written."""
    for wanted in known:
        place = find_column(names, wanted)
        if place is not None:
            return names[place]
    return None


def _wanted(names: Sequence[str]) -> list[str]:
    """What is read of an archive: points and what belongs to them, or all where none is named so.

    Other arrays stay where they are, objects among them.
    """
    if _first(names, POINT_NAMES) is None:
        return list(names)
    known = {*POINT_NAMES, *COLOR_NAMES, *NORMAL_NAMES, *LABEL_NAMES, *FACE_NAMES}
    return [name for name in names if column_name(name) in known]


def _points_name(arrays: Mapping[str, np.ndarray]) -> str:
    tables = [n for n, a in arrays.items() if a.ndim == 2 or a.dtype.names]
    named = _first(list(arrays), POINT_NAMES)
    if named is not None or len(tables) == 1:
        return named if named is not None else tables[0]
    found = ", ".join(f"{n} {a.shape}" for n, a in arrays.items()) or "nothing"
    raise FileFormatError(f"has no array called {', '.join(POINT_NAMES[:6])} …; it holds: {found}")


def _fitting(
    arrays: Mapping[str, np.ndarray], names: Sequence[str], known: Sequence[str], cloud: Cloud,
    width: int,
) -> np.ndarray | None:  # fmt: skip
    """The array of an attribute: (N, width), or (N,) where width is 0.

    Under our own name it must fit; under others, such as the label of the whole cloud, it may mean
    something else.
    """
    shape = (len(cloud), width) if width else (len(cloud),)
    for wanted in known:
        place = find_column(names, wanted)
        if place is None:
            continue
        array = arrays[names[place]]
        if array.dtype.kind in "fiub" and array.size == _product(shape):
            return array.reshape(shape)
        if wanted == known[0]:
            raise FileFormatError(
                f"array {names[place]!r} has shape {array.shape} for {len(cloud)} points"
            )
    return None


def _faces(array: np.ndarray) -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        raise FileFormatError(f"has faces of {array.dtype} {array.shape}: (F, 3) whole numbers")
    return array.astype(np.int64)


def _cloud(array: np.ndarray) -> Cloud:
    if array.dtype.names:
        return cloud_from_columns(table_columns(array))
    check_table(array, 3, "one cloud of shape (N, 3)")
    return Cloud(as_float(array[:, :3]))
