"""Names of the labels of scenes: a file of the user's, the ASPRS classes of LAS, or numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ...core.errors import FileFormatError
from ...core.files import read_json
from .files import read_lines

FILES = ("classes.txt", "classes.json")
ASPRS = {  # LAS 1.4, revision 15, table 17
    0: "never classified", 1: "unclassified", 2: "ground", 3: "low vegetation",
    4: "medium vegetation", 5: "high vegetation", 6: "building", 7: "low noise",
    8: "model key-point", 9: "water", 10: "rail", 11: "road surface", 12: "overlap",
    13: "wire guard", 14: "wire conductor", 15: "transmission tower", 16: "wire connector",
    17: "bridge deck", 18: "high noise", 19: "overhead structure", 20: "ignored ground", 21: "snow",
    22: "temporal exclusion",
}  # fmt: skip
NUMBERED = "class "


def label_names(root: Path, codes: Iterable[int], las: bool) -> dict[int, str]:
    """Code -> name of each class, in the order of the codes.

    ``classes.txt`` in ``root`` has a name a line, counted from 0, or "code name" in every line;
    ``classes.json`` is a list of names or {"code": "name"}. They may name classes that do not
    occur. Without them the codes that occur are named by ASPRS for LAS, and "class 7" otherwise.

    Raises:
        FileFormatError: the file is damaged, names a class twice, or lacks a code that occurs.
    """
    codes = sorted(codes)
    path = next((root / name for name in FILES if (root / name).is_file()), None)
    if path is None:
        return {k: (ASPRS.get(k) if las else None) or f"{NUMBERED}{k}" for k in codes}
    named = _from_json(path) if path.suffix == ".json" else _from_text(path)
    if len(set(named.values())) < len(named) or not named:
        raise FileFormatError(f"{path}: must name each class once")
    lacking = [k for k in codes if k not in named]
    if lacking:
        raise FileFormatError(
            f"{path}: has no name for label {lacking[0]}, which occurs; it names "
            f"{', '.join(map(str, sorted(named)))}: add it, or set ignore={lacking[0]}"
        )
    return dict(sorted(named.items()))


def codes_of(names: Sequence[str]) -> list[int]:
    """The codes of classes that :func:`label_names` named without a file; else their places.

    So that predictions can be written as the codes that the training files had.
    """
    known = {name: code for code, name in ASPRS.items()}
    found = [known.get(name, _number(name)) for name in names]
    return [k for k in found if k is not None] if None not in found else list(range(len(names)))


def _number(name: str) -> int | None:
    digits = name.removeprefix(NUMBERED)
    return int(digits) if name.startswith(NUMBERED) and digits.isdigit() else None


def _from_text(path: Path) -> dict[int, str]:
    lines = read_lines(path)
    pairs = [line.split(maxsplit=1) for line in lines]
    if all(len(pair) == 2 and pair[0].isdigit() for pair in pairs):
        return {int(code): name for code, name in pairs}
    return dict(enumerate(lines))


def _from_json(path: Path) -> dict[int, str]:
    values = read_json(path)
    try:
        pairs = enumerate(values) if isinstance(values, list) else values.items()
        return {int(code): str(name) for code, name in pairs}
    except (AttributeError, TypeError, ValueError) as error:
        raise FileFormatError(
            f'{path}: must be a list of names or {{"code": "name"}}: {error}'
        ) from error
