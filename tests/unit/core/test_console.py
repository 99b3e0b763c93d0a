"""What is printed cannot steer the terminal: only styles do."""

import json

import pytest
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from pointadapt.core import console
from pointadapt.reports import terminal

BAD = "a\x1b]0;title\x1b\\b\x9b2J\u202ec"  # rich itself drops bells and carriage returns
SHOWN = r"a\x1b]0;title\x1b\b\x9b2J\u202ec"


def looks(text):
    """Everything that rich may print: text, tables with heads, panels with titles."""
    table = Table(Column(f"head {text}", footer=text), title=text, caption=text, show_footer=True)
    table.add_row(text)
    table.add_row(Text(text, style="red"))
    return [text, Text(text), table, Panel(Text(text), title=Text(text))]


@pytest.mark.parametrize("terminal_", [True, False])
def test_names_are_written_out_wherever_they_stand(capsys, monkeypatch, terminal_):
    if terminal_:
        monkeypatch.setenv("FORCE_COLOR", "1")
    to = console.output()
    for look in looks(BAD):
        to.print(look, style="bold")
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 10
    assert "\x9b" not in out and "\u202e" not in out
    assert "\x1b]" not in out and ("\x1b[" in out) is terminal_


def test_lines_of_a_table_stay_below_each_other(capsys):
    table = Table("name", "b")
    table.add_row(BAD, "x")
    table.add_row("plain", "x")
    console.output().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1


def test_square_brackets_in_a_title_are_no_style(capsys):
    terminal.panel(console.output(), "[/x] [red]y[/red]", [("a", "[bold]b")])
    out = capsys.readouterr().out
    assert "[/x] [red]y[/red]" in out and "[bold]b" in out


def test_bars_show_names_as_they_are(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with console.progress(f"[/x]{BAD}", 2) as bar:
        bar(1)
    with console.downloading(f"[/y]{BAD}") as show:
        show(1, 2, f"[/z]{BAD}")
    with console.stages() as tell:
        tell(f"[/w]{BAD}", 1, 2)
    err = capsys.readouterr().err
    assert [k for k in "xyzw" if f"[/{k}]{SHOWN}" not in err] == [], err
    assert "\x1b]" not in err and "\x9b" not in err


def test_an_error_is_one_harmless_line(capsys):
    console.error_line(f"{BAD}\a\r\nline 2")
    assert capsys.readouterr().err == (f"pointadapt: error: {SHOWN}\\x07 line 2\n")


def test_json_on_the_terminal_reads_back(capsys):
    console.print_json({"name": BAD + "\udc80"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": BAD + "\udc80"}
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize("length", [10, 1100, 5000, 10**6])
def test_long_errors_keep_their_beginning_and_their_end(length, capsys):
    path, advice = "x" * length, "choose another --out"
    console.error_line(f"cannot write {path}\n  in two lines: {advice}")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and len(said) < 1300
    assert said.startswith("pointadapt: error: cannot write xxx")
    assert said.rstrip().endswith(f" in two lines: {advice}")
    assert ("characters …]" in said) == (length > 1150)
    if length == 5000:
        cut = len(f"cannot write {path} in two lines: {advice}") - 800 - 300
        assert f" [… {cut:,} characters …] " in said
