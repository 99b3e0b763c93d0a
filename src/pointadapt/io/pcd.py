"""PCD, the Point Cloud Library's format: ascii, binary and binary_compressed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .cloud import Cloud, cloud_from_columns, columns_from_cloud, structured

HEADER_LINES = 64
TYPES = {"F": "f", "I": "i", "U": "u"}
PACKED = ("rgb", "rgba")
SHIFTS = {"red": 16, "green": 8, "blue": 0}


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype
    points: int
    organised: bool  # an image of points, in which NaN marks a pixel without measurement
    data: str


def read_pcd(path: Path) -> Cloud:
    """Read all fields that mean something; unmeasured pixels of an organised cloud are left out.

    Raises:
        FileFormatError: a damaged header, or fewer data than it promises.

    """
    with path.open("rb") as stream:
        header = _read_header(stream)
        table = _read_table(stream.read(), header)
    columns = {name: table[name] for name in header.dtype.names or () if table[name].ndim == 1}
    for name in PACKED:
        if name in columns and columns[name].dtype.itemsize == 4:
            bits = np.ascontiguousarray(columns.pop(name)).view("<u4")
            columns |= {c: (bits >> shift & 255).astype(np.uint8) for c, shift in SHIFTS.items()}
    if header.organised and set("xyz") <= set(columns):
        measured = ~np.isnan(np.stack([columns[n] for n in "xyz"])).any(axis=0)
        columns = {name: values[measured] for name, values in columns.items()}
    return cloud_from_columns(columns)


def write_pcd(stream: BinaryIO, cloud: Cloud, ascii: bool) -> None:
    """Write ``DATA binary``, or ``ascii`` that reads back exactly."""
    table = structured(columns_from_cloud(cloud))
    kinds = [table.dtype[name] for name in table.dtype.names or ()]
    lines = [
        "VERSION 0.7",
        f"FIELDS {' '.join(table.dtype.names or ())}",
        f"SIZE {' '.join(str(kind.itemsize) for kind in kinds)}",
        f"TYPE {' '.join(kind.kind.upper() for kind in kinds)}",
        f"COUNT {' '.join('1' for _ in kinds)}",
        f"WIDTH {len(table)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(table)}\nDATA {'ascii' if ascii else 'binary'}\n",
    ]
    stream.write("\n".join(lines).encode())
    if ascii:
        digits = {"f4": "%.9g", "f8": "%.17g"}
        np.savetxt(stream, table, fmt=[digits.get(kind.str[1:], "%d") for kind in kinds])
    else:
        stream.write(table.tobytes())


def lzf_decompress(data: bytes, size: int) -> bytes:
    """Undo LZF: a control byte below 32 copies literals, another repeats what was written.

    Raises:
        FileFormatError: the result does not have ``size`` bytes, or data point before its start.

    """
    out, at = bytearray(), 0
    while at < len(data) and len(out) <= size:
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[at]
            at += 1
        start = len(out) - ((control & 31) << 8) - data[at] - 1
        at += 1
        if start < 0:
            raise FileFormatError("has damaged compressed data")
        chunk = out[start : start + length + 2]
        out += (chunk * -(-(length + 2) // len(chunk)))[: length + 2]
    if len(out) != size:
        raise FileFormatError(f"has damaged compressed data: {len(out)} bytes, not {size}")
    return bytes(out)


def _read_header(stream: BinaryIO) -> _Header:
    entries: dict[str, list[str]] = {}
    for _ in range(HEADER_LINES):
        words = stream.readline(10_000).decode("ascii", "replace").partition("#")[0].split()
        if words:
            entries[words[0].upper()] = words[1:]
        if "DATA" in entries:
            break
    missing = [key for key in ("FIELDS", "SIZE", "TYPE", "WIDTH", "DATA") if not entries.get(key)]
    if missing:
        raise FileFormatError(f"is no PCD file: its header lacks {', '.join(missing)}")
    data = entries["DATA"][0].lower()
    if data not in ("ascii", "binary", "binary_compressed"):
        raise FileFormatError(f"has DATA {data}: only ascii, binary and binary_compressed exist")
    try:
        width, height = int(entries["WIDTH"][0]), int(entries.get("HEIGHT", ["1"])[0])
        points = int(entries.get("POINTS", [str(width * height)])[0])
        dtype = _dtype(entries)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise FileFormatError(f"has a damaged PCD header: {error}") from error
    return _Header(dtype, points, height > 1, data)


def _dtype(entries: dict[str, list[str]]) -> np.dtype:
    fields = entries["FIELDS"]
    counts = map(int, entries.get("COUNT", ["1"] * len(fields)))
    rows = zip(fields, entries["TYPE"], entries["SIZE"], counts, strict=True)
    return np.dtype(
        [
            # padding is called _ , any number of times
            (f"_{k}" if name == "_" else name, f"<{TYPES[kind]}{size}", *([(n,)] if n > 1 else []))
            for k, (name, kind, size, n) in enumerate(rows)
        ]
    )


def _read_table(body: bytes, header: _Header) -> np.ndarray:
    """Parse the points into a structured array of ``header.dtype``."""
    if header.data == "ascii":
        return _read_ascii(body, header)
    promised = header.points * header.dtype.itemsize
    if header.data == "binary":
        _check_size(len(body), promised)
        return np.frombuffer(body, dtype=header.dtype, count=header.points)
    _check_size(len(body), 8)
    packed, size = np.frombuffer(body, dtype="<u4", count=2).tolist()
    _check_size(len(body) - 8, packed)
    _check_size(size, promised)
    return _read_planes(lzf_decompress(body[8 : 8 + packed], size), header)


def _read_ascii(body: bytes, header: _Header) -> np.ndarray:
    lines = body.decode("ascii", "replace").splitlines()
    table = np.loadtxt(lines, ndmin=2) if any(map(str.strip, lines)) else np.empty((0, 0))
    if len(table) != header.points:
        raise FileFormatError(f"promises {header.points} points but holds {len(table)}")
    columns = sum(_width(header.dtype[name]) for name in header.dtype.names or ())
    if table.shape[1] < columns:
        raise FileFormatError(f"has {table.shape[1]} numbers in a line, its header {columns}")
    result = np.empty(len(table), dtype=header.dtype)
    first = 0
    for name in header.dtype.names or ():
        width = _width(header.dtype[name])
        values = table[:, first : first + width]
        result[name] = values.reshape(result[name].shape)
        first += width
    return result


def _width(field: np.dtype) -> int:
    return int(np.prod(field.shape, dtype=int))


def _read_planes(data: bytes, header: _Header) -> np.ndarray:
    """Parse uncompressed planes: they hold all x, then all y, and so on."""
    result = np.empty(header.points, dtype=header.dtype)
    first = 0
    for name in header.dtype.names or ():
        plane = header.dtype[name]
        result[name] = np.frombuffer(data, dtype=plane, count=header.points, offset=first)
        first += header.points * plane.itemsize
    return result


def _check_size(present: int, promised: int) -> None:
    if present < promised:
        raise FileFormatError(f"is cut short: {present} of {promised} bytes of data")
