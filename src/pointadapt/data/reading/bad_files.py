"""Files that cannot be read: all are told at once, or, on request, left out and listed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from ...core.errors import FileFormatError, PointAdaptError
from ...core.notes import note

T = TypeVar("T")
Skip = Literal["none", "bad"]
SKIPS = ("none", "bad")
KINDS = 3  # of faults that a message tells
NAMES = 3  # of files with each
LONGEST = 200  # characters of what is wrong with them
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
        f"{root}: {len(bad):,} of {count:,} files cannot be read: {some(reasons(bad, root))}"
        + (f". Repair or remove them; {ASK} them" if len(bad) < count else "")
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
    """What is wrong with how many files, most of them first, and the names of the first ones."""
    kinds: dict[str, list[str]] = {}
    for name, why in wrong.items():
        kinds.setdefault(_kind(why), []).append(name)
    ranked = sorted(kinds.values(), key=len, reverse=True)
    shown = [_together(names, wrong[names[0]]) for names in ranked[:KINDS]]
    left = sum(map(len, ranked[KINDS:]))
    return "; ".join([*shown, *([f"and {left:,} files more"] if left else [])])


def _kind(why: str) -> str:
    """What errors of one kind have in common: all before the advice, but for numbers."""
    return re.sub(r"\d+", "0", why.partition(": ")[0])


def _together(names: Sequence[str], why: str) -> str:
    shown = ", ".join(names[:NAMES])
    more = f" and {len(names) - NAMES:,} more" if len(names) > NAMES else ""
    return f"{shown}{more}: {why if len(why) <= LONGEST else f'{why[:LONGEST]} …'}"


def name_under(path: Path, root: Path) -> str:
    """A path as it is called under ``root``; one from elsewhere as it is."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
