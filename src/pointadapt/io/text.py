"""Text of one point per line: ``.txt .xyz .pts .asc .csv``, any delimiter, a header or none.

The first three columns are x, y and z, unless a header line names them. Colours, normals and
labels are read only where a header names them: six bare columns could be either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from .cloud import Cloud, as_float, cloud_from_columns, columns_from_cloud, known_columns
from .numbers import is_count, plain_numbers, read_rows
from .text_form import LONGEST, TextForm, find_form

HEAD_LINES = 100
END = "\x1a"  # Ctrl-Z, which ended text under DOS
ODD = re.compile(r"[^-+0-9.eE,; \t\r\n]")  # more than numbers and what is between them
BLANK = re.compile(r"^[,; \t\r]*\n", re.MULTILINE)
BLOCK = 1 << 14  # lines that are looked at together


def read_text(path: Path) -> Cloud:
    """Read one point per line; lines that count them are checked.

    Raises:
        FileFormatError: no line of three numbers, a bad line, or fewer points than promised.

    """
    form = read_form(path)
    places = [k for k in known_columns(form.names) if form.numeric[k]]
    table = read_columns(path, form, places)
    return cloud_from_columns(
        [(form.names[k], column) for k, column in zip(places, table.T, strict=True)]
    )


def read_form(path: Path) -> TextForm:
    """How the file is laid out; see :func:`pointadapt.io.text_form.find_form`."""
    with path.open(encoding=encoding_of(path), errors="replace") as stream:
        head = (stream.readline(LONGEST + 1) for _ in range(HEAD_LINES))
        return find_form([line for line in head if line])


def read_columns(path: Path, form: TextForm, places: Sequence[int]) -> np.ndarray:
    """(N, columns) float64: the columns at ``places`` of every point.

    Raises:
        FileFormatError: a bad line, or another number of points than promised.

    """
    with path.open(encoding=encoding_of(path), errors="replace") as stream:
        lines = DataLines(form)
        points = lines.of(islice(stream, form.skip, None))
        table = numbers(points, form, places, f"after line {form.skip}")
    lines.check(len(table))
    return table


class DataLines:
    """Of the lines from the first point on, those that hold points, spelt as NumPy reads them.

    Attributes:
        promised: points that count lines promise so far; None where there are no such lines.
        ended: whether the mark for the end of the text has come.

    """

    def __init__(self, form: TextForm) -> None:
        self.form, self.promised = form, form.count
        self.blank, self.ended = form.blank, False

    def of(self, lines: Iterable[str]) -> Iterator[str]:
        """The points of all lines."""
        rest = iter(lines)
        while block := list(islice(rest, BLOCK)):
            yield from self.points(block)[1]

    def points(self, block: Sequence[str]) -> tuple[Sequence[int], Sequence[str]]:
        """Of some lines, the places of those that hold points, and these as NumPy reads them."""
        if self.ended:
            return (), ()
        text = "".join(block)
        if self._is_plain(text, len(block)):
            if self.form.decimal_comma and "," in text:
                block = text.replace(",", ".").split("\n")[: len(block)]
            return range(len(block)), block
        found = [(k, point) for k, line in enumerate(block) if (point := self.point(line))]
        return [k for k, _ in found], [point for _, point in found]

    def _is_plain(self, text: str, lines: int) -> bool:
        """Whether every line is a point of numbers alone, with as many columns as the first."""
        if self.promised is not None or ODD.search(text) or BLANK.search(text):
            return False
        width = len(self.form.names)
        return self.form.delimiter != "," or text.count(",") == (width - 1) * lines

    def point(self, line: str) -> str | None:
        """The line, if it holds a point, without a remark and with numbers as NumPy reads them."""
        if self.ended:
            return None
        if ODD.search(line):
            if END in line:
                line, self.ended = line.partition(END)[0], True
            line = plain_numbers(line).partition("#")[0]
        words = line.strip(self.blank)
        if not words or words.startswith(("//", "%", "!")):
            return None
        if self.promised is not None and is_count(words):
            self.promised += int(words)
            return None
        if self.form.decimal_comma:
            return line.replace(",", ".")
        if self.form.delimiter == "," and '"' not in words:
            self._check_width(words)
        return line

    def _check_width(self, words: str) -> None:
        """Refuse more columns than there are: with decimal commas, each number would be two."""
        width = words.count(",") + 1
        if width > len(self.form.names):
            raise FileFormatError(
                f"has {width} columns in a line, and {len(self.form.names)} in the first: "
                f"{words[:60]!r}; are its commas decimal ones? Put ; between columns"
            )

    def check(self, found: int) -> None:
        """Compare the number of points with what was promised.

        Raises:
            FileFormatError: they differ.

        """
        if self.promised not in (None, found):
            raise FileFormatError(
                f"says it has {self.promised} points but holds {found}: copy it again"
            )


def numbers(lines: Iterable[str], form: TextForm, places: Sequence[int], where: str) -> np.ndarray:
    """(m, columns) float64 of lines that hold points; ``where`` says where rows are counted.

    Raises:
        FileFormatError: a line has too few columns, or one that is no number.

    """
    rows = iter(lines)
    first = next(rows, None)
    if first is None:
        return np.empty((0, len(places)))
    return read_rows(
        chain([first], rows), where, delimiter=form.delimiter, usecols=list(places),
        quotechar='"',
    )  # fmt: skip


def write_text(stream: BinaryIO, cloud: Cloud, _ascii: bool, *, delimiter: str = " ") -> None:
    """Write numbers that read back exactly; a header if there is more than x, y, z, or for CSV."""
    columns = columns_from_cloud(cloud)
    digits = {"f4": "%.9g", "f8": "%.17g"}
    formats = [digits.get(v.dtype.str[1:], "%d") for v in columns.values()]
    if len(columns) > 3 or delimiter == ",":
        stream.write((delimiter.join(columns) + "\n").encode())
    table = np.stack([as_float(v).astype(np.float64) for v in columns.values()], axis=1)
    np.savetxt(stream, table, fmt=formats, delimiter=delimiter)


def encoding_of(path: Path) -> str:
    """The encoding of a text file.

    Raises:
        FileFormatError: it is binary.

    """
    with path.open("rb") as stream:
        start = stream.read(4096)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if b"\0" in start:
        raise FileFormatError("is binary, not text")
    return "utf-8-sig"
