"""NumPy arrays as scenes: (N, 3 or more) numbers, or a structured array with fields x, y, z."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..core.errors import FileFormatError
from ..io.arrays import PICKLE
from ..io.cloud import column_name
from ..io.layout import XYZ
from ._source import Chunk, Source, check_fits, check_name, label_place, source

ROWS = 1 << 18  # written at a time


@source
class NpySource(Source):
    """Read with plain reads, not mapped: mapped pages count as the process's memory."""

    suffixes = (".npy",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            # mmap reads the header alone; pickles are refused
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise FileFormatError(PICKLE if "pickle" in str(error) else str(error)) from error
        self.dtype, self.shape = array.dtype, array.shape
        self.start = array.offset  # type: ignore[attr-defined]
        self.by_column = not array.flags.c_contiguous
        self.count = len(array)
        self.all_names = _fields(array)
        self.kind = {n: self._dtype(n).kind for n in self.all_names}
        self.names = tuple(n for n in self.all_names if n not in XYZ and self.kind[n] in "iufb")
        self.whole = frozenset(n for n in self.names if self.kind[n] in "iu")

    def chunks(self, columns: Sequence[str], size: int) -> Iterator[Chunk]:
        wanted = ("x", "y", "z", *columns)
        for rows in self._rows(size):
            values = [self._column(rows, name) for name in wanted]
            more = np.stack(values[3:], axis=1) if columns else np.empty((len(rows), 0))
            yield np.stack(values[:3], axis=1).astype(np.float64), more.astype(np.float32)

    def prepare(self, field: str | None, highest: int) -> int:
        place = label_place(self.all_names, field)
        name = check_name(field) if place is None else self.all_names[place]
        if place is not None or not self.dtype.names:
            check_fits(highest, self._dtype(name) if place is not None else self.dtype, name)
        return self.path.stat().st_size + (self.count * 8 if place is None else 0)

    def write(self, out: Path, labels: np.ndarray, field: str | None) -> Iterator[int]:
        place, done = label_place(self.all_names, field), 0
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
        if self.dtype.names:
            rows[self.dtype.names[place]] = labels.reshape(rows.shape)
        else:
            rows[:, place] = labels
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

    def _dtype(self, name: str) -> np.dtype:
        if not self.dtype.names:
            return self.dtype
        return self.dtype[self.dtype.names[self.all_names.index(name)]]

    def _column(self, rows: np.ndarray, name: str) -> np.ndarray:
        place = self.all_names.index(name)
        return rows[self.dtype.names[place]].reshape(-1) if self.dtype.names else rows[:, place]


def _fields(array: np.ndarray) -> tuple[str, ...]:
    """Names of the columns; of a plain array x, y, z and then their places, 3, 4 and so on."""
    if array.dtype.names:
        names = tuple(column_name(name) for name in array.dtype.names)
        if (
            not {"x", "y", "z"} <= set(names)
            or array.ndim not in (1, 2)
            or array.size != len(array)
        ):
            raise FileFormatError(f"has fields {', '.join(names)}: x, y and z are needed")
        return names
    if array.dtype.kind not in "fiu":
        raise FileFormatError(f"holds {array.dtype}, not numbers")
    if array.ndim != 2 or array.shape[1] < 3:
        raise FileFormatError(
            f"has shape {array.shape}: one scene of shape (N, 3 or more) is needed"
        )
    return ("x", "y", "z", *map(str, range(3, array.shape[1])))
