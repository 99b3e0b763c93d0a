"""A scene's points sorted by cell, in a temporary file: what lets tiles be read one by one.

The file has no name where the system allows that, so that even a killed process leaves nothing.
Plain reads and writes: pages of a mapped file would count as memory, and a full disk would end the
process instead of raising an error.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from ..core.console import size as size_text
from ..core.errors import PointAdaptError
from ..core.files import NO_ROOM
from ._grid import Grid
from ._source import Source
from ._survey import CHUNK, Survey, Tell, finite_chunks

PREFIX = ".pointadapt-"


def record_type(count: int, columns: int) -> np.dtype:
    """A point in the spill: from its cell's corner and the scene's lowest point, in float32.

    Within a cell, float32 is exact to about a micrometre, wherever on Earth the scene lies.
    """
    number = "<u4" if count <= np.iinfo(np.uint32).max else "<u8"
    return np.dtype([("xyz", "<f4", (3,)), ("more", "<f4", (columns,)), ("id", number)])


class Spill:
    """The points by cell.

    Args:
        source: the scene.
        grid, found: how it is cut, and its cells.
        columns: what is read besides the coordinates.
        drop: whether points that are not finite are left out, as in the survey.
        folder: where the temporary file lies.
        tell: called with the number of points done.
    """

    def __init__(
        self, source: Source, grid: Grid, found: Survey, columns: Sequence[str], folder: Path,
        tell: Tell, chunk: int = CHUNK, drop: bool = False,
    ) -> None:  # fmt: skip
        self.grid, self.found = grid, found
        self.dtype = record_type(source.count, len(columns))
        self._next = found.cells.starts[:-1].copy()  # where each cell's next point goes
        self.file = tempfile.TemporaryFile(dir=folder, prefix=PREFIX)  # noqa: SIM115
        try:
            for part in finite_chunks(source, columns, chunk, drop):
                self._add(part.xyz, part.more, part.ids)
                tell(part.done)
            self.file.flush()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the file."""
        _discard(self.file)

    def corner(self, place: int) -> np.ndarray:
        """(2,) float64 corner of a cell, in the file's coordinates."""
        return self.found.cells.index[place] * self.grid.stride

    def cell(self, place: int) -> np.ndarray:
        """The points of a cell, in the order of the file."""
        cells = self.found.cells
        self.file.seek(int(cells.starts[place]) * self.dtype.itemsize)
        return np.frombuffer(
            self.file.read(int(cells.counts[place]) * self.dtype.itemsize), self.dtype
        )

    def _add(self, xyz: np.ndarray, more: np.ndarray, ids: np.ndarray) -> None:
        places = self.found.cells.find(self.grid.cells_of(xyz))
        records = np.empty(len(xyz), self.dtype)
        corners = self.found.cells.index[places] * self.grid.stride
        records["xyz"][:, :2] = xyz[:, :2] - corners
        records["xyz"][:, 2] = xyz[:, 2] - self.found.low[2]
        records["more"] = more
        records["id"] = ids
        order = np.argsort(places, kind="stable")  # cells keep the file's order
        records, places = records[order], places[order]
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
            place = places[start]
            self.file.seek(int(self._next[place]) * self.dtype.itemsize)
            self.file.write(records[start:stop].tobytes())
            self._next[place] += stop - start


def blank_labels(folder: Path, count: int, dtype: np.dtype, stack: ExitStack) -> np.ndarray:
    """(count,) zeros in a temporary file, which ``stack`` removes.

    It is mapped, since labels are found in another order than they are written. Its room is taken
    first: a mapped file that finds the disk full would end the process.
    """
    file = tempfile.TemporaryFile(dir=folder, prefix=PREFIX)  # noqa: SIM115
    stack.callback(_discard, file)
    for start in range(0, count, CHUNK):
        file.write(bytes(min(CHUNK, count - start) * dtype.itemsize))
    file.flush()
    return np.memmap(file, dtype, "r+", shape=(count,))


def check_room(needs: Sequence[tuple[Path, int, str]]) -> None:
    """Check that each folder has room for what it is to hold, those of one disk together.

    Raises:
        PointAdaptError: it has not.
    """
    disks: dict[int, list[tuple[Path, int, str]]] = {}
    for need in needs:
        disks.setdefault(os.stat(need[0]).st_dev, []).append(need)
    for held in disks.values():
        wanted, free = sum(n for _, n, _ in held), shutil.disk_usage(held[0][0]).free
        if wanted > free:
            what = " and ".join(f"{size_text(n)} for {name}" for _, n, name in held)
            raise PointAdaptError(
                f"{held[0][0]}: {size_text(free)} are free, but {size_text(wanted)} are needed "
                f"({what}): make room, or choose another disk with --temp and --out"
            )


@contextmanager
def full_disk_said(folder: Path) -> Iterator[None]:
    """Say it in one line if the disk of ``folder`` is full.

    Raises:
        PointAdaptError: it is.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise PointAdaptError(
            f"{folder}: {error.strerror}: make room, or choose another disk with --temp"
        ) from error


def _discard(file: IO[bytes]) -> None:
    with suppress(OSError):  # what a full disk refused before, it refuses again
        file.close()
