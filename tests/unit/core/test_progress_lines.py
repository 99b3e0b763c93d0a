"""Lines that say how far something is."""

import pytest

from pointadapt.core import console, progress_lines
from pointadapt.core.progress_lines import ProgressLines


@pytest.fixture(autouse=True)
def from_five_seconds(monkeypatch):
    monkeypatch.setattr(progress_lines, "FIRST", 5.0)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(total, seconds_each, steps, done=0):
    clock, said = Clock(), []
    lines = ProgressLines(said.append, console.duration, "training", total, "steps", done, clock)
    for k in range(done + 1, done + steps + 1):
        clock.now += seconds_each
        lines.tell(k, " · loss 0.5")
    return said


def test_a_line_for_each_tenth_after_the_first_seconds():
    said = run(100, 1.0, 100)
    assert len(said) == 10
    assert said[0] == "training: 10 of 100 steps (10 %) · loss 0.5, about 1 min 30 s left"
    assert said[-1] == "training: 100 of 100 steps (100 %) · loss 0.5"


def test_what_is_quick_says_nothing():
    assert run(100, 0.04, 100) == []


def test_lines_keep_apart():
    assert len(run(1000, 0.01, 1000)) == 3  # from 5 s to 10 s, 2 s apart


def test_a_long_tenth_is_told_every_five_minutes():
    said = run(10_000, 60.0, 60)
    assert len(said) == 12
    assert said[0].startswith("training: 5 of 10,000 steps (0 %)")


def test_time_left_counts_from_where_it_went_on():
    (line, *_) = run(100, 2.0, 10, done=50)
    assert line == "training: 60 of 100 steps (60 %) · loss 0.5, about 1 min 20 s left"


def test_without_a_total_time_alone_counts():
    said = run(None, 60.0, 11)
    assert said == ["training: 5 steps · loss 0.5", "training: 10 steps · loss 0.5"]


@pytest.mark.parametrize("stages", [False, True])
def test_the_console_says_lines_where_nobody_watches(stages, capsys, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("pointadapt.core.progress_lines.time.monotonic", clock)
    monkeypatch.setattr(ProgressLines.__init__, "__defaults__", ("", 0, clock))
    if stages:
        with console.stages("points") as tell:
            tell("sorting", 0, 40)
            clock.now = 10.0
            tell("sorting", 20, 40)
    else:
        with console.progress("sorting", 40, unit="points") as tell:
            clock.now = 10.0
            tell(20)
    err = capsys.readouterr().err
    assert err == "pointadapt: sorting: 20 of 40 points (50 %), about 10.0 s left\n"
