"""A run's own folder: one run at a time, room for what it will write, and no leftovers."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from . import stops
from .errors import PointAdaptError

LOCK = ".lock"
STALE = 3600  # seconds without a write after which a half-written file is nobody's
TRIED = 1 << 28  # bytes that are really asked of the disk, which knows quotas that nobody tells
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)  # file systems that know none
_HALF = re.compile(r"\.(?P<name>.+)\.(?:(?P<where>[0-9a-f]{8})-)?(?P<process>\d+)\.part")


def half_written(path: Path) -> Path:
    """Beside ``path``, where this process writes what is to be renamed to it."""
    return path.with_name(f".{path.name}.{_here()}-{os.getpid()}.part")


@contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """A folder beside ``path`` that becomes it when the block ends without error, or else goes.

    Raises:
        PointAdaptError: there is something at ``path``, or it cannot be written.
    """
    path = Path(path)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise PointAdaptError(f"{path} is there already and not empty: choose another --out")
    temporary = half_written(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.is_dir():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        raise PointAdaptError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@cache
def _here() -> str:
    """Where the numbers of processes mean what they mean here: this machine, this container."""
    space = ""
    with suppress(OSError, AttributeError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(f'{platform.node()} {space}'.encode()):08x}"


def sweep(*folders: Path, name: str = "", ours: bool = False) -> None:
    """Remove what killed processes left half written.

    Args:
        folders: where; their sub-folders are left alone.
        name: of the file that was to be written; by default any.
        ours: whoever wrote them is gone, since this process holds the folder. Otherwise the process
            of this machine must be, or nobody has written for an hour.
    """
    for folder in folders:
        for left in folder.glob(".*.part"):
            found = _HALF.fullmatch(left.name)
            if found and name in ("", found["name"]):
                with suppress(OSError):
                    if ours or _is_abandoned(left, found):
                        left.unlink()


def _is_abandoned(path: Path, found: re.Match[str]) -> bool:
    import psutil

    if found["where"] == _here() and not psutil.pid_exists(int(found["process"])):
        return True
    return time.time() - path.stat().st_mtime > STALE


@contextmanager
def only_run_in(folder: Path, *parts: str, patience: float = 0.0) -> Iterator[None]:
    """Hold ``folder``, without what an earlier run left half written; a killed one holds nothing.

    Args:
        folder: made if missing, and removed again if nothing was put into it.
        parts: its sub-folders that the run writes to; may hold ``*``.
        patience: seconds to wait for a run that is about to end.

    Raises:
        PointAdaptError: another run holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    path = folder / LOCK
    held, made = FileLock(path), [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=patience)
        with suppress(OSError):  # Windows lets nobody write to it
            path.write_text(str(os.getpid()), encoding="ascii")
    except Timeout as error:
        raise PointAdaptError(
            f"{folder} is in use by another run{_process(path)}: wait for it, or choose another "
            "--out"
        ) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise PointAdaptError(f"cannot write {folder}: {_why(folder, error)}") from error
    sweep(folder, *(place for part in parts for place in folder.glob(part)), ours=True)

    def clean() -> None:
        with suppress(OSError):
            path.unlink()  # before it is released, so that it is nobody else's yet
        held.release()
        for place in made:
            with suppress(OSError):  # not empty
                place.rmdir()

    with stops.cleaning(clean):
        yield


def _why(folder: Path, error: OSError) -> str:
    """What keeps a folder from being made."""
    nearest = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if nearest.is_file():
        return f"{nearest} is a file, not a folder"
    return error.strerror or str(error)


def _process(lock: Path) -> str:
    with suppress(OSError, ValueError):
        return f" (process {int(lock.read_text(encoding='ascii'))})"
    return ""


def reserve(folder: Path, size: int, what: str) -> None:
    """Check that ``size`` bytes can be written to ``folder``, for ``what``, before the work.

    Raises:
        PointAdaptError: the disk is full, or the user's share of it is used up.
    """
    from .console import size as size_text

    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    text = f"{folder}: {size_text(size)} are needed for {what}"
    if free < size:
        raise PointAdaptError(
            f"{text}, and {size_text(free)} are free: make room, or choose another --out"
        )
    trial = half_written(folder / "room")
    try:
        with open(trial, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, min(size, TRIED))
    except OSError as error:
        if error.errno in FULL:
            raise PointAdaptError(
                f"{text}: {error.strerror}: make room, or choose another --out"
            ) from error
    finally:
        with suppress(OSError):
            trial.unlink()
