"""PCD, the Point Cloud Library's format: ascii, binary and binary_compressed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError, first_line
from .cloud import Cloud, cloud_from_columns, columns_from_cloud, structured
from .columns import find_xyz
from .limits import check_present
from .lzf import lzf_decompress
from .numbers import plain_numbers, read_rows

HEADER_LINES = 64
MOST_COUNT = 1 << 16  # numbers of a field: histograms of features have some hundred
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
        columns = _read_columns(stream.read(), header)
    packed = [n for n, v in columns.items() if n.lower() in PACKED and v.dtype.itemsize >= 4]
    for name in packed:
        columns |= _unpacked(columns.pop(name))
    xyz = find_xyz(list(columns))
    if header.organised and xyz is not None:
        values = list(columns.values())
        measured = ~np.isnan(np.stack([values[k] for k in xyz])).any(axis=0)
        columns = {name: values[measured] for name, values in columns.items()}
    return cloud_from_columns(list(columns.items()))


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


def _read_header(stream: BinaryIO) -> _Header:
    entries: dict[str, list[str]] = {}
    for _ in range(HEADER_LINES):
        words = stream.readline(10_000).decode("ascii", "replace").partition("#")[0].split()
        if words:
            entries[words[0].upper()] = words[1:]
        if "DATA" in entries:
            break
    entries.setdefault("FIELDS", entries.get("COLUMNS", []))  # as version .5 calls them
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
        raise FileFormatError(f"has a damaged PCD header: {first_line(error)}") from error
    if not 0 <= points < 2**48:
        raise FileFormatError(f"has a damaged PCD header: POINTS {points}")
    return _Header(dtype, points, height > 1, data)


def _dtype(entries: dict[str, list[str]]) -> np.dtype:
    fields = entries["FIELDS"]
    counts = list(map(int, entries.get("COUNT", ["1"] * len(fields))))
    sizes = list(map(int, entries["SIZE"]))
    if any(not 0 <= n < MOST_COUNT for n in counts):
        raise ValueError(f"COUNT {' '.join(entries['COUNT'])}")
    rows = zip(fields, entries["TYPE"], sizes, counts, strict=True)
    return np.dtype(
        [
            # padding is called _ , any number of times
            (
                f"_{k}" if name == "_" else name,
                f"<{TYPES[kind.upper()]}{size}",
                (n,) if n != 1 else (),
            )
            for k, (name, kind, size, n) in enumerate(rows)
        ]
    )


def _read_columns(body: bytes, header: _Header) -> dict[str, np.ndarray]:
    """The fields of one number for each point; packed colours in text stay as they are."""
    single = [n for n in header.dtype.names or () if not header.dtype[n].shape]
    if header.data == "ascii":
        table, places = _read_ascii(body, header), np.cumsum([0, *_widths(header.dtype)])
        at = dict(zip(header.dtype.names or (), places.tolist(), strict=False))
        return {name: _typed(table[:, at[name]], name, header.dtype[name]) for name in single}
    promised = header.points * header.dtype.itemsize
    if header.data == "binary":
        check_present(len(body), promised)
        table = np.frombuffer(body, dtype=header.dtype, count=header.points)
        return {name: table[name] for name in single}
    check_present(len(body), 8)
    packed, size = np.frombuffer(body, dtype="<u4", count=2).tolist()
    check_present(len(body) - 8, packed)
    check_present(size, promised)
    data = body[8 : 8 + packed]
    # The same size, compressed and not: stored as it is.
    planes = data if packed == size else lzf_decompress(data, size)
    return {name: plane for name, plane in _planes(planes, header) if name in single}


def _typed(values: np.ndarray, name: str, dtype: np.dtype) -> np.ndarray:
    """A column of text in its type; packed colours keep all their digits."""
    if name.lower() not in PACKED:
        return values.astype(dtype)
    return values if dtype.kind == "f" else values.astype(np.int64)


def _read_ascii(body: bytes, header: _Header) -> np.ndarray:
    lines = plain_numbers(body.decode("ascii", "replace")).splitlines()
    lines = [line for line in lines if line.strip(" \t\x1a")]
    table = read_rows(lines, "after the header") if lines else np.empty((0, 0))
    if len(table) != header.points:
        raise FileFormatError(f"promises {header.points} points but holds {len(table)}")
    columns = sum(_widths(header.dtype))
    if lines and table.shape[1] < columns:
        raise FileFormatError(f"has {table.shape[1]} numbers in a line, its header {columns}")
    return table if lines else np.empty((0, columns))


def _widths(dtype: np.dtype) -> list[int]:
    """How many numbers each field has."""
    return [int(np.prod(dtype[name].shape, dtype=int)) for name in dtype.names or ()]


def _planes(data: bytes, header: _Header) -> Iterator[tuple[str, np.ndarray]]:
    """The fields of uncompressed planes, which hold all x, then all y, and so on."""
    first = 0
    for name in header.dtype.names or ():
        plane = header.dtype[name]
        if plane.itemsize:
            yield name, np.frombuffer(data, dtype=plane, count=header.points, offset=first)
        first += header.points * plane.itemsize


def _unpacked(packed: np.ndarray) -> dict[str, np.ndarray]:
    """Red, green and blue from one number: whole, or a float32 that has its bits.

    Some programs put the whole number itself where the header says float: bits of colours, read as
    float32, are never whole numbers from 1.
    """
    if packed.dtype.kind in "iu":
        bits = packed.astype(np.int64) & 0xFFFFFFFF
    elif np.isfinite(packed).all() and packed.min(initial=0) >= 0 and packed.max(initial=0) >= 1:
        bits = packed.astype(np.int64)
    else:
        bits = packed.astype("<f4").view("<u4").astype(np.int64)
    return {name: (bits >> shift & 255).astype(np.uint8) for name, shift in SHIFTS.items()}
