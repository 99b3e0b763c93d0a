"""OFF, by a parser of our own.

trimesh reads the headers of ModelNet40 that lack a line break (``OFF8 6 0``) as half the faces,
without a word.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .cloud import Cloud
from .limits import check_present
from .mesh import as_integers, as_vertices, face_array, text_lines
from .numbers import is_count

# Texture, colour and normal, which follow x y z; their order is not kept by all programs.
HEADER = re.compile(r"(?:ST|C|N)*OFF(?![a-z])\s*", re.IGNORECASE)
OTHER = re.compile(r"(?:ST|C|N)*(?:4n?|n)OFF\b|(?:ST|C|N)*OFF\s+BINARY")


def read_off(path: Path) -> Cloud:
    """Read OFF as text, its counts on the header's line or the next; colours are left aside.

    Raises:
        FileFormatError: the file is damaged, cut short, binary, or of four dimensions.

    """
    lines = text_lines(path)
    body = _after_header(lines)
    counts = body[0].split() if body else []
    if len(counts) < 2 or not all(map(is_count, counts[:2])):
        raise FileFormatError("has no line with the numbers of vertices and faces after OFF")
    n_points, n_faces = int(counts[0]), int(counts[1])
    check_present(len(body) - 1, n_points + n_faces, "lines of vertices and faces: copy it again")
    points = as_vertices([line.split()[:3] for line in body[1 : 1 + n_points]])
    return Cloud(points, faces=_faces(body[1 + n_points : 1 + n_points + n_faces]))


def write_off(stream: BinaryIO, cloud: Cloud, _ascii: bool) -> None:
    """Write text that reads back exactly; a cloud is a mesh without faces."""
    faces = np.empty((0, 3), dtype=np.int64) if cloud.faces is None else cloud.faces
    stream.write(f"OFF\n{len(cloud)} {len(faces)} 0\n".encode())
    np.savetxt(stream, cloud.points, fmt="%.9g" if cloud.points.itemsize == 4 else "%.17g")
    np.savetxt(stream, np.insert(faces, 0, 3, axis=1), fmt="%d")


def _after_header(lines: list[str]) -> list[str]:
    """The lines from the counts on; the word OFF itself may be left out."""
    first = lines[0] if lines else ""
    if OTHER.match(first):
        raise FileFormatError(f"is {first[:20]}, which is not read: save it as plain OFF, in text")
    words = first.split()
    if len(words) == 3 and all(map(is_count, words)):
        return lines
    header = HEADER.match(first)
    if header is None:
        raise FileFormatError("does not begin with OFF")
    rest = first[header.end() :]
    return [rest, *lines[1:]] if rest else lines[1:]


def _faces(lines: list[str]) -> np.ndarray | None:
    flat: list[int] = []
    counts: list[int] = []
    for k, words in enumerate(map(str.split, lines)):
        (count,) = as_integers(words[:1], k)
        if not 0 <= count < len(words):
            raise FileFormatError(f"has face {k} of {len(words) - 1} vertices, not {count}")
        counts.append(count)
        flat += as_integers(words[1 : count + 1], k)
    return face_array(flat, counts)
