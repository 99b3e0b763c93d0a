"""Tags: which weights of a family are published, where, under which licence, and how to read them.

Each family's file enters its own with :func:`add_tags`. A tag says what we know and nothing else: a
checksum that nobody here has seen stays empty.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import UnknownNameError


@dataclass(frozen=True)
class Tag:
    """One published file of weights.

    Attributes:
        name: what the user types, "point_mae-small".
        family: the registered backbone that it becomes, "point_vit".
        size: key of that backbone's ``sizes``, or a tag's own size name.
        source: paper and official repository.
        licence: SPDX name of the repository's licence, "none stated", or "unknown".
        url: direct address, or "hf://owner/repo/file"; "" when there is none (then ``page``).
        page: where a person gets it by hand.
        sha256: of the file; "" when nobody here has seen the file.
        layout: name of the key layout that :mod:`pointadapt.pretrained.convert` reads it with.
        accuracy: published figures, as text.
        verified: what this project checked, as text.
        tuned: the file is a fine-tuned model, of which the backbone is taken.
        parameters: of the pre-trained encoder as we build it, CLS included; no head.
    """

    name: str
    family: str
    size: str
    source: str
    licence: str
    url: str = ""
    page: str = ""
    sha256: str = ""
    layout: str = ""
    accuracy: str = ""
    verified: str = ""
    tuned: bool = False
    parameters: int = 0


TAGS: dict[str, Tag] = {}


def add_tags(*tags: Tag) -> None:
    """Enter ``tags``.

    Raises:
        ValueError: another tag has that name. (The same one again, as on a reload, may.)
    """
    for tag in tags:
        if TAGS.get(tag.name, tag) != tag:
            raise ValueError(f"two tags are called {tag.name!r}")
        TAGS[tag.name] = tag


def all_tags() -> dict[str, Tag]:
    """:data:`TAGS`, after every family's file has entered its own."""
    from ..base import BACKBONES

    list(BACKBONES)  # imports every family
    return dict(sorted(TAGS.items()))


def find_tag(name: str) -> Tag:
    """The tag called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    tags = all_tags()
    if name not in tags:
        raise UnknownNameError("tag of published weights", name, tags)
    return tags[name]
