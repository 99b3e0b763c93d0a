"""The beginning of a file that is on its way, and the note that says of which file.

Bytes are added only to what the server calls the same file (``If-Range``, RFC 9110, section
13.1.5); anything else starts from nothing.
"""

from __future__ import annotations

import re
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from ..core import console
from ..core.errors import FetchError, PointAdaptError
from ..core.files import read_json, write_json
from ..core.foreign_text import one_line
from .web import BrokenError

_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)")
_VALIDATOR = re.compile(r"[\x20-\x7e]{1,200}")  # what can be sent back as it came


class Part:
    """``FILE.part`` holds what has come of ``url``; ``FILE.part.json`` says which file that is."""

    def __init__(self, path: Path, url: str) -> None:
        self.file = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.url = url

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def facts(self) -> dict[str, Any]:
        """What the note says; empty where the bytes cannot be told to be this address's."""
        try:
            facts = read_json(self.note)
        except PointAdaptError:
            return {}
        right = isinstance(facts, dict) and facts.get("url") == self.url and facts.get("validator")
        return facts if right and self.size else {}

    def begin(self, facts: dict[str, Any]) -> None:
        """Nothing has come yet of the file that ``facts`` describe."""
        self.file.unlink(missing_ok=True)  # first: no note ever describes another file's bytes
        write_json(self.note, facts)

    def drop(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def facts_of(answer: HTTPResponse, url: str) -> dict[str, Any]:
    """What tells a file from another at its address; a weak ETag does not (RFC 9110, 8.8.1).

    Raises:
        FetchError: the server states a length that is none.
    """
    etag = answer.headers.get("ETag", "")
    strong = etag if not etag.startswith("W/") and _VALIDATOR.fullmatch(etag) else ""
    date = answer.headers.get("Last-Modified", "")
    return {
        "url": url,
        "validator": strong or (date if _VALIDATOR.fullmatch(date) else ""),
        "length": _length(answer, url),
    }


def length_of_same(
    answer: HTTPResponse, part: Part, facts: dict[str, Any], have: int
) -> int | None:
    """The whole length, from the answer that brings the rest of ``part``.

    Raises:
        BrokenError: it is not the rest of the file whose beginning is here; that is dropped.
    """
    given = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    start, end, total = given.groups() if given else ("0", "0", "*")
    before, now = facts.get("length"), facts_of(answer, part.url)["validator"]
    length = before if total == "*" else int(total)
    right = have == int(start) <= int(end) and (length is None or int(end) < length)
    if not right or before not in (None, length) or now not in ("", facts["validator"]):
        part.drop()
        raise BrokenError("the file was changed meanwhile")
    return length


def _length(answer: HTTPResponse, url: str) -> int | None:
    """The length that the server states; None if it states none."""
    given = {text.strip() for text in answer.headers.get_all("Content-Length", [])}
    if not given or answer.chunked:
        return None
    if len(given) > 1 or not re.fullmatch("[0-9]{1,15}", min(given)):
        text = one_line(", ".join(sorted(given)), 40)
        raise FetchError(f'{url}: the server states an impossible length "{text}"')
    return int(min(given))


def check_size(part: Part, length: int | None, done: int, largest: int) -> None:
    """Refuse a file that is too large, and a body longer than the server said.

    Args:
        part: dropped where it is refused.
        length: what the server said.
        done: bytes that are here.
        largest: bytes that a file may have.

    Raises:
        FetchError: it is too large.
        BrokenError: it is longer.
    """
    if max(length or 0, done) > largest:
        part.drop()
        raise FetchError(f"{part.url} gives more than {console.size(largest)}: too large to fetch")
    if length is not None and done > length:
        part.drop()
        raise BrokenError(f"more came than the {console.size(length)} that were promised")
