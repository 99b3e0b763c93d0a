"""PLY scenes, binary or text: the element ``vertex``, read and copied in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from ..io.columns import column_name
from ..io.limits import check_present
from ..io.ply_header import read_header
from ..io.text import DataLines, numbers
from ..io.text_form import TextForm
from ._lines import batches, labelled, points_of
from ._source import Chunk, Source, check_fits, check_name, source

ROWS, BLOCK = 1 << 18, 1 << 22  # points, and bytes, copied at a time
PLY_NAMES = {1: "uchar", 2: "ushort", 4: "uint"}


@source
class PlySource(Source):
    """Everything but the label is copied byte by byte: other properties and elements, remarks."""

    suffixes = (".ply",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as stream:
            header = read_header(stream)
        self.head, self.order, self.last = header.raw, header.order, header.vertex_end
        before, vertices = header.vertices()
        if any(element.has_list for element in (*before, vertices)):
            raise FileFormatError("has lists before or in its vertices: save it without them")
        self.count, self.dtype = vertices.count, vertices.dtype(self.order)
        names = [each.name for each in vertices.properties]
        self.set_names(names, [each.kind[0] for each in vertices.properties])
        if self.order:  # bytes, or lines of text, between header and vertices
            self.before = sum(part.count * part.dtype(self.order).itemsize for part in before)
        else:
            self.before = sum(part.count for part in before)
        least = self.dtype.itemsize if self.order else 2 * len(names)
        present = path.stat().st_size - len(self.head) + (0 if self.order else 1)
        check_present(present, self.before + self.count * least)
        self.form = TextForm(0, tuple(names), (True,) * len(names), None, None, False, None)

    def chunks(self, columns: Sequence[str], size: int) -> Iterator[Chunk]:
        wanted, done = self.places(columns), 0
        with self.path.open("rb") as stream:
            self._to_vertices(stream)
            while done < self.count:
                rows = min(size, self.count - done)
                if self.order:
                    table = self._read(stream, rows)
                    values = [table[f"f{k}"].astype(np.float64) for k in wanted]
                    block = np.stack(values, axis=1)
                else:
                    lines = self._lines(stream, rows)
                    _, points = points_of(DataLines(self.form), lines)
                    block = numbers(points, self.form, wanted, f"from point {done}")
                    if len(block) < len(lines):
                        raise self._short()
                done += rows
                yield block[:, :3], block[:, 3:].astype(np.float32)

    def prepare(self, field: str | None, highest: int) -> int:
        place = self.label_place(field)
        if place is None:
            check_name(field)
        else:
            name = column_name(self.all_names[place])
            check_fits(highest, self.dtype[place], f"its property {name!r}")
        more = 0 if place is not None else max(np.min_scalar_type(highest).itemsize, 2)
        return self.path.stat().st_size + self.count * more

    def write(self, out: Path, labels: np.ndarray, field: str | None) -> Iterator[int]:
        place, done = self.label_place(field), 0
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
                    pairs = zip(self._lines(stream, rows), part.tolist(), strict=True)
                    copy.writelines(labelled(line, v, place, self.form) for line, v in pairs)
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

    def _lines(self, stream: BinaryIO, rows: int) -> list[bytes]:
        lines = next(batches(stream, rows), [])
        if len(lines) < rows:
            raise self._short()
        return lines

    def _short(self) -> FileFormatError:
        return FileFormatError(f"is cut short: it does not hold its {self.count} vertices")


def _put(table: np.ndarray, labels: np.ndarray, place: int | None, new: np.dtype | None) -> bytes:
    """Bytes of the vertices with their labels."""
    if place is not None:
        table[f"f{place}"] = labels
        return table.tobytes()
    assert new is not None
    old = table.view(np.uint8).reshape(len(table), -1)
    values = np.ascontiguousarray(labels.astype(new)).view(np.uint8).reshape(len(table), -1)
    return np.concatenate([old, values], axis=1).tobytes()
