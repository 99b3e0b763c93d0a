"""Predicting files by a running server: the same rows as here, without loading torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..core.errors import (
    ConfigError,
    FileFormatError,
    PointAdaptError,
    PointCloudError,
    UnknownNameError,
)
from ..core.files import atomic, write_json
from ..core.notes import note
from ..data.reading.sample import one_form
from ..inference.rows import (
    CopyForm,
    PartPrediction,
    Paths,
    Prediction,
    Row,
    ScenePrediction,
    free_name,
    list_files,
)
from ..inference.telling import CloudsTold, ScenesTold, Told
from ..io.labelled import SceneLabels
from ..io.opening import format_of, naming
from .line import GoneError, Line, Said
from .plan import TOLD

AT_ONCE = 16  # files under way: the server puts them into batches
OF_A_FILE = (413, 415, 422, 504)  # statuses that say what is wrong with a file


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted of each file; None where the kind of adapter decides.

    Attributes:
        top: labels of a file as a whole.
        category: the files' class, for parts; by default the name of each one's folder.
        form: format of the labelled copies of parts.
        out: folder for labelled copies; that of a single scene may be named itself.
    """

    top: int | None = None
    category: str | None = None
    form: CopyForm | None = None
    out: Path | None = None


class _Kind:
    """One kind of answers: what is asked, and which rows come of it."""

    takes: ClassVar[tuple[str, ...]] = ()
    told: ClassVar[Told] = Told()
    row: ClassVar[Callable[..., Any]]

    def __init__(self, about: Mapping[str, Any], wanted: Wanted, count: int) -> None:
        given = [name for name, value in vars(wanted).items() if value is not None]
        wrong = [f"--{name}" for name in given if name not in self.takes]
        if wrong:
            raise ConfigError(f"{about['name']} has the task {about['task']}: leave out {wrong[0]}")
        self.about, self.wanted, self.taken = about, wanted, set[Path]()
        self.out, self.single = wanted.out or Path("predicted"), count == 1

    def copy(self, path: Path) -> Path | None:
        """Where the labelled copy of a file goes."""
        raise NotImplementedError

    def asked(self, path: Path) -> dict[str, Any]:
        """The options of the question."""
        raise NotImplementedError

    def made(self, path: Path, told: dict[str, Any], copy: Path | None) -> Row:
        """The row of an answer."""
        raise NotImplementedError


class _Clouds(_Kind):
    takes = ("top",)
    told = CloudsTold()
    row = Prediction

    def copy(self, path: Path) -> None:
        return None

    def asked(self, path: Path) -> dict[str, Any]:
        return {"top": self.wanted.top or 3}

    def made(self, path: Path, told: dict[str, Any], copy: Path | None) -> Row:
        known = {key: told.pop(key) for key in ("label", "confidence", "note")}
        top = tuple((label, p) for label, p in told.pop("top"))
        values = {key: value for key, value in told.items() if key not in ("file", "error")}
        return Prediction(path, **known, top=top, values=values, kind=self.about["answers"])


class _Parts(_Kind):
    takes = ("category", "form", "out")
    row = PartPrediction

    def __init__(self, about: Mapping[str, Any], wanted: Wanted, count: int) -> None:
        super().__init__(about, wanted, count)
        if wanted.category is not None and wanted.category not in about["classes"]:
            raise UnknownNameError("class", wanted.category, about["classes"])
        write_json(self.out / "parts.json", dict(enumerate(about["parts"])))

    def copy(self, path: Path) -> Path:
        return free_name(self.out / f"{path.stem}.{self.wanted.form or 'ply'}", self.taken)

    def asked(self, path: Path) -> dict[str, Any]:
        name = one_form(self.wanted.category or path.absolute().parent.name)
        known = name if name in self.about["classes"] else None
        return {"category": known, "copy": self.wanted.form or "ply"}

    def made(self, path: Path, told: dict[str, Any], copy: Path | None) -> Row:
        shares = tuple((name, share) for name, share in told["shares"])
        return PartPrediction(path, told["category"], shares, told["confidence"], copy)


class _Scenes(_Kind):
    takes = ("out",)
    told = ScenesTold()
    row = ScenePrediction

    def copy(self, path: Path) -> Path:
        named = self.single and self.out.suffix.lower() == path.suffix.lower()
        return self.out if named else free_name(self.out / path.name, self.taken)

    def asked(self, path: Path) -> dict[str, Any]:
        return {}

    def made(self, path: Path, told: dict[str, Any], copy: Path | None) -> Row:
        labels = SceneLabels(**{**told["labels"], "path": path, "out": copy})
        return ScenePrediction(path, labels, told["codes"])


