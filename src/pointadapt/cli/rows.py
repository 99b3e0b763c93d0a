"""Rows of predicted files on the screen and in a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import console
from ..reports import terminal as report

if TYPE_CHECKING:
    from ..inference.rows import Row
    from ..inference.telling import Told

MANY = 30  # files whose predictions are listed on the screen although they are in a CSV file


def told(rows: Sequence[Row], how: Told, csv: Path | None, json: bool) -> int:
    """Write the rows to ``csv``, print them, as JSON or for people; the exit status."""
    from ..inference.rows import write_table

    if csv is not None:
        write_table(csv, rows)
    _print(rows, how, csv, json)
    return _errors(rows, brief=csv is not None or json)


def _print(rows: Sequence[Row], how: Told, csv: Path | None, json: bool) -> None:
    to = console.output()
    counts = how.tally(rows) if csv is not None and len(rows) > MANY else []
    if json:
        console.print_json([row.to_dict() for row in rows])
    elif counts:
        bad = sum(row.error is not None for row in rows)
        report.lines([list(line.items()) for line in counts], to)
        text = f"{len(rows):,} files, {bad:,} of them not readable; each one: {csv}"
        to.print(text, soft_wrap=True)
    else:
        shown = [row.shown() for row in rows if row.error is None]
        if how.panels:
            for (_, title), *facts in shown:
                report.panel(to, title, facts)
        else:
            report.lines(shown, to)
        report.next_steps(to, *how.next_steps(rows))
    _tell_doubts(rows)


def _tell_doubts(rows: Sequence[Any]) -> None:
    """Say once, in a line on standard error, that files are not what training was on."""
    found = [row for row in rows if getattr(row, "note", "")]
    if found:
        more = f" (and {len(found) - 1:,} more of {len(rows):,} files)" if found[1:] else ""
        console.note_line(f"{found[0].path}{more}: {found[0].note}")


def _errors(rows: Sequence[Row], brief: bool) -> int:
    """Print why files could not be predicted, ``MANY`` of them where ``brief``; the exit status."""
    errors = [row.error for row in rows if row.error is not None]
    count = MANY if brief else len(errors)
    for error in errors[:count]:
        console.error_line(error)
    if errors[count:]:
        console.error_line(f"and {len(errors) - count} more files that could not be read")
    return 2 if errors else 0
