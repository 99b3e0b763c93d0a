"""What predicts files: one predictor for each kind of answer, found by the name its tasks give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ..adapters.folder import read_adapter_config
from ..core.files import write_csv
from ..core.registry import Registry
from ..tasks import TASKS

OnProgress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much
Columns = tuple[str, ...]  # names of those with x, y and z; empty for those of training
Paths = Path | str | Iterable[Path | str]


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
class Drawing:
    """Clouds for a picture: points (k, N, 3), a title for each, and labels (k, N) of the points.

    ``names`` are those of the labels; both are empty where clouds are predicted as a whole.
    """

    points: np.ndarray
    titles: tuple[str, ...]
    labels: np.ndarray | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a predictor found: a row for each file, in order, and clouds to draw, if any."""

    rows: Sequence[Row]
    drawing: Drawing | None = None


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Base of all predictors. Options are fields, and so options of ``pointadapt predict``."""

    name: ClassVar[str] = ""
    about: ClassVar[str] = ""  # what it does, for the help of the command
    counts: ClassVar[str] = "files"  # what its progress counts
    together: ClassVar[int] = 1  # files that are predicted at a time
    panels: ClassVar[bool] = False  # what it says of a file fills a panel, not a line of a table

    def files(
        self, paths: Paths, adapter: Path | str, *, backbone: Path | str | None = None,
        draw: int = 0, on_progress: OnProgress | None = None,
    ) -> Found:  # fmt: skip
        """Predict files and folders of files; a bad one is reported in its place.

        Args:
            paths: files, and folders whose readable files are taken, sub-folders included.
            adapter: the folder that training wrote, or hf://owner/name.
            backbone: where the backbone is now, if the adapter does not know.
            draw: how many clouds to give for a picture.
            on_progress: told how far it is.

        Raises:
            AdapterError: the adapter folder is damaged or belongs to another backbone.
            ConfigError: the adapter is of another kind of task.
        """
        raise NotImplementedError

    def next_steps(self, rows: Sequence[Any]) -> tuple[tuple[str, str], ...]:
        """Commands (why, command) to go on with."""
        del rows
        return ()

    def tally(self, rows: Sequence[Any]) -> list[dict[str, str]]:
        """How many of many files are what: lines of a table; empty where that says nothing."""
        del rows
        return []


PREDICTORS: Registry[Predictor] = Registry(
    "predictor", "pointadapt.predictors", "pointadapt.inference"
)


def predictor_of(adapter: Path | str) -> type[Predictor]:
    """The class of what predicts files with the adapter in this folder.

    Raises:
        AdapterError: there is none, or a damaged one.
        UnknownNameError: its task, or that task's predictor, is not known here.
    """
    return PREDICTORS[TASKS[read_adapter_config(adapter)["task"]].predictor]


def write_table(path: Path | str, rows: Sequence[Row]) -> None:
    """The predictions as CSV: the records of each row, its path first and its error last."""
    lines = [{"path": row.path, **record, "error": row.error or ""}
             for row in rows for record in row.records() or [{}]]  # fmt: skip
    columns = list(dict.fromkeys(key for line in lines for key in line if key != "error"))
    columns.append("error")
    write_csv(path, [columns, *([line.get(key, "") for key in columns] for line in lines)])