KINDS: dict[str, type[_Kind]] = {"clouds": _Clouds, "points": _Parts, "scenes": _Scenes}


def predict_at(
    address: str, paths: Paths, adapter: str = "", *, token: str = "", wanted: Wanted = Wanted(),
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[list[Row], Told]:  # fmt: skip
    """What a running ``pointadapt serve`` says of files.

    Args:
        address: of the server, such as http://127.0.0.1:8000.
        paths: files, and folders whose readable files are taken, sub-folders included.
        adapter: what the server calls it; may be left out where it has one.
        token: what the server wants to be told.
        wanted: of each file.
        on_progress: told how far it is.

    Returns:
        A row a file, in order, as predicting them here gives it, and how such rows are told.

    Raises:
        PointAdaptError: no server, another token, no such adapter, or it stopped on the way.
        ConfigError: something is wanted that this adapter does not say.
    """
    line, listed = Line(address, token), list_files(paths)
    kind = _kind(_adapter(line, adapter), wanted, len(listed))
    jobs = [(e, kind.copy(e.path) if e.error is None else None) for e in listed]
    rows: list[Row] = []
    pool = ThreadPoolExecutor(AT_ONCE, "ask")
    try:
        for row, notes in pool.map(lambda job: _answered(line, kind, *job), jobs):
            rows.append(row)
            for text in notes:
                note(text)
            on_progress("predicting", len(rows), len(listed))
    except GoneError as error:
        raise PointAdaptError(
            f"{error} (it answered {len(rows):,} of {len(listed):,} files): start it again, and "
            "call the same command"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    return rows, kind.told


def _answered(
    line: Line, kind: _Kind, entry: Prediction, copy: Path | None
) -> tuple[Row, list[str]]:
    """The row of a file, and notes on it."""
    path, error = entry.path, entry.error
    try:
        if error is None:
            with naming(path):
                format_of(path)
                path.open("rb").close()
            told = _asked(line, kind, path, copy)
            notes = [_at(path, text) for text in told.pop("notes")]
            return kind.made(path, told, copy), notes
    except (FileFormatError, PointCloudError) as refused:
        error = str(refused)
    return kind.row(path, error=error), []


def _asked(line: Line, kind: _Kind, path: Path, copy: Path | None) -> dict[str, Any]:
    """What is told of a file, whose labelled copy is written if there is one.

    Raises:
        FileFormatError: the server refuses it.
        GoneError: it does not answer any more.
    """
    parts, options = ("predict", kind.about["name"], path.name), kind.asked(path)
    with atomic(copy) if copy is not None else nullcontext() as place:
        said = line.put(path, parts, options, place)
        if said.status in OF_A_FILE:
            raise FileFormatError(_at(path, said.error))
        _check(said, line)
    if copy is None:
        return said.told
    told = said.headers.get(TOLD)
    return json.loads(told) if told else line.put(path, parts, {**options, "form": "json"}).told


def _at(path: Path, text: str) -> str:
    """What a server, which knows the file's name alone, says of it."""
    named = path.name in text
    return text.replace(path.name, str(path), 1) if named else f"{path}: {text}"


def _check(said: Said, line: Line) -> None:
    """Raise what is wrong with the whole command."""
    if said.status == 401:
        how = "refuses the token of --token-file" if line.token else "wants --token-file FILE"
        raise PointAdaptError(f"{line.address} {how}")
    if said.status != 200:
        raise PointAdaptError(f"{line.address}: {said.error}")


def _kind(about: Mapping[str, Any], wanted: Wanted, count: int) -> _Kind:
    kind = KINDS.get(about["predictor"])
    if kind is None:
        raise ConfigError(f"{about['name']} has the task {about['task']}: predict without --server")
    return kind(about, wanted, count)


def _adapter(line: Line, name: str) -> dict[str, Any]:
    """What the server tells of the adapter, or of its only one."""
    said = line.get("adapters")
    _check(said, line)
    if not isinstance(said.told, list) or not all("predictor" in one for one in said.told):
        raise PointAdaptError(f"{line.address} is no pointadapt serve of this version")
    found = {one["name"]: one for one in said.told}
    if not name and len(found) == 1:
        name = next(iter(found))
    if not name:
        raise ConfigError(f"pass --adapter NAME, one of {', '.join(sorted(found))[:500]}")
    if name not in found:
        raise UnknownNameError(f"adapter of {line.address}", name, found)
    return found[name]
