"""Labelling the points of whole scenes with a scene segmentation adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..adapters.protocol import autocast, load_ready, training_config
from ..core.config import Precision
from ..core.errors import ConfigError, PointAdaptError
from ..core.precision import at_hand
from ..data.reading.label_names import codes_of
from ..io import NonFinite
from ..io.columns import called
from ..scenes import SUFFIXES, SceneLabels, Tiling, label_scene
from ..tasks import TASKS
from .forward import predict_probabilities
from .predictor import PREDICTORS, Columns, Found, OnProgress, Predictor
from .rows import Paths, ScenePrediction, free_name, list_files
from .telling import ScenesTold
from .trained_data import trained_data


class SceneLabeller:
    """Labels scenes of any size; each copy differs from its file in the labels alone.

    Args:
        adapter: the folder that training wrote, or hf://owner/name.
        backbone: where the backbone is now, if the adapter does not know.
        block: width of a tile in metres; by default as in training.
        overlap, passes, seed: see :class:`pointadapt.scenes.Tiling`.
        field: where labels are written; by default LAS' classification, else the column of labels
            in training or one with a usual name.
        temp: folder for temporary files; by default that of the copies.
        nan: "drop" leaves points that are not finite without a class.
        columns: what x, y and z are called; by default as in training.

    Raises:
        AdapterError: the adapter folder is damaged or belongs to another backbone.
        ConfigError: it segments no scenes, or does not know how wide its blocks are.
    """

    def __init__(
        self, adapter: Path | str, *, backbone: Path | str | None = None,
        block: float | None = None, overlap: float = 0.5, passes: int = 1, seed: int = 0,
        field: str | None = None, temp: Path | str | None = None, nan: NonFinite = "error",
        columns: Columns = (),
    ) -> None:  # fmt: skip
        self.model = load_ready(adapter, backbone)
        config = self.model.adapter.about
        if TASKS[config["task"]].predictor != SceneFiles.name:
            raise ConfigError(f"{adapter} segments no scenes: its task is {config['task']}")
        trained = training_config(config)
        data = trained_data(trained)
        trained_width = getattr(data, "block", None)
        width = block if block is not None else trained_width
        if not width:
            raise ConfigError(
                f"{adapter} does not say how wide its blocks are: pass --block METRES"
            )
        self.names = self.model.adapter.names
        self.precision: Precision = at_hand(trained.precision) if trained else "fp32"
        self.tiling = Tiling(
            block=float(width), overlap=overlap, points=int(config["points"]), passes=passes,
            batch=self.model.adapter.task.batch, seed=seed,
        )  # fmt: skip
        self.trait_width = float(trained_width or 0.0)
        self.field, self.temp = field, temp
        self.nan: NonFinite = nan
        self.columns = called(columns) or getattr(data, "columns", ())
        self.trained_field = _by_name(getattr(data, "label", None))

    def files(
        self, paths: Paths, out: Path | str, on_progress: OnProgress | None = None
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
                copy = Path(out) if single else free_name(Path(out) / entry.path.name, taken)
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
        on_progress: OnProgress | None = None,
    ) -> SceneLabels:  # fmt: skip
        """Label one scene; see :func:`pointadapt.scenes.label_scene`."""
        las = path.suffix.lower() in (".las", ".laz")
        field = self.field if las or self.field is not None else self.trained_field
        with autocast(self.model, self.precision):
            return label_scene(
                path, out, self.predict, self.names.parts, self.tiling,
                features=self.names.features, codes=codes, field=field, temp=self.temp,
                nan=self.nan, columns=self.columns, on_progress=on_progress,
                trait_width=self.trait_width,
            )  # fmt: skip

    def predict(self, points: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        """(B, n, K) probabilities of the points (B, n, 3) of blocks."""
        n = points.shape[1]
        return predict_probabilities(self.model, points, n, features=features).numpy()


@PREDICTORS.register("scenes")
@dataclass(frozen=True, kw_only=True)
class SceneFiles(ScenesTold, Predictor):
    """Labels every point of scenes of any size, in copies that differ in the labels alone.

    Attributes:
        out: folder for the copies; the copy of a single scene may be named itself.
        field: where labels are written; by default the classification of LAS, else the column of
            labels. A name that a file does not have is added to it.
        block: width of a tile in metres; by default as in training.
        overlap: share of a tile that the next one covers too, up to 0.75; votes add up.
        passes: samples of a tile that the network sees at most; the points left over take their
            neighbours' probabilities. 0 lets it see every point, which takes longer.
        temp: folder for temporary files; by default that of the copies.
        nan: what to do with points that have NaN or infinite coordinates: with "drop" they stay in
            the copy, without a class.
        columns: what the columns with x, y and z are called; by default as in training.
    """

    about: ClassVar[str] = "labels every point of scenes"

    out: Path = Path("predicted")
    field: str | None = None
    block: float | None = None
    overlap: float = 0.5
    passes: int = 1
    temp: Path | None = None
    nan: NonFinite = "error"
    columns: Columns = ()

    def files(
        self, paths: Paths, adapter: Path | str, *, backbone: Path | str | None = None,
        draw: int = 0, on_progress: OnProgress | None = None,
    ) -> Found:  # fmt: skip
        """See :meth:`Predictor.files`."""
        if draw:
            raise ConfigError("scenes are too large for a picture: leave out --picture")
        label = SceneLabeller(
            adapter, backbone=backbone, block=self.block, overlap=self.overlap,
            passes=self.passes, field=self.field, temp=self.temp, nan=self.nan,
            columns=self.columns,
        )  # fmt: skip
        return Found(label.files(paths, self.out, on_progress))


def _by_name(label: str | None) -> str | None:
    """A column's name; places in bare arrays say nothing of another file."""
    return None if label is None or label.lstrip("-").isdigit() else label
