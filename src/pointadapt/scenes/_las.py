"""LAS and LAZ scenes. laspy reads the points; the copy's bytes are the input's but the labels."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.errors import ConfigError, FileFormatError
from ..io.cloud import need
from ..io.las import check_las, no_panic
from ._las_header import COPC, EVLRS, LASZIP, SIZES, LasHeader
from ._source import Chunk, Source, check_fits, source

ROWS = 1 << 18  # points copied at a time
BLOCK = 1 << 22  # bytes copied at a time
FIELD = "classification"
OLD_CLASSES = 31  # formats 0 to 5 keep three flags in the upper bits of the byte


@dataclass(frozen=True)
class Place:
    """Where in a point its label goes: first byte, type, which bits, and whether it is new."""

    at: int
    dtype: np.dtype
    mask: int = 0xFF
    new: bool = False


@source
class LasSource(Source):
    """The points are read in order; LAZ is decompressed as it is read."""

    suffixes = (".las", ".laz")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.laspy = need("laspy", "las")
        check_las(path)
        self.header = LasHeader.read(path)
        if self.header.form >= len(SIZES) or self.header.width < SIZES[self.header.form]:
            raise FileFormatError("has a damaged header: no such point format")
        if self.header.compressed:
            self.lazrs = need("lazrs", "las")
        with self._open() as reader:
            self.count = int(reader.header.point_count)
            dimensions = list(reader.header.point_format.dimensions)
        stored = {d.name: d for d in dimensions if d.name not in ("X", "Y", "Z")}
        plain = {name: d for name, d in stored.items() if d.num_elements == 1}
        self._real = {name.lower(): name for name in plain}
        self.names = tuple(self._real)
        self.whole = frozenset(
            name for name, real in self._real.items() if plain[real].kind.name != "FloatingPoint"
        )

    def chunks(self, columns: Sequence[str], size: int) -> Iterator[Chunk]:
        done = 0
        with no_panic(), self._open() as reader:
            for points in reader.chunk_iterator(size):
                if len(points) != min(size, self.count - done):
                    break
                done += len(points)
                xyz = np.stack([points.x, points.y, points.z], axis=1).astype(np.float64)
                more = np.empty((len(points), len(columns)), np.float32)
                for k, name in enumerate(columns):
                    more[:, k] = points[self._real[name]]
                yield xyz, more
        if done < self.count:
            raise FileFormatError(f"is cut short: it does not hold its {self.count} points")

    def field_name(self, field: str | None) -> str:
        return FIELD if field is None else field

    def prepare(self, field: str | None, highest: int) -> int:
        place = self._place(field, highest)
        size = self.path.stat().st_size
        if self.header.compressed:
            zipped = self.header.record(LASZIP)
            if self.header.record(COPC) or zipped is None or self._variable(zipped.data):
                raise FileFormatError(
                    "is a COPC or another LAZ with chunks of unequal size, whose index a changed "
                    "copy would break: convert it to plain LAS or LAZ first"
                )
            if self.header.waves_inside:
                raise FileFormatError("is LAZ with wave forms inside: convert it to LAS first")
        elif place.new and self.header.waves_inside:
            raise FileFormatError("has wave forms after its points: label its classification")
        return size + (place.dtype.itemsize * self.count if place.new else 0)

    def write(self, out: Path, labels: np.ndarray, field: str | None) -> Iterator[int]:
        place = self._place(field, int(labels.max(initial=0)))
        header = self.header.with_extra(str(field), place.dtype) if place.new else self.header
        if place.new and header.compressed:
            header = self._rezipped(header)
        with self.path.open("rb") as source, out.open("w+b") as stream:
            stream.write(header.to_bytes() if place.new else _exactly(source, self.header.start))
            zipper = self._compressor(header, stream) if header.compressed else None
            put, done = zipper or stream, 0
            for rows in self._rows():
                part = labels[done : done + len(rows)]
                put.write(_labelled(rows, part, place))
                done += len(rows)
                yield done
            if zipper is not None:
                zipper.done()
            self._tail(source, stream)

    def _tail(self, source: BinaryIO, stream: BinaryIO) -> None:
        """Copy what follows the points, and say where it is now."""
        old = self.header.evlrs
        if not self.header.compressed:
            end = self.header.start + self.count * self.header.width
        elif not old:
            return
        else:
            end = old
        stream.seek(0, 2)
        moved = stream.tell() - end
        source.seek(end)
        while block := source.read(BLOCK):
            stream.write(block)
        if old and moved:
            stream.seek(EVLRS)
            stream.write(struct.pack("<Q", old + moved))

    def _place(self, field: str | None, highest: int) -> Place:
        old = self.header.form < 6
        if field is None or field.lower() == FIELD:
            most = OLD_CLASSES if old else 255
            if highest > most:
                raise FileFormatError(
                    f"has point format {self.header.form}, whose classification ends at {most}: "
                    f"label {highest} needs a field of its own, say --field label"
                )
            return Place(15 if old else 16, np.dtype("u1"), 0x1F if old else 0xFF)
        extras = self.header.extras()
        if field in extras:
            at, dtype = extras[field]
            if dtype is None:
                raise FileFormatError(f"its field {field!r} is no single number: name another")
            check_fits(highest, dtype, f"its field {field!r}")
            return Place(at, dtype)
        if field.lower() in (*self.names, "x", "y", "z"):
            raise ConfigError(f"field {field!r} holds something else: name another")
        if not 0 < len(field.encode()) <= 32 or not field.isprintable():
            raise ConfigError(f"field {field!r}: LAS has names of 1 to 32 bytes")
        return Place(self.header.width, np.min_scalar_type(highest).newbyteorder("<"), new=True)

    def _rows(self) -> Iterator[np.ndarray]:
        """(m, width) bytes of the points as they are stored, or were before compression."""
        if self.header.compressed:
            with no_panic(), self._open() as reader:
                for points in reader.chunk_iterator(ROWS):
                    yield np.array(points.array).view(np.uint8).reshape(len(points), -1)
            return
        with self.path.open("rb") as stream:
            stream.seek(self.header.start)
            for start in range(0, self.count, ROWS):
                rows = min(ROWS, self.count - start)
                raw = bytearray(_exactly(stream, rows * self.header.width))
                yield np.frombuffer(raw, np.uint8).reshape(rows, -1)

    def _open(self) -> Any:
        backend = self.laspy.LazBackend.Lazrs  # on one thread, as in pointadapt.io
        return self.laspy.open(self.path, read_evlrs=False, laz_backend=backend)

    def _variable(self, data: bytes) -> bool:
        return self.lazrs.LazVlr(data).uses_variable_size_chunks()

    def _rezipped(self, header: LasHeader) -> LasHeader:
        """The header with the compressor's own record for the longer points."""
        extra = header.width - SIZES[header.form]
        data = bytes(self.lazrs.LazVlr.new_for_compression(header.form, extra).record_data())
        records = (replace(r, data=data) if r.key == LASZIP else r for r in header.records)
        return replace(header, records=tuple(records))

    def _compressor(self, header: LasHeader, stream: BinaryIO) -> _Compressor:
        zipped = header.record(LASZIP)
        assert zipped is not None  # prepare looked
        return _Compressor(self.lazrs.LasZipCompressor(stream, self.lazrs.LazVlr(zipped.data)))


class _Compressor:
    """lazrs' compressor, fed like a file."""

    def __init__(self, compressor: Any) -> None:
        self.compressor = compressor
        compressor.reserve_offset_to_chunk_table()

    def write(self, data: bytes) -> None:
        self.compressor.compress_many(np.frombuffer(data, np.uint8))

    def done(self) -> None:
        self.compressor.done()


def _labelled(rows: np.ndarray, labels: np.ndarray, place: Place) -> bytes:
    """Bytes of the points (m, width) with their labels in place."""
    values = np.ascontiguousarray(labels.astype(place.dtype)).view(np.uint8)
    values = values.reshape(len(rows), -1)
    if place.new:
        return np.concatenate([rows, values], axis=1).tobytes()
    at = slice(place.at, place.at + place.dtype.itemsize)
    rows[:, at] = values | (rows[:, at] & (0xFF ^ place.mask))
    return rows.tobytes()


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise FileFormatError("is cut short: it does not hold all its points")
    return data
