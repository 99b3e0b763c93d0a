"""How a text file of points is laid out, told from its first lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import FileFormatError
from ..core.notes import note
from .columns import XYZ, bare_name, column_names, find_xyz, names_of_xyz, no_xyz
from .numbers import is_count, is_number

COMMENTS = ("#", "//", "%", "!")
GRID = ("ncols", "nrows", "xllcorner", "xllcenter", "cellsize")  # begin an ESRI ASCII grid
LONGEST = 1 << 16  # characters of a line; a longer one is no point
NAMED_BY_PLACE = 3  # columns that a header names 0, 1, 2, as pandas does, are x, y, z


@dataclass(frozen=True)
class TextForm:
    """Where the data begin and what the columns are called.

    Attributes:
        skip: number of lines before the first point.
        names: of every column: as the header calls them, or x, y, z, 3, 4, …
        numeric: of every column, whether the first point has a number there.
        header: the line, from 0, that names them; None where none does.
        delimiter: between columns; None is white space.
        decimal_comma: whether numbers may be written 1,5.
        count: number of points that a leading line promises; None if there is no such line.
            Several blocks of points may follow each other, each with its count.

    """

    skip: int
    names: tuple[str, ...]
    numeric: tuple[bool, ...]
    header: int | None
    delimiter: str | None
    decimal_comma: bool
    count: int | None

    @property
    def bare(self) -> bool:
        """Whether columns besides x, y and z are called by their place alone."""
        names = tuple(name for name in self.names if name)
        return names == (*names_of_xyz(), *map(str, range(3, len(names))))

    @property
    def blank(self) -> str:
        """Characters that say nothing in a line that has only these."""
        return ' \t\r\n\f\v"' + (self.delimiter or "")


@dataclass(frozen=True)
class _Line:
    """A line that says something: its number, its words, and whether it is a remark."""

    number: int
    fields: tuple[str, ...]
    remark: bool


def find_form(head: Sequence[str]) -> TextForm:
    """Tell the form of a file from its first lines ``head``.

    Raises:
        FileFormatError: none of them is a point, or the header names other columns than x, y, z.

    """
    header: _Line | None = None
    count = None
    before: list[_Line] = []
    for number, raw in enumerate(head):
        if len(raw) > LONGEST:
            raise FileFormatError(f"has a line of more than {LONGEST:,} characters: no points")
        line = _bare(raw)
        if not line.strip(' \t",;'):
            continue
        if line.split()[0].lower() in GRID:
            raise FileFormatError("is an ESRI grid of heights, not points: convert it to x y z")
        remark = raw.lstrip().startswith(COMMENTS)
        style = _style(line)
        here = _Line(number, _split(line, *style), remark)
        if not remark and _is_point(here, header):
            if _is_numbered(here, head[number + 1 :], style):
                header = here
                continue
            _check_before(before, header, here)
            return _layout(header, here, style, count)
        before.append(here)
        if not remark and is_count(line):
            count = int(line)
        elif header is None or not _has_xyz(header) or (header.remark and _has_xyz(here)):
            header = here
    if header is not None and all(map(is_number, header.fields)):
        raise FileFormatError(f"has {len(header.fields)} columns: x, y and z are needed")
    raise FileFormatError(f"has no line of three numbers among its first {len(head)} lines")


def _bare(raw: str) -> str:
    return raw.strip().lstrip("#/%!").strip().rstrip("\x1a")


def _style(line: str) -> tuple[str | None, bool]:
    """Tell the delimiter, and whether a comma may be a decimal one, as in ``1,5;2,5;3``.

    Where columns are told apart by something else, a comma can be nothing but that, even if the
    first lines have none.
    """
    if ";" in line:
        return ";", True
    words = line.split()
    decimal = all(re.fullmatch(r"[^,]+,[^,]+", word) for word in words if "," in word)
    if "," in line and not (decimal and len(words) >= 3):
        return ",", False
    cells = line.rstrip("\t").split("\t")
    return ("\t" if len(cells) >= 3 and all(len(c.split()) == 1 for c in cells) else None), True


def _split(line: str, delimiter: str | None, decimal_comma: bool) -> tuple[str, ...]:
    line = line.replace(",", ".") if decimal_comma else line
    return tuple(bare_name(field) for field in line.split(delimiter))


def _has_xyz(line: _Line) -> bool:
    try:
        return find_xyz(line.fields) is not None
    except FileFormatError:  # two of a kind, which is said once it is known to be the header
        return True


def _is_point(line: _Line, header: _Line | None) -> bool:
    """Tell whether x, y, z are numbers: the first three fields, or those the header names."""
    places = [(0, 1, 2)]
    if header is not None and _has_xyz(header) and (named := _named(header)) is not None:
        places.append(named)
    fields = line.fields
    return any(max(p) < len(fields) and all(is_number(fields[k]) for k in p) for p in places)


def _named(header: _Line) -> tuple[int, int, int] | None:
    try:
        return find_xyz(header.fields)
    except FileFormatError:
        return None


def _is_numbered(line: _Line, rest: Sequence[str], style: tuple[str | None, bool]) -> bool:
    """Tell the header 0, 1, 2, … that pandas writes, an unnamed index before it or not.

    A point of such coordinates could stand there, too. So one of the first three columns must have
    no whole number in any of the lines that follow, as pandas writes columns of fractions.
    """
    names = [name for name in line.fields if name]
    if names != [str(k) for k in range(len(names))] or len(names) < NAMED_BY_PLACE:
        return False
    first = len(line.fields) - len(names)
    rows = [_split(row.strip(), *style) for row in rest if row.strip(' \t\r\n",;\x1a')]
    rows = [row for row in rows if len(row) >= first + NAMED_BY_PLACE]
    columns = list(zip(*(row[first : first + NAMED_BY_PLACE] for row in rows), strict=True))
    if any(not any(re.fullmatch(r"[-+]?\d+", value) for value in column) for column in columns):
        return True
    if columns and style[0] is not None:
        note(f"its first line, {','.join(names)}, is taken for a point, not for a header")
    return False


def _check_before(before: Sequence[_Line], header: _Line | None, point: _Line) -> None:
    """Look for damaged points among the lines before the first whole one.

    They have as many columns. Without a header that names columns, some of these are numbers.

    Raises:
        FileFormatError: a line with numbers follows such a header.

    """
    named = None if header is None or _named(header) is None else header.number
    lines = [
        line for line in before
        if not line.remark and line.number != named and len(line.fields) == len(point.fields)
    ]  # fmt: skip
    partly = [line for line in lines if any(map(is_number, line.fields))]
    broken = [line for line in partly if named is not None and line.number > named]
    for line in broken or (partly if named is None else lines)[:1]:
        what = f"its line {line.number + 1}, {' '.join(line.fields)[:60]!r},"
        if broken:
            raise FileFormatError(f"{what} is no point: repair it, or take it out")
        note(f"{what} is not read, since it is no point")


def _layout(
    header: _Line | None, point: _Line, style: tuple[str | None, bool], count: int | None
) -> TextForm:
    fields = point.fields
    width = len(fields) - (fields[-1] == "")  # a delimiter at the end of the line
    names = _names(header, width)
    numbered = (*names_of_xyz(), *map(str, range(3, width)))
    named = None if names is None or header is None else header.number
    numeric = tuple(map(is_number, fields[:width]))
    return TextForm(point.number, names or numbered, numeric, named, *style, count)


def _names(header: _Line | None, width: int) -> tuple[str, ...] | None:
    """The names that the header gives to the columns; None where it is a remark or missing."""
    if header is None:
        return None
    names, named = header.fields, _has_xyz(header)
    if named:
        find_xyz(names)  # says so if two are equally good
    fits = len(names) == width
    if named and (fits or column_names(names[:3]) == column_names(names_of_xyz())):
        return (*names[:width], *map(str, range(len(names), width)))
    places = [name for name in names if name]
    if fits and places == [str(k) for k in range(len(places))]:
        return ("",) * (width - len(places)) + (*names_of_xyz(), *map(str, range(3, len(places))))
    by_place = width == 3 and names_of_xyz() == XYZ  # nobody has said what they are called
    if header.remark or (not named and (not fits or by_place)):
        return None
    if not named:
        raise FileFormatError(no_xyz(names))
    raise FileFormatError(
        f"its header names the columns {', '.join(names)}, but {width} columns follow"
    )
