"""An adapter folder to the Hugging Face Hub, in one commit."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from ..core import console
from ..core.errors import ConfigError, FetchError
from ..core.files import read_json
from ..core.foreign_text import for_json
from ..core.results import PushReport
from ..pretrained.hf_hub import Repository, answers, client, repository_of
from .card import card
from .folder import CARD, CONFIG, FILES, WEIGHTS, read_adapter

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT = 30.0  # seconds for the Hub's first answer
NAMES = ("classes", "parts", "features")  # keys whose values are no places, whatever they look like
_LICENCE = re.compile("[a-z0-9][a-z0-9.-]*")


def push(
    adapter: Path | str, to: str, *, private: bool = False, licence: str = "",
    card_file: Path | str | None = None,
) -> PushReport:  # fmt: skip
    """Put an adapter on the Hugging Face Hub, where ``load`` and ``--adapter`` find it by address.

    It goes there in one commit: configuration, weights as safetensors, a card that the Hub
    understands, and the backbone where the folder holds its own. Places of this machine, such as
    the folder that it was trained on, are told by their last name alone. The user's token is that
    of HF_TOKEN, or of ``hf auth login``.

    Args:
        adapter: the folder that training wrote.
        to: "hf://owner/name"; the repository is made if there is none.
        private: make it so that only its owner sees it; one that is there stays as it is.
        licence: of the adapter, as the Hub calls it ("mit", "cc-by-4.0").
        card_file: a card of your own, instead of the one that is made.

    Raises:
        AdapterError: the folder holds no whole adapter.
        ConfigError: ``to`` is no such address, or the licence is none.
        FetchError: the Hub refuses it or does not answer, or holds something else there.
    """
    repository = _repository(to, licence)
    files = _files(Path(adapter), str(repository), licence, card_file)
    with answers(str(repository)):
        hub = client()
        _make_room(hub, repository, private)
        done = _commit(hub, repository, files)
    from ..pretrained.hub_folder import forget

    forget()
    return {
        "adapter": str(adapter), "address": str(repository), "url": str(done.commit_url),
        "commit": str(done.oid), "files": sorted(files),
        "bytes": sum(len(f) if isinstance(f, bytes) else f.stat().st_size for f in files.values()),
    }  # fmt: skip


def _repository(to: str, licence: str) -> Repository:
    repository = repository_of(to)
    if repository is None or repository.revision != "main":
        raise ConfigError(f"{to} is no place to push to: write hf://owner/name")
    if licence and not _LICENCE.fullmatch(licence):
        raise ConfigError(f"{licence!r} is no licence that the Hub knows: write mit or cc-by-4.0")
    return repository


def _files(
    folder: Path, place: str, licence: str, card_file: Path | str | None
) -> dict[str, Path | bytes]:
    """What is pushed: path in the repository -> file or content; the adapter is read for it."""
    saved = read_adapter(folder)
    folder, told = saved.folder, _without_places(saved.config)
    size = (folder / WEIGHTS).stat().st_size
    text = card(told, size, place, licence) if card_file is None else _text(Path(card_file))
    config = for_json(_without_places(read_json(folder / CONFIG))) + "\n"
    files: dict[str, Path | bytes] = {
        CONFIG: config.encode(), WEIGHTS: folder / WEIGHTS, CARD: text.encode(),
    }  # fmt: skip
    for path in (folder / "backbone").glob("*"):
        if FILES.fullmatch(name := f"backbone/{path.name}"):
            files[name] = path
    backbone, named = saved.config["backbone"]["name"], told["backbone"]["name"]
    if backbone != named:
        console.note_line(
            f"its backbone is a folder of this machine, {backbone}, and is not pushed: who loads "
            "the adapter must have it, and pass --backbone DIR"
        )
    return files


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the card cannot be read") from error


def _without_places(value: Any) -> Any:
    """``value`` with absolute paths cut to their last name, also those after an option's ``=``."""
    if isinstance(value, dict):
        return {k: v if k in NAMES else _without_places(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_places(v) for v in value]
    if not isinstance(value, str):
        return value
    option, equals, path = value.rpartition("=")
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(path).is_absolute():
            return f"{option}{equals}{kind(path).name}"
    return value


def _make_room(hub: HfApi, to: Repository, private: bool) -> None:
    """The repository, new or with an adapter that is to be replaced.

    Raises:
        FetchError: it holds something else.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        there = hub.model_info(to.name, timeout=TIMEOUT)
    except RepositoryNotFoundError:
        hub.create_repo(to.name, private=private, exist_ok=True)
        return
    names = {file.rfilename for file in there.siblings or ()}
    if names - {".gitattributes", CARD} and CONFIG not in names:
        raise FetchError(f"{to} holds something else than an adapter: choose another name")


def _commit(hub: HfApi, to: Repository, files: dict[str, Path | bytes]) -> Any:
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.utils import disable_progress_bars

    if not console.output(stderr=True).is_terminal:
        disable_progress_bars()
    return hub.create_commit(
        to.name, [CommitOperationAdd(name, content) for name, content in files.items()],
        commit_message="Adapter",
    )  # fmt: skip
