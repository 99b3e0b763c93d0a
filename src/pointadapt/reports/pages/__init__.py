"""What all HTML pages share: one file each that needs no other, whatever stands in it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from ...core.foreign_text import for_terminal


def template(module: str, **filters: Callable[..., Any]) -> Any:
    """The ``page.html.j2`` beside ``module``, a ``__file__``; it may extend ``frame.html.j2``.

    What is put into it is escaped. ``filters`` are its own; all have number, percent and words.
    """
    folders = FileSystemLoader([Path(module).parent, Path(__file__).parent])
    made = Environment(loader=folders, autoescape=True, trim_blocks=True, lstrip_blocks=True,
                       finalize=_harmless)  # fmt: skip
    own = {"number": _number, "percent": _percent, "words": _words}
    made.filters.update({**own, **filters})
    return made.get_template("page.html.j2")


def data_uri(png: bytes) -> str:
    """A picture as text that stands in a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _harmless(value: Any) -> Any:
    """A value as it may stand in the page, before it is escaped; made parts of it are done."""
    return for_terminal(value) if type(value) is str else value


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.1f}"


def _words(value: Any) -> str:
    """A plain value of the protocol in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_words, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


__all__ = ["data_uri", "template"]
