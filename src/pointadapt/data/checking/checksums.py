"""sha256 of the files of a data set, written down so that a later look can tell what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...core.errors import DataLayoutError, FileFormatError
from ...core.files import read_json, sha256_of, write_json
from .checks import Check, _some

FORMAT = "pointadapt-checksums/1"
RECORD = "pointadapt_checksums.json"


def record_of(root: Path) -> Path:
    """Where the checksums of the data under ``root``, a folder or a file, are written down."""
    return root / RECORD if root.is_dir() else root.with_name(f"{root.name}.{RECORD}")


def files_under(root: Path) -> list[Path]:
    """The files of a data set, sorted; hidden ones and records of checksums are left out."""
    if root.is_file():
        return [root]
    found = (p for p in sorted(root.rglob("*")) if p.is_file() and not p.name.endswith(RECORD))
    return [p for p in found if not any(s.startswith(".") for s in p.relative_to(root).parts)]


def checksums(root: Path, on_file: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """File -> its ``bytes`` and ``sha256``; names are relative to ``root``.

    Args:
        root: a folder, or a single file.
        on_file: called with the number of files done and of all.
    """
    files, out = files_under(root), {}
    for done, path in enumerate(files):
        name = path.relative_to(root).as_posix() if root.is_dir() else path.name
        out[name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        if on_file is not None:
            on_file(done + 1, len(files))
    return out


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error


def write_record(path: Path, data: str, files: dict[str, Any]) -> None:
    """Write the checksums ``files`` of the data set ``data`` to ``path``, atomically."""
    write_json(path, {"format": FORMAT, "data": data, "files": files})


def read_record(path: Path) -> dict[str, Any]:
    """The checksums in ``path``.

    Raises:
        DataLayoutError: there is no such file.
        FileFormatError: it is no record of checksums.
    """
    if not path.is_file():
        raise DataLayoutError(f"{path} is missing: write it with --write-checksums")
    values = read_json(path)
    files = values.get("files") if isinstance(values, dict) else None
    good = isinstance(files, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in files.values()
    )
    if not good or values.get("format") != FORMAT:
        raise FileFormatError(f"{path}: is no record of checksums ({FORMAT})")
    return files  # type: ignore[return-value]


def compare(recorded: dict[str, Any], found: dict[str, Any], record: Path) -> Iterator[Check]:
    """How the files ``found`` differ from those ``recorded``."""
    lost = sorted(set(recorded) - set(found))
    new = sorted(set(found) - set(recorded))
    changed = [k for k in sorted(recorded) if k in found and not _same(recorded[k], found[k])]
    for what, names in (("missing", lost), ("changed", changed)):
        if names:
            yield Check(f"checksums: {what}", "wrong", f"{len(names)} files: {_some(names)}")
    if new:
        yield Check("checksums: new", "note", f"{len(new)} files are not in it: {_some(new)}")
    if not lost and not changed:
        same = len(recorded)
        yield Check("checksums", "ok", f"{same:,} files are as written down in {record}")


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a["sha256"] == b["sha256"]
