"""What a scene file is: points that are read in pieces, and labels that are written into a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..core.errors import ConfigError, FileFormatError
from ..core.files import NO_ROOM
from ..io import opening
from ..io.columns import LABELS, XYZ, column_name, column_names, find_column, need_xyz

Chunk = tuple[np.ndarray, np.ndarray]
LABEL = "label"  # what an appended column is called


class Source:
    """A scene file of one format. Opening it reads its header only.

    Attributes:
        path: the file.
        count: number of points.
        names: columns besides x, y, z, by their names in lower case, that can be read as numbers.
        whole: those of them that are stored as whole numbers.
        all_names: every column, in the file's order, as the file calls it.
        xyz: the places of the coordinates among them.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.names: tuple[str, ...] = ()
        self.all_names: tuple[str, ...] = ()
        self.xyz: tuple[int, int, int] = (0, 1, 2)
        self.whole: frozenset[str] = frozenset()

    def set_names(self, names: Sequence[str], kinds: Sequence[str]) -> None:
        """Find the coordinates among the columns; ``kinds`` are NumPy's, "" for no number.

        Raises:
            FileFormatError: there are none, or two that may equally well be one of them.
        """
        self.all_names, self.xyz = tuple(names), need_xyz(names)
        own = (*XYZ, *(column_name(names[place]) for place in self.xyz))
        usable = [name for name, kind in zip(names, kinds, strict=True) if kind in "iufb" and kind]
        self.names = tuple(name for name in column_names(usable) if name and name not in own)
        whole = [name for name, kind in zip(names, kinds, strict=True) if kind in "iu" and kind]
        self.whole = frozenset(column_names(whole)) & frozenset(self.names)

    def places(self, columns: Sequence[str]) -> list[int]:
        """Where x, y, z and then the ``columns`` are.

        Raises:
            FileFormatError: two columns that may equally well be one of them.
        """
        found = [find_column(self.all_names, name) for name in columns]
        return [*self.xyz, *(place for place in found if place is not None)]

    def label_place(self, field: str | None) -> int | None:
        """Which of the columns takes the labels; None to append one.

        That is the column called ``field``, or by default the first of a usual name for labels.

        Raises:
            ConfigError: it holds the coordinates.
        """
        wanted = LABELS if field is None else (field,)
        places = (find_column(self.all_names, name) for name in wanted)
        place = next((place for place in places if place is not None), None)
        if place in self.xyz:
            raise ConfigError(f"field {field!r} holds the coordinates: name another")
        return place

    def chunks(self, columns: Sequence[str], size: int) -> Iterator[Chunk]:
        """Pieces of at most ``size`` points in order: (m, 3) float64, and (m, columns) float32.

        Raises:
            FileFormatError: the file is damaged, or cut short.
        """
        raise NotImplementedError

    def field_name(self, field: str | None) -> str:
        """What is written to: the name of ``field``, or of the format's own."""
        place = self.label_place(field)
        return check_name(field) if place is None else column_name(self.all_names[place])

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
    if not (name.isascii() and name.isidentifier()) or name in XYZ:
        raise ConfigError(f"field {name!r}: use letters, digits and underscores, not x, y or z")
    return name


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the path before what a file's reader says; pass on what is not the file's fault."""
    passed: list[Exception] = []
    with opening.naming(path):
        try:
            yield
        except ConfigError as error:
            passed.append(error)
        except OSError as error:
            if error.errno not in NO_ROOM and error.filename in (None, str(path), path):
                raise
            passed.append(error)
    if passed:
        raise passed[0]
