"""One file over HTTP: resumed after a break, checked, and in its place only when whole.

``FILE.part`` holds what has come; ``FILE.part.json`` says which file it is the beginning of
(address, ETag or date, length). Bytes are added only to what the server calls the same file
(``If-Range``, RFC 9110, section 13.1.5); anything else starts from nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ..core import console
from ..core.errors import FetchError, PointAdaptError
from ..core.files import read_json, sha256_of, write_json
from ..core.version import __version__

Show = Callable[[int, "int | None", str], None]  # bytes that have come, of how many, a note
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
LONGEST_WAIT = 60.0  # seconds between two attempts
BLOCK = 1 << 20


@dataclass(frozen=True)
class Patience:
    """When to give up.

    Attributes:
        timeout: seconds without a byte after which a connection counts as broken.
        attempts: how many in a row may get no further.
        backoff: seconds before the second attempt; twice as long before each later one.
    """

    timeout: float = 30.0
    attempts: int = 5
    backoff: float = 1.0


class _BrokenError(Exception):
    """An attempt that failed in a way that another may not.

    Attributes:
        wait: seconds to wait before it, as the server asks.
        reached: whether there was a connection at all.
    """

    def __init__(self, reason: str, wait: float = 0.0, reached: bool = True) -> None:
        super().__init__(reason)
        self.wait, self.reached = wait, reached


class _Part:
    """The beginning of a file, and the note that says of which."""

    def __init__(self, path: Path, url: str, token: str = "") -> None:
        self.file = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")
        self.url, self.token = url, token

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


def download(
    url: str, path: Path, *, sha256: str = "", token: str = "", patience: Patience | None = None,
    show: Show = lambda done, total, note: None,
) -> str:  # fmt: skip
    """Fetch ``url`` into ``path``; returns the file's sha256.

    Args:
        url: an http or https address; proxies are taken from the environment, as urllib does.
        path: what appears when the file is whole.
        sha256: what the file must have; "" when nobody knows.
        token: shown to this address, and to none that it leads to.
        patience: when to give up; by default after 5 attempts in a row that got no further.
        show: told of the progress.

    Raises:
        FetchError: the address gives no file, or another file than ``sha256`` says.
        PointAdaptError: the folder cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise FetchError(f"{url} is no http or https address")
    part = _Part(path, url, token)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for again in (True, False):
            resumed = bool(part.facts())
            _transfer(part, patience or Patience(), show)
            got = sha256_of(part.file)
            if got == (sha256 or got):
                os.replace(part.file, path)
                part.drop()
                return got
            part.drop()
            if not (resumed and again):  # what an earlier run left may be what is wrong
                break
    except OSError as error:
        raise FetchError(f"cannot write {path}: {error.strerror or error}") from error
    raise FetchError(
        f"{url} gave a file with sha256 {got}, not {sha256}: it was changed there or damaged on "
        "the way, and is thrown away"
    )


def _transfer(part: _Part, patience: Patience, show: Show) -> None:
    """Attempts until the part is whole."""
    failed, furthest, reached = 0, part.size, False
    while True:
        try:
            return _attempt(part, patience.timeout, show)
        except _BrokenError as error:
            reached = reached or error.reached
            failed, furthest = (1, part.size) if part.size > furthest else (failed + 1, furthest)
            # With no network at all, more than two only keep a person waiting.
            if failed >= (patience.attempts if reached else min(2, patience.attempts)):
                raise FetchError(f"{part.url}: {error}") from error
            wait = max(error.wait, patience.backoff * 2 ** (failed - 1))
            show(part.size, None, f"{error}; trying again")
            time.sleep(min(wait, LONGEST_WAIT))


def _attempt(part: _Part, timeout: float, show: Show) -> None:
    facts = part.facts()
    have = part.size if facts else 0
    if have and have == facts.get("length"):  # an earlier run was stopped just before the end
        return
    with _open(part, facts, have, timeout) as answer:
        if answer.status == 206:
            length = _length_of_same(answer, part, facts, have)
        else:
            have, facts = 0, _facts(answer, part.url)
            length = facts["length"]
            part.begin(facts)
        if length is not None:
            _check_space(part.file.parent, length - have)
        _receive(answer, part, length, timeout, show)
    if length is not None and part.size < length:
        raise _BrokenError(
            f"the connection broke after {console.size(part.size)} of {console.size(length)}"
        )


