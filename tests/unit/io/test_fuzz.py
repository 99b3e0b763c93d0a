"""A tiny run of ``benchmarks/fuzz_files.py``, and that it sees what it looks for."""

import sys
import warnings
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def fuzz(monkeypatch):
    pytest.importorskip("laspy")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import fuzz_files

    return fuzz_files


def test_damaged_files_are_read_or_refused_in_one_line(fuzz, tmp_path):
    files, out = tmp_path / "files", tmp_path / "out"
    files.mkdir(), out.mkdir()
    roads = fuzz.roads(out)
    outcomes = []
    for case in fuzz.make_cases(files, 110, 7, harm=False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [fuzz.tried(road, case.path) for road in roads]
        assert {kind for kind, _ in found} <= {"read", "refused"}, (case.path.name, found)
        assert not list(out.iterdir()), case.path.name
        outcomes.append((case.way, found[0][0]))
    assert all(kind == "read" for way, kind in outcomes if way == "whole")
    assert sum(kind == "refused" for way, kind in outcomes if way != "whole") > 20


def child(body):
    start = "import sys, time\nprint('ready')\nfor line in sys.stdin:\n "
    return [sys.executable, "-uc", start + body]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("""print('[["read", ""], ["refused", "a"]]')""", "read"),
        ("""print('[["refused", "a"], ["traceback", "b"]]')""", "traceback"),
        ("time.sleep(60)", "hang"),
        ("x = b'x' * 200_000_000; time.sleep(60)", "growth"),
        ("sys.exit(1)", "dead"),
        ("""sys.stderr.write('noise\\n'); time.sleep(0.2); print('[["read", ""]]')""", "noise"),
    ],
)
def test_the_watcher_sees_every_fault(fuzz, monkeypatch, tmp_path, body, outcome):
    monkeypatch.setattr(fuzz, "SECONDS", 0.4 if outcome == "hang" else 30.0)
    monkeypatch.setattr(fuzz, "GROWTH", 100_000_000)
    reader, case = fuzz.Reader(child(body)), fuzz.Case(tmp_path / "a.ply", ".ply", "flip")
    reader.read(case)
    reader.stop()
    assert case.outcome == outcome


def test_what_is_left_and_what_is_long_are_faults(fuzz, tmp_path):
    from pointadapt.core.errors import PointAdaptError

    def refuse(text):
        def road(path):
            raise PointAdaptError(text.format(path))

        return road

    path = tmp_path / "a.ply"
    assert fuzz.tried(refuse("{}: is cut short"), path)[0] == "refused"
    for bad in ("is cut short", "{}: two\nlines", "{}: " + "long " * 200):
        assert fuzz.tried(refuse(bad), path)[0] == "traceback"
    assert fuzz.tried(lambda path: 1 / 0, path)[0] == "traceback"
