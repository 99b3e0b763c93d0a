"""Text of one point per line: ``.txt .xyz .pts .csv``, any delimiter, with or without a header.

The first three columns are x, y and z, unless a header line names them. Colours, normals and
labels are read only where a header names them: six bare columns could be either.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .cloud import Cloud, as_float, cloud_from_columns, columns_from_cloud
from .layout import Layout, find_layout

HEAD_LINES = 100


def read_text(path: Path) -> Cloud:
    """Read one point per line; a first line that counts them is checked.

    Raises:
        FileFormatError: no line of three numbers, a bad line, or fewer points than promised.

    """
    encoding = _encoding(path)
    with path.open(encoding=encoding, errors="replace") as stream:
        layout = find_layout(list(islice(stream, HEAD_LINES)))
    with path.open(encoding=encoding, errors="replace") as stream:
        lines = islice(stream, layout.skip, None)
        if layout.decimal_comma:
            lines = (line.replace(",", ".") for line in lines)
        table = _numbers(lines, layout)
    if layout.count not in (None, len(table)):
        raise FileFormatError(
            f"says it has {layout.count} points but holds {len(table)}: copy it again"
        )
    return cloud_from_columns(dict(zip(layout.columns, table.T, strict=True)))


def write_text(stream: BinaryIO, cloud: Cloud, _ascii: bool, *, delimiter: str = " ") -> None:
    """Write numbers that read back exactly; a header if there is more than x, y, z, or for CSV."""
    columns = columns_from_cloud(cloud)
    digits = {"f4": "%.9g", "f8": "%.17g"}
    formats = [digits.get(v.dtype.str[1:], "%d") for v in columns.values()]
    if len(columns) > 3 or delimiter == ",":
        stream.write((delimiter.join(columns) + "\n").encode())
    table = np.stack([as_float(v).astype(np.float64) for v in columns.values()], axis=1)
    np.savetxt(stream, table, fmt=formats, delimiter=delimiter)


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(4096)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if b"\0" in start:
        raise FileFormatError("is binary, not text")
    return "utf-8-sig"


def _numbers(lines: object, layout: Layout) -> np.ndarray:
    try:
        return np.loadtxt(
            lines,  # type: ignore[arg-type]
            delimiter=layout.delimiter,
            usecols=list(layout.columns.values()),
            quotechar='"',
            ndmin=2,
        )
    except ValueError as error:
        raise FileFormatError(f"{error} (rows counted from 0 after line {layout.skip})") from error
