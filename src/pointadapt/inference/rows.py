"""What is said of files, a row each, and the table of them.

Nothing here imports torch: a client of a server has the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ..core.console import duration, size
from ..core.errors import PointAdaptError
from ..core.files import write_csv
from ..data.reading.tree import readable_files, tell_unread
from ..io.labelled import SceneLabels

Paths = Path | str | Iterable[Path | str]
CopyForm = Literal["ply", "csv", "npz", "pcd", "las"]  # of labelled parts


class Row(Protocol):
    """What a predictor says of one file."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def error(self) -> str | None:
        """Why it could not be predicted, in one line; None if it could."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        ...

    def records(self) -> list[dict[str, Any]]:
        """Lines of a CSV file besides the path and the error: column -> value."""
        ...

    def shown(self) -> list[tuple[str, str]]:
        """What a person is shown of it: headings and texts."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What the model says of one file.

    Attributes:
        path: the file.
        label: the answer in a few words, such as the most probable class; empty if the file could
            not be read.
        confidence: its probability, 0 to 1; None where the task does not know.
        top: the most probable labels with their probabilities, in falling order.
        error: why it could not be read, in one line; None if it could.
        values: what the task tells besides, such as a number itself, by name.
        kind: what tables call the answer.
        note: what makes the answer doubtful, in one line: the file is far larger or smaller than
            all training clouds, so perhaps in another unit. Empty if nothing is known to.
    """

    path: Path
    label: str = ""
    confidence: float | None = 0.0
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "class"
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        told = {"path": str(self.path), "label": self.label, "confidence": self.confidence}
        return {**told, "top": self.top, **self.values, "error": self.error, "note": self.note}

    def records(self) -> list[dict[str, Any]]:
        """One line: the label, its confidence, and the runners-up; or what the task tells."""
        if self.error is not None:
            return []
        if self.values or not self.top:
            return [{**self.values} or {"label": self.label}]
        line: dict[str, Any] = {}
        for rank, (label, p) in enumerate(self.top, 1):
            end = f"_{rank}" if rank > 1 else ""
            line |= {f"label{end}": label, f"confidence{end}": f"{p:.6f}"}
        return [line]

    def shown(self) -> list[tuple[str, str]]:
        """A line of a table."""
        cells = [("file", str(self.path)), (self.kind, self.label)]
        if self.confidence is not None:
            cells.append(("confidence", percent(self.confidence)))
        if len(self.top) > 1:
            rest = [f"{label} {percent(p)}" for label, p in self.top if label != self.label]
            cells.append(("other labels", ", ".join(rest)))
        return cells


def percent(probability: float) -> str:
    """A probability as people read it: 83 %."""
    return f"{100 * probability:.0f} %"


@dataclass(frozen=True)
class PartPrediction:
    """What the model says of one file.

    Attributes:
        path: the file.
        category: the class it was taken for; empty if the adapter needs none.
        shares: the parts found with their share of the points, in falling order.
        confidence: mean over the points of their part's probability, 0 to 1.
        out: where its labelled points are.
        error: why it could not be labelled, in one line; None if it could.
    """

    path: Path
    category: str = ""
    shares: tuple[tuple[str, float], ...] = ()
    confidence: float = 0.0
    out: Path | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "path": str(self.path), "out": str(self.out or "")}

    def records(self) -> list[dict[str, Any]]:
        """A line for each part that was found."""
        sure, out = f"{self.confidence:.6f}", self.out
        return [{"class": self.category, "part": name, "share": f"{share:.6f}", "confidence": sure,
                 "labelled": out} for name, share in self.shares]  # fmt: skip

    def shown(self) -> list[tuple[str, str]]:
        """A line of a table."""
        own = f"{self.category}/"  # is in the column beside
        shares = ", ".join(f"{n.removeprefix(own)} {percent(s)}" for n, s in self.shares)
        return [("file", str(self.path)), ("class", self.category or "-"), ("parts", shares),
                ("confidence", percent(self.confidence)),
                ("labelled points", str(self.out))]  # fmt: skip


@dataclass(frozen=True)
class ScenePrediction:
    """What the model says of one file.

    Attributes:
        path: the file.
        labels: what was labelled, and where the copy is; None if it could not be.
        codes: number in the copy of each class, by name.
        error: why it could not be labelled, in one line; None if it could.
    """

    path: Path
    labels: SceneLabels | None = None
    codes: dict[str, int] = field(default_factory=dict)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        labels = None if self.labels is None else self.labels.to_dict()
        return {**asdict(self), "path": str(self.path), "labels": labels}

    def records(self) -> list[dict[str, Any]]:
        """A line for each class, those that were not found included."""
        done = self.labels
        if done is None:
            return []
        return [{"class": name, "label": self.codes[name], "points": count,
                 "share": f"{count / done.points:.6f}", "labelled": done.out}
                for name, count in done.counts.items()]  # fmt: skip

    def shown(self) -> list[tuple[str, str]]:
        """A panel, its title first: what was found, how surely, how fast, and where the copy is."""
        done = self.labels
        if done is None:
            return []
        order = sorted(done.counts, key=done.counts.__getitem__, reverse=True)
        found = [
            (name, f"{count:,} ({100 * count / done.points:.1f} %), label {self.codes[name]}")
            for name, count in ((name, done.counts[name]) for name in order) if count
        ]  # fmt: skip
        absent = ", ".join(name for name in order if not done.counts[name])
        rate = done.points / max(done.seconds, 1e-9)
        return [
            ("file", str(self.path)),
            *found,
            *([("not found", absent)] if absent else []),
            ("confidence", f"{100 * done.confidence:.1f} % (mean over the points)"),
            ("points", f"{done.points:,} in {done.tiles:,} tiles, {done.samples:,} samples"),
            ("time", f"{duration(done.seconds)}, {rate:,.0f} points a second"),
            ("peak memory", size(done.peak_memory_bytes)),
            ("labelled copy", f"{done.out}: written to {done.field}"),
        ]


def list_files(paths: Paths) -> list[Prediction]:
    """The files that ``paths`` mean, each still without a label; an empty folder has an error."""
    entries: list[Prediction] = []
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        place = Path(path)
        try:
            found = readable_files(place, nested=True) if place.is_dir() else [place]
            if place.is_dir():
                tell_unread(place, found)
        except PointAdaptError as error:
            entries.append(Prediction(place, error=str(error)))
        else:
            entries += [Prediction(file) for file in found]
    return entries


def free_name(path: Path, taken: set[Path]) -> Path:
    """``path``, or with a number if another file of this run has that name."""
    out, k = path, 2
    while out in taken:
        out, k = path.with_stem(f"{path.stem}_{k}"), k + 1
    taken.add(out)
    return out


def write_table(path: Path | str, rows: Sequence[Row]) -> None:
    """The predictions as CSV: the records of each row, its path first and its error last."""
    lines = [{"path": row.path, **record, "error": row.error or ""}
             for row in rows for record in row.records() or [{}]]  # fmt: skip
    columns = list(dict.fromkeys(key for line in lines for key in line if key != "error"))
    columns.append("error")
    write_csv(path, [columns, *([line.get(key, "") for key in columns] for line in lines)])
