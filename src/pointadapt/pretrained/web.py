"""One GET over HTTP or HTTPS, from servers that nobody vouches for.

Python's urllib knows addresses, proxies, certificates and chunks. What it leaves open is closed
here: it waits for ever where a byte comes now and then, reads what comes with a redirect to its
end, follows redirects to ftp, and passes on what a server says with its escape sequences.
"""

from __future__ import annotations

import io
import ssl
import string
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, InvalidURL
from typing import Any, cast
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from ..core.errors import FetchError
from ..core.foreign_text import one_line
from ..core.version import __version__

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 10


class BrokenError(Exception):
    """An attempt that failed in a way that another may not.

    Attributes:
        wait: seconds to wait before it, as the server asks.
        reached: whether there was a connection at all.
    """

    def __init__(self, reason: str, wait: float = 0.0, reached: bool = True) -> None:
        super().__init__(reason)
        self.wait, self.reached = wait, reached


class Answer(HTTPResponse):
    """What a server answers; its headers and each block must be whole within the timeout."""

    def __init__(self, sock: Any, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        stream = cast(io.BufferedReader, self.fp)
        self.timed = _Timed(stream.detach(), sock, sock.gettimeout())
        self.fp = io.BufferedReader(self.timed)

    def block(self, size: int, timeout: float) -> bytes:
        """At most ``size`` of the next bytes; empty at the end.

        Raises:
            BrokenError: none came within ``timeout`` seconds, or the connection broke.
        """
        self.timed.start(timeout)
        try:
            return self.read1(size)
        except TimeoutError as error:
            raise BrokenError(f"no byte came for {timeout:g} s") from error
        except (OSError, HTTPException, ValueError) as error:
            raise BrokenError("the connection broke") from error


class _Timed(io.RawIOBase):
    """A connection's bytes, that come in time or not at all, however many reads it takes."""

    def __init__(self, raw: io.RawIOBase, sock: Any, timeout: float) -> None:
        self.raw, self.sock = raw, sock
        self.start(timeout)

    def start(self, timeout: float) -> None:
        self.until = time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)
        return self.raw.readinto(buffer)

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Connection(HTTPConnection):
    response_class = Answer


class _SecureConnection(HTTPSConnection):
    response_class = Answer


class _Handler(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _SecureHandler(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, req)


def check_address(url: str) -> None:
    """Refuse what is no http or https address.

    Raises:
        FetchError: it is none.
    """
    if _scheme(url) not in ("http", "https"):
        raise FetchError(f"{one_line(url)} is no http or https address")


def ask(url: str, headers: Mapping[str, str], *, token: str = "", timeout: float) -> Answer:
    """The answer to a GET, after redirects; its status may be any other.

    Args:
        url: an http or https address; proxies are taken from the environment.
        headers: sent to every address on the way.
        token: shown to the server of ``url``, and to no other that it leads to.
        timeout: seconds for a connection, and for the headers of each answer.

    Raises:
        FetchError: the address is none, or leads to one that is not followed.
        BrokenError: no answer.
    """
    here, own = url, {"Authorization": f"Bearer {token}"} if token else {}
    for _ in range(MOST_REDIRECTS + 1):
        answer = _ask_once(here, {**headers, **own}, timeout)
        if answer.status not in REDIRECTS:
            return answer
        answer.close()  # unread: what comes with a redirect may have no end
        there = follow(answer.headers.get("Location", ""), here, url)
        here, own = there, own if _server(there) == _server(here) else {}
    raise FetchError(f"{url}: more than {MOST_REDIRECTS} redirects")


def said(answer: HTTPResponse) -> str:
    """An answer's status in words that can be shown."""
    return f"the server answers {answer.status} {one_line(answer.reason)}".rstrip()


def _ask_once(url: str, headers: Mapping[str, str], timeout: float) -> Answer:
    opener = OpenerDirector()  # with no handler for ftp, files or errors, unlike urlopen
    for handler in (ProxyHandler(), _Handler(), _SecureHandler()):
        opener.add_handler(handler)
    known = {"User-Agent": f"pointadapt/{__version__}", "Accept-Encoding": "identity"}
    try:
        request = Request(url, headers={**known, **headers})
        return cast(Answer, opener.open(request, timeout=timeout))
    except (OSError, HTTPException, ValueError) as error:
        raise _no_answer(error, url, timeout) from error


def follow(location: str, here: str, url: str) -> str:
    """Where a redirect from the address ``here`` leads, on the way from ``url``.

    Raises:
        FetchError: to no http or https address, or out of encryption.
    """
    given = quote(location, safe=string.punctuation, encoding="latin-1")  # its bytes as they came
    try:
        there = urljoin(here, given)
        scheme = _scheme(there)
    except ValueError:
        there, scheme = given, ""
    if not given or scheme not in ("http", "https"):
        raise FetchError(f"{url} leads to {one_line(given) or 'nowhere'}: not followed")
    if here.startswith("https:") and scheme != "https":
        raise FetchError(f"{url} leads to an address without encryption: not followed")
    return there


def _no_answer(error: Exception, url: str, timeout: float) -> Exception:
    """What to raise for a request without an answer."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, InvalidURL) or isinstance(error, ValueError):
        return FetchError(f"{one_line(url)} is no address: {one_line(reason)}")
    host = urlsplit(url).hostname or url
    if isinstance(reason, ssl.SSLCertVerificationError):
        return FetchError(f"{host} cannot prove that it is {host}: {reason.verify_message}")
    if isinstance(reason, TimeoutError):
        reached = reason is error  # urllib wraps what happens before the request is sent
        return BrokenError(f"no answer from {host} in {timeout:g} s", reached=reached)
    detail = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
    reached = isinstance(reason, (ConnectionResetError, HTTPException))
    detail = one_line(detail) or type(reason).__name__
    return BrokenError(f"no answer from {host} ({detail})", reached=reached)


def _server(url: str) -> tuple[str, str]:
    """What a token for an address is for; the Hub sends its small files from beside them."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _scheme(url: str) -> str:
    return urlsplit(url).scheme
