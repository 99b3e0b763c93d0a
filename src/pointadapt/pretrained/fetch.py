"""Published weights by name: downloaded once, converted, and kept in the cache.

>>> import pointadapt
>>> net = pointadapt.load_backbone("point_mae-small")  # fetches it where it is not in the cache
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..backbones.published.tags import Tag, all_tags, find_tag
from ..core import console
from ..core.errors import CheckpointError, ConfigError, FetchError
from ..core.files import sha256_of, write_json
from ..core.results import ConvertReport
from ..core.version import __version__
from . import cache
from .download import Patience, download
from .hf_hub import locate

ADDRESS = ("hf://", "https://", "http://")


def fetch(
    tag: str, *, file: Path | str | None = None, again: bool = False, offline: bool | None = None,
    timeout: float = 30.0,
) -> dict[str, Any]:  # fmt: skip
    """Put the weights ``tag`` into the cache, if they are not there; returns the record of it.

    Args:
        tag: a name ("point_mae-small"), or the address of a published file: "https://…",
            "hf://owner/repository/file" or "hf://owner/repository@revision/file".
        file: the published file, where a person downloaded it.
        again: fetch it also where it is in the cache already.
        offline: use the cache alone; by default as POINTADAPT_OFFLINE or HF_HUB_OFFLINE say.
        timeout: seconds without a byte after which a connection counts as broken.

    Returns:
        What ``fetch.json`` in the backbone folder says, and "folder" and "new" (whether it was
        fetched by this call).

    Raises:
        FetchError: it cannot be had; says how to get it by hand.
        CheckpointError: the file is no backbone of a known layout.
        UnknownNameError: no tag is called so.
    """
    wanted = tag_of(tag)
    if timeout <= 0:
        raise ConfigError(f"timeout must be above 0 seconds, not {timeout:g}")
    if not again and not file and cache.cached(wanted):  # also from a cache that cannot be written
        return _answer(wanted, new=False)
    offline = is_offline() if offline is None else offline
    if file is None:
        _check_reachable(wanted, offline)
    with cache.lock(wanted.name):
        if not again and not file and cache.cached(wanted):  # while we waited for the lock
            return _answer(wanted, new=False)
        if file is not None:
            _install(wanted, Path(file), _checked(wanted, Path(file)), _vouched(wanted))
        else:
            _download_and_install(wanted, again, Patience(timeout=timeout))
    return _answer(wanted, new=True)


def tag_of(name: str) -> Tag:
    """The tag called ``name``, or one made up for an address.

    Raises:
        UnknownNameError: there is none.
    """
    if not str(name).startswith(ADDRESS):
        return find_tag(str(name))
    stem = Path(_file_name(name)).stem
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    own = f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stem)}-{digest}"
    return Tag(name=own, family="", size="", source=name, licence="unknown", url=name)


def in_cache(name: str) -> Path | None:
    """The backbone folder of a tag or address that has been fetched, else None."""
    if not can_fetch(name):
        return None
    return cache.cached(tag_of(name))


def can_fetch(name: str) -> bool:
    """Whether ``name`` is a tag or an address."""
    return name.startswith(ADDRESS) or name in all_tags()


def is_offline() -> bool:
    """Whether POINTADAPT_OFFLINE or HF_HUB_OFFLINE asks for no network."""
    values = (os.environ.get(key, "") for key in ("POINTADAPT_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.upper() in ("1", "ON", "YES", "TRUE") for value in values)


def by_hand(tag: Tag) -> str:
    """How a person gets the weights of ``tag`` without us: part of a message."""
    again = f"pointadapt fetch {tag.source if tag.url == tag.source else tag.name} --file FILE"
    parts = [tag.url] if tag.url else []
    parts += [f"the page {tag.page}"] if tag.page else []
    where = " or from ".join(parts) or tag.source
    return f"by hand: download the file from {where}, then: {again}"


def _check_reachable(tag: Tag, offline: bool) -> None:
    if offline:
        raise FetchError(
            f"{tag.name} is not in the cache {cache.cache_dir()}, and offline mode is on "
            f"(--offline, POINTADAPT_OFFLINE or HF_HUB_OFFLINE); {by_hand(tag)}"
        )
    if not tag.url:
        raise FetchError(f"{tag.name} has no address that a program can read; {by_hand(tag)}")


def _download_and_install(tag: Tag, again: bool, patience: Patience) -> None:
    """Download, convert, and clear the download away; it stays where another run can go on."""
    folder = cache.cache_dir() / "downloads" / tag.name
    if again:
        shutil.rmtree(folder, ignore_errors=True)
    file = folder / _file_name(tag.url)
    # Where an earlier run was stopped before it converted, the file is here, and whole.
    sha256, checksum = sha256_of(file) if file.is_file() else "", _vouched(tag)
    if not sha256 or (tag.sha256 and sha256 != tag.sha256):
        try:
            sha256, checksum = _download(tag, file, patience)
        except FetchError as error:
            why = str(error).removeprefix(f"{tag.url}: ")  # the address follows anyway
            raise FetchError(f"cannot fetch {tag.name}: {why}; {by_hand(tag)}") from error
    try:
        _install(tag, file, sha256, checksum)
    except CheckpointError as error:
        if tag.sha256:  # it is the right file: our reader is at fault, and may learn
            raise
        shutil.rmtree(folder, ignore_errors=True)
        raise CheckpointError(f"what {tag.url} gave is thrown away: {error}") from error
    shutil.rmtree(folder, ignore_errors=True)


def _download(tag: Tag, file: Path, patience: Patience) -> tuple[str, str]:
    """(sha256 of the file, who vouches for it)."""
    to = console.output(stderr=True)
    to.print(f"{tag.name}: licence {tag.licence}", soft_wrap=True)
    to.print(f"fetching {tag.name} from {tag.url}", style="dim", soft_wrap=True)
    url, stated, token = tag.url, "", ""
    if url.startswith("hf://"):
        url, stated, token = locate(url, patience.timeout)
    with console.downloading(tag.name) as show:
        got = download(
            url, file, sha256=tag.sha256 or stated, token=token, patience=patience, show=show
        )
    return got, "as the Hugging Face Hub states" if stated and not tag.sha256 else _vouched(tag)


def _vouched(tag: Tag) -> str:
    return "as published" if tag.sha256 else "not known before; noted here"


def _checked(tag: Tag, file: Path) -> str:
    """The sha256 of a person's own file, which must be the tag's."""
    if not file.is_file():
        raise FetchError(f"{file} does not exist")
    try:
        got = sha256_of(file)
    except OSError as error:
        raise FetchError(f"cannot read {file}: {error.strerror or error}") from error
    if tag.sha256 and got != tag.sha256:
        raise FetchError(f"{file} is not {tag.name}: its sha256 is {got}, not {tag.sha256}")
    return got


def _install(tag: Tag, file: Path, sha256: str, checksum: str) -> None:
    """Convert ``file`` and put the backbone into its place."""
    from .convert import convert_backbone

    work = cache.scratch(tag.name, "part")
    try:
        done = convert_backbone(file, work, tuned=tag.tuned)
        _check_fits(tag, done, file)
        kept = ("kind", "tensors", "consumed", "left_over", "missing", "parameters")
        record = {
            "tag": tag.name, "family": tag.family, "source": tag.source, "licence": tag.licence,
            "url": tag.url, "page": tag.page, "file_sha256": sha256,
            "checksum": checksum, "backbone_sha256": done["sha256"],
            **{key: done[key] for key in kept},
            "pointadapt": __version__, "date": datetime.now(UTC).date().isoformat(),
        }  # fmt: skip
        write_json(work / "backbone" / cache.RECORD, record)
        cache.put(work / "backbone", tag.name)
    except OSError as error:
        raise FetchError(f"cannot write {work}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_fits(tag: Tag, done: ConvertReport, file: Path) -> None:
    """Refuse a file of another family or size, also where no checksum could tell it."""
    layout, parameters = done.get("layout", tag.layout), done["parameters"]
    if tag.layout and layout != tag.layout:
        raise CheckpointError(f"{file} is not {tag.name}: its layout is {layout}, not {tag.layout}")
    if tag.parameters and parameters != tag.parameters:
        raise CheckpointError(
            f"{file} is not {tag.name}: it has {parameters:,} parameters, not {tag.parameters:,}"
        )


def _answer(tag: Tag, new: bool) -> dict[str, Any]:
    return {**cache.record_of(tag), "folder": str(cache.folder_of(tag.name)), "new": new}


def _file_name(address: str) -> str:
    return Path(unquote(urlsplit(address).path)).name or "weights.pth"
