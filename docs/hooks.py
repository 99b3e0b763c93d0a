"""mkdocs hook: tables that are written from the registries take the place of their marks.

In ``mkdocs.yml``: ``hooks: [docs/hooks.py]``.
"""

from __future__ import annotations

from typing import Any

from pointadapt.backbones.published.table import table

MARKS = {"<!-- table of published weights -->": table}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page's text with its tables."""
    for mark, write in MARKS.items():
        if mark in markdown:
            markdown = markdown.replace(mark, write())
    return markdown
