"""Wavefront OBJ."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import FileFormatError
from .cloud import Cloud, unit_colors
from .mesh import as_integers, as_vertices, face_array, text_lines


def read_obj(path: Path) -> Cloud:
    """Read the ``v`` and ``f`` lines; groups and materials are left aside.

    Raises:
        FileFormatError: no vertex, or a line that is none.

    """
    points: list[list[str]] = []
    flat: list[int] = []
    counts: list[int] = []
    for line in text_lines(path):
        key, *words = line.split()
        if key == "v":
            points.append(words)
        elif key == "f":
            corners = as_integers([word.partition("/")[0] for word in words], len(counts))
            flat += [k - 1 if k > 0 else len(points) + k for k in corners]
            counts.append(len(words))
    if not points:
        raise FileFormatError("has no 'v x y z' line")
    rgb = [words[3:6] for words in points] if all(len(w) >= 6 for w in points) else None
    return Cloud(
        points=as_vertices([words[:3] for words in points]),
        colors=None if rgb is None else unit_colors(as_vertices(rgb)),
        faces=face_array(flat, counts),
    )
