"""Meshes: OFF, OBJ and STL by parsers of our own, GLB through trimesh.

trimesh reads the OFF headers of ModelNet40 that lack a line break (``OFF8 6 0``) as half the
faces, and a truncated STL as nothing, both without a word; these parsers check.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .cloud import Cloud, is_number, need, unit_colors

STL_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


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


def read_off(path: Path) -> Cloud:
    """Read OFF as text, its counts on the header's line or the next; colours are left aside."""
    lines = _lines(path)
    header = re.match(r"(?:ST)?C?N?OFF(?![a-zA-Z])\s*", lines[0]) if lines else None
    if header is None:
        raise FileFormatError("does not begin with OFF")
    body = [lines[0][header.end() :], *lines[1:]]
    body = body if body[0] else body[1:]
    counts = body[0].split() if body else []
    if len(counts) < 2 or not all(map(str.isdigit, counts[:2])):
        raise FileFormatError("has no line with the numbers of vertices and faces after OFF")
    n_points, n_faces = int(counts[0]), int(counts[1])
    if len(body) < 1 + n_points + n_faces:
        raise FileFormatError(
            f"promises {n_points} vertices and {n_faces} faces but has only {len(body) - 1} "
            "lines for them: copy it again"
        )
    points = _floats([line.split()[:3] for line in body[1 : 1 + n_points]])
    return Cloud(points, faces=_off_faces(body[1 + n_points : 1 + n_points + n_faces]))


def read_obj(path: Path) -> Cloud:
    """Read the ``v`` and ``f`` lines of a Wavefront OBJ; groups and materials are left aside."""
    points: list[list[str]] = []
    flat: list[int] = []
    counts: list[int] = []
    for line in _lines(path):
        key, *words = line.split()
        if key == "v":
            points.append(words)
        elif key == "f":
            corners = _integers([word.partition("/")[0] for word in words], len(counts))
            flat += [k - 1 if k > 0 else len(points) + k for k in corners]
            counts.append(len(words))
    if not points:
        raise FileFormatError("has no 'v x y z' line")
    rgb = [words[3:6] for words in points] if all(len(w) >= 6 for w in points) else None
    return Cloud(
        points=_floats([words[:3] for words in points]),
        colors=None if rgb is None else unit_colors(_floats(rgb)),
        faces=triangulate(np.array(flat, dtype=np.int64), np.array(counts, dtype=np.int64)),
    )


def read_stl(path: Path) -> Cloud:
    """Read STL, binary or text. Every triangle brings its own three points."""
    data = path.read_bytes()
    size = int.from_bytes(data[80:84], "little") * STL_RECORD.itemsize + 84
    if data[:5].lower() == b"solid" and len(data) != size:
        corners = _stl_text(data.decode("utf-8", "replace"))
    elif size <= len(data) < size + STL_RECORD.itemsize:
        corners = np.frombuffer(data[84:size], dtype=STL_RECORD)["corners"].astype(np.float32)
    else:
        raise FileFormatError(
            f"is no STL, or is cut short: {len(data)} bytes where its header promises {size}"
        )
    return Cloud(corners.reshape(-1, 3), faces=np.arange(3 * len(corners)).reshape(-1, 3))


def read_glb(path: Path) -> Cloud:
    """Read all meshes of a binary glTF scene, each where the scene puts it (y is up in glTF)."""
    mesh = need("trimesh", "mesh").load(path, force="mesh", process=False)
    return Cloud(np.array(mesh.vertices), faces=np.array(mesh.faces, dtype=np.int64))


def write_off(stream: BinaryIO, cloud: Cloud, _ascii: bool) -> None:
    """Write text that reads back exactly; a cloud is a mesh without faces."""
    faces = np.empty((0, 3), dtype=np.int64) if cloud.faces is None else cloud.faces
    stream.write(f"OFF\n{len(cloud)} {len(faces)} 0\n".encode())
    np.savetxt(stream, cloud.points, fmt="%.9g" if cloud.points.itemsize == 4 else "%.17g")
    np.savetxt(stream, np.insert(faces, 0, 3, axis=1), fmt="%d")


def _lines(path: Path) -> list[str]:
    """Split into the lines that say something, joined where a backslash continues one."""
    data = path.read_bytes()
    if b"\0" in data[:4096]:
        raise FileFormatError("is binary, not text")
    text = data.decode("utf-8-sig", "replace").replace("\\\n", " ").replace("\\\r\n", " ")
    stripped = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in stripped if line]


def _floats(rows: list[list[str]]) -> np.ndarray:
    """Convert to (N, 3) float64; a row that is not three numbers is named."""
    try:
        return np.array(rows, dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        bad = next(k for k, row in enumerate(rows) if len(row) != 3 or not all(map(is_number, row)))
        raise FileFormatError(f"has {' '.join(rows[bad])!r} for vertex {bad}, not x y z") from error


def _integers(words: list[str], face: int) -> list[int]:
    try:
        return list(map(int, words))
    except ValueError as error:
        raise FileFormatError(
            f"has {' '.join(words)!r} for face {face}, not whole numbers"
        ) from error


def _off_faces(lines: list[str]) -> np.ndarray | None:
    flat: list[int] = []
    counts: list[int] = []
    for k, words in enumerate(map(str.split, lines)):
        (count,) = _integers(words[:1], k)
        if len(words) <= count:
            raise FileFormatError(f"has face {k} of {len(words) - 1} vertices, not {count}")
        counts.append(count)
        flat += _integers(words[1 : count + 1], k)
    return triangulate(np.array(flat, dtype=np.int64), np.array(counts, dtype=np.int64))


def _stl_text(text: str) -> np.ndarray:
    if "endsolid" not in text:
        raise FileFormatError("ends without 'endsolid': it is cut short; copy it again")
    corners = re.findall(r"vertex\s+(\S+)\s+(\S+)\s+(\S+)", text)
    if len(corners) % 3:
        raise FileFormatError(f"has {len(corners)} corners: not three for each triangle")
    return _floats([list(corner) for corner in corners]).reshape(-1, 3, 3)
