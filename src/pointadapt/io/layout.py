"""How a text file of points is laid out, told from its first lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import FileFormatError
from .cloud import KNOWN_COLUMNS, LABELS, column_name, is_number

COMMENTS = ("#", "//", "%", "!")
XYZ = ("x", "y", "z")


@dataclass(frozen=True)
class Layout:
    """Where the data begin and which columns to read.

    Attributes:
        skip: number of lines before the first point.
        columns: name and position of each column to read.
        delimiter: between columns; None is white space.
        decimal_comma: whether numbers are written 1,5.
        count: number of points that a leading line promises; None if there is no such line.

    """

    skip: int
    columns: dict[str, int]
    delimiter: str | None
    decimal_comma: bool
    count: int | None


def find_layout(head: Sequence[str]) -> Layout:
    """Tell the layout of a file from its first lines ``head``.

    Raises:
        FileFormatError: none of them is a point, or the header names other columns than x, y, z.

    """
    header: tuple[str, ...] = ()
    commented, count = False, None
    for skip, raw in enumerate(head):
        line = raw.strip().lstrip("#/%!").strip()
        comment = raw.lstrip().startswith(COMMENTS)
        if not line:
            continue
        delimiter, decimal_comma = _style(line)
        fields = _split(line, delimiter, decimal_comma)
        if not comment and _is_point(fields, header):
            names = _names(header, commented, fields)
            return Layout(skip, _columns(names, fields), delimiter, decimal_comma, count)
        if not comment and line.isdigit():
            count = int(line)
            continue
        words = tuple(map(column_name, fields))
        if not _has_xyz(header) or (commented and _has_xyz(words)):
            header, commented = words, comment
    if header and all(map(is_number, header)):
        raise FileFormatError(f"has {len(header)} columns: x, y and z are needed")
    raise FileFormatError(f"has no line of three numbers among its first {len(head)} lines")


def _style(line: str) -> tuple[str | None, bool]:
    """Tell the delimiter, and whether commas are decimal as in ``1,5;2,5;3`` or ``1,5 2,5 3``."""
    fields = [field for field in re.split(r"[;\s]+", line) if field]
    commas = [field for field in fields if "," in field]
    decimal = len(fields) >= 3 and all(re.fullmatch(r"[^,]+,[^,]+", f) for f in commas)
    decimal = decimal and bool(commas)
    return ";" if ";" in line else "," if "," in line and not decimal else None, decimal


def _split(line: str, delimiter: str | None, decimal_comma: bool) -> list[str]:
    line = line.replace(",", ".") if decimal_comma else line
    return [field.strip().strip('"') for field in line.split(delimiter)]


def _has_xyz(names: tuple[str, ...]) -> bool:
    return set(XYZ) <= set(names)


def _is_point(fields: list[str], header: tuple[str, ...]) -> bool:
    """Tell whether x, y, z are numbers: the first three fields, or those the header names."""
    named = [tuple(header.index(n) for n in XYZ)] if _has_xyz(header) else []
    places = [(0, 1, 2), *named]
    return any(max(p) < len(fields) and all(is_number(fields[k]) for k in p) for p in places)


def _names(header: tuple[str, ...], commented: bool, fields: list[str]) -> tuple[str, ...]:
    """Name the columns by the header; x, y, z where there is none, or it is a remark."""
    width = len(fields) - (fields[-1] == "")  # a delimiter at the end of the line
    fits, named = len(header) == width, _has_xyz(header)
    if named and (fits or header[:3] == XYZ):
        return header[:width]
    if commented or not header or (not named and (not fits or width == 3)):
        return XYZ
    wrong = f"{width} columns follow" if named else "none is called x, y or z"
    raise FileFormatError(f"its header names the columns {', '.join(header)}, but {wrong}")


def _columns(names: tuple[str, ...], fields: list[str]) -> dict[str, int]:
    """Pick the columns that mean something; labels only where they are numbers."""
    words = {name for (name,) in LABELS}
    return {
        name: k
        for k, name in enumerate(names)
        if name in KNOWN_COLUMNS and not (name in words and not is_number(fields[k]))
    }
