"""Predicting files as a whole, of any format that :mod:`pointadapt.io` reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from ..adapters import folder as adapter_folder
from ..adapters.protocol import load_ready, training_config
from ..core.errors import ConfigError, PointAdaptError, UnknownNameError
from ..core.notes import note
from ..data.sets.folder import UPRIGHT, Axis, Folder
from ..io import NON_FINITE, NonFinite
from ..io.columns import called
from ..tasks.inputs import size_doubts
from .forward import mixed_probabilities, predict_probabilities
from .predictor import PREDICTORS, Columns, Drawing, Found, OnProgress, Predictor
from .prefetch import one_ahead
from .rows import Paths, Prediction, list_files, percent
from .telling import CloudsTold
from .trained_data import trained_data

if TYPE_CHECKING:
    from torch import Tensor

    from ..adapters.model import Adapter, PointModel


BATCH = 32  # files that are read and predicted at a time
FAR = 10.0  # of data that are not normalised: ScanObjectNN's clouds are about 1 across


@dataclass(frozen=True)
class FileReader:
    """Files as the model's training saw them: number of points, choice of points, up axis.

    Attributes:
        points: points of a cloud that enter the network.
        folder: the options of the data set "folder" that say how a file is read.
        available: points of a file from which those are taken once they are prepared; 0 for as
            many as enter.
    """

    points: int
    folder: Folder
    available: int = 0

    def __call__(self, path: Path | str) -> np.ndarray:
        """(``available`` or ``points``, 3) float32 of a file.

        Raises:
            FileFormatError, PointCloudError: the file is bad.
        """
        return self.measured(path)[0]

    def measured(self, path: Path | str) -> tuple[np.ndarray, np.ndarray]:
        """What a call returns, and (T,) the traits of all points of the file.

        Raises:
            FileFormatError, PointCloudError: the file is bad.
        """
        folder = replace(self.folder, points=self.available or self.points)
        found = folder.measured(path)
        return found.cloud.points, found.traits


def answer_files(
    paths: Paths,
    model: PointModel | Path | str,
    *,
    backbone: Path | str | None = None,
    points: int | None = None,
    up: Axis | None = None,
    nan: NonFinite | None = None,
    columns: Sequence[str] = (),
    top: int = 3,
    batch_size: int = BATCH,
    on_batch: Callable[[int], None] | None = None,
) -> list[Prediction]:
    """Predict files as a whole; a bad one is reported in its place and stops no other.

    Args:
        paths: files, and folders whose readable files are taken, sub-folders included.
        model: an adapter folder, or a loaded model.
        backbone: where the backbone is now, if the adapter folder does not know.
        points: points of a cloud, needed where ``model`` was not loaded from a folder.
        up: the files' axis that points up; by default as in training.
        nan: what to do with points that are not finite, "error" or "drop"; by default as in
            training.
        columns: what x, y and z are called; by default as in training.
        top: how many labels to list for each file.
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
    from_folder = isinstance(model, (str, Path))
    model = load_ready(model, backbone)
    if from_folder or (points is None and model.adapter.about):
        reader = reader_of(model.adapter.about, up, nan, columns)
    elif points is None:
        raise ConfigError("a loaded model does not know its number of points: pass points=")
    else:
        reader = FileReader(
            points, Folder(up=up or "z", nan=nan or "error", columns=tuple(columns))
        )
    if model.adapter.task.predictor != CloudFiles.name:
        raise ConfigError(
            f"this adapter has the task {model.adapter.task.name}, which says nothing of a file as "
            "a whole: use pointadapt.predict"
        )
    done: list[Prediction] = []
    entries = list_files(paths)
    batches = [entries[k : k + batch_size] for k in range(0, len(entries), batch_size)]
    for batch, clouds in one_ahead(lambda batch: read_clouds(batch, reader), batches):
        done += answer_clouds(batch, clouds, model, reader.points, top)
        if on_batch is not None:
            on_batch(len(done))
    return done


def reader_of(
    config: dict[str, Any], up: Axis | None = None, nan: NonFinite | None = None,
    columns: Sequence[str] = (),
) -> FileReader:  # fmt: skip
    """How to read files for the adapter with this configuration.

    Raises:
        UnknownNameError: an unknown axis, or another word for what to do with NaN.
        ConfigError: not three names of columns.
    """
    data = trained_data(training_config(config))
    folder = data if isinstance(data, Folder) else Folder()
    folder = replace(
        folder, up=up or folder.up, nan=nan or folder.nan,
        columns=called(columns) or getattr(data, "columns", ()),
    )  # fmt: skip
    if folder.up not in UPRIGHT:
        raise UnknownNameError("up axis", folder.up, UPRIGHT)
    if folder.nan not in NON_FINITE:
        raise UnknownNameError("value of nan", folder.nan, NON_FINITE)
    return FileReader(config["points"], folder, config["available"])


