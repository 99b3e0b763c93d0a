"""The data of a PLY file's elements, one element after another, from bytes or from text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.errors import FileFormatError
from .limits import check_present
from .numbers import plain_numbers, read_rows
from .ply_header import Element, Property

Lists = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """What an element holds, by the places of its properties.

    Attributes:
        numbers: a column (N,) each.
        lists: the items of all rows one after another, and how many each row has (N,).

    """

    numbers: dict[int, np.ndarray]
    lists: dict[int, Lists]


class BinaryRows:
    """Reads elements from the bytes after the header; ``order`` is "<" or ">"."""

    def __init__(self, order: str, body: bytes) -> None:
        self.order, self.body, self.at = order, body, 0
        self.end: Literal["little", "big"] = "little" if order == "<" else "big"

    def read(self, element: Element) -> Rows:
        """The next element.

        Raises:
            FileFormatError: the file ends before.

        """
        lengths = self._first_lengths(element) if element.count else []
        rows = self._alike(element, lengths)
        return self._one_by_one(element) if rows is None else rows

    def _first_lengths(self, element: Element) -> list[int | None]:
        """How long the lists of the first row are; None for plain numbers."""
        start, lengths = self.at, []
        for each in element.properties:
            if each.count is None:
                self._take(self._dtype(each).itemsize)
                lengths.append(None)
            else:
                lengths.append(self._length(each.count))
                self._take(lengths[-1] * self._dtype(each).itemsize)
        self.at = start
        return lengths

    def _alike(self, element: Element, lengths: Sequence[int | None]) -> Rows | None:
        """All rows at once, if their lists are as long as those of the first row."""
        fields: list[tuple] = []
        for k, (each, length) in enumerate(zip(element.properties, lengths, strict=False)):
            if length is not None:
                fields.append((f"n{k}", self.order + str(each.count)))
            shape = () if length is None else (length,)
            fields.append((f"f{k}", self._dtype(each), shape))
        dtype = np.dtype(fields)
        size = element.count * dtype.itemsize
        if len(self.body) - self.at < size and element.has_list:
            return None
        check_present(len(self.body) - self.at, size)
        if not dtype.itemsize:  # no rows, or rows of nothing
            return _nothing(element)
        table = np.frombuffer(self.body, dtype, element.count, self.at)
        listed = {k: n for k, n in enumerate(lengths) if n is not None}
        if any((table[f"n{k}"] != n).any() for k, n in listed.items()):
            return None
        self.at += size
        return Rows(
            {k: table[f"f{k}"] for k in range(len(lengths)) if k not in listed},
            {k: (table[f"f{k}"].reshape(-1), np.full(element.count, n, np.int64))
             for k, n in listed.items()},
        )  # fmt: skip

    def _one_by_one(self, element: Element) -> Rows:
        parts: list[list[bytes]] = [[] for _ in element.properties]
        counts: list[list[int]] = [[] for _ in element.properties]
        plan = [
            (parts[k], counts[k], int(p.count[1:]) if p.count else 0, (p.count or "")[:1] == "i",
             self._dtype(p).itemsize)
            for k, p in enumerate(element.properties)
        ]  # fmt: skip
        body, at, size = self.body, self.at, len(self.body)
        for row in range(element.count):
            for part, count, width, signed, item in plan:
                length = 1
                if width:
                    length = int.from_bytes(body[at : at + width], self.end, signed=signed)
                    at += width
                stop = at + length * item
                if length < 0 or stop > size:
                    raise FileFormatError(
                        f"is damaged or cut short in row {row} of {element.count} of {element.name}"
                    )
                part.append(body[at:stop])
                count.append(length)
                at = stop
        self.at = at
        arrays = [
            np.frombuffer(b"".join(part), self._dtype(each))
            for part, each in zip(parts, element.properties, strict=True)
        ]
        return _sorted_out(element, arrays, counts)

    def _length(self, kind: str) -> int:
        length = int.from_bytes(self._take(int(kind[1:])), self.end, signed=kind.startswith("i"))
        check_present(len(self.body) - self.at, length, "items of a list")
        return length

    def _take(self, size: int) -> bytes:
        check_present(len(self.body) - self.at, size)
        self.at += size
        return self.body[self.at - size : self.at]

    def _dtype(self, each: Property) -> np.dtype:
        return np.dtype(self.order + each.kind)


class TextRows:
    """Reads elements from the lines after the header."""

    def __init__(self, body: bytes) -> None:
        lines = plain_numbers(body.decode("ascii", "replace")).splitlines()
        self.lines = [line for line in lines if line.strip()]
        self.at = 0

    def read(self, element: Element) -> Rows:
        """The next element.

        Raises:
            FileFormatError: the file ends before, or has something else than numbers.

        """
        if not element.properties or not element.count:
            return _nothing(element)
        check_present(len(self.lines) - self.at, element.count, "lines of data")
        lines = self.lines[self.at : self.at + element.count]
        self.at += element.count
        if not element.has_list:
            return _columns(element, read_rows(lines, f"in {element.name}"))
        return _one_by_one(element, lines)


def _nothing(element: Element) -> Rows:
    none = np.empty(0)
    return Rows({k: none for k, p in enumerate(element.properties) if p.count is None}, {})


def _columns(element: Element, table: np.ndarray) -> Rows:
    if table.shape[1] != len(element.properties):
        raise FileFormatError(
            f"has {table.shape[1]} numbers in a line of {element.name}, its header "
            f"{len(element.properties)}"
        )
    return Rows({k: _as(table[:, k], p) for k, p in enumerate(element.properties)}, {})


def _one_by_one(element: Element, lines: Sequence[str]) -> Rows:
    parts: list[list[str]] = [[] for _ in element.properties]
    counts: list[list[int]] = [[] for _ in element.properties]
    for row, line in enumerate(lines):
        words, at = line.split(), 0
        for k, each in enumerate(element.properties):
            length = 1
            if each.count is not None:
                length, at = _list_length(words, at, row), at + 1
            counts[k].append(length)
            parts[k] += words[at : at + length]
            at += length
        if at != len(words):
            raise FileFormatError(
                f"has {len(words)} numbers in row {row} of {element.name}, not {at}"
            )
    arrays = [
        _as(np.array(part, np.float64), each)
        for part, each in zip(parts, element.properties, strict=True)
    ]
    return _sorted_out(element, arrays, counts)


def _list_length(words: Sequence[str], at: int, row: int) -> int:
    word = words[at] if at < len(words) else ""
    if not word.isascii() or not word.isdigit() or len(word) > 9:
        raise FileFormatError(f"has a list of {word[:40]!r} items in row {row}")
    return int(word)


def _sorted_out(
    element: Element, arrays: Sequence[np.ndarray], counts: Sequence[Sequence[int]]
) -> Rows:
    numbers, lists = {}, {}
    for k, (each, array) in enumerate(zip(element.properties, arrays, strict=True)):
        if each.count is None:
            numbers[k] = array
        else:
            lists[k] = array, np.array(counts[k], np.int64)
    return Rows(numbers, lists)


def _as(values: np.ndarray, each: Property) -> np.ndarray:
    """Numbers from text in the type that the header says.

    Raises:
        FileFormatError: whole numbers are meant, and these are none.

    """
    result = values.astype(each.kind)
    if result.dtype.kind in "iu" and (result != values).any():
        raise FileFormatError(f"has numbers in {each.name} that are no {result.dtype}")
    return result
