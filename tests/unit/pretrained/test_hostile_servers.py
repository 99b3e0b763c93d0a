"""Servers that lie, drip, never end or send no HTTP: one clear line, and nothing is left."""

import os
import time

import pytest

from pointadapt.core.errors import FetchError
from pointadapt.pretrained.download import Patience, download
from pointadapt.pretrained.web import follow

QUICK = Patience(timeout=0.1, attempts=2, backoff=0.01)
CALM = Patience(timeout=5, attempts=3, backoff=0.01)
HALF = 150_000
OK = b"HTTP/1.1 200 OK\r\n"
LONG = OK + b"Content-Length: 300032\r\n"
CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def refused(site, tmp_path):
    """What the refusal says: one line that can be shown; nothing is left, and it was soon."""

    def run(*script, patience=QUICK, requests=None):
        site.script = [*script] if len(script) > 1 else [*script] * 9
        began = time.monotonic()
        with pytest.raises(FetchError) as caught:
            download(f"{site.url}/weights.pth", tmp_path / "to/file", patience=patience)
        text = str(caught.value).replace(site.url, "SITE")
        assert text.isprintable() and len(text) < 400
        assert time.monotonic() - began < 10
        assert os.listdir(tmp_path / "to") == []
        if requests is not None:
            assert len(site.log) == requests
        return text

    return run


@pytest.fixture
def gets(site, tmp_path):
    """The Range headers of the requests that it took to get the file right."""

    def run(*script, patience=CALM):
        site.script = [*script]
        download(f"{site.url}/weights.pth", tmp_path / "to/file", patience=patience)
        assert (tmp_path / "to/file").read_bytes() == site.content
        assert os.listdir(tmp_path / "to") == ["file"]
        return [asked for _, _, asked in site.log]

    return run


# --- no end in time


@pytest.mark.parametrize("start", [LONG + b"\r\n", OK + b"\r\n"])
def test_a_drip_is_as_good_as_a_break(refused, start):
    text = refused(("drip", start), requests=2)
    assert text.startswith("SITE/weights.pth: only ") and text.endswith(" B came in 0.1 s")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 ", OK, OK + b"A: b", LONG + b"ETag: "])
def test_headers_that_drip(refused, start):
    text = refused(("drip", start), requests=2)
    assert text == "SITE/weights.pth: no answer from 127.0.0.1 in 0.1 s"


def test_an_answer_that_is_always_announced(refused):
    text = refused(("drip", b"", b"HTTP/1.1 100 Continue\r\n\r\n"))
    assert text == "SITE/weights.pth: no answer from 127.0.0.1 in 0.1 s"


@pytest.mark.parametrize(
    ("start", "piece"), [(CHUNKS + b"1;", b"x"), (CHUNKS, b"0"), (CHUNKS + b"0\r\n", b"a: b\r\n")]
)
def test_chunks_that_never_begin_or_end(refused, start, piece):
    assert refused(("drip", start, piece)).endswith("no byte came for 0.1 s")


def test_what_comes_with_a_redirect_is_not_read(gets):
    start = b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n"
    began = time.monotonic()
    assert gets(("drip", start, b"x" * 1000)) == [None, None]
    assert time.monotonic() - began < 1


def test_all_attempts_together_have_an_end(refused):
    patience = Patience(timeout=5, attempts=2, longest=0.2)
    text = refused(("drip", OK + b"\r\n", b"x" * 9999), patience=patience, requests=1)
    assert text == "SITE/weights.pth: not whole after 0.2 s"


def test_what_came_until_then_is_kept_where_it_can_be_gone_on_from(site, gets, tmp_path):
    patience = Patience(longest=0.5, backoff=0.6)
    with pytest.raises(FetchError, match=r"not whole after 0\.5 s: the same command goes on"):
        gets(("break", HALF), patience=patience)
    assert gets()[1:] == [f"bytes={HALF}-"]


def test_a_few_bytes_an_attempt_get_no_further(site, gets):
    steps = [("break", at) for at in (50, 100, 150, 200)]
    with pytest.raises(FetchError, match=r"the connection broke after 100 B of 300\.0 kB"):
        gets(*steps, patience=QUICK)
    assert len(site.log) == 2


# --- too much


def test_a_body_without_an_end(refused):
    small = Patience(timeout=1, largest=100_000)
    text = refused(("drip", OK + b"\r\n", b"x" * 9999, 0.001), patience=small, requests=1)
    assert text == "SITE/weights.pth gives more than 100.0 kB: too large to fetch"


def test_a_large_file_is_refused_before_it_comes(refused):
    text = refused(("drip", LONG + b"\r\n"), patience=Patience(largest=300_031), requests=1)
    assert text == "SITE/weights.pth gives more than 300.0 kB: too large to fetch"


def test_a_rest_that_is_longer_than_it_may_be_is_thrown_away(site, gets):
    whole = f"bytes {HALF}-{len(site.content) - 1}/{len(site.content)}"
    assert gets(("break", HALF), ("rest", whole, b"more")) == [None, f"bytes={HALF}-", None]


