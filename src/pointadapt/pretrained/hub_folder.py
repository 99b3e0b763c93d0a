"""A folder of the Hugging Face Hub, kept in the cache as it was at one commit.

``adapters/OWNER/NAME/COMMIT`` in the cache appears whole, by a rename, and never changes, so those
who read it need no lock. ``adapters/OWNER/NAME/REVISION.json`` says which commit a revision was
when the Hub was last asked: that one is used where there is no network.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core import console
from ..core.errors import FetchError, PointAdaptError
from ..core.files import MOST_JSON, cache_dir, read_json, write_json
from . import cache
from .download import Patience, download
from .fetch import is_offline
from .hf_hub import COMMIT, Listing, NoAnswerError, Repository, listing, url_of

MOST_FILES = 200  # of an adapter that brings a backbone in shards
Check = Callable[[Path], Any]

_known: dict[tuple[str, Repository], Path] = {}  # asked once in a process
_lock = threading.Lock()


def here(repository: Repository, wanted: re.Pattern[str], first: str, check: Check) -> Path:
    """A copy on this machine of what a repository holds.

    The Hub is asked once in a process, for which commit the revision is now.

    Args:
        repository: of the Hub, at a revision.
        wanted: names of the files that are taken, all others are left.
        first: the file without which it is nothing; it comes first.
        check: called with a folder that holds ``first`` alone, before the others come; raises
            where they are not worth it.

    Raises:
        FetchError: it cannot be had.
    """
    key = (f"{cache_dir()} {os.environ.get('HF_ENDPOINT')}", repository)
    with _lock:
        if key not in _known or not _known[key].is_dir():
            _known[key] = _Copy(repository).folder(wanted, first, check)
        return _known[key]


def forget() -> None:
    """Ask the Hub anew: something of it has changed."""
    with _lock:
        _known.clear()


class _Copy:
    """The copies of a repository in the cache."""

    def __init__(self, repository: Repository) -> None:
        self.of = repository
        self.place = cache_dir() / "adapters" / repository.name
        self.note = self.place / f"{repository.revision}.json"

    def folder(self, wanted: re.Pattern[str], first: str, check: Check) -> Path:
        kept = self.kept()
        if COMMIT.fullmatch(self.of.revision) and kept:
            return kept
        if is_offline():
            if kept:
                return kept
            raise FetchError(f"{self.of} is not in the cache {cache_dir()}, and offline mode is on")
        try:
            now = listing(self.of, Patience.timeout)
            return self.at(now, wanted, first, check)
        except NoAnswerError as error:
            if not kept:
                raise
            console.note_line(f"{error}; using the copy that is here, {kept.name[:12]}")
            return kept

    def kept(self) -> Path | None:
        """The commit that the revision was when the Hub was last asked, if it is here."""
        with suppress(PointAdaptError):
            note = read_json(self.note)
            commit = note.get("commit") if isinstance(note, dict) else None
            if isinstance(commit, str) and COMMIT.fullmatch(commit):
                folder = self.place / commit
                return folder if folder.is_dir() else None
        return None

    def at(self, now: Listing, wanted: re.Pattern[str], first: str, check: Check) -> Path:
        """The folder of a commit, downloaded if it is not here."""
        files = {path: facts for path, facts in now.files.items() if wanted.fullmatch(path)}
        if first not in files:
            raise FetchError(f"{self.of} is no adapter: it has no {first}")
        _check_size(self.of, files)
        folder = self.place / now.commit
        with cache.lock(self.of.name.replace("/", "--")):
            if not folder.is_dir():
                self.get(folder, now.commit, files, first, check)
            write_json(self.note, {"commit": now.commit})
        return folder

    def get(
        self, folder: Path, commit: str, files: dict[str, tuple[int, str]], first: str, check: Check
    ) -> None:
        from huggingface_hub import get_token

        to = console.output(stderr=True)
        to.print(f"fetching {self.of}", style="dim", soft_wrap=True)
        work = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(work, ignore_errors=True)  # of a killed process: this one holds the lock
        try:
            for path in sorted(files, key=lambda path: path != first):
                size, sha256 = files[path]
                patience = Patience(largest=size or MOST_JSON)
                with console.downloading(path) as show:
                    download(
                        url_of(self.of.name, path, commit), work / path, sha256=sha256,
                        token=get_token() or "", patience=patience, show=show,
                    )  # fmt: skip
                if path == first:
                    check(work)
            os.replace(work, folder)
        except OSError as error:
            raise FetchError(f"cannot write {folder}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _check_size(of: Repository, files: dict[str, tuple[int, str]]) -> None:
    """Refuse, before anything comes, what is no adapter's size."""
    whole = sum(size for size, _ in files.values())
    if len(files) > MOST_FILES or whole > Patience.largest:
        raise FetchError(
            f"{of} has {len(files)} files with {console.size(whole)}: too large to fetch"
        )
