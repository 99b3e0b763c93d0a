"""What readers of meshes share: polygons cut into triangles, lines of text, rows of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.errors import FileFormatError
from .numbers import is_number, plain_numbers


def triangulate(flat: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    """Cut polygons into fans of triangles.

    Args:
        flat: the polygons' vertex indices one after another, int64.
        counts: (P,) number of vertices of each polygon; those of fewer than 3 are left out.

    Returns:
        (F, 3) int64; None where no triangle is left.

    """
    fans = np.maximum(counts - 2, 0)
    first = np.repeat(np.cumsum(counts) - counts, fans)
    step = np.arange(fans.sum()) - np.repeat(np.cumsum(fans) - fans, fans)
    faces = np.stack([flat[first], flat[first + step + 1], flat[first + step + 2]], axis=1)
    return faces if len(faces) else None


def text_lines(path: Path) -> list[str]:
    """Split into the lines that say something, joined where a backslash continues one.

    Raises:
        FileFormatError: the file is binary.

    """
    text = text_of(path).replace("\\\n", " ").replace("\\\r\n", " ")
    stripped = (line.partition("#")[0].strip() for line in plain_numbers(text).splitlines())
    return [line for line in stripped if line]


def text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        FileFormatError: it is binary.

    """
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:4096]:
        raise FileFormatError("is binary, not text")
    return data.decode("utf-8-sig", "replace")


def as_vertices(rows: Sequence[Sequence[str]]) -> np.ndarray:
    """Convert to (N, 3) float64; a row that is not three numbers is named.

    Raises:
        FileFormatError: there is one.

    """
    try:
        return np.array(rows, dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        bad = next(
            (k for k, row in enumerate(rows) if len(row) != 3 or not all(map(is_number, row))), 0
        )
        raise FileFormatError(f"has {' '.join(rows[bad])!r} for vertex {bad}, not x y z") from error


def as_integers(words: Sequence[str], face: int) -> list[int]:
    """Convert the words of a face.

    Raises:
        FileFormatError: one is no whole number.

    """
    try:
        return list(map(int, words))
    except ValueError as error:
        raise FileFormatError(
            f"has {' '.join(words)!r} for face {face}, not whole numbers"
        ) from error


def face_array(flat: Sequence[int], counts: Sequence[int]) -> np.ndarray | None:
    """The triangles of polygons, given by all their vertices and the number of each.

    Raises:
        FileFormatError: a number too large for any file.

    """
    try:
        return triangulate(np.array(flat, dtype=np.int64), np.array(counts, dtype=np.int64))
    except OverflowError as error:
        raise FileFormatError(f"has a face with vertex {max(flat, key=abs)}") from error
