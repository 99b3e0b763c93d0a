"""``pointadapt predict --server``: the rows of ``predict``, from a real server process."""

import csv
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from pointadapt.cli.main import main
from pointadapt.core.errors import ConfigError, PointAdaptError
from pointadapt.io import write_points

pytest.importorskip("fastapi")

from pointadapt.serving.client import Wanted, predict_at


@pytest.fixture
def files(tmp_path):
    """Three clouds, a damaged file and a missing one."""
    rng, folder = np.random.default_rng(3), tmp_path / "chair"
    folder.mkdir()
    for k in range(3):
        write_points(folder / f"my {k}.ply", rng.uniform(-1, 1, (90, 3)).astype(np.float32))
    (folder / "z.npy").write_bytes(b"\x93NUMPY\x01\x00v")
    return [folder, tmp_path / "none.ply"]


@pytest.fixture
def token(tmp_path, server):
    (tmp_path / "token").write_text(server.token)
    return tmp_path / "token"


def said(capsys, *words):
    """Exit status, rows on standard output and lines on standard error of ``predict``."""
    status = main(["predict", *map(str, words), "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out or "null"), err.splitlines()


def same(got, want):
    """The same row, but for the last digits of numbers and what is told of time and memory."""
    if isinstance(want, dict):
        keys = want.keys() - {"seconds", "peak_memory_bytes"}
        return want.keys() == got.keys() and all(same(got[k], want[k]) for k in keys)
    if isinstance(want, list):
        return len(got) == len(want) and all(map(same, got, want))
    return got == pytest.approx(want, abs=1e-5) if isinstance(want, float) else got == want


def test_the_rows_are_those_of_predict_without_a_server(
    server, served, files, token, tmp_path, capsys
):
    at = ("--server", server.address, "--token-file", token, "--adapter", "shapes")
    here = ("--adapter", served / "adapters" / "shapes")
    want = said(capsys, *files, *here, "--csv", tmp_path / "here.csv")
    got = said(capsys, *files, *at, "--csv", tmp_path / "there.csv")
    assert [row["error"] is None for row in want[1]] == [True] * 3 + [False] * 2
    assert got[0] == want[0] == 2 and same(got[1], want[1]) and got[2] == want[2]
    tables = [list(csv.reader((tmp_path / f"{n}.csv").open())) for n in ("here", "there")]
    for here_line, there_line in zip(*tables, strict=True):
        assert [c for c in here_line if "." not in c or "/" in c] == [
            c for c in there_line if "." not in c or "/" in c
        ]
    one = said(capsys, files[0] / "my 0.ply", *at, "--top", 1)[1]
    assert len(one[0]["top"]) == 1 and not server.files


def test_labelled_copies_are_those_of_predict_without_a_server(
    server, served, files, token, tmp_path, capsys
):
    pytest.importorskip("laspy")
    at = ("--server", server.address, "--token-file", token)
    cases = {"parts": (files[0], "my 0.ply"), "scenes": (served / "scene.las", "scene.las")}
    for name, (path, copy) in cases.items():
        rows = {}
        for out, how in (
            ("here", (served / "adapters" / name / "adapter",)),
            ("there", (name, *at)),
        ):
            words = (path, "--adapter", *how, "--out", tmp_path / name / out)
            rows[out] = said(capsys, *words)[1]
        text = json.dumps(rows["there"]).replace(f"{name}/there", f"{name}/here")
        assert same(json.loads(text), rows["here"])
        names = [sorted(p.name for p in (tmp_path / name / o).iterdir()) for o in rows]
        assert names[0] == names[1]
        here, there = ((tmp_path / name / out / copy).read_bytes() for out in rows)
        assert here == there
    for wanted, flag in ((Wanted(top=2), "--top"), (Wanted(form="csv"), "--form")):
        with pytest.raises(ConfigError, match=f"leave out {flag}"):
            predict_at(server.address, [], "scenes", token=server.token, wanted=wanted)


def test_torch_is_not_loaded(server, files, token):
    words = ["predict", str(files[0] / "my 0.ply"), "--server", server.address, "--adapter"]
    code = (
        "import sys; from pointadapt.__main__ import main; status = main(); "
        "sys.exit(status or 'torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "shapes", "--token-file", str(token)],
        capture_output=True, text=True, env=os.environ, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "my 0.ply" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "wants --token-file FILE"),
        (["--token-file", "WRONG"], "refuses the token of --token-file"),
        (["--token-file", "TOKEN"], "pass --adapter NAME, one of parts, scenes, shapes"),
        (["--token-file", "TOKEN", "--adapter", "shape"], "did you mean 'shapes'?"),
        (["--token-file", "TOKEN", "--adapter", "parts", "--category", "x"], "unknown class 'x'"),
        (["--token-file", "TOKEN", "--adapter", "parts", "--up", "y"], "unknown option --up"),
        (["--server", "127.0.0.1:8000"], "it takes an address such as http://"),
    ],
)
def test_what_is_wrong_is_one_line(server, files, token, tmp_path, words, line, capsys):
    (tmp_path / "wrong").write_text("0123456789abcdef-wrong")
    names = {"TOKEN": str(token), "WRONG": str(tmp_path / "wrong")}
    words = [names.get(word, word) for word in words]
    status, _, errors = said(capsys, files[0], "--server", server.address, *words)
    assert status == 2 and len(errors) == 1 and line in errors[0], errors


def test_a_file_that_is_too_large_is_told_and_stops_no_other(server, files):
    large = files[0] / "large.xyz"
    with large.open("wb") as out:
        out.truncate(64 << 20)  # the server reads 8 MB of it, and closes the connection
    rows, _ = predict_at(server.address, files[:1], "shapes", token=server.token)
    errors = {row.path.name: row.error for row in rows if row.error is not None}
    assert errors["large.xyz"] == f"{large}: the file is larger than 2,097,152 bytes"
    assert len(rows) == 5 and set(errors) == {"large.xyz", "z.npy"}


def test_where_nothing_listens_and_where_something_else_does(files, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    status, _, errors = said(capsys, files[0], "--server", f"http://127.0.0.1:{port}")
    assert status == 2
    assert errors == [
        f"pointadapt: error: no server at http://127.0.0.1:{port}: Connection refused"
    ]


@pytest.mark.slow
def test_a_server_that_is_killed_on_the_way(start_server, served, files, tmp_path):
    server = start_server(tmp_path / "temp", served / "adapters" / "shapes", "--batch", "2")

    def kill(_, done, __):
        if done == 4:
            server.process.kill()

    line = r"stopped answering: .* \(it answered \d+ of 60 files\): start it again"
    with pytest.raises(PointAdaptError, match=line):
        predict_at(server.address, [files[0] / "my 0.ply"] * 60, on_progress=kill)
    server.process.wait(30)
