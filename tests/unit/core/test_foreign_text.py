"""Names and servers' words are harmless wherever they are shown; nothing else is changed."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from pointadapt.core.files import write_csv, write_json
from pointadapt.core.foreign_text import (
    csv_text,
    for_csv,
    for_html,
    for_json,
    for_markdown,
    for_picture,
    for_terminal,
    markdown_block,
    markdown_code,
    one_line,
)

SOURCE = Path(__file__).parents[3] / "src/pointadapt"
C0_AND_C1 = [chr(k) for k in (*range(32), *range(127, 160)) if chr(k) not in "\t\n"]
TURNS = [chr(k) for k in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]


@pytest.mark.parametrize("hidden", [*C0_AND_C1, *TURNS, "\u2028", "\ud800", "\udc80"])
def test_what_a_terminal_obeys_is_written_out(hidden):
    shown = for_terminal(f"a{hidden}b")
    assert shown.isascii() and shown.isprintable()
    number = re.fullmatch(r"a\\[xu]([0-9a-f]{2,4})b", shown)
    assert number and int(number[1], 16) == ord(hidden)


@pytest.mark.parametrize(
    "text", ["Stühle 椅子", "שלום كرسي", "a\tb\nc", "👩\u200d🚀", r"a\x1b", ""]
)
def test_other_text_stays(text):
    assert for_terminal(text) == text


def test_words_of_a_server_are_one_short_line():
    assert one_line(" a\r\n\tb\x1b[0m ") == r"a\x0d b\x1b[0m"
    assert one_line("x" * 300) == "x" * 199 + "…"
    assert one_line(ValueError("no")) == "no"


def test_json_reads_back_and_hides_nothing():
    values = {"".join([*C0_AND_C1, *TURNS, "\ud800é"]): ["\x9b31m", 1.5, None]}
    text = for_json(values)
    assert json.loads(text) == values
    assert text.replace("\n", "").isprintable() and "é" in text


@pytest.mark.parametrize("start", [*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_no_cell_is_a_formula(start):
    cell = for_csv(f"{start}cmd|' /C calc'!A0")
    assert cell.startswith("'")
    assert for_csv(f"a;{start}SUM(1)").startswith("a;'" if start not in "\t\r\n" else "a;")
    (row,) = csv.reader(io.StringIO(csv_text([[f'"{start}1,"a"', "b"]]), newline=""))
    assert len(row) == 2


@pytest.mark.parametrize(
    "number", ["-3.2", "+1e-5", "-0", ".5", "-.5", "12", "1.", "-3.2E+10", -3.2, 7, None, True]
)
def test_numbers_stay_numbers(number):
    assert for_csv(number) is number


def test_every_cell_of_a_table_is_looked_at(tmp_path):
    write_csv(tmp_path / "to/t.csv", [["=head", "b"], [Path("=a.ply"), "-x"], ["a\x1b[2J", -1.5]])
    text = (tmp_path / "to/t.csv").read_bytes().decode()
    assert text == "'=head,b\n'=a.ply,'-x\na\\x1b[2J,-1.5\n"
    write_csv(tmp_path / "to/t.csv", [["\udc80"]])
    assert (tmp_path / "to/t.csv").read_bytes() == b"\\udc80\n"


def test_html():
    assert for_html("<a href='x'>&\x1b\u202e\"") == (
        r"&lt;a href=&#x27;x&#x27;&gt;&amp;\x1b\u202e&quot;"
    )


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("night_stand", "night_stand"),
        ("_a_ *b* `c`", r"\_a\_ \*b\* \`c\`"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("[x](javascript:y) a|b ~~c~~", r"\[x\](javascript:y) a\|b \~\~c\~\~"),
        ("a\n\n# b\\", r"a \# b" + "\\\\"),
        ("&lt;", "&amp;lt;"),
        (3.5, "3.5"),
    ],
)
def test_markdown(text, want):
    assert for_markdown(text) == want


def test_code_in_markdown_ends_where_it_should():
    assert markdown_code("a/b") == "`a/b`"
    assert markdown_code("a`` ` <b>") == "``` a`` ` <b> ```"
    assert markdown_block("a\n```\n<b>") == "````\na\n```\n<b>\n````"


def test_what_matplotlib_would_take_for_a_formula():
    from matplotlib.figure import Figure

    name = r"$\no_such$ \$ $\x$"
    figure = Figure()
    figure.text(0, 0, name)
    with pytest.raises(ValueError, match="no_such"):
        figure.draw_without_rendering()
    figure = Figure()
    figure.text(0, 0, for_picture(name))
    figure.draw_without_rendering()
    assert for_picture(name).replace(r"\$", "$") == name  # as matplotlib does


def test_a_name_that_is_no_text_can_be_written(tmp_path):
    write_json(tmp_path / "a.json", {"path": "\udc80\x1b"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": "\udc80\x1b"}


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        (r"\bConsole\(\S", None),  # that is made, not the class that ours extends
        (r"\bTextColumn\(\S", None),
        (r"\bimport csv\b", "core/foreign_text.py"),
        (r"\bfrom html import\b", "core/foreign_text.py"),
    ],
)
def test_there_is_one_place_for_each(pattern, place):
    """Reading tables by the csv module is free."""
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert found - {"data/reading/manifest.py"} == ({place} if place else set())