# --- elsewhere


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("ftp://127.0.0.1:1/x", "ftp://127.0.0.1:1/x"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("data:text/plain,x", "data:text/plain,x"),
        ("gopher://[::1", "gopher://[::1"),
        ("ftp:\x1b[31m", "ftp:%1B[31m"),
        ("", "nowhere"),
    ],
)
def test_no_redirect_leads_out_of_the_web(site, where, text):
    with pytest.raises(FetchError) as caught:
        follow(where, site.url, site.url)
    assert str(caught.value) == f"{site.url} leads to {text}: not followed"


def test_such_a_redirect_is_refused_at_once(refused):
    text = refused(("to", "ftp://127.0.0.1:1/x"), requests=1)
    assert text == "SITE/weights.pth leads to ftp://127.0.0.1:1/x: not followed"


def test_encryption_is_not_given_up_on_the_way():
    with pytest.raises(FetchError, match="without encryption: not followed"):
        follow("http://a.example/b", "https://a.example/x", "https://a.example/x")
    assert follow("/b c", "https://a.example/x", "") == "https://a.example/b%20c"
    assert follow("/\xc3\xa4", "https://a.example/x", "") == "https://a.example/%C3%A4"


# --- lies


@pytest.mark.parametrize(
    "length", ["²", "-5", "+5", "1_000", "0x10", "5, 5", "5, 6", "1e3", "9" * 30, "9" * 5000, " "]
)
def test_lengths_that_are_none(refused, length):
    head = OK + f"Content-Length: {length}\r\n\r\n".encode("latin-1")
    text = refused(("raw", head, b"12345"), requests=1)
    assert text.startswith('SITE/weights.pth: the server states an impossible length "')


def test_two_lengths(refused):
    text = refused(("raw", LONG + b"Content-Length: 5\r\n\r\n12345"), requests=1)
    assert text.endswith('the server states an impossible length "300032, 5"')


@pytest.mark.parametrize(
    ("header", "wait"),
    [("nan", 0.01), ("-nan", 0.01), ("inf", 60), ("-inf", 0.01), ("9" * 5000, 60), ("-5", 0.01),
     ("1e400", 60), ("²", 0.01), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.01), ("", 0.01), ("7", 7)],
)  # fmt: skip
def test_the_wait_that_a_server_asks_for_has_an_end(gets, monkeypatch, header, wait):
    waited = []
    monkeypatch.setattr("pointadapt.pretrained.download.time.sleep", waited.append)
    head = f"HTTP/1.1 503 no\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n"
    assert gets(("raw", head.encode("latin-1"))) == [None, None]
    assert waited == [wait]


def test_a_piece_that_nobody_asked_for(refused):
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/9\r\n\r\n12345"
    text = refused(("raw", head), requests=1)
    assert text == "SITE/weights.pth: the server answers 206 Partial Content"


@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 226, 300, 304, 305, 999])
def test_answers_that_are_no_file(refused, status):
    text = refused(("raw", f"HTTP/1.1 {status} Odd\r\n\r\nx".encode()), requests=1)
    assert text == f"SITE/weights.pth: the server answers {status} Odd"


@pytest.mark.parametrize(
    "where",
    ["", "bytes", f"bytes {HALF}-{HALF - 1}/300032", "bytes 0-300031/300032",
     f"bytes {HALF}-300032/300032", f"bytes {HALF + 1}-300031/300032",
     f"items {HALF}-300031/300032", f"bytes {HALF}-300031/{'9' * 5000}",
     f"bytes {HALF}-{'9' * 5000}/*", f"bytes {HALF}-300031/²",
     f"bytes {HALF}-5/3", f"bytes -{HALF}/300032", f"bytes {HALF}-300031/300033"],
)  # fmt: skip
def test_a_rest_from_elsewhere_is_not_added(gets, where):
    assert gets(("break", HALF), ("rest", where)) == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize(
    "etag", ['"' + "a" * 70 + "\x1b[31m" + '"', "a" * 9000, '"a"\r\n "b"', '"é"']
)
def test_a_mark_that_cannot_be_sent_back_is_none(site, gets, etag):
    head = LONG + f"ETag: {etag}\r\n\r\n".encode("latin-1")
    assert gets(("raw", head, site.content[:HALF])) == [None, None]


# --- no HTTP


@pytest.mark.parametrize(
    "answer",
    [
        b"\x1b]0;title\x07\x1b[31m what is this\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 " + b"2" * 100_000,
        b"HTTP/1.1 two OK\r\n\r\n",
        b"\0" * 5000,
        b"",
        CHUNKS + b"xyz\r\n",
        CHUNKS + b"-5\r\nabc",
        CHUNKS + b"f" * 50 + b"\r\nabc",
    ],
)
def test_what_is_no_http(refused, answer):
    text = refused(("raw", answer), requests=2)
    assert "no answer from 127.0.0.1 (" in text or "the connection broke" in text


def test_what_a_server_says_cannot_reach_the_terminal_as_it_is(refused):
    reason = "\x1b[31mred\x9b2J" + "!" * 9000
    text = refused(("raw", f"HTTP/1.1 404 {reason}\r\n\r\n".encode("latin-1")), requests=1)
    assert text.startswith(r"SITE/weights.pth: the server answers 404 \x1b[31mred\x9b2J")
