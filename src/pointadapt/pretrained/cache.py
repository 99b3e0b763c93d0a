"""The folder that keeps what was fetched, safe for several processes at once.

``POINTADAPT_CACHE``, or else ``pointadapt`` in the user's cache folder. In it, ``backbones/TAG`` is
a backbone folder with ``fetch.json`` (where it came from, with which checksum); it appears whole,
by a rename. ``downloads/TAG`` holds a file on its way and is removed once it is a backbone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import console
from ..core.errors import FetchError, PointAdaptError
from ..core.files import cache_dir, read_json

if TYPE_CHECKING:
    from ..backbones.published.tags import Tag

RECORD = "fetch.json"


def folder_of(name: str) -> Path:
    """Where the backbone of the tag ``name`` lies once it is fetched."""
    return cache_dir() / "backbones" / name


def cached(tag: Tag) -> Path | None:
    """The backbone folder of ``tag``; None if it is not fetched, or from another file."""
    record = record_of(tag)
    if not record or (tag.sha256 and record.get("file_sha256") != tag.sha256):
        return None
    return folder_of(tag.name)


def record_of(tag: Tag) -> dict[str, Any]:
    """What was noted when ``tag`` was fetched; empty if it was not."""
    folder = folder_of(tag.name)
    try:
        record = read_json(folder / RECORD) if (folder / "config.json").is_file() else {}
    except PointAdaptError:
        return {}
    return record if isinstance(record, dict) else {}


def put(folder: Path, name: str) -> Path:
    """Move a whole backbone ``folder`` to its place, over an older one; returns the place.

    Only for the holder of :func:`lock`.
    """
    place = folder_of(name)
    if place.exists():
        old = scratch(name, "old")
        os.replace(place, old)
        os.replace(folder, place)
        shutil.rmtree(old, ignore_errors=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, place)
    return place


def scratch(name: str, use: str) -> Path:
    """A path beside the backbones, on the same disk, at which nothing exists.

    Only for the holder of :func:`lock`: what lies there is a killed process's, and is removed.
    """
    path = cache_dir() / "backbones" / f".{name}.{use}"
    shutil.rmtree(path, ignore_errors=True)
    return path


@contextmanager
def lock(name: str) -> Iterator[None]:
    """One process at a time for ``name``; the lock of a killed one is free.

    Raises:
        FetchError: the cache cannot be written.
    """
    from filelock import FileLock, Timeout

    path = cache_dir() / "locks" / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path)
        try:
            held.acquire(timeout=1)
        except Timeout:
            to = console.output(stderr=True)
            to.print(f"another process is fetching {name}: waiting for it", soft_wrap=True)
            held.acquire()
    except (OSError, NotImplementedError) as error:
        detail = getattr(error, "strerror", None) or error
        raise FetchError(
            f"cannot write the cache {cache_dir()} ({detail}): set POINTADAPT_CACHE to a folder "
            "that you can write"
        ) from error
    try:
        yield
    finally:
        held.release()
