"""What a file promises, compared with its size and with free memory before anything is made."""

from __future__ import annotations

from ..core.errors import FileFormatError, PointAdaptError
from ..core.machine import SHARE, free_memory

ROOM = 256 << 20  # bytes that may be made of any file without a question
MOST_EXPANSION = 100  # times its size, above that room: points do not compress so well


def check_present(present: int, promised: int, what: str = "bytes of data") -> None:
    """Refuse a file that has fewer bytes than its header promises.

    Raises:
        FileFormatError: it has, or the header promises fewer than none.

    """
    if promised < 0:
        raise FileFormatError(f"has a damaged header: it promises {promised} {what}")
    if present < promised:
        raise FileFormatError(f"is cut short: {present:,} of {promised:,} {what}")


def check_expansion(promised: int, size: int) -> None:
    """Refuse what a file of ``size`` bytes cannot honestly hold, or memory cannot.

    Args:
        promised: bytes that would be made of it.
        size: of the file.

    Raises:
        FileFormatError: more than ``ROOM``, and more than ``MOST_EXPANSION`` times its size.
        PointAdaptError: more than is free.

    """
    if promised <= ROOM:
        return
    from ..core.console import size as size_text

    if promised > max(ROOM, MOST_EXPANSION * size):
        raise FileFormatError(
            f"would take {size_text(promised)} of memory, but has {size_text(size)}: no points "
            "compress so well, so it is damaged or made to harm"
        )
    free = free_memory()
    if free is not None and promised > SHARE * free:
        raise PointAdaptError(
            f"takes {size_text(promised)} of memory, and {size_text(free)} are free: close other "
            "programs, or thin it out"
        )
