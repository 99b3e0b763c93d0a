"""Points of slow formats, kept as one memory-mapped file that the next start reads instead.

An entry is ``NAME.npy`` and ``NAME.json``, which holds the sha256 of the first and the fingerprint
of what it was made from: the files' paths, sizes and times, the options, and this code. Both are
written beside their place and renamed. Two processes that build the same entry at once write the
same bytes, so whichever comes last changes nothing; a reader takes the array only if its sha256 is
the one that the description says.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np

from ...core import console
from ...core.errors import ConfigError, PointAdaptError
from ...core.files import atomic, cache_dir, read_json, sha256_of, write_json
from ...core.folders import sweep

SLOW = 5.0  # seconds of reading from which "auto" keeps the result


def cached_points(
    where: str, name: str, files: Sequence[Path], options: Mapping[str, Any],
    read: Callable[[], np.ndarray],
) -> np.ndarray:  # fmt: skip
    """What ``read`` returns, from the cache where it is there and fits.

    Args:
        where: a folder; "auto": ``clouds`` in the user's cache folder, written only if reading
            took more than ``SLOW`` seconds; "no": always read.
        name: what is read, such as the root and the split. A newer entry replaces an older one of
            the same name and options.
        files: all files that are read, in order.
        options: what else the points depend on; must be plain values.
        read: reads the files.

    Returns:
        The array, mapped copy-on-write: changing it leaves the file as it is.

    Raises:
        ConfigError: ``where`` is a file.
        PointAdaptError: a folder that was asked for cannot be written.
    """
    if where == "no" or not files:
        return read()
    folder = _folder(where)
    if folder is None:
        return read()
    entry = _Entry(folder, _digest([name, dict(options)])[:24], _fingerprint(files, options))
    found = entry.load()
    if found is not None:
        return found
    began = time.monotonic()
    points = read()
    if where != "auto" or time.monotonic() - began > SLOW or entry.exists():
        try:
            entry.save(points)
        except PointAdaptError:
            if where != "auto":
                raise  # nobody asked for it otherwise, and the points are here
    return points


def _folder(where: str) -> Path | None:
    if where == "auto":
        try:
            return cache_dir() / "clouds"
        except PointAdaptError:  # no home folder
            return None
    folder = Path(where).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"cache={where}: is a file; give a folder, auto or no")
    return folder


class _Entry:
    """One array of the cache, and what it must have been made from to be used."""

    def __init__(self, folder: Path, name: str, fingerprint: str) -> None:
        self.array, self.about = folder / f"{name}.npy", folder / f"{name}.json"
        self.fingerprint = fingerprint

    def exists(self) -> bool:
        return self.about.exists()

    def load(self) -> np.ndarray | None:
        """The array; None if there is none, or of other files, or a damaged one."""
        if not self.exists():
            return None
        try:
            about = read_json(self.about)
            if not isinstance(about, dict) or about.get("fingerprint") != self.fingerprint:
                return None
            if about.get("sha256") == sha256_of(self.array):
                return np.load(self.array, mmap_mode="c", allow_pickle=False)
        except (PointAdaptError, OSError, ValueError):
            pass
        _say(f"the cache {self.array} is damaged: reading the files again")
        return None

    def save(self, points: np.ndarray) -> None:
        sweep(self.array.parent)
        with atomic(self.array) as temporary:
            with temporary.open("wb") as file:
                np.save(file, points, allow_pickle=False)
            about = {"fingerprint": self.fingerprint, "sha256": sha256_of(temporary)}
        write_json(self.about, about)
        size = f"{len(points):,} clouds ({points.nbytes / 1e6:,.0f} MB)"
        _say(
            f"kept {size} in {self.array}, so that the files need not be read again (cache=no: do)"
        )


def _fingerprint(files: Sequence[Path], options: Mapping[str, Any]) -> str:
    stats = [(str(path), *_stat(path)) for path in files]
    return _digest([stats, dict(options), _code()])


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:  # reading it will say so
        return -1, -1
    return found.st_size, found.st_mtime_ns


@once
def _code() -> str:
    """sha256 of the modules that points of files go through."""
    digest, package = hashlib.sha256(), Path(__file__).parents[2]
    for part in ("io", "data", "ops"):
        for path in sorted((package / part).rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _say(line: str) -> None:
    console.output(stderr=True).print(line, soft_wrap=True, highlight=False, markup=False)
