"""Text scenes: a point on each line, columns by position or by a header line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..core.errors import FileFormatError
from ..io.text import HEAD_LINES, DataLines, encoding_of, numbers
from ..io.text_form import LONGEST, find_form
from ._lines import batches, labelled, points_of
from ._source import Chunk, Source, check_name, source

LINES = 1 << 16  # read at a time: text takes more memory than numbers


@source
class TextSource(Source):
    """The copy keeps every byte but the labels': separators, remarks, line ends."""

    suffixes = (".txt", ".xyz", ".pts", ".asc", ".csv")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if encoding_of(path) == "utf-16":
            raise FileFormatError("is UTF-16 text: save it as UTF-8")
        with path.open("rb") as stream:
            head = [stream.readline(LONGEST + 1) for _ in range(HEAD_LINES)]
        text = [line.decode("utf-8", "replace").lstrip("\ufeff") for line in head if line]
        self.form = find_form(text)
        self.set_names(self.form.names, ["f" if known else "" for known in self.form.numeric])
        self.whole = frozenset()  # text does not tell
        lines = DataLines(self.form)
        self.count = sum(len(points_of(lines, batch)[0]) for batch in self._data(LINES))
        lines.check(self.count)

    def chunks(self, columns: Sequence[str], size: int) -> Iterator[Chunk]:
        wanted, done, lines = self.places(columns), 0, DataLines(self.form)
        for batch in self._data(min(size, LINES)):
            _, points = points_of(lines, batch)
            if points:
                table = numbers(points, self.form, wanted, f"from point {done}")
                done += len(points)
                yield table[:, :3], table[:, 3:].astype(np.float32)

    def prepare(self, field: str | None, highest: int) -> int:
        if self.label_place(field) is None:
            check_name(field)
        return self.path.stat().st_size + self.count * (len(str(highest)) + 1)

    def write(self, out: Path, labels: np.ndarray, field: str | None) -> Iterator[int]:
        place, done = self.label_place(field), 0
        lines, form = DataLines(self.form), self.form
        with self.path.open("rb") as stream, out.open("wb") as copy:
            for k in range(form.skip):
                line = stream.readline(LONGEST)
                if place is None and k == form.header:
                    body = line.rstrip()
                    gap = (form.delimiter or " ").encode()
                    line = body + gap + check_name(field).encode() + line[len(body) :]
                copy.write(line)
            for batch in batches(stream, LINES):
                points = set(points_of(lines, batch)[0])
                values = iter(labels[done : done + len(points)].tolist())
                copy.writelines(
                    labelled(line, next(values), place, form) if k in points else line
                    for k, line in enumerate(batch)
                )
                done += len(points)
                yield done

    def _data(self, size: int) -> Iterator[list[bytes]]:
        with self.path.open("rb") as stream:
            for _ in range(self.form.skip):
                stream.readline(LONGEST)
            yield from batches(stream, size)
