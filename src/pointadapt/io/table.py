"""The one table of formats: what a file's ending says about how to read and write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from .arrays import read_npy, read_npz, write_npy, write_npz
from .cloud import Cloud
from .glb import read_glb
from .las import read_las, write_las
from .obj import read_obj
from .off import read_off, write_off
from .pcd import read_pcd, write_pcd
from .ply import read_ply, write_ply
from .stl import read_stl
from .text import read_text, write_text


@dataclass(frozen=True)
class Format:
    """How to read and write files of one ending.

    Attributes:
        read: the cloud in a file; its errors do not name the path, :func:`read_cloud` adds it.
        write: writes a cloud to an open file, as text if asked; None if we only read.
        holds: what a written file holds besides the coordinates, fields of :class:`Cloud`.
        fixed: its coordinates can have no other names.

    """

    read: Callable[[Path], Cloud]
    write: Callable[[BinaryIO, Cloud, bool], None] | None = None
    holds: frozenset[str] = frozenset()
    fixed: bool = False


_ATTRIBUTES = frozenset({"colors", "normals", "labels"})
_TEXT = Format(read_text, write_text, _ATTRIBUTES)
_LABELS = frozenset({"labels"})

FORMATS: dict[str, Format] = {
    ".npy": Format(read_npy, write_npy),
    ".npz": Format(read_npz, write_npz, _ATTRIBUTES | {"faces"}),
    ".txt": _TEXT,
    ".xyz": _TEXT,
    ".pts": _TEXT,
    ".asc": _TEXT,
    ".csv": Format(read_text, partial(write_text, delimiter=","), _ATTRIBUTES),
    ".ply": Format(read_ply, write_ply, _ATTRIBUTES | {"faces"}),
    ".pcd": Format(read_pcd, write_pcd, _ATTRIBUTES),
    ".off": Format(read_off, write_off, frozenset({"faces"})),
    ".obj": Format(read_obj),
    ".stl": Format(read_stl),
    ".glb": Format(read_glb),
    ".las": Format(read_las, write_las, _LABELS, fixed=True),
    ".laz": Format(read_las, partial(write_las, compress=True), _LABELS, fixed=True),
}

SUFFIXES: tuple[str, ...] = tuple(FORMATS)
"""Endings that :func:`read_points` reads, in lower case; upper case is read as well."""

WRITABLE: tuple[str, ...] = tuple(s for s, f in FORMATS.items() if f.write is not None)
"""Endings that :func:`write_points` writes."""
