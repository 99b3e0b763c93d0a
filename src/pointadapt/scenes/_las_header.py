"""The bytes of a LAS file before its points, as ASPRS' LAS 1.4 specification lays them out.

They are copied, not built anew: a library that parses header and records and writes them again may
change what it does not know.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.errors import FileFormatError

COUNT_OLD, COUNT_NEW = 107, 247  # where the number of points stands: versions to 1.3, from 1.4
EVLRS, WAVES, ENCODING = 235, 227, 6
VLR = struct.Struct("<H16sHH32s")  # reserved, user, record, length, description
SIZES = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)  # of a point, by its format
EXTRA = (b"LASF_Spec", 4)  # the record that describes extra bytes, 192 bytes for each of them
LASZIP = (b"laszip encoded", 22204)
COPC = (b"copc", 1)
TYPES = {1: "u1", 2: "i1", 3: "<u2", 4: "<i2", 5: "<u4", 6: "<i4", 7: "<u8", 8: "<i8",
         9: "<f4", 10: "<f8"}  # fmt: skip
KINDS = {np.dtype(kind): number for number, kind in TYPES.items()}


@dataclass(frozen=True)
class Record:
    """A variable length record: who defined it, its number, and its bytes."""

    user: bytes
    number: int
    title: bytes
    data: bytes

    @property
    def key(self) -> tuple[bytes, int]:
        return self.user.rstrip(b"\0"), self.number

    def to_bytes(self) -> bytes:
        head = VLR.pack(0, self.user, self.number, len(self.data), self.title)
        return head + self.data


@dataclass(frozen=True)
class LasHeader:
    """What stands before the points.

    Attributes:
        head: the public header, with any bytes of its own that follow.
        records: the variable length records.
        rest: bytes between them and the points.
    """

    head: bytes
    records: tuple[Record, ...]
    rest: bytes

    @classmethod
    def read(cls, path: Path) -> LasHeader:
        """From a file whose sizes were checked.

        Raises:
            FileFormatError: a record is longer than the room for it.
        """
        with path.open("rb") as stream:
            start = stream.read(104)
            size, data_start, count = struct.unpack_from("<HII", start, 94)
            stream.seek(0)
            raw = stream.read(data_start)
        records, at = [], size
        for _ in range(count):
            _, user, number, length, title = VLR.unpack_from(raw, at)
            at += VLR.size
            if at + length > len(raw):
                raise FileFormatError("has a damaged header: a record is longer than its place")
            records.append(Record(user, number, title, raw[at : at + length]))
            at += length
        return cls(raw[:size], tuple(records), raw[at:])

    def to_bytes(self) -> bytes:
        """Header and records, with their number and the start of the points put right."""
        records = b"".join(record.to_bytes() for record in self.records)
        start = len(self.head) + len(records) + len(self.rest)
        head = bytearray(self.head)
        struct.pack_into("<II", head, 96, start, len(self.records))
        return bytes(head) + records + self.rest

    @property
    def start(self) -> int:
        """Where the points begin."""
        return struct.unpack_from("<I", self.head, 96)[0]

    @property
    def compressed(self) -> bool:
        return bool(self.head[104] & 128)

    @property
    def form(self) -> int:
        """The point format, 0 to 10."""
        return self.head[104] & 63

    @property
    def width(self) -> int:
        """Bytes of a point."""
        return struct.unpack_from("<H", self.head, 105)[0]

    @property
    def count(self) -> int:
        if self.head[25] >= 4 and len(self.head) >= COUNT_NEW + 8:
            return struct.unpack_from("<Q", self.head, COUNT_NEW)[0]
        return struct.unpack_from("<I", self.head, COUNT_OLD)[0]

    @property
    def evlrs(self) -> int:
        """Where the extended records begin, after the points; 0 if there are none."""
        if self.head[25] < 4 or len(self.head) < EVLRS + 12:
            return 0
        start, count = struct.unpack_from("<QI", self.head, EVLRS)
        return start if count else 0

    @property
    def waves_inside(self) -> bool:
        """Whether wave forms follow the points."""
        return self.form in (4, 5, 9, 10) and bool(self.head[ENCODING] & 2)

    def record(self, key: tuple[bytes, int]) -> Record | None:
        return next((record for record in self.records if record.key == key), None)

    def extras(self) -> dict[str, tuple[int, np.dtype | None]]:
        """The described extra bytes by name: their place in a point, and their type if a number."""
        record, at, found = self.record(EXTRA), SIZES[self.form], {}
        data = record.data if record else b""
        for k in range(0, len(data) - 191, 192):
            kind, options = data[k + 2], data[k + 3]
            name = data[k + 4 : k + 36].rstrip(b"\0").decode("utf-8", "replace")
            dtype = np.dtype(TYPES[kind]) if kind in TYPES else None
            found[name] = (at, dtype)
            if dtype is not None:
                at += dtype.itemsize
            elif kind == 0:
                at += options
            else:  # arrays of 2 or 3, kinds of the past
                at += np.dtype(TYPES[(kind - 1) % 10 + 1]).itemsize * ((kind - 1) // 10 + 1)
        return found

    def with_extra(self, name: str, dtype: np.dtype) -> LasHeader:
        """The header of points with one more number at their end.

        Raises:
            FileFormatError: there is no room to describe it.
        """
        record = self.record(EXTRA)
        described, undescribed = self._described(), b""
        if described < self.width:  # bytes that no record names must be named before ours
            undescribed = bytes([0, 0, 0, self.width - described]).ljust(192, b"\0")
        text = name.encode()[:32].ljust(32, b"\0")
        ours = bytes([0, 0, KINDS[dtype], 0]) + text
        ours = ours.ljust(160, b"\0") + b"labels by pointadapt".ljust(32, b"\0")
        if record is None:
            user, title = EXTRA[0].ljust(16, b"\0"), b"extra bytes".ljust(32, b"\0")
            record = Record(user, EXTRA[1], title, b"")
            records = (*self.records, record)
        else:
            records = self.records
        data = record.data + undescribed + ours
        if len(data) > 65535:
            raise FileFormatError("has no room to describe another field of extra bytes")
        records = tuple(replace(r, data=data) if r is record else r for r in records)
        head = bytearray(self.head)
        struct.pack_into("<H", head, 105, self.width + dtype.itemsize)
        return replace(self, head=bytes(head), records=records)

    def _described(self) -> int:
        record, at = self.record(EXTRA), SIZES[self.form]
        if record is None:
            return at
        probe = bytes([0, 0, 1, 0]) + b"\xff".ljust(188, b"\0")  # a last field, to learn its place
        longer = replace(record, data=record.data + probe)
        records = tuple(longer if r is record else r for r in self.records)
        return list(replace(self, records=records).extras().values())[-1][0]