def _open(part: _Part, facts: dict[str, Any], have: int, timeout: float) -> HTTPResponse:
    """The answer to a request for what is missing of the file."""
    headers = {"User-Agent": f"pointadapt/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": facts["validator"]}
    try:
        request = Request(part.url, headers=headers)
        if part.token:
            request.add_unredirected_header("Authorization", f"Bearer {part.token}")
        answer = urlopen(request, timeout=timeout)
    except HTTPError as error:
        error.close()
        if have and error.code == 416:  # what is here is longer than the file
            part.drop()
            raise _BrokenError("what had come is not of this file") from error
        text = f"the server answers {error.code} {error.reason}"
        if error.code in TRANSIENT:
            raise _BrokenError(text, _seconds(error.headers.get("Retry-After"))) from error
        raise FetchError(f"{part.url}: {text}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise _network(error, part.url, timeout) from error
    if part.url.startswith("https:") and not answer.url.startswith("https:"):
        answer.close()
        raise FetchError(f"{part.url} leads to an address without encryption: not followed")
    if answer.headers.get_content_type() == "text/html":
        answer.close()
        raise FetchError(f"{part.url} gives a web page, not a file")
    return answer


def _network(error: Exception, url: str, timeout: float) -> Exception:
    """What to raise for a request without an answer."""
    reason = error.reason if isinstance(error, URLError) else error
    host = urlsplit(url).hostname or url
    if isinstance(reason, ssl.SSLCertVerificationError):
        return FetchError(f"{host} cannot prove that it is {host}: {reason.verify_message}")
    if isinstance(reason, InvalidURL) or isinstance(error, ValueError):
        return FetchError(f"{url} is no address: {reason}")
    if isinstance(reason, TimeoutError):
        reached = reason is error  # urllib wraps what happens before the request is sent
        return _BrokenError(f"no answer from {host} in {timeout:g} s", reached=reached)
    detail = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
    reached = isinstance(reason, (ConnectionResetError, HTTPException))
    return _BrokenError(
        f"no answer from {host} ({detail or type(reason).__name__})", reached=reached
    )


def _facts(answer: HTTPResponse, url: str) -> dict[str, Any]:
    """What tells a file from another at its address; a weak ETag does not (RFC 9110, 8.8.1)."""
    etag = answer.headers.get("ETag", "")
    strong = etag if etag and not etag.startswith("W/") else ""
    length = answer.headers.get("Content-Length", "")
    return {
        "url": url,
        "validator": strong or answer.headers.get("Last-Modified", ""),
        "length": int(length) if length.isdigit() else None,
    }


def _length_of_same(
    answer: HTTPResponse, part: _Part, facts: dict[str, Any], have: int
) -> int | None:
    """The whole length; refuses a rest that is not of the file whose beginning is here."""
    given = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    start, total = given.groups() if given else ("", "*")
    before, now = facts["length"], _facts(answer, part.url)["validator"]
    length = before if total == "*" else int(total)
    if start != str(have) or before not in (None, length) or now not in ("", facts["validator"]):
        part.drop()
        raise _BrokenError("the file was changed meanwhile")
    return length


def _receive(
    answer: HTTPResponse, part: _Part, length: int | None, timeout: float, show: Show
) -> None:
    with open(part.file, "ab") as file:
        done = file.tell()
        while True:
            show(done, length, "")
            try:
                block = answer.read1(BLOCK)
            except TimeoutError as error:
                raise _BrokenError(f"no byte came for {timeout:g} s") from error
            except (OSError, HTTPException) as error:
                raise _BrokenError(f"the connection broke after {console.size(done)}") from error
            if not block:
                return
            file.write(block)
            done += len(block)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FetchError(
            f"{folder} has {console.size(free)} free, and {console.size(needed)} are still to come"
        )


def _seconds(header: str | None) -> float:
    with suppress(TypeError, ValueError):  # None, or a date
        return float(header)  # type: ignore[arg-type]
    return 0.0
