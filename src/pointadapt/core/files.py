"""Writing that leaves nothing half-written: write beside the target, then rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, FetchError, PointAdaptError

if TYPE_CHECKING:
    pass

BLOCK = 1 << 20  # bytes read at a time
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # how a full disk, or quota, is told
LITTLE = 1 << 20  # bytes; less free space than this is why a checkpoint could not be written


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without error.

    Raises:
        PointAdaptError: the disk is full or the folder cannot be written; the old file stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise PointAdaptError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_target(path: Path | str) -> None:
    """Refuse a file or folder that cannot be written, before the work whose result it is to hold.

    Nothing is made, and a full disk still shows only when it is written.

    Raises:
        PointAdaptError: it, or the nearest folder above it that exists, cannot be written.
    """
    path = Path(path)
    nearest = next((p for p in path.absolute().parents if p.exists()), Path("/"))
    if not nearest.is_dir():
        raise PointAdaptError(f"cannot write {path}: {nearest} is a file, not a folder")
    if not os.access(path if path.exists() else nearest, os.W_OK):
        raise PointAdaptError(f"cannot write {path}: permission denied; choose another place")


def write_json(path: Path | str, values: Any) -> None:
    """``values`` as indented JSON, atomically."""
    with atomic(path) as temporary:
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8")


def append_line(path: Path | str, line: str) -> None:
    """Add ``line`` to a log, which is made if missing.

    Raises:
        PointAdaptError: the disk is full or the folder cannot be written.
    """
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as log:
            log.write(line + "\n")
    except OSError as error:
        raise PointAdaptError(f"cannot write {path}: {error.strerror or error}") from error


def sha256_of(path: Path | str) -> str:
    """The sha256 of a file's content, as hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: Path | str) -> Any:
    """What ``path`` holds.

    Raises:
        PointAdaptError: it is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PointAdaptError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise PointAdaptError(f"{path} is not JSON: {error}") from error


def save_state(path: Path | str, state: Mapping[str, Any]) -> None:
    """A training checkpoint (``torch.save``), atomically."""
    import torch

    with atomic(path) as temporary:
        try:
            torch.save(dict(state), temporary)
        except RuntimeError as error:  # torch reports a full disk so
            full = shutil.disk_usage(temporary.parent).free < LITTLE
            text = "the disk is full: free some space, or choose another --out"
            raise OSError(text if full else str(error).splitlines()[0]) from error


def load_state(path: Path | str) -> dict[str, Any]:
    """A checkpoint, tensors and plain values only: no code in it can run.

    Raises:
        CheckpointError: it is missing, damaged, or holds anything but tensors and plain values.
    """
    import torch

    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if start != b"PK\3\4" and not start.startswith(b"\x80"):  # a zip file or a bare pickle
        raise CheckpointError(f"{path} is no checkpoint: torch.save did not write it")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_numbers()):
            warnings.simplefilter("ignore")  # about the pickle protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may fail in any way
        raise CheckpointError(_why_unreadable(path, error)) from error


def _numpy_numbers() -> list[Any]:
    """What a pickled numpy number is made of: published files keep their best accuracy as one."""
    import numpy as np

    number = np.float64(0).__reduce__()[0]  # multiarray.scalar, wherever this numpy has it
    kinds = {type(np.dtype(c)) for c in "?bBhHiIlLqQefd"}
    named = [(number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*named, np.dtype, *kinds]


def _why_unreadable(path: Path | str, error: Exception) -> str:
    # torch's own message advises to read the file without the protection: it is not passed on.
    named = re.search(r"(?:GLOBAL|class|global) ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and named:
        return (
            f"{path} holds more than tensors and plain values ({named[1]}), so it is not read: "
            "it could run code"
        )
    detail = "" if isinstance(error, pickle.UnpicklingError) else first_line(error).split(". ")[0]
    return f"{path} is damaged or no checkpoint{detail and ': ' + detail}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def cache_dir() -> Path:
    """Where fetched weights are kept; not made here.

    Raises:
        FetchError: there is no home folder to put it in.
    """
    given = os.environ.get("POINTADAPT_CACHE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "pointadapt"
    except RuntimeError as error:
        raise FetchError(f"no folder to keep weights in ({error}): set POINTADAPT_CACHE") from error
