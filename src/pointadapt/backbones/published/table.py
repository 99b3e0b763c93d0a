"""The table of published weights in docs/backbones.md, written from the tags."""

from __future__ import annotations

import re

from .tags import Tag, all_tags

COLUMNS = ("tag", "parameters", "published accuracy", "licence", "how to get it", "verified")


def table() -> str:
    """The tags as a Markdown table."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(_row(tag) for tag in all_tags().values())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(tag: Tag) -> tuple[str, ...]:
    file = re.sub(
        "^hf://([^/]+/[^/@]+)@([^/]+)/", r"https://huggingface.co/\1/resolve/\2/", tag.url
    )
    get = f"[file]({file}), [page]({tag.page})" if tag.url else f"by hand: [page]({tag.page})"
    count = f"{tag.parameters / 1e6:.1f} M"
    known = (tag.accuracy or "not known", tag.licence, get, tag.verified or "nothing")
    return (f"`{tag.name}`", count, *known)
