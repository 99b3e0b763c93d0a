"""NumPy files: ``.npy``, and ``.npz`` with one array of points. Pickles are never loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .cloud import Cloud, as_float, cloud_from_columns, unit_colors, whole_labels

POINT_NAMES = ("points", "xyz", "pts", "pos")
ATTRIBUTES = ("colors", "normals", "labels", "faces")
MOST_COLUMNS = 16  # more columns than this, and fewer rows than columns: a transposed array
PICKLE = "holds Python objects (a pickle), which could run code: save plain numbers with np.save"


def read_npy(path: Path) -> Cloud:
    """Read an array (N, 3 or more), or a structured array with fields x, y, z."""
    with path.open("rb") as stream:
        start = stream.read(6)
    if start != b"\x93NUMPY":
        raise FileFormatError(PICKLE if start[:1] == b"\x80" else "is not a NumPy array")
    return _cloud(_load(path))


def read_npz(path: Path) -> Cloud:
    """Read the array called points, xyz, pts or pos, or the only one of two dimensions."""
    if path.read_bytes()[:2] != b"PK":
        raise FileFormatError("is not a NumPy .npz archive")
    with _load(path) as archive:
        named = set(POINT_NAMES) & set(archive.files)
        wanted = [n for n in archive.files if not named or n in named or n in ATTRIBUTES]
        arrays = {name: _member(archive, name) for name in wanted}
    cloud = _cloud(arrays[_points_name(arrays)])
    colors, normals, labels, faces = map(arrays.get, ATTRIBUTES)
    _same_length(cloud, colors=colors, normals=normals, labels=labels)
    return Cloud(
        points=cloud.points,
        colors=cloud.colors if colors is None else unit_colors(colors),
        normals=cloud.normals if normals is None else normals.astype(np.float32),
        labels=cloud.labels if labels is None else whole_labels(labels.reshape(-1)),
        faces=faces,
    )


def write_npy(stream: BinaryIO, cloud: Cloud, _ascii: bool) -> None:
    """Write the coordinates, (N, 3)."""
    np.save(stream, cloud.points, allow_pickle=False)


def write_npz(stream: BinaryIO, cloud: Cloud, _ascii: bool) -> None:
    """Write every field that is given, under its own name."""
    np.savez_compressed(stream, **{k: v for k, v in vars(cloud).items() if v is not None})


def _load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except ValueError as error:
        text = PICKLE if "pickle" in str(error) else str(error)
        cut = "is cut short: " if text.startswith("Failed to read all data") else ""
        raise FileFormatError(cut + text) from error


def _member(archive: Any, name: str) -> np.ndarray:
    try:
        return archive[name]
    except ValueError as error:
        raise FileFormatError(
            f"array {name!r} {PICKLE if 'pickle' in str(error) else error}"
        ) from error


def _points_name(arrays: dict[str, np.ndarray]) -> str:
    named = [n for n in POINT_NAMES if n in arrays]
    tables = [n for n, a in arrays.items() if a.ndim == 2]
    if named or len(tables) == 1:
        return (named or tables)[0]
    found = ", ".join(f"{n} {a.shape}" for n, a in arrays.items()) or "nothing"
    raise FileFormatError(f"has no array called {', '.join(POINT_NAMES)}; it holds: {found}")


def _cloud(array: np.ndarray) -> Cloud:
    if array.dtype.names:
        return cloud_from_columns({n: array[n].reshape(-1) for n in array.dtype.names})
    if array.dtype.kind not in "fiu":
        raise FileFormatError(f"holds {array.dtype}, not numbers")
    if array.ndim != 2 or array.shape[1] < 3:
        raise FileFormatError(f"has shape {array.shape}: one cloud of shape (N, 3) is needed")
    if array.shape[1] > MOST_COLUMNS and len(array) < array.shape[1]:
        raise FileFormatError(f"has shape {array.shape}: transpose it to (N, 3)")
    return Cloud(as_float(array[:, :3]))


def _same_length(cloud: Cloud, **arrays: np.ndarray | None) -> None:
    for name, array in arrays.items():
        width = () if name == "labels" else (3,)
        if array is not None and array.squeeze().shape != (len(cloud), *width):
            raise FileFormatError(f"array {name!r} has shape {array.shape} for {len(cloud)} points")
