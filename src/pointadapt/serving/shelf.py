"""The adapters of a server: found in folders, loaded when they are asked for, the oldest let go.

Adapters of one backbone share it in one model. What is in use is never let go.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..adapters import folder as adapter_folder
from ..adapters.model import PointModel
from ..adapters.protocol import load_ready
from ..core.errors import AdapterError, UnknownNameError
from ..pretrained.hf_hub import repository_of

PLAIN = Path("adapter")  # what training calls the folder inside its own

_Mark = tuple[Path, int]  # a folder, and when its configuration was written


@dataclass(frozen=True)
class Loaded:
    """An adapter in memory: the model, and what the adapter is called in it."""

    model: PointModel
    key: str

    @property
    def config(self) -> dict[str, Any]:
        """What its folder says of it."""
        return self.model.called(self.key).about


class Shelf:
    """Adapters by name.

    Args:
        places: adapter folders, and folders of such. One that appears in the latter later is found.
            Also adapters on the Hugging Face Hub, "hf://owner/name", each called as its repository.
        backbone: where the backbone is now, if the adapters do not know.
        most: how many are in memory at most, besides those in use.

    Attributes:
        made: how many were read so far.

    Raises:
        AdapterError: a place holds no adapter, or two have one name.
        FetchError: one cannot be had from the Hub.
    """

    def __init__(
        self, places: Iterable[Path | str], backbone: Path | str | None = None, most: int = 100
    ) -> None:
        self.places, self.backbone, self.most = tuple(map(Path, places)), backbone, most
        self._lock = threading.RLock()
        self._models: dict[tuple[Any, ...], PointModel] = {}
        self._loaded: OrderedDict[_Mark, Loaded] = OrderedDict()
        self._used: Counter[_Mark] = Counter()
        self.made = 0
        self._known: dict[str, Path] = {}
        self._configs: dict[str, tuple[_Mark, dict[str, Any]]] = {}
        for place in self.places:
            if not _named(place):
                raise AdapterError(f"{place} holds no adapter: pass folders that training wrote")
        self.folders()

    def folders(self) -> dict[str, Path]:
        """All adapters: name and folder, looked for anew.

        Raises:
            AdapterError: two have one name.
        """
        found: dict[str, Path] = {}
        for place in self.places:
            for name, folder in _named(place):
                if found.setdefault(name, folder) != folder:
                    raise AdapterError(
                        f"{found[name]} and {folder} are both called {name!r}: rename one"
                    )
        self._known = found
        return found

    def has(self, name: str) -> bool:
        """Whether there is an adapter of that name."""
        return self._at(name) is not None

    def config(self, name: str) -> dict[str, Any]:
        """What an adapter's folder says of it.

        Raises:
            UnknownNameError: there is none of that name.
        """
        mark = _mark(self._folder(name))
        kept = self._configs.get(name)
        if kept is None or kept[0] != mark:
            kept = self._configs[name] = (mark, adapter_folder.read_adapter_config(mark[0]))
        return kept[1]

    @property
    def loaded(self) -> int:
        """How many adapters are in memory."""
        return len(self._loaded)

    @contextmanager
    def using(self, name: str) -> Iterator[Loaded]:
        """The adapter in memory, and in use by this thread, inside the block.

        Raises:
            UnknownNameError: there is none of that name.
            AdapterError: it is damaged.
        """
        mark = _mark(self._folder(name))
        with self._lock:
            if mark not in self._loaded:
                self._loaded[mark] = self._load(mark[0])
            self._loaded.move_to_end(mark)
            self._used[mark] += 1
            self._let_go()
            found = self._loaded[mark]
        try:
            found.model.use(found.key)
            yield found
        finally:
            with self._lock:
                self._used[mark] -= 1

    def _folder(self, name: str) -> Path:
        folder = self._at(name)
        if folder is None:
            raise UnknownNameError("adapter", name, self._known)
        return folder

    def _at(self, name: str) -> Path | None:
        """Where the adapter is; places are looked through only for one that is not known yet."""
        folder = self._known.get(name)
        if folder is not None and (folder / adapter_folder.CONFIG).is_file():
            return folder
        return self.folders().get(name)

    def _load(self, folder: Path) -> Loaded:
        needs = adapter_folder.read_adapter_config(folder)["backbone"]
        same = (needs["sha256"], needs["seed"], *(needs[key] for key in adapter_folder.SHAPE))
        self.made += 1
        key = f"n{self.made}"
        if same in self._models:
            adapter_folder.load_into(self._models[same], folder, key)
        else:
            self._models[same] = load_ready(folder, self.backbone, key)
        return Loaded(self._models[same], key)

    def _let_go(self) -> None:
        idle = [mark for mark in self._loaded if not self._used[mark]]
        for mark in idle[: max(0, len(self._loaded) - self.most)]:
            gone = self._loaded.pop(mark)
            del gone.model.adapters[gone.key]
            del self._used[mark]


def _mark(folder: Path) -> _Mark:
    """An adapter as it is now: one that was trained anew has another."""
    return folder, (folder / adapter_folder.CONFIG).stat().st_mtime_ns


def _adapters_in(place: Path) -> list[Path]:
    """The place itself if it is an adapter, or else those in it, in order."""
    for folder in (place, place / PLAIN):
        if (folder / adapter_folder.CONFIG).is_file():
            return [folder]
    if not place.is_dir():
        return []
    inside = (sub / end for sub in sorted(place.iterdir()) for end in (".", PLAIN))
    return [folder for folder in inside if (folder / adapter_folder.CONFIG).is_file()]


def _named(place: Path) -> list[tuple[str, Path]]:
    """The adapters of a place, with their names; one on the Hub is as it was at the first look."""
    repository = repository_of(place)
    if repository is not None:
        return [(repository.name.partition("/")[2], adapter_folder.located(place))]
    return [(_name(folder), folder) for folder in _adapters_in(place)]


def _name(folder: Path) -> str:
    """The folder's name; that of a run where training called it "adapter"."""
    path = Path(os.path.abspath(folder))  # not resolved: a link may give it another name
    return path.parent.name if Path(path.name) == PLAIN else path.name
