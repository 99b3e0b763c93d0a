"""``pointadapt predict``: classify files, or label their points, or those of whole scenes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from ...core import console
from ...core.errors import PointAdaptError
from ...reports import terminal as report
from ..base import command

if TYPE_CHECKING:
    from ...inference.classify_files import Prediction


MANY = 30  # files whose predictions are listed on the screen although they are in a CSV file


@command("predict")
@dataclass(frozen=True, kw_only=True)
class Predict:
    """Classify files in any format that is read, or all such files in a folder, or label points.

    Attributes:
        paths: files and folders; folders are searched with their sub-folders.
        adapter: the folder that training wrote.
        backbone: where the backbone is now, if the adapter does not find it.
        top: how many classes to list for each file.
        up: the files' axis that points up; by default as in training.
        nan: what to do with points that have NaN or infinite coordinates; by default as in
            training. "drop" leaves them out; in a scene they stay, without a class.
        category: part segmentation: the files' class; by default the name of each one's folder.
        out: folder for the labelled points, a file for each; a scene's copy may be named itself.
        form: part segmentation: their format. Scenes keep theirs.
        field: scenes: where labels are written; by default the classification of LAS, else the
            column of labels. A name that a file does not have is added to it.
        block: scenes: width of a tile in metres; by default as in training.
        overlap: scenes: share of a tile that the next one covers too, up to 0.75; votes add up.
        passes: scenes: samples of a tile that the network sees at most; the points left over take
            their neighbours' probabilities. 0 lets it see every point, which takes longer.
        temp: scenes: folder for temporary files; by default that of the copies.
        csv: also write the predictions to this CSV file.
        picture: also draw the first 24 clouds to this .png, .pdf or .svg file.
        json: print the predictions as JSON on standard output.
    """

    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE_OR_DIR …")]
    adapter: Path
    backbone: str | None = None
    top: int = 3
    up: Literal["x", "y", "z"] | None = None
    nan: Literal["error", "drop"] | None = None
    category: str | None = None
    out: Path = Path("predicted")
    form: Literal["ply", "csv", "npz", "pcd", "las"] = "ply"
    field: str | None = None
    block: float | None = None
    overlap: float = 0.5
    passes: int = 1
    temp: Path | None = None
    csv: Path | None = None
    picture: Path | None = None
    json: bool = False

    def run(self) -> int:
        if not self.paths:
            raise PointAdaptError("give at least one file or folder to predict")
        from ...adapters.folder import read_adapter_config
        from ...core.files import check_target
        from ...inference.classify_files import list_files, predict
        from ...reports.drawing import check_picture

        if self.csv is not None:
            check_target(self.csv)
        if self.picture is not None:
            check_picture(self.picture)
        task = read_adapter_config(self.adapter)["task"]
        if task == "part_segmentation":
            return self._parts()
        if task == "scene_segmentation":
            return self._scenes()
        many = len(list_files(self.paths))
        bar = console.progress("predicting", many) if many > 1 else nullcontext(lambda done: None)
        with bar as done:
            rows = predict(
                self.paths, self.adapter, backbone=self.backbone, up=self.up, nan=self.nan,
                top=self.top, on_batch=done,
            )  # fmt: skip
        if self.csv is not None:
            _write_csv(self.csv, rows, self.top)
        if self.picture is not None:
            self._draw(rows)
        if self.json:
            console.print_json([row.to_dict() for row in rows])
        elif self.csv is not None and len(rows) > MANY:
            report.prediction_counts(rows, str(self.csv), console.output())
        else:
            report.predictions(rows, console.output())
        return _errors(rows, brief=self.csv is not None or self.json)

    def _parts(self) -> int:
        from ...inference.label_parts import Labeller, write_table
        from ...reports.drawing import part_grid

        label = Labeller(
            self.adapter, self.out, backbone=self.backbone, category=self.category, up=self.up,
            form=self.form, nan=self.nan,
        )  # fmt: skip
        rows, shown = label.files(self.paths, 24 if self.picture is not None else 0)
        if self.csv is not None:
            write_table(self.csv, rows)
        if self.picture is not None and shown.titles:
            parts = {"predicted": shown.parts}
            part_grid(shown.points, parts, shown.titles, label.names.parts, self.picture)
        if self.json:
            console.print_json([row.to_dict() for row in rows])
        else:
            report.part_predictions(rows, console.output())
        return _errors(rows)

    def _scenes(self) -> int:
        from ...inference.label_scenes import SceneLabeller, write_table

        for name in ("category", "up", "picture"):
            if getattr(self, name) is not None:
                raise PointAdaptError(f"scenes take no --{name}: leave it out")
        label = SceneLabeller(
            self.adapter, backbone=self.backbone, block=self.block, overlap=self.overlap,
            passes=self.passes, field=self.field, temp=self.temp, nan=self.nan or "error",
        )  # fmt: skip
        with console.stages() as stage:
            rows = label.files(self.paths, self.out, stage)
        if self.csv is not None:
            write_table(self.csv, rows)
        if self.json:
            console.print_json([row.to_dict() for row in rows])
        else:
            report.scene_predictions(rows, console.output())
        return _errors(rows)

    def _draw(self, rows: Sequence[Prediction]) -> None:
        import numpy as np

        from ...adapters.folder import read_adapter_config
        from ...inference.classify_files import reader_of
        from ...reports.drawing import prediction_grid

        good = [row for row in rows if row.error is None][:24]
        if good and self.picture is not None:
            read = reader_of(read_adapter_config(self.adapter), self.up, self.nan)
            titles = [f"{row.path.name}\n{row.label} {100 * row.confidence:.0f} %" for row in good]
            clouds = np.stack([read(row.path) for row in good])
            prediction_grid(clouds, titles, [None] * len(good), self.picture)


def _errors(rows: Sequence[Any], brief: bool = False) -> int:
    """Print why files could not be predicted, ``MANY`` of them where ``brief``; the exit status."""
    errors = [row.error for row in rows if row.error is not None]
    told = MANY if brief else len(errors)
    for error in errors[:told]:
        console.error_line(error)
    if errors[told:]:
        console.error_line(f"and {len(errors) - told} more files that could not be read")
    return 2 if errors else 0


def _write_csv(path: Path, rows: Sequence[Prediction], top: int) -> None:
    from ...core.files import atomic

    ranks = range(2, top + 1)
    header = ["path", "label", "confidence"]
    header += [name for k in ranks for name in (f"label_{k}", f"confidence_{k}")]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow([*header, "error"])
        for row in rows:
            cells = [cell for name, p in row.top for cell in (name, f"{p:.6f}")]
            cells += [""] * (2 * top - len(cells))
            table.writerow([row.path, *cells, row.error or ""])
