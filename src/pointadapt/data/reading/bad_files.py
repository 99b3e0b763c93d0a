"""Files that cannot be read: all are told at once, or, on request, left out and listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from ...core.errors import FileFormatError, PointAdaptError
from ...core.notes import note

T = TypeVar("T")
Skip = Literal["none", "bad"]
SKIPS = ("none", "bad")
SHOWN = 5  # files that a message names
LONGEST = 250  # characters of what is wrong with the first of them
ASK = "--data-options skip=bad goes on without"


def read_each(
    paths: Iterable[Path], read: Callable[[Path], T]
) -> tuple[dict[Path, T], dict[Path, PointAdaptError]]:
    """What ``read`` gives for each file, and the errors of those that cannot be read."""
    good: dict[Path, T] = {}
    bad: dict[Path, PointAdaptError] = {}
    for path in paths:
        try:
            good[path] = read(path)
        except PointAdaptError as error:
            bad[path] = error
    return good, bad


def refuse(bad: Mapping[Path, PointAdaptError], count: int, root: Path) -> None:
    """Raise what is wrong with files under ``root``, if there are any, of ``count``.

    Raises:
        PointAdaptError: the one file's own error, or all of them in one line.
    """
    if not bad:
        return
    if len(bad) == 1:
        (error,) = bad.values()
        raise type(error)(f"{error} ({ASK} it)") from error
    kinds = {type(error) for error in bad.values()}
    kind = kinds.pop() if len(kinds) == 1 else FileFormatError
    raise kind(
        f"{root}: {len(bad):,} of {count:,} files cannot be read: {some(reasons(bad, root))}. "
        f"Repair or remove them; {ASK} them"
    )


def tell_skipped(bad: Mapping[Path, PointAdaptError], count: int, root: Path) -> None:
    """Say in a note how many files are left out, if any."""
    if bad:
        note(
            f"{root}: {len(bad):,} of {count:,} files cannot be read and are left out (skip=bad): "
            f"{some(reasons(bad, root))}"
        )


def reasons(bad: Mapping[Path, PointAdaptError], root: Path) -> dict[str, str]:
    """What is wrong with each file, by its path under ``root``."""
    return {
        name_under(path, root): str(error).removeprefix(f"{path}: ") for path, error in bad.items()
    }


def some(wrong: Mapping[str, str]) -> str:
    """The first of the files with what is wrong with them, and how many more there are.

    What to do about it is said with the first one alone.
    """
    (name, why), *others = list(wrong.items())[:SHOWN]
    shown = [f"{name}: {_short(why, LONGEST)}"]
    shown += [f"{name}: {_short(why.partition(': ')[0], LONGEST // 3)}" for name, why in others]
    more = f"; and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
    return "; ".join(shown) + more


def name_under(path: Path, root: Path) -> str:
    """A path as it is called under ``root``; one from elsewhere as it is."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
