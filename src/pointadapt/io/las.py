"""LAS and LAZ, the formats of airborne and terrestrial laser scans, through laspy."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .cloud import Cloud, cloud_from_columns, need

FINEST, STEPS = -9, 2**31 - 2  # coordinates are 32-bit steps of a power of ten
CHUNK = 1_000_000  # points read at a time, so that a wrong count does not fill the memory
HEADER = struct.Struct("<94xHIIB")  # sizes of the header and all before the points, their format
COMPRESSED = 128
ATTRIBUTES = ("red", "green", "blue", "classification")


def read_las(path: Path) -> Cloud:
    """Read coordinates in float64, classification, and colours where the point format has them.

    Raises:
        FileFormatError: laspy is missing, or the header promises more than the file holds.

    """
    return cloud_from_columns(las_columns(path, ATTRIBUTES))


def las_columns(path: Path, attributes: Sequence[str]) -> dict[str, np.ndarray]:
    """Read x, y and z in float64, and those of the ``attributes`` that the point format has.

    Raises:
        FileFormatError: as :func:`read_las`.

    """
    laspy = need("laspy", "las")
    if path.suffix.lower() == ".laz":
        need("lazrs", "las")
    _check_header(path)
    try:
        return _read_columns(laspy, path, attributes)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how lazrs, in Rust, fails; no Exception
            raise
        raise FileFormatError("has damaged compressed data") from error


def write_las(stream: BinaryIO, cloud: Cloud, _ascii: bool, *, compress: bool = False) -> None:
    """Write LAS 1.4, rounded to the finest power of ten that the extent allows.

    That is a billionth of the extent or finer: 1e-7 for a tile of 100 m.
    """
    laspy = need("laspy", "las")
    labels = cloud.labels
    if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) <= 255:
        raise FileFormatError("LAS has labels 0 to 255 only: use PLY")
    header = laspy.LasHeader(version="1.4", point_format=6)
    points = cloud.points.astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    header.offsets = np.floor(low)
    extent = max(float((high - header.offsets).max()), 1e-9)
    exponent = max(FINEST, int(np.ceil(np.log10(extent / STEPS))))
    header.scales = np.full(3, 10.0**exponent)
    las = laspy.LasData(header)
    las.x, las.y, las.z = points.T
    if labels is not None:
        las.classification = labels.astype(np.uint8)
    las.write(stream, do_compress=compress)


def _read_columns(
    laspy: ModuleType, path: Path, attributes: Sequence[str]
) -> dict[str, np.ndarray]:
    parts: list[list[np.ndarray]] = []
    # lazrs on several threads aborts the process on damaged data more readily than on one.
    with laspy.open(path, read_evlrs=False, laz_backend=laspy.LazBackend.Lazrs) as reader:
        promised = reader.header.point_count
        present = set(attributes) & set(reader.header.point_format.dimension_names)
        names = ("x", "y", "z", *sorted(present))
        for chunk in reader.chunk_iterator(CHUNK):
            if len(chunk) != min(CHUNK, promised - len(parts) * CHUNK):
                raise FileFormatError(f"is cut short: it does not hold its {promised} points")
            parts.append([np.array(chunk[name]) for name in names])
    if not parts:
        raise FileFormatError("has no points")
    return dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))


def _check_header(path: Path) -> None:
    """Check sizes that laspy and lazrs trust: a wrong one fills the memory or ends the process."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(HEADER.size)
        if start[:4] != b"LASF":
            raise FileFormatError("is no LAS file")
        if len(start) < HEADER.size:
            raise FileFormatError("is cut short within its header")
        header_size, data_start, records, point_format = HEADER.unpack(start)
        if data_start > size or header_size + 54 * records > data_start:
            raise FileFormatError("has a damaged header, or is cut short before its points")
        if point_format & COMPRESSED:
            _check_chunks(stream, data_start, size)
        else:
            _check_length(stream, data_start, size)


def _check_length(stream: BinaryIO, data_start: int, size: int) -> None:
    """Check that a file that is not compressed holds all points that its header counts."""
    stream.seek(25)
    minor = stream.read(1)[0]
    stream.seek(105)
    length, count = struct.unpack("<HI", stream.read(6))
    if minor >= 4:
        stream.seek(247)
        (count,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))
    if length and size < data_start + count * length:
        held = (size - data_start) // length
        raise FileFormatError(f"is cut short: holds {held:,} of {count:,} points")


def _check_chunks(stream: BinaryIO, data_start: int, size: int) -> None:
    """Check the number of compressed chunks; where their table lies is said first, or last."""
    for place in (data_start, max(size - 8, 0)):
        stream.seek(place)
        (table,) = struct.unpack("<q", stream.read(8).ljust(8, b"\0"))
        if table != -1:
            break
    stream.seek(min(max(table, 0), size))
    _, chunks = struct.unpack("<II", stream.read(8).ljust(8, b"\xff"))
    if not data_start < table < size or chunks > size:
        raise FileFormatError("has a damaged table of compressed chunks, or is cut short")
