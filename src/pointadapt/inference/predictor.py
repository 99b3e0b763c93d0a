"""What predicts files: one predictor for each kind of answer, found by the name its tasks give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..adapters.folder import read_adapter_config
from ..core.registry import Registry
from ..tasks import TASKS
from .rows import Paths, Row
from .telling import Told

OnProgress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much
Columns = tuple[str, ...]  # names of those with x, y and z; empty for those of training


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
class Predictor(Told):
    """Base of all predictors. Options are fields, and so options of ``pointadapt predict``."""

    name: ClassVar[str] = ""
    about: ClassVar[str] = ""  # what it does, for the help of the command
    together: ClassVar[int] = 1  # files that are predicted at a time

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
