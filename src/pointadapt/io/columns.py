"""Which column is what, by its name: one rule for clouds and scenes, training and prediction.

The name as it is wins; then the one that differs by case alone; then the one with CloudCompare's
``scalar_`` before it. Two columns that fit equally well are an error that names both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from ..core.errors import ConfigError, FileFormatError
from ..core.notes import note

XYZ = ("x", "y", "z")
COLORS = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
)
NORMALS = (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"))
LABELS = (
    "label", "labels", "classification", "class", "category", "semantic", "semantic_label",
    "sem_class", "semclass", "segment",
)  # fmt: skip
SHOWN = 80  # characters of the names of columns in a message
PREFIX = "scalar_"  # what CloudCompare puts before the names of what it calls scalar fields
QUOTES = "\"'\ufeff"

_CALLED: ContextVar[tuple[str, ...]] = ContextVar("what x, y and z are called", default=XYZ)


@contextmanager
def xyz_called(names: Sequence[str]) -> Iterator[None]:
    """In this block the columns of these three names are x, y and z; without names, as usual.

    Raises:
        ConfigError: they are not three different names.

    """
    check_called(names)
    token = _CALLED.set(tuple(names) or XYZ)
    try:
        yield
    finally:
        _CALLED.reset(token)


def check_called(names: Sequence[str]) -> None:
    """Refuse other than no names, or three different ones.

    Raises:
        ConfigError: they are.

    """
    if names and (len(names) != 3 or len(column_names(names)) != 3):
        raise ConfigError(
            f"columns={','.join(names)}: three different names are needed, those of x, y and z, "
            "such as columns=easting,northing,height"
        )


def called(names: Iterable[str]) -> tuple[str, ...]:
    """Names as they may be typed, ``X,Y,Z`` or ``X Y Z``, one by one.

    Raises:
        ConfigError: they are not three different names.

    """
    found = tuple(name.strip() for item in names for name in item.split(",") if name.strip())
    check_called(found)
    return found


def names_of_xyz() -> tuple[str, ...]:
    """What the coordinates are called here: x, y, z, unless :func:`xyz_called` says otherwise."""
    return _CALLED.get()


def bare_name(name: str) -> str:
    """A column's name without the spaces and quotes around it."""
    return name.strip().strip(QUOTES).strip()


def column_name(name: str) -> str:
    """Normalise a name: lower case, without ``scalar_``."""
    return bare_name(name).lower().removeprefix(PREFIX)


def column_names(names: Iterable[str]) -> tuple[str, ...]:
    """The normalised names of columns, each once."""
    return tuple(dict.fromkeys(map(column_name, names)))


def find_column(names: Sequence[str], wanted: str) -> int | None:
    """Place of the column called ``wanted``; None if there is none.

    Raises:
        FileFormatError: two columns fit equally well.

    """
    part = column_name(wanted)
    ranks = {k: _rank(name, wanted) for k, name in enumerate(names) if part in name.lower()}
    best = min(ranks.values(), default=_NO)
    if best == _NO:
        return None
    first, *others = (k for k, rank in ranks.items() if rank == best)
    if others:
        raise _equally_good(names, wanted, first, others[0])
    return first


def find_xyz(names: Sequence[str]) -> tuple[int, int, int] | None:
    """Places of the coordinates; None if one of them is missing.

    Raises:
        FileFormatError: two columns fit equally well, or a name as it is (x) stands beside three
            that all differ from it in the same way (X, Y, Z).

    """
    own = names_of_xyz()
    found = [find_column(names, wanted) for wanted in own]
    x, y, z = found
    if x is None or y is None or z is None:
        return None
    near = [k for k, name in enumerate(names) if column_name(name) in column_names(own)]
    for rank in range(_NO):
        alike = [[k for k in near if _rank(names[k], w) == rank] for w in own]
        if all(alike):
            for wanted, place, (other, *_) in zip(own, (x, y, z), alike, strict=True):
                if other != place:
                    raise _equally_good(names, wanted, *sorted((place, other)))
            break
    return x, y, z


def need_xyz(names: Sequence[str]) -> tuple[int, int, int]:
    """Places of the coordinates.

    Raises:
        FileFormatError: one of them is missing, or as :func:`find_xyz`.

    """
    found = find_xyz(names)
    if found is None:
        raise FileFormatError(no_xyz(names))
    return found


def no_xyz(names: Sequence[str]) -> str:
    """What to say of a file in which no columns are called as the coordinates are."""
    wanted, there = ", ".join(names_of_xyz()), ", ".join(map(bare_name, names)) or "none"
    return (
        f"has no columns {wanted}: only {there[:SHOWN]}{' …' * (len(there) > SHOWN)}; say which "
        "are x, y, z with --data-options columns=X,Y,Z (predict: --columns X,Y,Z)"
    )


def find_optional(names: Sequence[str], candidates: Iterable[Sequence[str]]) -> list[int] | None:
    """Places of the first of the ``candidates``, each one or more columns, that is there.

    Where two columns fit equally well none is taken, and a note says so: colours, normals and
    labels are not worth refusing a file for.
    """
    try:
        for wanted in candidates:
            found = [find_column(names, name) for name in wanted]
            if None not in found:
                return [place for place in found if place is not None]
    except FileFormatError as error:
        note(f"{error}; neither is read")
    return None


def each_column(names: Sequence[str]) -> dict[str, int]:
    """Normalised name -> place of every column; of those that fit equally well, none."""
    places: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        places.setdefault(column_name(name), []).append(k)
    found: dict[str, int] = {}
    for name, some in places.items():
        best = find_optional([names[k] for k in some], [(name,)])
        if best is not None:
            found[name] = some[best[0]]
    return found


_NO = 3  # a rank: another name


def _rank(name: str, wanted: str) -> int:
    """How well a column's name fits: 0 as it is, 1 but for case, 2 but for ``scalar_``, 3 not."""
    name = bare_name(name)
    if name == wanted:
        return 0
    if name.lower() == wanted.lower():
        return 1
    return 2 if column_name(name) == column_name(wanted) else _NO


def _equally_good(names: Sequence[str], wanted: str, first: int, second: int) -> FileFormatError:
    one, two = bare_name(names[first]), bare_name(names[second])
    return FileFormatError(
        f"has two columns or arrays that may be {wanted}, {one!r} (number {first + 1}) and "
        f"{two!r} (number {second + 1}): rename or remove one of them"
    )
