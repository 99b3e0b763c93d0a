"""Labelling the points of files, each of which shows one object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ..adapters.protocol import load_ready
from ..core.errors import ConfigError, PointAdaptError, UnknownNameError
from ..core.files import write_json
from ..data.reading.sample import one_form
from ..data.sets.folder import Axis, upright
from ..io import Cloud, NonFinite, read_cloud, read_points, sample_index, write_cloud
from ..ops import interpolate
from .classify_files import reader_of
from .predictor import PREDICTORS, Columns, Drawing, Found, OnProgress, Predictor
from .rows import CopyForm, PartPrediction, Paths, free_name, list_files
from .score import check_numbers

CHUNK = 1 << 16  # points that are labelled at a time
DRAWN = 2048  # points of a cloud in a picture


class Labeller:
    """Labels the points of files of any size and writes them beside each other into a folder.

    The network sees as many points as in training, spread evenly; every point of the file takes the
    probabilities of its three nearest ones, weighted by inverse squared distance. Of a mesh, points
    on its surface are labelled.

    Args:
        adapter: the folder that training wrote, or hf://owner/name.
        out: folder for the labelled files and ``parts.json``, the names of the labels.
        backbone: where the backbone is now, if the adapter does not know.
        category: class of all files; by default the name of each file's folder.
        up: the files' axis that points up; by default as in training.
        form: ending of the labelled files; their coordinates are those of the input.
        nan: "drop" leaves out points that are not finite; by default as in training.
        columns: what x, y and z are called; by default as in training.

    Raises:
        AdapterError: the adapter folder is damaged or belongs to another backbone.
        ConfigError: it is no part segmentation.
        UnknownNameError: no such class or axis.
    """

    def __init__(
        self, adapter: Path | str, out: Path | str, *, backbone: Path | str | None = None,
        category: str | None = None, up: Axis | None = None, form: str = "ply",
        nan: NonFinite | None = None, columns: Columns = (),
    ) -> None:  # fmt: skip
        self.model = load_ready(adapter, backbone)
        config = self.model.adapter.about
        self.reader = reader_of(config, up, nan, columns)
        self.names, self.task = self.model.adapter.names, self.model.adapter.task
        if not self.names.parts:
            raise ConfigError(f"{adapter} labels whole clouds ({config['task']}), not points")
        if category is not None and category not in self.names.classes:
            raise UnknownNameError("class", category, self.names.classes)
        self.out, self.category, self.form = Path(out), category, form

    def files(
        self, paths: Paths, show: int = 0, on_progress: OnProgress | None = None
    ) -> tuple[list[PartPrediction], Drawing | None]:
        """Label files and folders of files; a bad one is reported in its place.

        Returns:
            One prediction a file, in order, and the first ``show`` clouds for a picture.
        """
        rows, points, parts = [], [], []
        write_json(self.out / "parts.json", dict(enumerate(self.names.parts)))
        taken: set[Path] = set()
        listed = list_files(paths)
        for k, entry in enumerate(listed):
            if on_progress is not None:
                on_progress("labelling", k, len(listed))
            row = PartPrediction(entry.path, error=entry.error)
            if row.error is None:
                try:
                    row, cloud, labels = self._one(entry.path, taken)
                except PointAdaptError as error:
                    row = replace(row, error=str(error))
                else:
                    if len(points) < show:
                        some = np.random.default_rng(0).integers(len(cloud), size=DRAWN)
                        points.append(upright(cloud[some], self.reader.folder.up))
                        parts.append(labels[some])
            rows.append(row)
        if not points:
            return rows, None
        good = [row for row in rows if row.error is None][: len(points)]
        titles = tuple(row.path.name for row in good)
        return rows, Drawing(np.array(points), titles, np.array(parts), self.names.parts)

    def _one(self, path: Path, taken: set[Path]) -> tuple[PartPrediction, np.ndarray, np.ndarray]:
        number = self._class_of(path)
        folder = self.reader.folder
        columns = folder.columns
        local = read_points(
            path, seed=folder.seed, minimum=folder.min_points, nan=folder.nan, columns=columns
        )
        cloud = read_cloud(path, nan=folder.nan, columns=columns)
        stored = local if cloud.faces is not None else cloud.points
        labels, confidence = self.label(local, number)
        out = free_name(self.out / f"{path.stem}.{self.form}", taken)
        write_cloud(out, Cloud(stored, labels=labels))
        counts = np.bincount(labels, minlength=len(self.names.parts)) / len(labels)
        shares = tuple((self.names.parts[k], float(counts[k])) for k in np.argsort(-counts))
        found = tuple((name, share) for name, share in shares if share > 0)
        category = "" if number is None else self.names.classes[number]
        return PartPrediction(path, category, found, confidence, out), local, labels

    def _class_of(self, path: Path) -> int | None:
        name = one_form(self.category or path.absolute().parent.name)
        if name in self.names.classes:
            return self.names.classes.index(name)
        if not self.task.given_class:
            return None
        known = self.names.classes
        some = ", ".join(known[:20]) + (" …" if len(known) > 20 else "")
        raise ConfigError(
            f"{path}: its class is not known, and this adapter is told it: pass --category NAME, "
            f"or put the file into a folder of that name ({some})"
        )

    @torch.no_grad()
    def label(self, points: np.ndarray, category: int | None) -> tuple[np.ndarray, float]:
        """(N,) part of each of (N, 3) points of one cloud, and the mean confidence."""
        n, up = self.reader.points, self.reader.folder.up
        device = next(self.model.parameters()).device
        upper = torch.from_numpy(upright(points, up))[None].to(device)
        cloud = self.model.adapter.prepared(upper)
        rng = np.random.default_rng(self.reader.folder.seed)
        index = torch.from_numpy(sample_index(points, n, rng, "fps")).to(device)
        some = cloud[:, index]
        given = None if category is None else torch.tensor([category], device=device)
        told = (given,) if self.task.given_class else ()
        seen = self.task.activate(self.model(some, *told).float())
        labels, sure = [], 0.0
        for chunk in cloud.split(CHUNK, dim=1):
            probabilities = interpolate(chunk, some, seen)
            found = self.task.predict(probabilities, given, self.names)
            check_numbers(found)
            competing = self.task.competing(probabilities, given, self.names)
            sure += float(competing.gather(-1, found.unsqueeze(-1)).sum())
            labels.append(found[0].cpu().numpy())
        return np.concatenate(labels), sure / len(points)


@PREDICTORS.register("points")
@dataclass(frozen=True, kw_only=True)
class PointFiles(Predictor):
    """Labels the points of each file and writes them into a folder.

    Attributes:
        category: the files' class; by default the name of each one's folder.
        up: the files' axis that points up; by default as in training.
        nan: what to do with points that have NaN or infinite coordinates; by default as in
            training. "drop" leaves them out.
        columns: what the columns with x, y and z are called; by default as in training.
        out: folder for the labelled points, a file for each.
        form: format of the labelled points.
    """

    about: ClassVar[str] = "labels the points of each file"

    category: str | None = None
    up: Axis | None = None
    nan: NonFinite | None = None
    columns: Columns = ()
    out: Path = Path("predicted")
    form: CopyForm = "ply"

    def files(
        self, paths: Paths, adapter: Path | str, *, backbone: Path | str | None = None,
        draw: int = 0, on_progress: OnProgress | None = None,
    ) -> Found:  # fmt: skip
        """See :meth:`Predictor.files`."""
        label = Labeller(
            adapter, self.out, backbone=backbone, category=self.category, up=self.up,
            form=self.form, nan=self.nan, columns=self.columns,
        )  # fmt: skip
        rows, drawing = label.files(paths, draw, on_progress)
        return Found(rows, drawing)
