"""Numbers in text as programs write them: NaN in many spellings, Fortran's exponents."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..core.errors import FileFormatError, first_line

# What C libraries print, 1.#QNAN (Microsoft) and -nan(ind) (glibc and Microsoft), and signalling
# ones. Where Microsoft's rounds to few digits, 1.#INF is printed as 1.#J, 1.#IO or 1.#INF00.
_INFINITE = re.compile(r"(?<![\w.])([-+]?)1[.,]#(?:INF|IO|J)\w*", re.IGNORECASE)
_NOT_A_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:1[.,]#\w+|[qs]nan(?!\w)|nan\([^()\n]*\))", re.IGNORECASE
)
_FORTRAN = re.compile(r"(?<=[\d.])[dD](?=[-+]?\d)")  # 1.5D+03


def plain_numbers(text: str) -> str:
    """Spell what stands for NaN and infinity, and exponents with a D, as Python reads them."""
    if "#" in text:
        text = _INFINITE.sub(r"\1inf", text)
    if any(mark in text for mark in ("#", "n(", "N(", "nan", "NaN", "NAN")):
        text = _NOT_A_NUMBER.sub("nan", text)
    if "d" in text or "D" in text:
        text = _FORTRAN.sub("e", text)
    return text


def is_number(word: str) -> bool:
    """Tell whether a word is a number, NaN and infinity included."""
    try:
        float(plain_numbers(word))
    except ValueError:
        return False
    return True


def is_count(word: str) -> bool:
    """Tell a whole number from 0, of the usual digits and of a length that fits into 64 bits."""
    return word.isascii() and word.isdigit() and len(word) < 19


def read_rows(lines: Iterable[str], where: str, **options: Any) -> np.ndarray:
    """(N, columns) float64 of lines of numbers; ``where`` says where rows are counted.

    Args:
        lines: as :func:`plain_numbers` leaves them, remarks cut off.
        where: for messages.
        options: of :func:`numpy.loadtxt`.

    Raises:
        FileFormatError: a line has too few columns, or something that is no number.

    """
    try:
        return np.loadtxt(lines, ndmin=2, comments=None, **options)
    except FileFormatError:  # of who makes the lines
        raise
    except ValueError as error:
        said = first_line(error).partition(";")[0]  # what follows advises programmers
        raise FileFormatError(f"{said} (rows counted from 0 {where})") from error
