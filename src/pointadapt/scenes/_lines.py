"""Lines of text with a point each: reading numbers from them, and putting a label into them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np

from ..core.errors import FileFormatError
from ..io.layout import COMMENTS

LONGEST = 1 << 16  # bytes of a line; a longer one is no point
_MARKS = tuple(mark.encode() for mark in COMMENTS)


@dataclass(frozen=True)
class Style:
    """How the columns of a line are told apart: None is white space."""

    delimiter: str | None = None
    decimal_comma: bool = False


def is_point(line: bytes) -> bool:
    """Tell a line with a point from an empty one or a remark."""
    bare = line.strip()
    return bool(bare) and not bare.startswith(_MARKS)


def batches(stream: BinaryIO, size: int) -> Iterator[list[bytes]]:
    """The lines that follow, at most ``size`` at a time."""
    while lines := list(islice(iter(lambda: stream.readline(LONGEST), b""), size)):
        yield lines


def numbers(lines: Sequence[bytes], columns: Sequence[int], style: Style, first: int) -> np.ndarray:
    """(m, columns) float64 of lines that hold points; ``first`` is the number of the first point.

    Raises:
        FileFormatError: a line has too few columns, or one that is no number.
    """
    text = (line.decode("latin-1") for line in lines)
    if style.decimal_comma:
        text = (line.replace(",", ".") for line in text)
    try:
        return np.loadtxt(
            text, delimiter=style.delimiter, usecols=list(columns), quotechar='"', ndmin=2
        )
    except ValueError as error:
        raise FileFormatError(f"{error} (rows counted from point {first})") from error


def labelled(line: bytes, label: int, place: int | None, style: Style) -> bytes:
    """The line with ``label`` in column ``place``, or after the last one; all else as it was."""
    body, mark, remark = line.partition(b"#")
    inside = body.rstrip()
    end, word = body[len(inside) :], b"%d" % label
    delimiter = b"" if style.delimiter is None else style.delimiter.encode()
    if place is None:
        gap = b"" if delimiter and inside.endswith(delimiter) else delimiter or b" "
        return inside + gap + word + end + mark + remark
    start, stop = _span(inside, place, delimiter)
    return inside[:start] + word + inside[stop:] + end + mark + remark


def _span(line: bytes, place: int, delimiter: bytes) -> tuple[int, int]:
    """Where column ``place`` stands in the line, without the spaces around it."""
    word = rb"\S+" if not delimiter else rb'(?:"[^"]*"|[^%s"])*' % re.escape(delimiter)
    at = 0
    for k, found in enumerate(re.finditer(word, line)):
        if k and found.start() < at:  # an empty match may follow a word, at its end
            continue
        at = found.end() + len(delimiter)
        place -= 1
        if place < 0:
            bare = found[0].strip()
            start = found.start() + found[0].find(bare)
            return start, start + len(bare)
    raise FileFormatError("has a line with too few columns for its label")
