"""Where training also reports its figures: accelerate's trackers (TensorBoard, W&B, MLflow, …).

What they write stays on this machine, unless their own settings in the environment say otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import console
from ..core.config import TrainConfig, to_plain
from ..core.errors import ConfigError, UnknownNameError, first_line
from ..core.foreign_text import one_line

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

PROJECT = "pointadapt"


def check_trackers(names: Iterable[str]) -> None:
    """Refuse trackers that are unknown or not installed, before anything is trained.

    Raises:
        UnknownNameError: accelerate has none of that name.
        ConfigError: its package is missing.
    """
    for name in names:
        _class_of(name)
        if not _installed(name):
            raise ConfigError(f"the tracker {name} is not installed: pip install {name}")


class Trackers:
    """The trackers of a run: those that its configuration names, and TensorBoard.

    One that fails is told and left: training is worth more than its curves.

    Args:
        config: of the run.
        epoch: how many epochs are done already.
    """

    def __init__(self, config: TrainConfig, epoch: int) -> None:
        names = list(config.tracker)
        if config.tensorboard and _installed("tensorboard"):
            names.append("tensorboard")
        self._started: dict[str, GeneralTracker] = {}
        for name in dict.fromkeys(names):
            self._try(name, lambda name=name: self._start(name, config, epoch))

    def log(self, row: dict[str, Any], epoch: int) -> None:
        """Report figures of an epoch by name."""
        for name, tracker in list(self._started.items()):
            self._try(name, lambda tracker=tracker: tracker.log(row, step=epoch))

    def close(self) -> None:
        """Let all write what they hold."""
        for name, tracker in list(self._started.items()):
            self._try(name, tracker.finish)
        self._started = {}

    def _start(self, name: str, config: TrainConfig, epoch: int) -> None:
        tracker = _class_of(name)(*_given(name, config), **_options(name, config, epoch))
        tracker.start()
        self._started[name] = tracker
        if name != "tensorboard":  # there, they would be a run of their own
            values = to_plain(config).items()
            plain = {k: v if isinstance(v, (int, float, str)) else str(v) for k, v in values}
            tracker.store_init_configuration(plain)

    def _try(self, name: str, work: Any) -> None:
        try:
            work()
        except Exception as error:  # whatever its package raises
            self._started.pop(name, None)
            text = one_line(first_line(error))
            console.note_line(f"the tracker {name} fails ({text}): training goes on without it")


def _class_of(name: str) -> type[Any]:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    if name not in LOGGER_TYPE_TO_CLASS:
        raise UnknownNameError("tracker", name, LOGGER_TYPE_TO_CLASS)
    return LOGGER_TYPE_TO_CLASS[name]


def _installed(name: str) -> bool:
    """Whether the package is there; what a plug-in has registered with accelerate always is."""
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import LoggerType

    return name in map(str, get_available_trackers()) or name not in map(str, LoggerType)


def _given(name: str, config: TrainConfig) -> tuple[Any, ...]:
    """Project and, where the tracker needs one, folder: TensorBoard's is ``OUT/tensorboard``."""
    if not _class_of(name).requires_logging_directory:
        return (PROJECT,)
    return (name, str(config.out))


def _options(name: str, config: TrainConfig, epoch: int) -> dict[str, Any]:
    run = config.out.name
    if name == "tensorboard":  # what a killed run showed of epochs that are now repeated is hidden
        return {"purge_step": epoch + 1 if epoch else None}
    if name == "wandb":
        mode = os.environ.get("WANDB_MODE", "offline")
        return {"name": run, "mode": mode, "dir": str(config.out)}
    if name == "mlflow":
        return {"run_name": run, "logging_dir": _mlflow_in(config.out.resolve())}
    return {"name": run} if name == "trackio" else {}


def _mlflow_in(out: Path) -> str | None:
    """Let MLflow keep all in a folder, unless the environment names another place."""
    import mlflow  # pyright: ignore[reportMissingImports]

    if "MLFLOW_TRACKING_URI" in os.environ:
        return None
    mlflow.set_tracking_uri(f"sqlite:///{out}/mlflow.db")
    return str(out / "mlflow")
