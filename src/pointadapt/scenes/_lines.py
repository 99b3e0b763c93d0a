"""Lines of text with a point each: reading numbers from them, and putting a label into them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO

from ..core.errors import FileFormatError
from ..io.text import DataLines
from ..io.text_form import LONGEST, TextForm

BOM = b"\xef\xbb\xbf"
REMARK = re.compile(rb"(?<!1[.,])#|\x1a")  # a remark, or the end; 1.#QNAN is neither


def batches(stream: BinaryIO, size: int) -> Iterator[list[bytes]]:
    """The lines that follow, at most ``size`` at a time."""
    while lines := list(islice(iter(lambda: stream.readline(LONGEST), b""), size)):
        yield lines


def points_of(lines: DataLines, batch: Sequence[bytes]) -> tuple[Sequence[int], Sequence[str]]:
    """Of a batch of lines, the places of those that hold points, and these as NumPy reads them."""
    return lines.points([line.removeprefix(BOM).decode("latin-1") for line in batch])


def labelled(line: bytes, label: int, place: int | None, form: TextForm) -> bytes:
    """The line with ``label`` in column ``place``, or after the last one; all else as it was."""
    found = REMARK.search(line)
    inside = line[: found.start() if found else None].rstrip()
    rest, word = line[len(inside) :], b"%d" % label
    delimiter = b"" if form.delimiter is None else form.delimiter.encode()
    if place is None:
        gap = b"" if delimiter and inside.endswith(delimiter) else delimiter or b" "
        return inside + gap + word + rest
    start, stop = _span(inside, place, delimiter)
    return inside[:start] + word + inside[stop:] + rest


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
