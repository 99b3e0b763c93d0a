"""Notes: what a person should know of their input although it is no error.

A library user sees them as warnings of the category :class:`PointAdaptNote`; the command line
prints each once, ``pointadapt: note: …``, on standard error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MOST = 20  # notes that are printed; of others only their number


class PointAdaptNote(UserWarning):
    """Something about the input that a person should know; the work goes on."""


_WAITING: ContextVar[list[str] | None] = ContextVar("notes on what is being read", default=None)


def note(text: str) -> None:
    """Tell ``text``, one sentence that says what, where and what to do."""
    waiting, line = _WAITING.get(), " ".join(text.split())
    if waiting is None:
        warnings.warn(line, PointAdaptNote, stacklevel=2)
    else:
        waiting.append(line)


@contextmanager
def notes_about(path: object) -> Iterator[None]:
    """Tell the notes of the block at its end, ``path`` before each; none if it fails."""
    with notes_kept() as waiting:
        yield
    for line in dict.fromkeys(waiting):
        note(f"{path}: {line}")


@contextmanager
def notes_kept() -> Iterator[list[str]]:
    """The notes of the block in this thread, which are told to nobody else."""
    kept: list[str] = []
    token = _WAITING.set(kept)
    try:
        yield kept
    finally:
        _WAITING.reset(token)


@contextmanager
def notes_shown(show: Callable[[str], None]) -> Iterator[None]:
    """Give each note that comes in the block to ``show``, once, and at the end how many more."""
    told: set[str] = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def showwarning(message: Warning | str, category: type[Warning], *where: object) -> None:
            if not issubclass(category, PointAdaptNote):
                others(message, category, *where)  # type: ignore[arg-type]
            elif (text := str(message)) not in told:
                told.add(text)
                if len(told) <= MOST:
                    show(text)

        warnings.simplefilter("always", PointAdaptNote)
        warnings.showwarning = showwarning  # type: ignore[assignment]
        try:
            yield
        finally:
            if len(told) > MOST:
                show(f"and {len(told) - MOST:,} more notes")
