"""LAS and LAZ, the formats of airborne and terrestrial laser scans, through laspy."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .cloud import Cloud, cloud_from_columns, known_columns, need
from .columns import XYZ
from .limits import check_expansion

FINEST, STEPS = -9, 2**31 - 2  # coordinates are 32-bit steps of a power of ten
CHUNK = 1_000_000  # points read at a time, so that a wrong count does not fill the memory
HEADER = struct.Struct("<94xHIIB")  # sizes of the header and all before the points, their format
COMPRESSED = 128
RETURNS = ("return_number", "number_of_returns")
ATTRIBUTES = ("intensity", "red", "green", "blue", "classification", *RETURNS)


def read_las(path: Path) -> Cloud:
    """Read coordinates in float64, and labels, colours and normals where there are any.

    Labels are those of an extra dimension called so, else the classification.

    Raises:
        FileFormatError: laspy is missing, or the header promises more than the file holds.

    """

    def known(names: Sequence[str]) -> list[str]:
        every = (*XYZ, *names)
        return [every[k] for k in known_columns(every) if k >= len(XYZ)]

    return cloud_from_columns(list(las_columns(path, known).items()))


def las_columns(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str]]
) -> dict[str, np.ndarray]:
    """Read x, y and z in float64, and the dimensions that ``choose`` picks of their names.

    Its choice is among ``ATTRIBUTES``, where the point format has them, and extra dimensions.

    Raises:
        FileFormatError: as :func:`read_las`.

    """
    laspy = need("laspy", "las")
    if path.suffix.lower() == ".laz":
        need("lazrs", "las")
    check_las(path)
    with no_panic():
        return _read_columns(laspy, path, choose)


@contextmanager
def no_panic() -> Iterator[None]:
    """Turn the way in which lazrs, in Rust, fails, which is no Exception, into an error of ours."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
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
    laspy: ModuleType, path: Path, choose: Callable[[Sequence[str]], Sequence[str]]
) -> dict[str, np.ndarray]:
    parts: list[list[np.ndarray]] = []
    # lazrs on several threads aborts the process on damaged data more readily than on one.
    with laspy.open(path, read_evlrs=False, laz_backend=laspy.LazBackend.Lazrs) as reader:
        promised = reader.header.point_count
        form = reader.header.point_format
        extra = {d.name for d in form.extra_dimensions if d.num_elements == 1} - {*XYZ}
        present = [n for n in form.dimension_names if n in extra or n in ATTRIBUTES]
        names = (*XYZ, *choose(present))
        for chunk in reader.chunk_iterator(CHUNK):
            if len(chunk) != min(CHUNK, promised - len(parts) * CHUNK):
                raise FileFormatError(f"is cut short: it does not hold its {promised} points")
            parts.append([np.array(chunk[name]) for name in names])
    if not parts:
        raise FileFormatError("has no points")
    return dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))


def check_las(path: Path) -> None:
    """Check sizes that laspy and lazrs trust: a wrong one fills the memory or ends the process.

    Raises:
        FileFormatError: it is no LAS, damaged, or cut short.

    """
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
        _check_scales(stream)
        length, count = _length_and_count(stream)
        if not length:
            raise FileFormatError("has a damaged header: points of 0 bytes")
        if point_format & COMPRESSED:
            _check_chunks(stream, data_start, size)
            check_expansion(count * length, size)
        elif size < data_start + count * length:
            held = (size - data_start) // length
            raise FileFormatError(f"is cut short: holds {held:,} of {count:,} points")


def _check_scales(stream: BinaryIO) -> None:
    stream.seek(131)
    scales = struct.unpack("<3d", stream.read(24).ljust(24, b"\0"))
    flat = " and ".join(name for name, scale in zip(XYZ, scales, strict=True) if scale == 0)
    if flat:
        raise FileFormatError(f"has scale 0, so that {flat} are the same in all of its points")


def _length_and_count(stream: BinaryIO) -> tuple[int, int]:
    """Bytes of a point, and the number of points, that the header promises."""
    stream.seek(25)
    minor = stream.read(1)[0]
    stream.seek(105)
    length, count = struct.unpack("<HI", stream.read(6).ljust(6, b"\0"))
    if minor >= 4:
        stream.seek(247)
        (count,) = struct.unpack("<Q", stream.read(8).ljust(8, b"\0"))
    return length, count


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
