"""The page's pictures of single clouds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...core.foreign_text import for_html as escape
from .draw import cloud_picture, parts_picture
from .look import Examination
from .words import confusion


def pictures(seen: Examination, facts: Mapping[str, Any]) -> list[str]:
    """Sections with pictures of the clouds that ``facts`` names."""
    if facts["unit"] == "points":
        return [
            _shapes(seen, "Worst clouds", facts["worst"]),
            _shapes(seen, "Best clouds, for contrast", facts["best"]),
        ]
    return [
        _clouds(seen, "Most confident errors", facts["confident_errors"]),
        _clouds(seen, "Least confident right ones, for contrast", facts["doubtful_right"]),
    ]


def _clouds(seen: Examination, title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    figures = []
    for row in rows:
        right = row["true"] == row["predicted"]
        sure = f"{row['confidence']:.1f} % sure"
        if right:
            said = f'<b class="good">{escape(row["true"])}</b>, {sure}'
        else:
            said = f'taken for <b class="bad">{escape(row["predicted"])}</b>, {sure}'
            said += f"<br>is <b>{escape(row['true'])}</b>"
        alt = f"{row['id']}: {row['true']}"
        alt += ", found" if right else f" taken for {row['predicted']}"
        picture = cloud_picture(seen.clouds.points[row["index"]])
        figures.append(_figure(picture, alt, f"{said}<br>{escape(row['id'])}"))
    return _section(title, "shown", figures)


def _shapes(seen: Examination, title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    figures = []
    for row in rows:
        i, wrong = row["index"], f"{row['points_wrong']:,} of {row['points']:,} points wrong"
        said = f"<b>{escape(row['class'])}</b>, score {row['score']:.1f} %, {wrong}"
        if row["mistake"]:
            said += f"<br>{escape(confusion(row['mistake'], 'points'))}"
        parts = {"true": seen.target[i], "predicted": seen.predicted[i]}
        picture = parts_picture(seen.clouds.points[i], parts, seen.names)
        alt = f"{row['id']}, a {row['class']}: true parts and predicted parts, {wrong}"
        figures.append(_figure(picture, alt, f"{said}<br>{escape(row['id'])}"))
    return _section(title, "shown wide", figures)


def _figure(picture: str, alt: str, caption: str) -> str:
    image = f'<img src="{picture}" alt="{escape(alt)}" loading="lazy">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _section(title: str, kind: str, figures: Sequence[str]) -> str:
    body = f'<div class="{kind}">{"".join(figures)}</div>' if figures else "<p>None.</p>"
    return f"<h2>{escape(title)}</h2>{body}"
