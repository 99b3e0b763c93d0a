"""Stanford 3D Indoor Spaces: from the raw tree to one array a room, once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataLayoutError, FileFormatError, PointAdaptError
from ...core.files import atomic, read_json, sha256_of, write_json
from ...core.folders import sweep

CLASSES = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa",
    "bookcase", "board", "clutter",
)  # fmt: skip
INDEX = "rooms.json"
COLUMNS = 6  # x y z r g b
MOST_BAD = 20  # bad lines of a file beyond which it is damaged, not misprinted
ROW = re.compile(rb"[^0-9eE+.\-\s]")


def raw_rooms(root: Path) -> dict[str, Path]:
    """Name (Area_1_office_1) -> folder of every room of the raw tree; empty if it is none."""
    found = {}
    for area in sorted(root.glob("Area_[1-6]")):
        for room in sorted(path for path in area.glob("[!.]*") if path.is_dir()):
            found[f"{area.name}_{room.name}"] = room
    return found


def prepare(
    rooms: dict[str, Path], out: Path, done: Callable[[int], None], say: Callable[[str], None]
) -> None:
    """Write ``NAME.npy`` (n, 7) float32 x y z r g b label of each room that ``out`` lacks.

    Coordinates are moved so that the room's lowest corner is 0 0 0; labels are those of
    ``CLASSES``, and names that are none of them (stairs) are clutter: the field's conventions
    (Qi et al., PointNet, collect_indoor3d_data). ``rooms.json`` holds the number of points and the
    sha256 of each. A room counts once it stands there, which is after its file was renamed into
    place; so a killed run goes on with the next, and several may work at once.

    Raises:
        DataLayoutError: a room without annotations.
        FileFormatError: a file that cannot be read.
    """
    sweep(out)
    for number, (name, folder) in enumerate(rooms.items(), 1):
        if not is_prepared(out, name):
            _prepare_room(name, folder, out, say)
        done(number)


def is_prepared(out: Path, name: str) -> bool:
    """Whether the index names the room, and its file is as long as it says."""
    entry, path = read_index(out).get(name), out / f"{name}.npy"
    return bool(entry) and path.is_file() and path.stat().st_size == entry["bytes"]


def read_index(out: Path) -> dict[str, Any]:
    """Room -> points, bytes, sha256 and notes; empty where nothing has been prepared.

    Raises:
        FileFormatError: the file is damaged.
    """
    path = out / INDEX
    if not path.is_file():
        return {}
    try:
        rooms = read_json(path)["rooms"]
        return {name: entry for name, entry in rooms.items() if entry["bytes"] and entry["sha256"]}
    except (PointAdaptError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{path}: damaged ({error}): delete it, and the rooms are prepared anew"
        ) from error


def _prepare_room(name: str, folder: Path, out: Path, say: Callable[[str], None]) -> None:
    rows, notes = read_room(folder)
    for note in notes:
        say(note)
    path = out / f"{name}.npy"
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, rows)
    entry = {"points": len(rows), "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    _add(out, name, {**entry, "notes": notes})


def _add(out: Path, name: str, entry: dict[str, Any]) -> None:
    """Put a room into the index, which other processes may be changing."""
    from filelock import FileLock

    with FileLock(out / f".{INDEX}.lock"):
        rooms = {**read_index(out), name: entry}
        write_json(out / INDEX, {"format": 1, "rooms": dict(sorted(rooms.items()))})


def read_room(folder: Path) -> tuple[np.ndarray, list[str]]:
    """(n, 7) float32 x y z r g b label of a raw room, and what had to be mended in its files."""
    files = sorted(folder.glob("Annotations/[!.]*.txt"))  # without what a Mac leaves: ._wall_1.txt
    if not files:
        raise DataLayoutError(
            f"{folder / 'Annotations'}: missing, or without .txt files of the room's objects; "
            "unpack the archive again"
        )
    parts, notes = [], []
    for path in files:
        rows, mended = read_object(path)
        name = path.name.split("_")[0]
        label = CLASSES.index(name if name in CLASSES else "clutter")
        parts.append(np.column_stack([rows, np.full(len(rows), label)]))
        notes += mended
    whole = np.concatenate(parts)
    whole[:, :3] -= whole[:, :3].min(axis=0)
    return whole.astype(np.float32), notes


def read_object(path: Path) -> tuple[np.ndarray, list[str]]:
    """(n, 6) float64 rows of an annotation file, and a line for each row that was mended.

    The official Area_5/hallway_6/Annotations/ceiling_1.txt has a control character within a row;
    such rows are mended where that gives six sensible numbers, and left out otherwise.

    Raises:
        FileFormatError: the file has no rows, other columns, or too many bad rows.
    """
    try:
        text, notes = path.read_bytes(), []
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    if ROW.search(text):
        text, notes = _mended(path, text)
    lines = text.splitlines()
    if not lines:
        raise FileFormatError(f"{path}: is empty; unpack the archive again")
    try:
        rows = np.loadtxt(lines, dtype=np.float64, ndmin=2, encoding="latin-1")
    except ValueError as error:
        raise FileFormatError(
            f"{path}: not rows of x y z r g b: {' '.join(str(error).split())}"
        ) from error
    if rows.shape[1] != COLUMNS:
        raise FileFormatError(
            f"{path}: has {rows.shape[1]} columns, not the {COLUMNS} of x y z r g b"
        )
    if not _sensible(rows):
        raise FileFormatError(f"{path}: has infinite coordinates, or colours outside 0 to 255")
    return rows, notes


def _mended(path: Path, text: bytes) -> tuple[bytes, list[str]]:
    lines, kept, notes = text.splitlines(), [], []
    for number, line in enumerate(lines, 1):
        if not ROW.search(line):
            kept.append(line)
            continue
        # The odd byte stands beside a separator, or instead of one.
        tries = [ROW.sub(other, line) for other in (b"", b" ")]
        good = next((t for t in tries if _numbers(t)), None)
        what = "an odd byte was taken out" if good is not None else "the row was left out"
        notes.append(f"{path}: line {number} is no row of numbers: {what}")
        kept += [good] if good is not None else []
        if len(notes) > MOST_BAD:
            raise FileFormatError(
                f"{path}: more than {MOST_BAD} rows are no numbers, first line {number} "
                f"({line[:40]!r}); unpack the archive again"
            )
    return b"\n".join(kept), notes


def _numbers(line: bytes) -> bool:
    """Whether a line has six numbers that can be a point."""
    try:
        row = np.array([float(word) for word in line.split()])
    except ValueError:
        return False
    return row.shape == (COLUMNS,) and _sensible(row[None])


def _sensible(rows: np.ndarray) -> bool:
    colors = rows[:, 3:]
    return bool(np.isfinite(rows).all() and colors.min() >= 0 and colors.max() <= 255)
