"""A griffe extension: docstrings as Python programmers write them, shown as Markdown.

A role such as ``:class:`Tokens``` becomes code, and a link where the site has such an entry. The
double colon before an indented example becomes a single one. Class attributes are a table, too.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([^`]+)`")
EXAMPLE = re.compile(r"(\S?)::[ ]*\n(?=[ ]*\n)")
CLASS_ATTRIBUTES = re.compile(r"^Class attributes:$", re.MULTILINE)


def as_markdown(text: str) -> str:
    """The text of a docstring with its roles and its double colons replaced."""
    text = ROLE.sub(lambda found: _link(found[1]), text)
    text = CLASS_ATTRIBUTES.sub("Attributes: Class attributes:", text)
    return EXAMPLE.sub(lambda found: f"{found[1]}:\n" if found[1] else "\n", text)


def _link(path: str) -> str:
    name = path.rpartition(".")[2]
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'


class PlainDocstrings(Extension):
    """Rewrites every docstring that is collected."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called with each object of the package."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
