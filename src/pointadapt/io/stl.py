"""STL, binary or text, by a parser of our own: trimesh reads one cut short as nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..core.errors import FileFormatError
from ..core.notes import note
from .cloud import Cloud
from .mesh import as_vertices
from .numbers import plain_numbers

RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
START = 84  # bytes before the triangles: a title and their number
END = re.compile(r"end\s*solid", re.IGNORECASE)
VERTEX = re.compile(r"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)", re.IGNORECASE)
TEXT = re.compile(rb"(?:\xef\xbb\xbf)?\s*solid\b", re.IGNORECASE)
BEGUN = re.compile(rb"\bfacet\b|\bend\s*solid", re.IGNORECASE)


def read_stl(path: Path) -> Cloud:
    """Read STL. Every triangle brings its own three points.

    Raises:
        FileFormatError: the file is cut short, or no STL.

    """
    data = path.read_bytes()
    size = START + int.from_bytes(data[80:START], "little") * RECORD.itemsize
    if _is_text(data, size):
        corners = _text(data.decode("utf-8", "replace"))
    elif START <= size <= len(data):
        corners = np.frombuffer(data[START:size], dtype=RECORD)["corners"].astype(np.float32)
        if size < len(data):
            note(f"{len(data) - size:,} bytes after its {len(corners):,} triangles are not read")
    else:
        raise FileFormatError(
            f"is no STL, or is cut short: {len(data)} bytes where its header promises {size}"
        )
    return Cloud(corners.reshape(-1, 3), faces=np.arange(3 * len(corners)).reshape(-1, 3))


def _is_text(data: bytes, size: int) -> bool:
    """Tell text, which begins with solid, from binary, whose title may begin so, too."""
    if not TEXT.match(data[:200]) or len(data) == size:
        return False
    return b"\0" not in data[:START] and BEGUN.search(data[:100_000]) is not None


def _text(text: str) -> np.ndarray:
    if not END.search(text, max(text.lower().rfind("vertex"), 0)):
        raise FileFormatError("ends without 'endsolid': it is cut short; copy it again")
    corners = VERTEX.findall(plain_numbers(text))
    if len(corners) % 3:
        raise FileFormatError(f"has {len(corners)} corners: not three for each triangle")
    return as_vertices(corners).reshape(-1, 3, 3)
