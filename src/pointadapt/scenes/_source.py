"""What a scene file is: points that are read in pieces, and labels that are written into a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..core.errors import ConfigError, FileFormatError
from ..data.reading.labelled import USUAL
from ..io.cloud import column_name
from ..io.read import _named

Chunk = tuple[np.ndarray, np.ndarray]
LABEL = "label"  # what an appended column is called


class Source:
    """A scene file of one format. Opening it reads its header only.

    Attributes:
        path: the file.
        count: number of points.
        names: columns besides x, y, z, by their names in lower case, that can be read as numbers.
        whole: those of them that are stored as whole numbers.
        all_names: every column, in the file's order.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.names: tuple[str, ...] = ()
        self.all_names: tuple[str, ...] = ()
        self.whole: frozenset[str] = frozenset()

    def chunks(self, columns: Sequence[str], size: int) -> Iterator[Chunk]:
        """Pieces of at most ``size`` points in order: (m, 3) float64, and (m, columns) float32.

        Raises:
            FileFormatError: the file is damaged, or cut short.
        """
        raise NotImplementedError

    def field_name(self, field: str | None) -> str:
        """What is written to: the name of ``field``, or of the format's own."""
        place = label_place(self.all_names, field)
        return check_name(field) if place is None else self.all_names[place]

    def prepare(self, field: str | None, highest: int) -> int:
        """Check that labels up to ``highest`` fit into ``field``; how large the copy will be.

        None is the format's own field for labels.

        Raises:
            FileFormatError: they do not fit, or the file has something that we cannot copy.
        """
        raise NotImplementedError

    def write(self, out: Path, labels: np.ndarray, field: str | None) -> Iterator[int]:
        """Copy the file to ``out`` with (N,) whole ``labels`` in ``field``; gives points done."""
        raise NotImplementedError


SOURCES: dict[str, type[Source]] = {}


def source(cls: type[Source]) -> type[Source]:
    """Class decorator that makes a source known by the endings it reads."""
    SOURCES.update(dict.fromkeys(cls.suffixes, cls))
    return cls


def label_place(names: Sequence[str], field: str | None) -> int | None:
    """Which of the columns ``names`` takes the labels; None to append one.

    That is the column called ``field``, or by default the first that has a usual name for labels.
    """
    if field is not None:
        field = column_name(field)
        return names.index(field) if field in names else None
    return next((names.index(name) for name in USUAL if name in names), None)


def check_fits(highest: int, dtype: np.dtype, what: str) -> None:
    """Refuse labels that ``dtype`` cannot hold exactly.

    Raises:
        FileFormatError: they do not fit.
    """
    exact = np.array(highest).astype(dtype)
    if dtype.kind not in "iuf" or int(exact) != highest:
        raise FileFormatError(
            f"{what} is {dtype}, which cannot hold the label {highest}: name another field"
        )


def check_name(field: str | None) -> str:
    """The name of an appended column: one word of letters, digits and underscores.

    Raises:
        ConfigError: it is none.
    """
    name = LABEL if field is None else field.strip().lower()
    if not (name.isascii() and name.isidentifier()) or name in ("x", "y", "z"):
        raise ConfigError(f"field {name!r}: use letters, digits and underscores, not x, y or z")
    return name


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the path before what a file's reader says; pass on what is not the file's fault."""
    passed: list[Exception] = []
    with _named(path):
        try:
            yield
        except (ConfigError, OSError) as error:
            passed.append(error)
    if passed:
        raise passed[0]
