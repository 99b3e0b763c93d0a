"""Class and file names that attack the terminal, a spreadsheet, a browser or a picture."""

import csv
import json
import re

import numpy as np
import pytest

from pointadapt.cli.main import main
from pointadapt.io import write_points

# A title for the window, a turned line, and a formula; HTML, Markdown and mathematics; markup.
CLASSES = ("=1+1\x1b]0;me\x9b\u202e", "<img src=x> | `*_$x_$", "@[bold]sum")
STEER = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")  # what rich itself writes: colours, and moves


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("hostile") / "=data", np.random.default_rng(0)
    for k, name in enumerate(CLASSES):
        for i in range(5):
            cloud = rng.uniform(-1, 1, (70, 3)) * [1, 1, 1 + 2 * k]
            write_points(root / name / f"-{i}\x1b[2J.ply", cloud.astype(np.float32))
    return root


@pytest.fixture(scope="module")
def flags(micro_flags, files):
    own = [*micro_flags]
    own[own.index("shapes") : own.index("shapes") + 1] = ["folder", "--root", str(files)]
    at = own.index("--data-options")
    return [*own[:at], *own[at + 3 :], "--method", "linear_probe"]


@pytest.fixture(scope="module")
def adapter(flags, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    assert main(["train", *flags, "--out", str(out)]) == 0
    return out / "adapter"


@pytest.fixture
def printed(capsys, monkeypatch):
    """What a command prints on a terminal, without its styles: nothing in it steers."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")

    def run(*args):
        assert main([str(a) for a in args]) == 0
        said = capsys.readouterr()
        text = STYLE.sub("", said.out + said.err)
        assert not STEER.search(text)
        return text

    return run


def table(path):
    text = path.read_text(encoding="utf-8")
    assert not STEER.search(text)
    rows = list(csv.reader(text.splitlines()))
    assert all(not cell or cell[0] not in "=+@" for row in rows for cell in row)
    return rows


def test_predict(files, adapter, printed, tmp_path):
    out, picture = tmp_path / "p.csv", tmp_path / "p.png"
    text = printed("predict", files, "--adapter", adapter, "--csv", out, "--picture", picture)
    assert r"-0\x1b[2J.ply" in text
    rows = table(out)
    assert len(rows) == 16 and all(0 < float(row[2]) <= 1 for row in rows[1:])
    assert {row[1] for row in rows[1:]} <= {
        r"'=1+1\x1b]0;me\x9b\u202e", "<img src=x> | `*_$x_$", "'@[bold]sum"
    }  # fmt: skip


def test_predict_json_names_files_as_they_are(files, adapter, capsys):
    assert main(["predict", str(files), "--adapter", str(adapter), "--json"]) == 0
    out = capsys.readouterr().out
    assert not STEER.search(out)
    rows = json.loads(out)
    assert {row["label"] for row in rows} <= set(CLASSES)
    assert {row["path"] for row in rows} == {str(p) for p in files.rglob("*.ply")}


def test_evaluate(adapter, printed, tmp_path):
    page = tmp_path / "e.html"
    text = printed("evaluate", "--adapter", adapter, "--html", page)
    assert "@[bold]sum" in text
    html = page.read_text(encoding="utf-8")
    assert "<img src=x>" not in html and "&lt;img src=x&gt;" in html and not STEER.search(html)


def test_the_card(adapter):
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert r"\\x1b]" not in card and not STEER.search(card)
    assert r"3 classes: &lt;img src=x&gt; \| \`\*\_\$x\_\$, =1+1" in card


def test_data(files, printed, tmp_path):
    printed("data", "verify", "folder", files)
    printed("data", "show", "folder", files, "--out", tmp_path)
