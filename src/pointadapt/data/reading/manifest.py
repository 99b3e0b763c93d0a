"""Labels in a CSV: columns path, label and, if wanted, split and group, in any order.

Other columns that hold a number in every row are kept, for tasks that predict numbers.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ...core.errors import DataLayoutError
from ...io import SUFFIXES
from .sample import Sample, one_form, split_of

Row = Mapping[str, str]
COLUMNS = ("path", "label", "split", "group")


def read_manifest(path: Path, root: Path | None = None) -> list[Sample]:
    """Read the CSV ``path``: delimiters , ; and tab, cells in quotes or not, UTF-8, with a header.

    Files are looked for beside the CSV, then in ``root``.

    Raises:
        DataLayoutError: no such CSV, a column or a file is missing, a label or split is not given
            or in another column, or a file is listed twice; names the row as a spreadsheet does.

    """
    rows = _rows(path)
    has_split = "split" in rows[0][1] if rows else False
    numbers = _numbers([row for _, row in rows])
    samples: list[Sample] = []
    seen: dict[Path, int] = {}
    for line, row in rows:
        sample = _sample(path, line, row, has_split, root)
        first = seen.setdefault(sample.path.resolve(), line)
        if first != line:
            raise DataLayoutError(
                f"{path}: row {line} lists {row['path']} again, after row {first}"
            )
        samples.append(replace(sample, numbers={k: v[len(samples)] for k, v in numbers.items()}))
    if not samples:
        raise DataLayoutError(f"{path}: lists no file")
    return samples


def _numbers(rows: Sequence[Row]) -> dict[str, list[float]]:
    """The columns, besides those that are read as such, that hold finite numbers throughout."""
    found = {}
    for name in rows[0] if rows else ():
        if name and name not in COLUMNS:
            with suppress(ValueError):
                values = [float(row[name]) for row in rows]
                if all(map(math.isfinite, values)):
                    found[name] = values
    return found


def _rows(path: Path) -> list[tuple[int, Row]]:
    """Each row that is not empty as column: cell, with its number; the header is row 1."""
    text = _text(path)
    first, *_ = text.splitlines() or [""]
    delimiter = max(",;\t", key=first.count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header: list[str] = []
    rows: list[tuple[int, Row]] = []
    try:
        for number, row in enumerate(table, 1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if header:
                rows.append((number, _row(path, number, header, cells)))
            else:
                header = _header(path, cells)
    except csv.Error as error:
        raise DataLayoutError(f"{path}: line {table.line_num}: {error}") from error
    if not header:
        _header(path, ())
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataLayoutError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataLayoutError(f"{path}: is not UTF-8 text: save it as CSV in UTF-8") from error


def _header(path: Path, cells: Sequence[str]) -> list[str]:
    names = [cell.lower() for cell in cells]
    if not {"path", "label"} <= set(names):
        found = ", ".join(cells) or "nothing"
        raise DataLayoutError(f"{path}: needs columns path,label[,split] in row 1, not: {found}")
    for name in COLUMNS:
        if names.count(name) > 1:
            raise DataLayoutError(f"{path}: has two columns called {name}")
    return names


def _row(path: Path, number: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    if any(cells[len(header) :]):
        raise DataLayoutError(
            f"{path}: row {number} has {len(cells)} cells, but the header {len(header)}: "
            "put quotes around a cell that holds the delimiter"
        )
    short = [""] * (len(header) - len(cells))
    return dict(zip(header, [*cells, *short], strict=False))


def _sample(path: Path, line: int, row: Row, has_split: bool, root: Path | None) -> Sample:
    name, label = row["path"], row["label"]
    given = row["split"] if has_split else ""
    split = split_of(given)
    file = _find(path, name, root)
    wrong = (
        "has no path"
        if not name
        else f"has no label for {name}"
        if not label
        else f"has the file {label} in its column label: are path and label swapped?"
        if file is None and _find(path, label, root) is not None
        else f"lists {name}, which does not exist"
        if file is None
        else f"lists {name}, whose ending is not read ({' '.join(SUFFIXES)})"
        if file.suffix.lower() not in SUFFIXES
        else f"has the split {label!r} in its column label: are label and split swapped?"
        if has_split and split_of(label) and split is None
        else f"has split {given.lower()!r} for {name}: train or test is needed"
        if has_split and split is None
        else None
    )
    if wrong or file is None:
        raise DataLayoutError(f"{path}: row {line} {wrong}")
    return Sample(file, label, split, group=row.get("group", ""))


def _find(path: Path, name: str, root: Path | None) -> Path | None:
    """The file that ``name`` means; a Windows spreadsheet writes paths with backslashes."""
    folders = [path.parent, *([root] if root is not None else [])]
    for spelt in dict.fromkeys((name, name.replace("\\", "/"))):
        for folder in folders:
            found = _under(folder, spelt)
            if spelt and found.is_file():
                return found
    return None


def _under(folder: Path, name: str) -> Path:
    """The path ``name`` from ``folder``, whichever form its accents have on the disk."""
    path = folder / name
    if path.exists() or name.isascii():
        return path
    here = Path(path.anchor) if Path(name).is_absolute() else folder
    for part in Path(name).parts[Path(name).is_absolute() :]:
        alike = here.iterdir() if here.is_dir() and not (here / part).exists() else ()
        here = next((p for p in alike if one_form(p.name) == one_form(part)), here / part)
    return here
