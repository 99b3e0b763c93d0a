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
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import CheckpointError, FetchError, PointAdaptError, first_line
from .folders import half_written, sweep
from .foreign_text import csv_text, for_json
from .plain import DEEPEST, check_plain, finite

CHECKPOINT = "checkpoint.pt"  # in the folder of a run that can be resumed
BLOCK = 1 << 20  # bytes read at a time
MOST_JSON = 32 << 20  # bytes
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # how a full disk, or quota, is told
LITTLE = 1 << 20  # bytes; less free space than this is why a checkpoint could not be written


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without error.

    Raises:
        PointAdaptError: the disk is full or the folder cannot be written; the old file stays.
    """
    path = Path(path)
    temporary = half_written(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        raise PointAdaptError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _replace(source: Path, target: Path) -> None:
    """``os.replace``; tried again on Windows, which refuses it while someone reads the target."""
    for wait in (0.01, 0.05, 0.2, 0.5, 1.0) if os.name == "nt" else ():
        with suppress(PermissionError):
            return os.replace(source, target)
        time.sleep(wait)
    return os.replace(source, target)


def check_target(path: Path | str) -> None:
    """Refuse a file or folder that cannot be written, before the work whose result it is to hold.

    Nothing is made, and a full disk still shows only when it is written. What a killed process left
    of it half written is removed.

    Raises:
        PointAdaptError: it, or the nearest folder above it that exists, cannot be written.
    """
    path = Path(path)
    nearest = next((p for p in path.absolute().parents if p.exists()), Path("/"))
    if not nearest.is_dir():
        raise PointAdaptError(f"cannot write {path}: {nearest} is a file, not a folder")
    if not os.access(path if path.exists() else nearest, os.W_OK):
        raise PointAdaptError(f"cannot write {path}: permission denied; choose another place")
    sweep(path.parent, name=path.name)


def write_json(path: Path | str, values: Any) -> None:
    """``values`` as indented JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(for_json(finite(values)) + "\n", encoding="utf-8")


def write_csv(path: Path | str, rows: Iterable[Iterable[Any]]) -> None:
    """``rows``, the first of them the heads, as CSV that no spreadsheet runs, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(csv_text(rows), encoding="utf-8", newline="")


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
        PointAdaptError: it is missing, not JSON, or holds what no file of ours does (see
            :func:`pointadapt.core.plain.check_plain`).
    """
    return parse(path, lambda text: json.loads(text, parse_constant=_no_json), "JSON", MOST_JSON)


def _no_json(constant: str) -> Any:
    raise ValueError(f"{constant} is no number there")


def parse(
    path: Path | str, read: Callable[[str], Any], kind: str, most: int, parts: int = 1 << 30
) -> Any:
    """What a text file holds, as plain values.

    Args:
        path: of the file.
        read: text to values.
        kind: what it is to be, for messages ("JSON").
        most: bytes of the largest file that is read.
        parts: most values in it, each alias counted as what it stands for.

    Raises:
        PointAdaptError: it is missing, larger, or no such text, or its values are not plain.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(most + 1)
        if len(raw) > most:
            raise PointAdaptError(f"has more than {most >> 10:,} KiB, which no such file has")
        return check_plain(read(raw.decode("utf-8-sig")), parts)
    except PointAdaptError as error:
        raise PointAdaptError(f"{path} {error}") from error
    except OSError as error:
        raise PointAdaptError(f"cannot read {path}: {error.strerror or error}") from error
    except RecursionError as error:
        raise PointAdaptError(f"{path} is nested more than {DEEPEST} deep") from error
    except MemoryError as error:
        raise PointAdaptError(f"not enough memory to read {path}") from error
    except Exception as error:  # what a parser raises on wrong text is up to the parser
        raise PointAdaptError(f"{path} is not {kind}: {first_line(error)[:200]}") from error


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


def stored_bytes(tensors: Iterable[Any]) -> int:
    """How large a checkpoint of ``tensors`` is about, with what the file says of each."""
    return sum(tensor.nbytes + 1024 for tensor in tensors)


def load_state(path: Path | str) -> dict[str, Any]:
    """A checkpoint, tensors and plain values only: no code in it can run.

    Raises:
        CheckpointError: it is missing, damaged, or holds anything but tensors and plain values.
    """
    import torch

    from .limits import check_memory, memory_named

    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if start != b"PK\3\4" and not start.startswith(b"\x80"):  # a zip file or a bare pickle
        raise CheckpointError(f"{path} is no checkpoint: torch.save did not write it")
    check_memory(_unpacked(path), path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_numbers()):
            warnings.simplefilter("ignore")  # about the pickle protocol
            with memory_named(path):
                return torch.load(path, map_location="cpu", weights_only=True)
    except PointAdaptError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise CheckpointError(_why_unreadable(path, error)) from error


@contextmanager
def restoring(path: Path | str) -> Iterator[None]:
    """What goes wrong inside the block is the fault of the run's checkpoint at ``path``.

    Raises:
        CheckpointError: something in it is missing, or of another kind than a run of ours writes.
    """
    try:
        yield
    except PointAdaptError:
        raise
    except KeyError as error:
        raise CheckpointError(f"{path} is no training checkpoint: {error} is missing") from error
    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is no training checkpoint, or a damaged one: start the run again"
        ) from error


def _unpacked(path: Path | str) -> int:
    """Bytes that a checkpoint takes in memory.

    Raises:
        CheckpointError: it is packed, as torch.save never does: a small file might be a giant.
    """
    size = os.path.getsize(path)
    try:
        with zipfile.ZipFile(path) as file:
            parts = file.infolist()
    except Exception:  # an older kind, or damaged in some way: torch says which
        return size
    whole = sum(part.file_size for part in parts)
    if whole > size or len({part.header_offset for part in parts}) < len(parts):
        raise CheckpointError(
            f"{path} is a packed or overlapping archive, which torch.save does not write: it would "
            f"take {whole / 1e6:,.0f} MB"
        )
    return whole


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
            f"{path} holds more than tensors and plain values ({named[1][:80]}), so it is not "
            "read: it could run code. Where it was made, save the tensors alone: "
            "torch.save(model.state_dict(), 'weights.pth')"
        )
    detail = "" if isinstance(error, pickle.UnpicklingError) else first_line(error).split(". ")[0]
    return f"{path} is damaged or no checkpoint{detail and ': ' + detail}"


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
