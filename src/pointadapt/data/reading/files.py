"""Files that labelled clouds come in, read with checks; every failure is one clear line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...core.errors import DataLayoutError, FileFormatError, PointAdaptError
from ...io.arrays import load_npy, load_npz
from ...io.limits import check_expansion
from ...io.opening import naming

SamplingRule = Literal["fps", "first", "random"]


@dataclass(frozen=True)
class RawClouds:
    """Labelled clouds as they lie on disk, before any point is left out.

    Attributes:
        source: the file or folder they come from, for messages.
        labels: (n,) int64, indices into ``classes``.
        classes: names of the classes.
        ids: (n,) name of each cloud.
        read: index of a cloud to its rows (N, 3 or more), the coordinates first.
        sampling: how to leave points out where nothing else is asked for.
        slow: the files that ``read`` reads, where that is slow enough for a cache.

    Raises:
        FileFormatError: there is no cloud, or a label that is no class.
    """

    source: Path
    labels: np.ndarray
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    read: Callable[[int], np.ndarray]
    sampling: SamplingRule
    slow: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.labels):
            raise FileFormatError(f"{self.source}: holds no point cloud")
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
        if len(wrong):
            raise FileFormatError(
                f"{self.source}: label {self.labels[wrong[0]]} of cloud {self.ids[wrong[0]]} is "
                f"outside 0 to {len(self.classes) - 1}, the {len(self.classes)} classes"
            )


def existing(path: Path, why: str = "") -> Path:
    """``path``, if it is a file.

    Raises:
        DataLayoutError: it is not there.
    """
    if not path.is_file():
        raise DataLayoutError(f"{path} is missing{f': {why}' if why else ''}")
    return path


def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a text file, stripped, without the empty ones."""
    try:
        lines = existing(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: not a text file ({error})") from error
    return tuple(line.strip() for line in lines if line.strip())


def read_table(path: Path, delimiter: str | None = ",") -> np.ndarray:
    """(rows, columns) float32 of a text file of numbers; ``delimiter`` None is white space."""
    if not existing(path).read_bytes().strip():
        raise FileFormatError(f"{path}: the file is empty")
    try:
        return np.loadtxt(path, delimiter=delimiter, dtype=np.float32, ndmin=2)
    except ValueError as error:
        raise FileFormatError(f"{path}: not rows of numbers: {_one_line(error)}") from error


def read_h5(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, N, 3) float and labels (n,) int64: the ``data`` and ``label`` of an HDF5 file."""
    import h5py

    existing(path)
    try:
        with h5py.File(path, "r") as file:
            return points_and_labels(path, file, "data")
    except PointAdaptError:
        raise
    except PermissionError as error:
        raise FileFormatError(f"{path}: cannot be read: permission denied") from error
    except Exception as error:  # damaged HDF5 raises almost anything
        raise FileFormatError(
            f"{path}: truncated, or not an HDF5 file: {_one_line(error)}; get it again"
        ) from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file; arrays of objects are refused."""
    existing(path)
    with naming(path):
        return load_npz(path)


def read_npy(path: Path, *, clouds: bool = False) -> np.ndarray:
    """The array of an ``.npy`` file, not yet in memory; objects are refused.

    Args:
        path: the file.
        clouds: it must hold point clouds (n, N, 3).
    """
    existing(path)
    try:
        with naming(path):
            array = load_npy(path, mapped=True)
    except FileFormatError as error:
        raise FileFormatError(f"{error}; get it again") from error
    if clouds and (array.ndim != 3 or array.shape[2] != 3 or array.dtype.kind != "f"):
        raise FileFormatError(
            f"{path}: must be real numbers (n, N, 3), not {array.dtype} {array.shape}"
        )
    return array


def points_and_labels(
    path: Path, arrays: Mapping[str, Any], points_key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, N, 3) and labels (n,) int64 among the ``arrays`` of the file at ``path``."""
    for key in (points_key, "label"):
        if key not in arrays:
            raise FileFormatError(
                f"{path}: has no {key!r}; it holds {', '.join(sorted(arrays)) or 'nothing'}"
            )
    stored = arrays[points_key]
    check_expansion(math.prod(getattr(stored, "shape", ())) * 8, path.stat().st_size)
    points = np.asarray(stored)
    if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind != "f":
        raise FileFormatError(
            f"{path}: {points_key!r} must be real numbers (n, N, 3), "
            f"not {points.dtype} {points.shape}"
        )
    return points, as_labels(path, arrays["label"], len(points))


def as_labels(path: Path, values: Any, n: int) -> np.ndarray:
    """(n,) int64 from ``values``: (n,) or (n, 1) whole numbers, or a list of such."""
    try:
        labels = np.asarray(values)
    except ValueError:
        labels = np.empty(0)
    if labels.shape not in ((n,), (n, 1)) or labels.dtype.kind not in "iu":
        raise FileFormatError(
            f"{path}: the labels of {n} clouds must be whole numbers ({n},), "
            f"not {labels.dtype} {labels.shape}"
        )
    return labels.reshape(n).astype(np.int64)


def numbered(stem: str, n: int) -> tuple[str, ...]:
    """Ids of ``n`` clouds that have no names of their own."""
    return tuple(f"{stem}/{i}" for i in range(n))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
