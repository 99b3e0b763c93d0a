"""PLY scenes, binary or text: the element ``vertex``, read and copied in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from ..io.cloud import column_name
from ..io.layout import XYZ
from ._lines import Style, batches, labelled, numbers
from ._source import Chunk, Source, check_fits, check_name, label_place, source

ROWS, BLOCK = 1 << 18, 1 << 22  # points, and bytes, copied at a time
LONGEST_HEADER = 1 << 20
TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
         "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2",
         "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4",
         "float64": "f8"}  # fmt: skip
PLY_NAMES = {1: "uchar", 2: "ushort", 4: "uint"}
ORDERS = {b"ascii": "", b"binary_little_endian": "<", b"binary_big_endian": ">"}


@dataclass
class Element:
    """A part of a PLY file: its name, how many there are, and their properties (None: a list)."""

    name: str
    count: int
    fields: list[tuple[str, str | None]]


@source
class PlySource(Source):
    """Everything but the label is copied byte by byte: other properties and elements, remarks."""

    suffixes = (".ply",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as stream:
            self.head, self.order, elements, self.last = _header(stream)
        before = []
        for element in elements:
            if element.name == "vertex":
                break
            before.append(element)
        else:
            found = ", ".join(element.name for element in elements) or "nothing"
            raise FileFormatError(f"has no 'vertex' element; it holds: {found}")
        self.count, self.all_names = element.count, tuple(column_name(n) for n, _ in element.fields)
        if any(kind is None for part in (*before, element) for _, kind in part.fields):
            raise FileFormatError("has lists before or in its vertices: save it without them")
        if not set(XYZ) <= set(self.all_names):
            raise FileFormatError(f"has vertices with {', '.join(self.all_names)}: no x, y and z")
        self.dtype = np.dtype([(f"f{k}", self._type(kind)) for k, (_, kind) in enumerate(
            element.fields)])  # fmt: skip
        self.names = tuple(n for n in self.all_names if n not in XYZ)
        self.whole = frozenset(
            name for k, name in enumerate(self.all_names) if self.dtype[k].kind in "iu"
        )
        rows = sum(part.count for part in before)
        size = sum(part.count * sum(np.dtype(self._type(k)).itemsize for _, k in part.fields)
                   for part in before)  # fmt: skip
        self.before = size if self.order else rows  # bytes, or lines of text

    def chunks(self, columns: Sequence[str], size: int) -> Iterator[Chunk]:
        wanted = [self.all_names.index(name) for name in (*XYZ, *columns)]
        done = 0
        with self.path.open("rb") as stream:
            self._to_vertices(stream)
            while done < self.count:
                rows = min(size, self.count - done)
                if self.order:
                    table = self._read(stream, rows)
                    values = [table[f"f{k}"].astype(np.float64) for k in wanted]
                    block = np.stack(values, axis=1)
                else:
                    lines = next(batches(stream, rows), [])
                    if len(lines) < rows:
                        raise self._short()
                    block = numbers(lines, wanted, Style(), done)
                done += rows
                yield block[:, :3], block[:, 3:].astype(np.float32)

    def prepare(self, field: str | None, highest: int) -> int:
        place = label_place(self.all_names, field)
        if place is None:
            check_name(field)
        else:
            check_fits(highest, self.dtype[place], f"its property {self.all_names[place]!r}")
        more = 0 if place is not None else max(np.min_scalar_type(highest).itemsize, 2)
        return self.path.stat().st_size + self.count * more

    def write(self, out: Path, labels: np.ndarray, field: str | None) -> Iterator[int]:
        place, done = label_place(self.all_names, field), 0
        new = (
            None
            if place is not None
            else np.dtype(labels.dtype.newbyteorder(">" if self.order == ">" else "<"))
        )
        with self.path.open("rb") as stream, out.open("wb") as copy:
            copy.write(self.head if new is None else self._with_property(check_name(field), new))
            stream.seek(len(self.head))
            copy.write(self._before(stream))
            while done < self.count:
                rows = min(ROWS, self.count - done)
                part = labels[done : done + rows]
                if self.order:
                    copy.write(_put(self._read(stream, rows), part, place, new))
                else:
                    lines = next(batches(stream, rows), [])
                    pairs = zip(lines, part.tolist(), strict=True)
                    copy.writelines(labelled(line, v, place, Style()) for line, v in pairs)
                done += rows
                yield done
            while block := stream.read(BLOCK):
                copy.write(block)

    def _with_property(self, name: str, dtype: np.dtype) -> bytes:
        """The header with one more property after the last of the vertices."""
        at = self.last
        end = self.head[:at][len(self.head[:at].rstrip()) :]  # as the file ends its lines
        return self.head[:at] + f"property {PLY_NAMES[dtype.itemsize]} {name}".encode() + end + (
            self.head[at:])  # fmt: skip

    def _to_vertices(self, stream: BinaryIO) -> None:
        stream.seek(len(self.head))
        self._before(stream)

    def _before(self, stream: BinaryIO) -> bytes:
        """What stands between header and vertices."""
        if self.order:
            return stream.read(self.before)
        return b"".join(stream.readline() for _ in range(self.before))

    def _read(self, stream: BinaryIO, rows: int) -> np.ndarray:
        table = np.fromfile(stream, self.dtype, rows)
        if len(table) < rows:
            raise self._short()
        return table

    def _short(self) -> FileFormatError:
        return FileFormatError(f"is cut short: it does not hold its {self.count} vertices")

    def _type(self, kind: str | None) -> str:
        return f"{self.order or '<'}{TYPES[kind or 'char']}"


def _put(table: np.ndarray, labels: np.ndarray, place: int | None, new: np.dtype | None) -> bytes:
    """Bytes of the vertices with their labels."""
    if place is not None:
        table[f"f{place}"] = labels
        return table.tobytes()
    assert new is not None
    old = table.view(np.uint8).reshape(len(table), -1)
    values = np.ascontiguousarray(labels.astype(new)).view(np.uint8).reshape(len(table), -1)
    return np.concatenate([old, values], axis=1).tobytes()


def _header(stream: BinaryIO) -> tuple[bytes, str, list[Element], int]:
    """The header's bytes, the byte order ("" for text), the elements, and where vertices' end."""
    head, order, elements, last = b"", None, [], 0
    for line in iter(lambda: stream.readline(LONGEST_HEADER), b""):
        if not head and line.strip() != b"ply":
            raise FileFormatError("is no PLY file")
        head += line
        words = line.decode("latin-1").split()
        if words[:1] == ["end_header"]:
            break
        if words[:1] == ["format"]:
            order = ORDERS.get(words[1].encode()) if len(words) > 1 else None
        elif words[:1] == ["element"]:
            elements.append(_element(words))
        elif words[:1] == ["property"] and elements:
            elements[-1].fields.append(_property(words))
        if elements and elements[-1].name == "vertex" and words[:1] in (["element"], ["property"]):
            last = len(head)
        if len(head) > LONGEST_HEADER:
            raise FileFormatError("has a header without end")
    else:
        raise FileFormatError("is cut short within its header")
    if order is None:
        raise FileFormatError("has a header without a known format")
    return head, order, elements, last


def _element(words: list[str]) -> Element:
    if len(words) != 3 or not words[2].isdigit():
        raise FileFormatError(f"has a damaged header: {' '.join(words)!r}")
    return Element(words[1], int(words[2]), [])


def _property(words: list[str]) -> tuple[str, str | None]:
    if words[1:2] == ["list"] and len(words) == 5:
        return words[4], None
    if len(words) != 3 or words[1] not in TYPES:
        raise FileFormatError(f"has a damaged header: {' '.join(words)!r}")
    return words[2], words[1]
