"""Labelling the points of whole scenes with a scene segmentation adapter."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..adapters import folder as hub
from ..adapters.protocol import autocast, load_ready, training_config
from ..core.config import Precision, TrainConfig, key_values
from ..core.errors import ConfigError, PointAdaptError
from ..core.files import atomic
from ..data import load_dataset
from ..data.reading.label_names import codes_of
from ..data.sets.folds import NAME, read_folds
from ..io import NonFinite
from ..scenes import SUFFIXES, SceneLabels, Tiling, label_scene
from .classify_files import list_files
from .forward import predict_probabilities

Progress = Callable[[str, int, int], None]


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


class SceneLabeller:
    """Labels scenes of any size; each copy differs from its file in the labels alone.

    Args:
        adapter: the folder that training wrote.
        backbone: where the backbone is now, if the adapter does not know.
        block: width of a tile in metres; by default as in training.
        overlap, passes, seed: see :class:`pointadapt.scenes.Tiling`.
        field: where labels are written; by default LAS' classification, else the column of labels
            in training or one with a usual name.
        temp: folder for temporary files; by default that of the copies.
        nan: "drop" leaves points that are not finite without a class.

    Raises:
        AdapterError: the adapter folder is damaged or belongs to another backbone.
        ConfigError: it segments no scenes, or does not know how wide its blocks are.
    """

    def __init__(
        self, adapter: Path | str, *, backbone: Path | str | None = None,
        block: float | None = None, overlap: float = 0.5, passes: int = 1, seed: int = 0,
        field: str | None = None, temp: Path | str | None = None, nan: NonFinite = "error",
    ) -> None:  # fmt: skip
        config = hub.read_adapter_config(adapter)
        if config["task"] != "scene_segmentation":
            raise ConfigError(f"{adapter} segments no scenes: its task is {config['task']}")
        trained = training_config(config)
        data = _data_of(trained)
        width = block if block is not None else getattr(data, "block", None)
        if width is None:
            raise ConfigError(
                f"{adapter} does not say how wide its blocks are: pass --block METRES"
            )
        self.model = load_ready(adapter, backbone)
        self.names = self.model.adapter.names
        self.precision: Precision = trained.precision if trained else "fp32"
        self.tiling = Tiling(
            block=float(width), overlap=overlap, points=int(config["points"]), passes=passes,
            batch=self.model.adapter.task.batch, seed=seed,
        )  # fmt: skip
        self.field, self.temp, self.nan = field, temp, nan
        self.trained_field = _by_name(getattr(data, "label", None))

    def files(
        self, paths: Iterable[Path | str], out: Path | str, on_progress: Progress | None = None
    ) -> list[ScenePrediction]:
        """Label files and folders of files; a bad one is reported in its place.

        Args:
            paths: files, and folders whose files are taken, sub-folders included.
            out: a folder for the copies, or for a single file the copy's own name.
            on_progress: see :func:`pointadapt.scenes.label_scene`.
        """
        rows, entries, taken = [], list_files(paths), set()
        single = len(entries) == 1 and Path(out).suffix.lower() in SUFFIXES
        codes = codes_of(self.names.parts)
        for entry in entries:
            row = ScenePrediction(entry.path, error=entry.error)
            if row.error is None:
                copy = Path(out) if single else _free(Path(out) / entry.path.name, taken)
                try:
                    labels = self.label(entry.path, copy, codes, on_progress)
                    named = dict(zip(self.names.parts, codes, strict=True))
                    row = replace(row, labels=labels, codes=named)
                except PointAdaptError as error:
                    row = replace(row, error=str(error))
            rows.append(row)
        return rows

    def label(
        self, path: Path, out: Path, codes: Sequence[int] | None = None,
        on_progress: Progress | None = None,
    ) -> SceneLabels:  # fmt: skip
        """Label one scene; see :func:`pointadapt.scenes.label_scene`."""
        las = path.suffix.lower() in (".las", ".laz")
        field = self.field if las or self.field is not None else self.trained_field
        with autocast(self.model, self.precision):
            return label_scene(
                path, out, self.predict, self.names.parts, self.tiling,
                features=self.names.features, codes=codes, field=field, temp=self.temp,
                nan=self.nan, on_progress=on_progress,
            )  # fmt: skip

    def predict(self, points: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        """(B, n, K) probabilities of the points (B, n, 3) of blocks."""
        n = points.shape[1]
        return predict_probabilities(self.model, points, n, features=features).numpy()


def write_table(path: Path | str, rows: Sequence[ScenePrediction]) -> None:
    """The predictions as CSV: a line for each class of each file."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "class", "label", "points", "share", "labelled", "error"])
        for row in rows:
            if row.labels is None:
                table.writerow([row.path, "", "", "", "", "", row.error])
                continue
            for name, count in row.labels.counts.items():
                share = f"{count / row.labels.points:.6f}"
                table.writerow([row.path, name, row.codes[name], count, share, row.labels.out, ""])


def _data_of(trained: TrainConfig | None) -> object:
    """The data set of training, with its options, not loaded."""
    if trained is None:
        return None
    if trained.data == "folds":  # of a cross-validation
        index = read_folds(Path(trained.root or ".") / NAME)
        return load_dataset(index.data, **index.options)
    options = {"root": trained.root, "points": trained.points, **key_values(trained.data_options)}
    return load_dataset(trained.data, **{k: v for k, v in options.items() if v is not None})


def _by_name(label: str | None) -> str | None:
    """A column's name; places in bare arrays say nothing of another file."""
    return None if label is None or label.lstrip("-").isdigit() else label


def _free(path: Path, taken: set[Path]) -> Path:
    """``path``, or with a number if another file of this run has that name."""
    out, k = path, 2
    while out in taken:
        out, k = path.with_stem(f"{path.stem}_{k}"), k + 1
    taken.add(out)
    return out
