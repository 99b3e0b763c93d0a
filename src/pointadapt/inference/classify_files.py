"""Predicting files of any format that :mod:`pointadapt.io` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..adapters import folder as hub
from ..adapters.protocol import load_ready, training_config
from ..core.config import TrainConfig, key_values
from ..core.errors import ConfigError, PointAdaptError, UnknownNameError
from ..data import load_dataset
from ..data.reading.layouts import readable_files, tell_unread
from ..data.sets.folder import UPRIGHT, Axis, Folder
from ..io import NON_FINITE, NonFinite
from .prefetch import one_ahead

if TYPE_CHECKING:
    from ..adapters.model import PointModel


@dataclass(frozen=True)
class Prediction:
    """What the model says of one file.

    Attributes:
        path: the file.
        label: its most probable class; empty if it could not be read.
        confidence: that class's probability, 0 to 1.
        top: the most probable classes with their probabilities, in falling order.
        error: why it could not be read, in one line; None if it could.
    """

    path: Path
    label: str = ""
    confidence: float = 0.0
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class FileReader:
    """Files as the model's training saw them: number of points, choice of points, up axis.

    Attributes:
        points: points of a cloud.
        folder: the options of the data set "folder" that say how a file is read.
    """

    points: int
    folder: Folder

    def __call__(self, path: Path | str) -> np.ndarray:
        """(points, 3) float32 of a file.

        Raises:
            FileFormatError, PointCloudError: the file is bad.
        """
        return replace(self.folder, points=self.points).read(path).points


def predict(
    paths: Path | str | Iterable[Path | str],
    model: PointModel | Path | str,
    *,
    backbone: Path | str | None = None,
    points: int | None = None,
    up: Axis | None = None,
    nan: NonFinite | None = None,
    top: int = 3,
    batch_size: int = 32,
    on_batch: Callable[[int], None] | None = None,
) -> list[Prediction]:
    """Classify files; a bad one is reported in its place and does not stop the others.

    Args:
        paths: files, and folders whose readable files are taken, sub-folders included.
        model: an adapter folder, or a loaded model.
        backbone: where the backbone is now, if the adapter folder does not know.
        points: points of a cloud, needed where ``model`` is a loaded one.
        up: the files' axis that points up; by default as in training.
        nan: what to do with points that are not finite, "error" or "drop"; by default as in
            training.
        top: how many classes to list for each file.
        batch_size: files that are read and predicted at a time.
        on_batch: called with the number of files done.

    Returns:
        One prediction a file, in order.

    Raises:
        AdapterError: the adapter folder is damaged or belongs to another backbone.
        ConfigError, UnknownNameError: an argument out of range.
    """
    if top < 1 or batch_size < 1:
        raise ConfigError(f"top={top}, batch_size={batch_size}: both must be at least 1")
    if isinstance(model, (str, Path)):
        reader = reader_of(hub.read_adapter_config(model), up, nan)
        model = load_ready(model, backbone)
    elif points is None:
        raise ConfigError("a loaded model does not know its number of points: pass points=")
    else:
        reader = FileReader(points, Folder(up=up or "z", nan=nan or "error"))
    if model.adapter.task.per_point:
        raise ConfigError("this adapter labels points, not files: use predict_parts.Labeller")
    done: list[Prediction] = []
    entries = list_files(paths)
    batches = [entries[k : k + batch_size] for k in range(0, len(entries), batch_size)]
    for batch, clouds in one_ahead(lambda batch: _read(batch, reader), batches):
        done += _batch(batch, clouds, model, reader.points, top)
        if on_batch is not None:
            on_batch(len(done))
    return done


def list_files(paths: Path | str | Iterable[Path | str]) -> list[Prediction]:
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


def reader_of(
    config: dict[str, Any], up: Axis | None = None, nan: NonFinite | None = None
) -> FileReader:
    """How to read files for the adapter with this configuration.

    Raises:
        UnknownNameError: an unknown axis, or another word for what to do with NaN.
    """
    trained = training_config(config)
    folder = load_dataset("folder", **_folder_options(trained))
    assert isinstance(folder, Folder)
    folder = replace(folder, up=up or folder.up, nan=nan or folder.nan)
    if folder.up not in UPRIGHT:
        raise UnknownNameError("up axis", folder.up, UPRIGHT)
    if folder.nan not in NON_FINITE:
        raise UnknownNameError("value of nan", folder.nan, NON_FINITE)
    return FileReader(int(config["points"]), folder)


def _folder_options(trained: TrainConfig | None) -> dict[str, Any]:
    """How the files were read in training, if they were a user's own."""
    if trained is None:
        return {}
    if trained.data == "episodes":
        from ..data.sets.episodes import source_options

        return source_options("folder", trained.root, key_values(trained.data_options))
    if trained.data == "folds":
        from ..data.sets import folds

        return folds.source_options("folder", trained.root)
    return key_values(trained.data_options) if trained.data == "folder" else {}


def _read(
    entries: list[Prediction], reader: FileReader
) -> tuple[list[Prediction], dict[int, np.ndarray]]:
    """The entries, those that cannot be read with their error, and the clouds of the others."""
    clouds: dict[int, np.ndarray] = {}
    for i, entry in enumerate(entries):
        if entry.error is None:
            try:
                clouds[i] = reader(entry.path)
            except PointAdaptError as error:
                entries[i] = replace(entry, error=str(error))
    return entries, clouds


def _batch(
    entries: list[Prediction], clouds: dict[int, np.ndarray], model: PointModel, n: int, top: int
) -> list[Prediction]:
    from .forward import predict_probabilities

    if clouds:
        rows = predict_probabilities(model, np.stack(list(clouds.values())), n)
        for i, row in zip(clouds, rows, strict=True):
            values, index = row.topk(min(top, len(row)))
            names = [model.classes[k] for k in index.tolist()]
            ranked = tuple(zip(names, values.tolist(), strict=True))
            entries[i] = Prediction(entries[i].path, *ranked[0], top=ranked)
    return entries
