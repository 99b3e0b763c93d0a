"""The header of a PLY file: its elements and their properties, and where the data begin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .numbers import is_count

LONGEST = 1 << 20  # bytes of a header
TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
         "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2",
         "uint16": "u2", "int32": "i4", "uint32": "u4", "int64": "i8", "uint64": "u8",
         "float32": "f4", "float64": "f8"}  # fmt: skip
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """A column: its name, NumPy's type without byte order, and that of a list's length."""

    name: str
    kind: str
    count: str | None = None


@dataclass
class Element:
    """A part of the file: its name, how many there are, and their properties."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    @property
    def has_list(self) -> bool:
        return any(p.count is not None for p in self.properties)

    def dtype(self, order: str) -> np.dtype:
        """The type of a row without lists; fields are called f0, f1, …, as names may be twice."""
        kinds = [(f"f{k}", (order or "=") + p.kind) for k, p in enumerate(self.properties)]
        return np.dtype(kinds)

    def least(self) -> int:
        """The fewest bytes that a row takes in a binary file."""
        return sum(np.dtype(p.count or p.kind).itemsize for p in self.properties)


@dataclass(frozen=True)
class Header:
    """What stands before the data.

    Attributes:
        raw: its bytes.
        order: of the bytes of numbers, "<" or ">"; "" for text.
        elements: in the order of the data.
        vertex_end: where the vertices' properties end in ``raw``.

    """

    raw: bytes
    order: str
    elements: tuple[Element, ...]
    vertex_end: int

    def vertices(self) -> tuple[tuple[Element, ...], Element]:
        """The elements before the vertices, and the vertices.

        Raises:
            FileFormatError: there are none.

        """
        for k, element in enumerate(self.elements):
            if element.name == "vertex":
                return self.elements[:k], element
        found = ", ".join(element.name for element in self.elements) or "nothing"
        raise FileFormatError(f"has no 'vertex' element; it holds: {found}")


def read_header(stream: BinaryIO) -> Header:
    """Read the header; the stream then stands at the data.

    Blank lines, tabs, remarks in any letters and all three ways to end a line are taken.

    Raises:
        FileFormatError: it is damaged, or cut short.

    """
    stream.seek(0)
    data, order, elements, vertex_end = stream.read(LONGEST), None, [], 0
    for start, stop in _lines(data):
        line = data[start:stop]
        if not start and line.strip() != b"ply":
            raise FileFormatError("is no PLY file")
        words = line.decode("latin-1").split()
        key = words[0] if words else ""
        if key == "end_header":
            break
        if key == "format":
            order = ORDERS.get(words[1].lower()) if len(words) > 1 else None
        elif key == "element":
            elements.append(_element(words))
        elif key == "property":
            if not elements:
                raise FileFormatError("has a damaged header: a property before any element")
            elements[-1].properties.append(_property(words))
        if key in ("element", "property") and elements[-1].name == "vertex":
            vertex_end = stop
    else:
        raise FileFormatError("is cut short within its header, or has one without end")
    if order is None:
        raise FileFormatError("has a header without a known format")
    stream.seek(stop)
    return Header(data[:stop], order, tuple(elements), vertex_end)


def _lines(data: bytes) -> Iterator[tuple[int, int]]:
    """Where lines begin and end; they end with a line feed, or a carriage return, or both."""
    first = data[:4096]
    end = b"\r" if b"\r" in first and b"\n" not in first[: first.index(b"\r") + 2] else b"\n"
    start = 0
    while (stop := data.find(end, start)) >= 0:
        yield start, stop + 1
        start = stop + 1


def _element(words: list[str]) -> Element:
    if len(words) != 3 or not is_count(words[2]):
        raise FileFormatError(f"has a damaged header: {' '.join(words)!r}")
    return Element(words[1], int(words[2]))


def _property(words: list[str]) -> Property:
    if words[1:2] == ["list"] and len(words) == 5 and words[2] in TYPES and words[3] in TYPES:
        if TYPES[words[2]][0] == "f":
            raise FileFormatError("has lists whose length is no whole number")
        return Property(words[4], TYPES[words[3]], TYPES[words[2]])
    if len(words) != 3 or words[1] not in TYPES:
        raise FileFormatError(f"has a damaged header: {' '.join(words)!r}")
    return Property(words[2], TYPES[words[1]])
