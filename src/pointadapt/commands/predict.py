"""``pointadapt predict``: classify files, or label their points."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from .. import report
from ..errors import PointAdaptError
from ._base import command

if TYPE_CHECKING:
    from ..predict import Prediction


MANY = 30  # files whose predictions are listed on the screen although they are in a CSV file


@command("predict")
@dataclass(frozen=True, kw_only=True)
class Predict:
    """Classify files in any format that is read, or all such files in a folder, or label parts.

    Attributes:
        paths: files and folders; folders are searched with their sub-folders.
        adapter: the folder that training wrote.
        backbone: where the backbone is now, if the adapter does not find it.
        top: how many classes to list for each file.
        up: the files' axis that points up; by default as in training.
        category: part segmentation: the files' class; by default the name of each one's folder.
        out: part segmentation: folder for the labelled points, a file for each.
        form: part segmentation: their format.
        csv: also write the predictions to this CSV file.
        picture: also draw the first 24 clouds to this .png, .pdf or .svg file.
        json: print the predictions as JSON on standard output.
    """

    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE_OR_DIR …")]
    adapter: Path
    backbone: str | None = None
    top: int = 3
    up: Literal["x", "y", "z"] | None = None
    category: str | None = None
    out: Path = Path("predicted")
    form: Literal["ply", "csv", "npz", "pcd", "las"] = "ply"
    csv: Path | None = None
    picture: Path | None = None
    json: bool = False

    def run(self) -> int:
        if not self.paths:
            raise PointAdaptError("give at least one file or folder to predict")
        from ..hub import read_adapter_config
        from ..predict import list_files, predict

        if read_adapter_config(self.adapter)["task"] == "part_segmentation":
            return self._parts()
        many = len(list_files(self.paths))
        bar = report.progress("predicting", many) if many > 1 else nullcontext(lambda done: None)
        with bar as done:
            rows = predict(
                self.paths, self.adapter, backbone=self.backbone, up=self.up, top=self.top,
                on_batch=done,
            )  # fmt: skip
        if self.csv is not None:
            _write_csv(self.csv, rows, self.top)
        if self.picture is not None:
            self._draw(rows)
        if self.json:
            report.print_json([row.to_dict() for row in rows])
        elif self.csv is not None and len(rows) > MANY:
            report.prediction_counts(rows, str(self.csv), report.console())
        else:
            report.predictions(rows, report.console())
        errors = [row.error for row in rows if row.error is not None]
        told = MANY if self.csv is not None or self.json else len(errors)
        for error in errors[:told]:
            report.error_line(error)
        if errors[told:]:
            report.error_line(f"and {len(errors) - told} more files that could not be read")
        return 2 if errors else 0

    def _parts(self) -> int:
        from ..predict_parts import Labeller, write_table
        from ..viz import part_grid

        label = Labeller(
            self.adapter, self.out, backbone=self.backbone, category=self.category, up=self.up,
            form=self.form,
        )  # fmt: skip
        rows, shown = label.files(self.paths, 24 if self.picture is not None else 0)
        if self.csv is not None:
            write_table(self.csv, rows)
        if self.picture is not None and shown.titles:
            parts = {"predicted": shown.parts}
            part_grid(shown.points, parts, shown.titles, label.names.parts, self.picture)
        if self.json:
            report.print_json([row.to_dict() for row in rows])
        else:
            report.part_predictions(rows, report.console())
        errors = [row.error for row in rows if row.error is not None]
        for error in errors:
            report.error_line(error)
        return 2 if errors else 0

    def _draw(self, rows: Sequence[Prediction]) -> None:
        import numpy as np

        from ..hub import read_adapter_config
        from ..predict import reader_of
        from ..viz import prediction_grid

        good = [row for row in rows if row.error is None][:24]
        if good and self.picture is not None:
            read = reader_of(read_adapter_config(self.adapter), self.up)
            titles = [f"{row.path.name}\n{row.label} {100 * row.confidence:.0f} %" for row in good]
            clouds = np.stack([read(row.path) for row in good])
            prediction_grid(clouds, titles, [None] * len(good), self.picture)


def _write_csv(path: Path, rows: Sequence[Prediction], top: int) -> None:
    from ..files import atomic

    ranks = range(2, top + 1)
    header = ["path", "label", "confidence"]
    header += [name for k in ranks for name in (f"label_{k}", f"confidence_{k}")]
    with atomic(path) as temporary, temporary.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow([*header, "error"])
        for row in rows:
            cells = [cell for name, p in row.top for cell in (name, f"{p:.6f}")]
            cells += [""] * (2 * top - len(cells))
            table.writerow([row.path, *cells, row.error or ""])
