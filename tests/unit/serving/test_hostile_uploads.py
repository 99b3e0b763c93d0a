"""A small run of ``benchmarks/hostile_uploads.py``, and that it sees what it looks for."""

import json
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("laspy")
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def hostile(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import hostile_uploads

    return hostile_uploads


def test_damaged_uploads_are_answered_or_refused_in_one_line(hostile, server, tmp_path):
    def ask(path, body, kind):
        got = server.ask(path, body or b"", "PUT", **{"Content-Type": kind})
        return got.status, got.body

    every = [*hostile.uploads(tmp_path, 90, 7, harm=False)]
    damaged = [upload for upload in every if upload.way != "whole"]
    outcomes = set()
    for upload in [*every[:4], *damaged[::3]]:
        for adapter in hostile.ADAPTERS if upload.form in (".las", ".laz") else ("shapes",):
            one = hostile.sent(ask, upload, adapter, (str(server.temp), "upload."))
            assert one.outcome in ("answered", "refused"), one
            assert not server.files, one
            outcomes.add(one.outcome)
    assert outcomes == {"answered", "refused"}
    assert server.errors.read_text() == ""


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"", "answered"),
        (422, json.dumps({"error": "a.ply: is empty"}), "refused"),
        (500, json.dumps({"error": "the server failed"}), "status 500"),
        (422, json.dumps({"error": "two\nlines"}), "no line"),
        (422, json.dumps({"error": "long " * 200}), "no line"),
        (422, json.dumps({"detail": "another"}), "no line"),
        (400, "Invalid HTTP request", "no line"),
        (422, json.dumps({"error": "/secret/upload.ply: is empty"}), "names a path"),
    ],
)
def test_every_fault_is_seen(hostile, status, body, outcome):
    said = body if isinstance(body, bytes) else body.encode()
    assert hostile.judged(status, said, ("/secret", "upload."))[0] == outcome


def test_a_lost_connection_is_seen(hostile):
    def ask(path, body, kind):
        raise ConnectionResetError

    upload = hostile.Upload("a.ply", ".ply", "flip", b"ply")
    assert hostile.sent(ask, upload, "shapes", ()).outcome == "lost"
