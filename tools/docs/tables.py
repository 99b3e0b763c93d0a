"""Tables that are written from the registries, in place of their marks in a page."""

from __future__ import annotations

from typing import Any

from pointadapt.backbones.published.table import table
from pointadapt.cli.listing import methods


def method_table() -> str:
    """A row for each method: what it trains, whether it folds, and its paper."""
    rows = [
        f"| `{row['name']}` | {row['title']} | {_count(row)} | {row['foldable']} | {row['paper']} |"
        for row in methods()
    ]
    return "\n".join(["| method | | trained | foldable | paper |", "|---|---|--:|---|---|", *rows])


def _count(row: dict[str, Any]) -> str:
    return f"{row['parameters']:,}" if "parameters" in row else ""


MARKS = {
    "<!-- table of published weights -->": table,
    "<!-- table of methods -->": method_table,
}


def with_tables(markdown: str) -> str:
    """A page's text with its tables."""
    for mark, write in MARKS.items():
        if mark in markdown:
            markdown = markdown.replace(mark, write())
    return markdown
