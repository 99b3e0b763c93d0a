"""NumPy arrays as scenes: (N, 3 or more) numbers, or a structured array with fields x, y, z."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..core.errors import FileFormatError
from ..io.arrays import check_table, load_npy, parts_of
from ..io.columns import column_name, names_of_xyz
from ._source import Chunk, Source, check_fits, check_name, source

ROWS = 1 << 18  # written at a time


@source
class NpySource(Source):
    """Read with plain reads, not mapped: mapped pages count as the process's memory."""

    suffixes = (".npy",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        array = load_npy(path, mapped=True)
        self.dtype, self.shape = array.dtype, array.shape
        self.start = getattr(array, "offset", 0)
        self.by_column = not array.flags.c_contiguous
        self.count = len(array) if array.ndim else 0
        self.fields = _fields(array)
        kinds = [self._dtype(k).kind for k in range(len(self.fields))]
        self.set_names([name for name, _, _ in self.fields], kinds)

    def chunks(self, columns: Sequence[str], size: int) -> Iterator[Chunk]:
        wanted = self.places(columns)
        for rows in self._rows(size):
            values = [self._column(rows, k) for k in wanted]
            more = np.stack(values[3:], axis=1) if columns else np.empty((len(rows), 0))
            yield np.stack(values[:3], axis=1).astype(np.float64), more.astype(np.float32)

    def prepare(self, field: str | None, highest: int) -> int:
        place = self.label_place(field)
        if place is not None:
            check_fits(highest, self._dtype(place), column_name(self.all_names[place]))
        elif not self.dtype.names:
            check_fits(highest, self.dtype, check_name(field))
        else:
            check_name(field)
        return self.path.stat().st_size + (self.count * 8 if place is None else 0)

    def write(self, out: Path, labels: np.ndarray, field: str | None) -> Iterator[int]:
        place, done = self.label_place(field), 0
        named, shape = self.dtype.names is not None, self.shape
        descr = self.dtype.descr if named else self.dtype.str
        if place is None and named:
            descr = [*self.dtype.descr, (check_name(field), labels.dtype.str)]
        elif place is None:
            shape = (self.count, self.shape[1] + 1)
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        with out.open("wb") as stream:
            np.lib.format.write_array_header_2_0(stream, header)
            for rows in self._rows(ROWS):
                part = labels[done : done + len(rows)]
                stream.write(self._labelled(rows, part, place, descr).tobytes())
                done += len(rows)
                yield done

    def _labelled(
        self, rows: np.ndarray, labels: np.ndarray, place: int | None, descr: object
    ) -> np.ndarray:
        if place is None and self.dtype.names:
            wide = np.empty(rows.shape, np.dtype(descr))  # type: ignore[call-overload]
            for name in self.dtype.names:
                wide[name] = rows[name]
            wide[wide.dtype.descr[-1][0]] = labels.reshape(rows.shape)
            return wide
        if place is None:
            return np.concatenate([rows, labels[:, None].astype(self.dtype)], axis=1)
        self._put(rows, place, labels)
        return rows

    def _rows(self, size: int) -> Iterator[np.ndarray]:
        if self.by_column:  # the columns lie one after the other: mapped, there is no better way
            mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
            for start in range(0, self.count, size):
                yield np.array(mapped[start : start + size])
            return
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            for start in range(0, self.count, size):
                rows = min(size, self.count - start)
                flat = np.fromfile(stream, self.dtype, rows * width)
                if len(flat) < rows * width:
                    raise FileFormatError(f"is cut short: it does not hold its {self.count} points")
                yield flat.reshape(rows, *self.shape[1:])

    def _dtype(self, place: int) -> np.dtype:
        _, field, _ = self.fields[place]
        return self.dtype if field is None else self.dtype[field].base

    def _column(self, rows: np.ndarray, place: int) -> np.ndarray:
        _, field, part = self.fields[place]
        return rows[:, part] if field is None else rows[field].reshape(len(rows), -1)[:, part]

    def _put(self, rows: np.ndarray, place: int, labels: np.ndarray) -> None:
        _, field, part = self.fields[place]
        if field is None:
            rows[:, part] = labels
        else:
            values = rows[field].reshape(len(rows), -1)
            values[:, part] = labels
            rows[field] = values.reshape(rows[field].shape)


def _fields(array: np.ndarray) -> list[tuple[str, str | None, int]]:
    """Of each column its name, the field that it is in, and its place there.

    Columns of a plain array are called x, y, z and then by their places, 3, 4 and so on. A field of
    three numbers, such as xyz, gives three columns.
    """
    if not array.dtype.names:
        check_table(array, 3, "one scene of shape (N, 3 or more)")
        names = (*names_of_xyz(), *map(str, range(3, array.shape[1])))
        return [(name, None, k) for k, name in enumerate(names)]
    if array.ndim not in (1, 2) or array.size != len(array):
        raise FileFormatError(f"has shape {array.shape}: one record a point is needed")
    found: list[tuple[str, str | None, int]] = []
    for field in array.dtype.names:
        width = int(np.prod(array.dtype[field].shape, dtype=np.int64))
        parts = parts_of(field)
        if width == 1:
            found.append((field, field, 0))
        elif len(parts) <= width:
            found += [(name, field, k) for k, name in enumerate(parts)]
    return found
