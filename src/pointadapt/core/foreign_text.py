"""Text that others wrote, made harmless for the place where it is shown.

Class names, file names and what servers answer may hold anything: an escape sequence that changes
the terminal, letters that turn the direction of a line, a formula that a spreadsheet runs, HTML
that a browser runs. There is one function for each place.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from html import escape
from typing import Any

# Control characters (C0 and C1), all that turns the direction of text, lines' and paragraphs'
# ends of Unicode, and bytes of a file name that are no text. Tab and line feed are not among them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_STARTS = "=+\\-@\uff1d\uff0b\uff0d\uff20"  # and their wide forms
# A spreadsheet may also split at ";" or a tab, whatever a CSV file says.
_FORMULA = re.compile(rf"^(?=[{_STARTS}\t\r\n])|(?<=[;\t\r\n])(?=[{_STARTS}])")
_MARKDOWN = re.compile(r"([\\`*\[\]|~$#])|((?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def for_terminal(text: str) -> str:
    r"""``text`` with what a terminal would obey written out: ``\x1b``, ``\u202e``."""
    return _HIDDEN.sub(_written, text)


def one_line(text: object, most: int = 200) -> str:
    """What a server said, for a message: harmless, on one line, at most ``most`` characters."""
    words = " ".join(for_terminal(str(text)[: 10 * most]).split())
    return words if len(words) <= most else words[: most - 1] + "…"


def for_json(values: Any) -> str:
    """``values`` as indented JSON that is also harmless on a terminal; it reads back the same."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def for_csv(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: ``'`` stands before ``= + - @``.

    Numbers, also written ones such as "-3.2", stay as they are.
    """
    if cell is None or isinstance(cell, (int, float)) or _NUMBER.fullmatch(str(cell)):
        return cell
    return for_terminal(_FORMULA.sub("'", str(cell)))


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """A table as CSV: every cell by :func:`for_csv`, a line feed after every row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([for_csv(c) for c in row] for row in rows)
    return text.getvalue()


def for_html(text: str) -> str:
    """``text`` for HTML, also inside an attribute."""
    return escape(for_terminal(text))


def for_markdown(text: object) -> str:
    """``text`` on one line for Markdown, also inside a table: neither HTML, a link nor a cell."""
    words = escape(" ".join(for_terminal(str(text)).split()), quote=False)
    return _MARKDOWN.sub(lambda found: "\\" + found[0], words)


def markdown_code(text: object) -> str:
    """``text`` as code within a line of Markdown."""
    words = " ".join(for_terminal(str(text)).split())
    fence = _fence(words, 1)
    return f"{fence} {words} {fence}" if "`" in words else f"{fence}{words}{fence}"


def markdown_block(text: str) -> str:
    """``text`` as a block of code in Markdown."""
    fence = _fence(text, 3)
    return f"{fence}\n{for_terminal(text)}\n{fence}"


def for_picture(text: str) -> str:
    """``text`` for matplotlib, which takes what stands between two ``$`` for a formula."""
    return for_terminal(text).replace("$", r"\$")


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _fence(text: str, least: int) -> str:
    """More backticks than stand together anywhere in ``text``."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))
