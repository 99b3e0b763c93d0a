"""Being asked to stop: SIGTERM, which is how clusters ask, and Ctrl-C.

A process calls :func:`install` before it imports anything else, since imports take seconds. Then
Ctrl-C is a ``KeyboardInterrupt`` and SIGTERM is :class:`Stopped`, wherever the program is. Inside
:class:`later`, SIGTERM waits until the program asks (:func:`asked`, :func:`check`) where it can
stop. In the middle of an import either ends the process at once, with one line: many a module takes
an exception there for its own fault.

Only Python's own modules are imported here, and few of them.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED, STOPPED = 130, 143  # exit statuses: 128 and the signal's number


class Stopped(BaseException):
    """SIGTERM asked the process to stop; the text says what was saved, if anything.

    No ``Exception``, so that nothing takes it for a fault and goes on.
    """


class _State:
    asked = False
    waiting = 0  # blocks inside which SIGTERM waits
    leaving = False  # Stopped is on its way: asking again changes nothing
    words: Callable[[str], str] = staticmethod(lambda what: what)
    last: ClassVar[list[Callable[[], object]]] = []


def install() -> None:
    """Handle Ctrl-C and SIGTERM in this process, unless whoever started it had them ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def uninstall() -> None:
    """From now on both end the process without a word: its work is done."""
    for number, own in ((signal.SIGINT, _on_interrupt), (signal.SIGTERM, _on_sigterm)):
        if signal.getsignal(number) is own:
            signal.signal(number, signal.SIG_DFL)


def ignore() -> None:
    """Leave both to the process that started this one: for workers that end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def say(words: Callable[[str], str]) -> None:
    """Make of "interrupted" what is said where the process ends in the middle of an import."""
    _State.words = staticmethod(words)


class cleaning:  # noqa: N801 - reads as a statement
    """A block at whose end ``clean()`` is called, also if the process ends there at once."""

    def __init__(self, clean: Callable[[], object]) -> None:
        self.clean = clean

    def __enter__(self) -> None:
        _State.last.append(self.clean)

    def __exit__(self, *error: object) -> None:
        _State.last.remove(self.clean)
        self.clean()


def asked() -> bool:
    """Whether SIGTERM has come."""
    return _State.asked


def forget() -> None:
    """SIGTERM has been obeyed, and the process goes on all the same."""
    _State.asked = _State.leaving = False


def check(*_: object) -> None:
    """End here if SIGTERM has come; takes what callbacks are given.

    Raises:
        Stopped: it has.
    """
    if _State.asked:
        _State.leaving = True
        raise Stopped


class later:  # noqa: N801 - reads as a statement
    """A block inside which SIGTERM waits until it asks; at its end at the latest it is obeyed.

    Raises:
        Stopped: SIGTERM came, and the block has ended without looking.
    """

    def __enter__(self) -> later:
        _State.waiting += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        _State.waiting -= 1
        if kind is None and not _State.waiting:
            check()


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    if _importing(frame):
        _leave("interrupted", INTERRUPTED)
    raise KeyboardInterrupt


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    _State.asked = True
    if _State.waiting or _State.leaving:
        return
    if _importing(frame):
        _leave("stopped by SIGTERM", STOPPED)
    check()


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported in this thread."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _leave(what: str, status: int) -> None:
    """End at once, with one line; a bar may have hidden the cursor."""
    show = "\x1b[?25h" if sys.stderr.isatty() else ""
    try:
        os.write(2, f"{show}pointadapt: error: {_State.words(what)}\n".encode())
        for clean in reversed(_State.last):
            clean()
    finally:
        os._exit(status)
