"""Text scenes: a point on each line, columns by position or by a header line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..core.errors import FileFormatError
from ..io.cloud import column_name
from ..io.layout import XYZ, find_layout
from ..io.text import HEAD_LINES, _encoding
from ._lines import LONGEST, Style, batches, is_point, labelled, numbers
from ._source import Chunk, Source, check_name, label_place, source

LINES = 1 << 16  # read at a time: text takes more memory than numbers


@source
class TextSource(Source):
    """The copy keeps every byte but the labels': separators, remarks, line ends."""

    suffixes = (".txt", ".xyz", ".pts", ".csv")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if _encoding(path) == "utf-16":
            raise FileFormatError("is UTF-16 text: save it as UTF-8")
        with path.open("rb") as stream:
            head = [stream.readline(LONGEST) for _ in range(HEAD_LINES)]
        text = [line.decode("utf-8", "replace").lstrip("\ufeff") for line in head if line]
        layout = find_layout(text)
        self.skip, self.promised = layout.skip, layout.count
        self.style = Style(layout.delimiter, layout.decimal_comma)
        self.columns, self.header = self._names(text, layout.columns)
        self.all_names = tuple(self.columns)
        self.names = tuple(n for n in self.columns if n not in XYZ)
        self.count = sum(sum(map(is_point, lines)) for lines in self._data(LINES))
        if self.promised not in (None, self.count):
            raise FileFormatError(
                f"says it has {self.promised} points but holds {self.count}: copy it again"
            )

    def chunks(self, columns: Sequence[str], size: int) -> Iterator[Chunk]:
        wanted = [self.columns[name] for name in ("x", "y", "z", *columns)]
        done = 0
        for lines in self._data(min(size, LINES)):
            points = [line for line in lines if is_point(line)]
            if points:
                table = numbers(points, wanted, self.style, done)
                done += len(points)
                yield table[:, :3], table[:, 3:].astype(np.float32)

    def prepare(self, field: str | None, highest: int) -> int:
        if self._place(field) is None:
            check_name(field)
        return self.path.stat().st_size + self.count * (len(str(highest)) + 1)

    def write(self, out: Path, labels: np.ndarray, field: str | None) -> Iterator[int]:
        place, done = self._place(field), 0
        with self.path.open("rb") as stream, out.open("wb") as copy:
            for k in range(self.skip):
                line = stream.readline(LONGEST)
                if place is None and k == self.header:
                    body = line.rstrip()
                    gap = (self.style.delimiter or " ").encode()
                    line = body + gap + check_name(field).encode() + line[len(body) :]
                copy.write(line)
            for lines in batches(stream, LINES):
                points = sum(map(is_point, lines))
                values = iter(labels[done : done + points].tolist())
                copy.writelines(
                    labelled(line, next(values), place, self.style) if is_point(line) else line
                    for line in lines
                )
                done += points
                yield done

    def _place(self, field: str | None) -> int | None:
        found = label_place(self.all_names, field)
        return None if found is None else self.columns[self.all_names[found]]

    def _data(self, size: int) -> Iterator[list[bytes]]:
        with self.path.open("rb") as stream:
            for _ in range(self.skip):
                stream.readline(LONGEST)
            yield from batches(stream, size)

    def _names(self, head: list[str], known: dict[str, int]) -> tuple[dict[str, int], int | None]:
        """Position of each column by its name, and the header's line; unnamed ones are numbered."""
        cut = self.style.delimiter
        width = len(head[self.skip].split("#")[0].strip().rstrip(cut).split(cut))
        for k in range(self.skip - 1, -1, -1):
            line = head[k].lstrip().lstrip("#/%!").strip()
            names = [column_name(word) for word in line.split(cut)]
            if set(XYZ) <= set(names) and known == {n: names.index(n) for n in known}:
                numbered = {str(j): j for j in range(len(names), width)}
                return {**{n: j for j, n in enumerate(names) if n}, **numbered}, k
        return {**known, **{str(j): j for j in range(3, width)}}, None