Read = dict[int, tuple[np.ndarray, np.ndarray]]  # points and traits of files, by number


def read_clouds(entries: list[Prediction], reader: FileReader) -> tuple[list[Prediction], Read]:
    """The entries, those that cannot be read with their error, and the clouds of the others."""
    clouds: Read = {}
    for i, entry in enumerate(entries):
        if entry.error is None:
            try:
                clouds[i] = reader.measured(entry.path)
            except PointAdaptError as error:
                entries[i] = replace(entry, error=str(error))
    return entries, clouds


def answer_clouds(
    entries: list[Prediction], clouds: Read, model: PointModel, n: int, top: int
) -> list[Prediction]:
    """The entries with what the model says of those whose clouds were read.

    Args:
        entries: files, see :func:`list_files`.
        clouds: points and traits of files, by their number in ``entries``.
        model: the adapter in use answers.
        n: points of a cloud that enter the network.
        top: how many labels to list for each file.
    """
    if clouds:
        points, traits = (np.stack(arrays) for arrays in zip(*clouds.values(), strict=True))
        values = predict_probabilities(model, points, n, traits=traits)
        _fill(entries, clouds, model.adapter, values, top)
    return entries


def answer_mixed(
    entries: list[Prediction], clouds: Read, model: PointModel, adapters: Sequence[str], n: int,
    top: int,
) -> list[Prediction]:  # fmt: skip
    """As :func:`answer_clouds`, where each of ``clouds`` is for its own of the ``adapters``."""
    points, traits = (np.stack(arrays) for arrays in zip(*clouds.values(), strict=True))
    values = mixed_probabilities(model, points, n, adapters, traits)
    for (i, read), name, value in zip(clouds.items(), adapters, values, strict=True):
        _fill(entries, {i: read}, model.called(name), value, top)
    return entries


def _fill(
    entries: list[Prediction], clouds: Read, adapter: Adapter, values: Tensor, top: int
) -> None:
    """Put into the entries what the ``values`` (M, …) of their clouds mean to the adapter."""
    if not adapter.normalise:
        _tell_far(entries, {i: points for i, (points, _) in clouds.items()})
    task, names = adapter.task, adapter.names
    traits = torch.from_numpy(np.stack([traits for _, traits in clouds.values()]))
    notes = size_doubts(traits, adapter.known_sizes)
    for i, row, doubt in zip(clouds, task.predict(values, None, names), notes, strict=True):
        said = task.answer(row, names, top)
        entries[i] = Prediction(
            entries[i].path, said.label, said.confidence, said.top, values=said.values,
            kind=task.answers, note=doubt,
        )  # fmt: skip


def _tell_far(entries: list[Prediction], clouds: Mapping[int, np.ndarray]) -> None:
    """Name clouds that lie where none did in training, for adapters that move and scale none."""
    for i, cloud in clouds.items():
        reach = float(np.abs(cloud).max())
        if reach > FAR:
            note(
                f"{entries[i].path}: reaches {reach:.3g} from the origin, and this adapter takes "
                "coordinates as they are stored: bring the file to the place and the size of those "
                "that the adapter was trained on"
            )


@PREDICTORS.register("clouds")
@dataclass(frozen=True, kw_only=True)
class CloudFiles(CloudsTold, Predictor):
    """Says of each file as a whole what the task asks: its class, a number.

    Attributes:
        top: how many labels to list for each file.
        up: the files' axis that points up; by default as in training.
        nan: what to do with points that have NaN or infinite coordinates; by default as in
            training. "drop" leaves them out.
        columns: what the columns with x, y and z are called; by default as in training.
    """

    about: ClassVar[str] = "says something of each file as a whole"
    together: ClassVar[int] = BATCH

    top: int = 3
    up: Axis | None = None
    nan: NonFinite | None = None
    columns: Columns = ()

    def files(
        self, paths: Paths, adapter: Path | str, *, backbone: Path | str | None = None,
        draw: int = 0, on_progress: OnProgress | None = None,
    ) -> Found:  # fmt: skip
        """See :meth:`Predictor.files`."""
        listed = list_files(paths)

        def tell(done: int) -> None:
            if on_progress is not None and len(listed) > 1:
                on_progress("predicting", done, len(listed))

        rows = answer_files(
            paths, adapter, backbone=backbone, up=self.up, nan=self.nan, columns=self.columns,
            top=self.top, on_batch=tell,
        )  # fmt: skip
        good = [row for row in rows if row.error is None][:draw]
        if not good:
            return Found(rows)
        config = adapter_folder.read_adapter_config(adapter)
        read = reader_of(config, self.up, self.nan, self.columns)
        titles = tuple("\n".join((row.path.name, _said(row))) for row in good)
        return Found(rows, Drawing(np.stack([read(row.path) for row in good]), titles))


def _said(row: Prediction) -> str:
    return row.label if row.confidence is None else f"{row.label} {percent(row.confidence)}"
