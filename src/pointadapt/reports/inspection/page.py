"""What is seen inside an adapter as one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.files import atomic
from ..pages import data_uri, template


def write_page(path: Path, facts: Mapping[str, Any]) -> Path:
    """Write the page of the facts that ``inspect.json`` holds, with its pictures inside.

    Raises:
        PointAdaptError: it cannot be written.
    """
    pictures = {name: data_uri(Path(file).read_bytes()) for name, file in facts["pictures"].items()}
    title = f"Inside {facts['title']}: {Path(facts['adapter']).parent.name or facts['adapter']}"
    page = template(__file__, signed=_signed).render(facts=facts, title=title, pictures=pictures)
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _signed(row: Mapping[str, Any]) -> str:
    """How far a score is from that of the model as it is, with its standard error."""
    error = "" if row["error"] is None else f" ± {row['error']:.1f}"
    return f"{row['change']:+.1f}{error}"
