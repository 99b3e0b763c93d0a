"""Predicting files with any adapter, whatever its task is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..adapters.folder import read_adapter_config
from ..core.fields import build
from ..core.files import write_csv
from ..tasks import TASKS
from .classify_files import answer_files
from .predictor import PREDICTORS, OnProgress, Paths, Predictor, Row

if TYPE_CHECKING:
    from ..adapters.model import PointModel


def predictor_of(adapter: Path | str) -> type[Predictor]:
    """The class of what predicts files with the adapter in this folder.

    Raises:
        AdapterError: there is none, or a damaged one.
        UnknownNameError: its task, or that task's predictor, is not known here.
    """
    return PREDICTORS[TASKS[read_adapter_config(adapter)["task"]].predictor]


def predict(
    paths: Paths, model: PointModel | Path | str, *, backbone: Path | str | None = None,
    on_progress: OnProgress | None = None, **options: Any,
) -> list[Any]:  # fmt: skip
    """Predict files with any adapter: classes of clouds, labels of points, or what its task says.

    A bad file is reported in its place, as the ``error`` of its row, and does not stop the others.

    Args:
        paths: files, and folders whose readable files are taken, sub-folders included.
        model: an adapter folder, or a loaded model of a task that predicts whole clouds.
        backbone: where the backbone is now, if the adapter folder does not know.
        on_progress: told what is being done, how much is done, and of how much.
        options: of what predicts for this task: those of ``pointadapt predict --adapter DIR
            --help``; for a loaded model also ``points``, how many of a cloud enter it.

    Returns:
        A row a file, in order; which class of rows depends on the task. Each has ``path``,
        ``error``, ``to_dict()`` and what was found, such as ``label`` and ``confidence``.

    Raises:
        AdapterError: the adapter folder is damaged or belongs to another backbone.
        ConfigError, UnknownNameError: an option is wrong.
    """
    if not isinstance(model, (str, Path)):
        return answer_files(paths, model, **options)
    cls = predictor_of(model)
    predictor = build(cls, options, f"predict, which {cls.about}")
    found = predictor.files(paths, model, backbone=backbone, on_progress=on_progress)
    return list(found.rows)


def write_table(path: Path | str, rows: Sequence[Row]) -> None:
    """The predictions as CSV: the records of each row, its path first and its error last."""
    lines = [{"path": row.path, **record, "error": row.error or ""}
             for row in rows for record in row.records() or [{}]]  # fmt: skip
    columns = list(dict.fromkeys(key for line in lines for key in line if key != "error"))
    columns.append("error")
    write_csv(path, [columns, *([line.get(key, "") for key in columns] for line in lines)])
