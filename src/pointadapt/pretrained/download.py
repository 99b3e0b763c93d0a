"""One file over HTTP: resumed after a break, checked, and in its place only when whole.

It stays in memory-sized blocks, within limits of time and size (:class:`Patience`), and leaves
nothing behind but what a later run can go on from (:mod:`pointadapt.pretrained.partial`).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import console
from ..core.errors import FetchError
from ..core.files import sha256_of
from . import web
from .partial import Part, check_size, facts_of, length_of_same
from .web import Answer, BrokenError

Show = Callable[[int, "int | None", str], None]  # bytes that have come, of how many, a note
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
LONGEST_WAIT = 60.0  # seconds between two attempts
BLOCK = 1 << 20


@dataclass(frozen=True)
class Patience:
    """When to give up.

    Attributes:
        timeout: seconds without a byte, or for all headers of an answer, after which a connection
            counts as broken.
        attempts: how many in a row may get no further.
        backoff: seconds before the second attempt; twice as long before each later one.
        slowest: bytes a second. A connection that brings fewer over ``timeout`` counts as broken,
            and an attempt that brings no more than that got no further.
        longest: seconds for all attempts together.
        largest: bytes of a file.
    """

    timeout: float = 30.0
    attempts: int = 5
    backoff: float = 1.0
    slowest: float = 1000.0
    longest: float = 12 * 3600.0
    largest: int = 10**10


def download(
    url: str, path: Path, *, sha256: str = "", token: str = "", patience: Patience | None = None,
    show: Show = lambda done, total, note: None,
) -> str:  # fmt: skip
    """Fetch ``url`` into ``path``; returns the file's sha256.

    Args:
        url: an http or https address; proxies are taken from the environment, as urllib does.
        path: what appears when the file is whole.
        sha256: what the file must have; "" when nobody knows.
        token: shown to this address's server, and to no other that it leads to.
        patience: when to give up; by default after 5 attempts in a row that got no further, and
            over 10 GB.
        show: told of the progress.

    Raises:
        FetchError: the address gives no file, another file than ``sha256`` says, or one that is
            too large or too slow.
        PointAdaptError: the folder cannot be written.
    """
    web.check_address(url)
    part = Part(path, url)
    transfer = _Transfer(part, token, patience or Patience(), show)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for again in (True, False):
            resumed = bool(part.facts())
            transfer.run()
            got = sha256_of(part.file)
            if got == (sha256 or got):
                os.replace(part.file, path)
                return got
            part.drop()
            if not (resumed and again):  # what an earlier run left may be what is wrong
                break
    except OSError as error:
        raise FetchError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if not part.facts():  # a later run could not go on from it
            with suppress(OSError):
                part.drop()
    raise FetchError(
        f"{url} gave a file with sha256 {got}, not {sha256}: it was changed there or damaged on "
        "the way, and is thrown away"
    )


class _Transfer:
    """Attempts until the part is whole."""

    def __init__(self, part: Part, token: str, patience: Patience, show: Show) -> None:
        self.part, self.token, self.patience, self.show = part, token, patience, show
        self.until = time.monotonic() + patience.longest
        self.least = patience.slowest * patience.timeout  # bytes

    def run(self) -> None:
        part, patience = self.part, self.patience
        failed, furthest, reached = 0, part.size if part.facts() else 0, False
        while True:
            try:
                return self.attempt()
            except BrokenError as error:
                reached = reached or error.reached
                further = part.size > furthest + self.least
                failed, furthest = (1, part.size) if further else (failed + 1, furthest)
                # With no network at all, more than two only keep a person waiting.
                if failed >= (patience.attempts if reached else min(2, patience.attempts)):
                    raise FetchError(f"{part.url}: {error}") from error
                self.show(part.size, None, f"{error}; trying again")
                wait = max(error.wait, patience.backoff * 2 ** (failed - 1))
                time.sleep(min(wait, LONGEST_WAIT))
                self.check_time()

    def attempt(self) -> None:
        part, facts = self.part, self.part.facts()
        have = part.size if facts else 0
        if have and have == facts.get("length"):  # an earlier run was stopped just before the end
            return
        with self.ask(facts, have) as answer:
            if have and answer.status == 206:
                length = length_of_same(answer, part, facts, have)
            else:
                have, facts = 0, facts_of(answer, part.url)
                length = facts["length"]
                part.begin(facts)
            check_size(part, length, have, self.patience.largest)
            if length is not None:
                _check_space(part.file.parent, length - have)
            self.receive(answer, length)
        if length is not None and part.size < length:
            raise BrokenError(
                f"the connection broke after {console.size(part.size)} of {console.size(length)}"
            )

    def ask(self, facts: dict[str, Any], have: int) -> Answer:
        """The answer to a request for what is missing: the whole file, or its rest."""
        headers = {"Range": f"bytes={have}-", "If-Range": facts["validator"]} if have else {}
        url = self.part.url
        answer = web.ask(url, headers, token=self.token, timeout=self.patience.timeout)
        if answer.status == 200 or (have and answer.status == 206):
            if answer.headers.get_content_type() != "text/html":
                return answer
            text = "it gives a web page, not a file"
        else:
            text = web.said(answer)
        answer.close()
        if have and answer.status == 416:  # what is here is longer than the file
            self.part.drop()
            raise BrokenError("what had come is not of this file")
        if answer.status in TRANSIENT:
            raise BrokenError(text, _seconds(answer.headers.get("Retry-After")))
        raise FetchError(f"{url}: {text}")

    def receive(self, answer: Answer, length: int | None) -> None:
        """Add what comes to the part, until there is no more."""
        patience, since = self.patience, time.monotonic()
        with open(self.part.file, "ab") as file:
            done = before = file.tell()
            while True:
                self.show(done, length, "")
                block = answer.block(BLOCK, patience.timeout)
                if not block:
                    return
                done += len(block)
                check_size(self.part, length, done, patience.largest)
                file.write(block)
                if time.monotonic() - since >= patience.timeout:
                    self.check_pace(done - before)
                    since, before = time.monotonic(), done
                self.check_time()

    def check_pace(self, came: int) -> None:
        if came < self.least:
            text = f"only {console.size(came)} came in {self.patience.timeout:g} s"
            raise BrokenError(text)

    def check_time(self) -> None:
        if time.monotonic() > self.until:
            longest = console.duration(self.patience.longest)
            again = ": the same command goes on from there" if self.part.facts() else ""
            raise FetchError(f"{self.part.url}: not whole after {longest}{again}")


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FetchError(
            f"{folder} has {console.size(free)} free, and {console.size(needed)} are still to come"
        )


def _seconds(header: str | None) -> float:
    """The seconds that a server asks to wait; 0 where it says none, or gives a date."""
    try:
        seconds = float(header or 0)
    except ValueError:
        return 0.0
    return min(seconds, LONGEST_WAIT) if seconds > 0 else 0.0
