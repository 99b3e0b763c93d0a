"""Talking to a server over HTTP: one connection after another, and again where one broke."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from ..core.errors import ConfigError, PointAdaptError
from ..core.foreign_text import one_line

WAITS = (0.1, 0.3, 1.0, 2.0)  # seconds before a broken connection is tried again
PAUSE = 0.2  # seconds before a busy server is asked again
BUSY = 120.0  # seconds that a busy server is asked again and again
TIMEOUT = 900.0  # seconds without a byte; a scene takes minutes
BROKEN = (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)


class GoneError(PointAdaptError):
    """A server that does not answer."""


@dataclass(frozen=True)
class Said:
    """A server's answer: its status, what it tells, and its headers."""

    status: int
    told: Any
    headers: Mapping[str, str]

    @property
    def error(self) -> str:
        """What is wrong, in one line."""
        known = self.told.get("error") if isinstance(self.told, dict) else None
        return one_line(known, 1000) if known else f"status {self.status}"


@dataclass
class Line:
    """Where a server is, and what it is told; threads may share it, each has its own connection.

    Raises:
        ConfigError: the address is none.
    """

    address: str
    token: str = ""
    _own: threading.local = field(default_factory=threading.local)

    def __post_init__(self) -> None:
        try:
            self._place: SplitResult = urlsplit(self.address.rstrip("/"))
            self._host, self._port = self._place.hostname, self._place.port
        except ValueError:
            self._host = None
        if self._host is None or self._place.scheme not in ("http", "https"):
            raise ConfigError(
                f"--server {self.address}: it takes an address such as http://127.0.0.1:8000"
            )

    def get(self, path: str) -> Said:
        """What the server says of ``path``, asked once.

        Raises:
            GoneError: it does not answer.
        """
        try:
            return self._once("GET", self._path([path], {}), None, None)
        except _BrokenError as error:
            raise GoneError(f"no server at {self.address}: {error}") from error

    def put(
        self, file: Path, parts: Sequence[str], options: Mapping[str, Any],
        copy: Path | None = None,
    ) -> Said:  # fmt: skip
        """What the server says of a file, which is sent again where a connection broke.

        Args:
            file: is sent as it is.
            parts: of the path.
            options: of the query; those that are None are left out.
            copy: where a file is written to that comes back.

        Raises:
            GoneError: it does not answer any more, or is busy all the time.
            OSError: the file cannot be read, or the copy not be written.
        """
        path, waits, end = self._path(parts, options), iter(WAITS), time.monotonic() + BUSY
        while True:
            try:
                said = self._once("PUT", path, file, copy)
            except _BrokenError as error:
                wait = next(waits, None)
                if wait is None:
                    raise GoneError(f"{self.address} stopped answering: {error}") from error
            else:
                if said.status != 503:
                    return said
                if time.monotonic() > end:
                    raise GoneError(f"{self.address} is busy: try again later")
                wait = PAUSE
            time.sleep(wait)

    def _path(self, parts: Sequence[str], options: Mapping[str, Any]) -> str:
        path = "/".join([self._place.path, *(quote(part, safe="") for part in parts)])
        query = urlencode({k: v for k, v in options.items() if v is not None})
        return f"{path}?{query}" if query else path

    def _once(self, method: str, path: str, file: Path | None, copy: Path | None) -> Said:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if file is None:
            with _breaking(self):
                self._connection().request(method, path, None, headers)
        else:
            headers["Content-Type"] = "application/octet-stream"
            with file.open("rb") as body:
                self._send(method, path, body, headers)
        with _breaking(self):
            return self._taken(self._connection().getresponse(), copy)

    def _send(self, method: str, path: str, body: IO[bytes], headers: dict[str, str]) -> None:
        """Send a file. A server that takes no more of it has answered already, as too large."""
        headers["Content-Length"] = str(_left(body))
        with _breaking(self):
            line = self._connection()
            line.putrequest(method, path)
            for name, value in headers.items():
                line.putheader(name, value)
            line.endheaders()
            with suppress(BrokenPipeError, ConnectionResetError):
                while block := body.read(1 << 16):
                    line.send(block)

    def _taken(self, answer: HTTPResponse, copy: Path | None) -> Said:
        is_json = answer.headers.get_content_type() == "application/json"
        if copy is not None and answer.status == 200 and not is_json:
            with copy.open("wb") as out:
                shutil.copyfileobj(answer, out)
            return Said(200, None, dict(answer.headers))
        try:
            told = json.loads(answer.read())
        except ValueError:
            told = None
        if answer.status >= 500 and not isinstance(told, dict):  # not ours: of what stands between
            raise _BrokenError(f"status {answer.status}")
        return Said(answer.status, told, dict(answer.headers))

    def _connection(self) -> HTTPConnection:
        line = getattr(self._own, "line", None)
        if line is None:
            secure = self._place.scheme == "https"
            kind = http.client.HTTPSConnection if secure else HTTPConnection
            line = self._own.line = kind(str(self._host), self._port, timeout=TIMEOUT)
        if line.sock is None:
            try:
                line.connect()
            except OSError as error:
                raise _BrokenError(error.strerror or str(error)) from error
        return line

    def close(self) -> None:
        """Close the calling thread's connection."""
        line = getattr(self._own, "line", None)
        if line is not None:
            line.close()
            self._own.line = None


class _BrokenError(Exception):
    """A connection broke."""


@contextmanager
def _breaking(line: Line) -> Iterator[None]:
    """What breaks in the block is the connection's fault, which is closed.

    Raises:
        _BrokenError: something did.
    """
    try:
        yield
    except BROKEN as error:
        line.close()
        why = getattr(error, "strerror", None) or "the connection broke"
        raise _BrokenError(why) from error


def _left(stream: IO[bytes]) -> int:
    """Bytes of a file."""
    size = stream.seek(0, 2)
    stream.seek(0)
    return size
