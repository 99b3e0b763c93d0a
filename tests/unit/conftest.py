"""A real HTTP server on loopback that misbehaves on demand."""

import hashlib
import re
import runpy
import threading
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Site:
    """One file at every address. ``script`` says how each coming request is answered.

    Attributes:
        content: the file.
        script: names or (name, value) of the next answers; when it is empty, "good".
        log: (method, path, Range header) of the requests that came.
        tokens: their Authorization headers.
        go: what a "stall" or a "gate" waits for.
        arrived: set once one of them waits.
        headers: sent with every file; by default a strong ETag of the content.
    """

    def __init__(self):
        self.content = b""
        self.script, self.log, self.tokens, self.headers = [], [], [], None
        self.go, self.arrived = threading.Event(), threading.Event()

    def validators(self):
        if self.headers is not None:
            return self.headers
        return {"ETag": f'"{hashlib.sha256(self.content).hexdigest()}"'}


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.site.log.append((self.command, self.path, self.headers.get("Range")))
        self.site.tokens.append(self.headers.get("Authorization"))
        step = self.site.script.pop(0) if self.site.script else "good"
        name, *values = (step,) if isinstance(step, str) else step
        with suppress(OSError):  # the client left
            getattr(self, f"answer_{name}")(*values)
        self.close_connection = True

    do_HEAD = do_GET

    def start(self, status=200, *, length=None, **headers):
        self.send_response(status)
        if length is not None:
            headers["Content-Length"] = length
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()

    def answer_good(self, stop=None):
        """The file, or the rest that is asked for; broken off after ``stop`` of its bytes."""
        content, facts = self.site.content, self.site.validators()
        given = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        first, same = int(given[1]) if given else 0, self.headers.get("If-Range")
        if given and (same is None or same in facts.values()):
            if first >= len(content):
                return self.start(416, Content_Range=f"bytes */{len(content)}")
            where = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self.start(206, length=len(content) - first, Content_Range=where, **facts)
        else:
            first = 0
            self.start(length=len(content), **facts)
        if self.command == "GET":
            self.wfile.write(content[first:stop])

    answer_break = answer_good

    def answer_whole(self, stop=None):
        """As a server that knows no ranges."""
        self.start(length=len(self.site.content), **self.site.validators())
        self.wfile.write(self.site.content[:stop])

    def answer_stall(self, stop):
        self.answer_good(stop)
        self.wfile.flush()
        self.answer_gate(lambda: None)

    def answer_gate(self, then=None):
        self.site.arrived.set()
        self.site.go.wait(300)
        (then or self.answer_good)()

    def answer_status(self, status, **headers):
        self.start(status, length=0, **headers)

    def answer_later(self, status, seconds):
        self.start(status, length=0, Retry_After=seconds)

    def answer_to(self, where):
        self.start(302, length=0, Location=where)

    def answer_page(self):
        self.start(length=20, Content_Type="text/html; charset=utf-8")
        self.wfile.write(b"<html>sign in</html>")

    def answer_unlabelled(self):
        """No length: the end is where the connection closes."""
        self.start()
        self.wfile.write(self.site.content)

    def answer_splice(self):
        """A server that ignores If-Range and sends the rest of another file."""
        first, size = int(self.headers["Range"][6:-1]), len(self.site.content)
        where = f"bytes {first}-{size - 1}/{size}"
        self.start(206, length=size - first, Content_Range=where, **self.site.validators())
        self.wfile.write(self.site.content[first:])

    def answer_other(self):
        """Bytes of the right number, and all of them wrong."""
        self.start(length=len(self.site.content))
        self.wfile.write(b"x" * len(self.site.content))

    def answer_garbage(self):
        self.wfile.write(b"what is this\r\n\r\n")

    def answer_raw(self, *texts):
        """The bytes as they are."""
        for text in texts:
            self.wfile.write(text)

    def answer_drip(self, start, piece=b"x", every=0.02):
        """``start``, and then ``piece`` again and again, with no end."""
        self.wfile.write(start)
        while not self.site.go.wait(every):
            self.wfile.write(piece)

    def answer_rest(self, where, more=b""):
        """The rest that is asked for under another Content-Range, and ``more`` after it."""
        rest = self.site.content[int(self.headers["Range"][6:-1]) :] + more
        facts = self.site.validators() | ({"Content-Range": where} if where else {})
        self.start(206, length=len(rest), **facts)
        self.wfile.write(rest)

    def answer_hub(self):
        """What the Hugging Face Hub says of a large file."""
        size, sha256 = len(self.site.content), hashlib.sha256(self.site.content).hexdigest()
        facts = {"X-Repo-Commit": "c" * 40, "X-Linked-ETag": f'"{sha256}"', "X-Linked-Size": size}
        store = f"{self.site.url.replace('127.0.0.1', 'localhost')}/cdn"  # another host by name
        self.start(302, length=0, ETag='"of the pointer"', Location=store, **facts)

    def answer_hub_lacks(self, error):
        self.start(404, length=0, X_Error_Code=error)


@pytest.fixture
def site():
    """A :class:`Site` with 300,000 bytes, served at ``site.url``."""
    own = Site()
    own.content = bytes(range(256)) * 1172
    own.date = formatdate(0, usegmt=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": own}))
    server.daemon_threads = True
    own.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield own
    own.go.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mount(tmp_path):
    """Gives a function that mounts a small disk of its own; skips where that is not allowed."""
    import subprocess

    mounted = []

    def make(options):
        where = tmp_path / "disk"
        where.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(where)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a small disk takes root")
        mounted.append(where)
        return where

    yield make
    for where in mounted:
        subprocess.run(["umount", "-l", str(where)], check=False)


@pytest.fixture(autouse=True)
def _no_proxy_and_own_cache(monkeypatch, tmp_path):
    """No test reaches past loopback, nor into the user's cache."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("POINTADAPT_CACHE", str(tmp_path / "cache"))
    for key in ("POINTADAPT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(key, raising=False)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub of ``tests/data/hub`` that the Hub's client is sent to, with a token that may write."""
    made = runpy.run_path(str(Path(__file__).parents[1] / "data/hub/make.py"))
    own, stop = made["serve"]()
    monkeypatch.setenv("HF_ENDPOINT", own.url)
    monkeypatch.setenv("HF_TOKEN", made["TOKEN"])
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    yield own
    stop()
