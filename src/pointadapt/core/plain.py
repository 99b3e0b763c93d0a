"""Plain values that a file holds (JSON, YAML), checked before anything is made of them.

A file may be written by a stranger. Here is what no configuration of ours is: nested without end,
small on disk and huge once its YAML aliases are written out, or with text that no file name and no
terminal can take.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from .errors import PointAdaptError

DEEPEST = 50  # lists in lists
SHOWN = 80  # characters of a value in a message
# Half a character of UTF-16, or the end of a C string. (U+DC80 to U+DCFF are bytes of a file name.)
_UNFIT = re.compile("[\ud800-\udc7f\udd00-\udfff\0]")


def check_plain(values: Any, most: int) -> Any:
    """``values``, if they are nested little, of at most ``most`` parts, and all text is sound.

    What stands in two places (a YAML alias) counts twice, as it would if it were written out.

    Raises:
        PointAdaptError: they are not; the message goes on from the file's name.
    """
    open_parts: list[Iterator[Any]] = [iter((values,))]
    seen = 0
    while open_parts:
        for value in open_parts[-1]:
            seen += 1
            if seen > most:
                raise PointAdaptError("holds far more than a configuration does: write it shorter")
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, (dict, list, tuple, set)):
                if len(open_parts) > DEEPEST:
                    raise PointAdaptError(f"is nested more than {DEEPEST} deep")
                open_parts.append(_parts(value))
                break
        else:
            open_parts.pop()
    return values


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return (part for pair in value.items() for part in pair)
    return iter(value)


def _check_text(text: str) -> None:
    unfit = _UNFIT.search(text)
    if unfit:
        raise PointAdaptError(f"holds text with {unfit[0]!r}, which is no character: {shown(text)}")


def shown(value: Any) -> str:
    """``repr(value)`` for a message: at most :data:`SHOWN` characters."""
    short = value[: SHOWN + 1] if isinstance(value, (str, list, tuple)) else value
    try:
        text = repr(short)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists
        text = f"a {type(value).__name__} without end"
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def finite(values: Any) -> Any:
    """``values`` with None where a number is NaN or infinite, which JSON does not have."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
