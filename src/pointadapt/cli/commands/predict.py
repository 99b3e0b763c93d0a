"""``pointadapt predict``: what an adapter says of files; its task decides what that is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import Positional, arg

from ...core import console
from ...core.errors import ConfigError, PointAdaptError
from ...core.fields import at_least
from ..base import command, plain
from ..rows import told

if TYPE_CHECKING:
    from ...inference.predictor import Drawing, Found, OnProgress, Predictor

DRAWN = 24  # clouds of a picture
BY_NAMES = ("--names", "--embeddings")  # of what needs no adapter
SERVER = "--server"


@command("predict")
@dataclass(frozen=True, kw_only=True)
class Predict:
    """Predict files in any format that is read: their class, or their points' labels.

    There are more options, which depend on what the adapter's task predicts: see them with
    pointadapt predict --adapter DIR --help. Without an adapter, a backbone that knows texts
    tells which of some names fits best: see pointadapt predict --names --help. A running
    pointadapt serve answers at once: see pointadapt predict --server URL --help.

    Attributes:
        paths: files and folders; folders are searched with their sub-folders.
        adapter: the folder that training wrote, or hf://owner/name.
        backbone: where the backbone is now, if the adapter does not find it.
        csv: also write the predictions to this CSV file.
        picture: also draw the first 24 clouds to this .png, .pdf or .svg file.
        threads: CPU threads; 0 leaves it to torch.
        cluster: address of a Ray cluster to predict on, as HOST:PORT, or "auto" on one of its
            nodes; "local" starts one here. Its nodes see all files under the same paths; each
            worker takes --threads cores (1), or a GPU.
        json: print the predictions as JSON on standard output.
    """

    kind: ClassVar[Any] = None  # the class of what predicts, where that is known

    paths: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE_OR_DIR …")]
    adapter: Path
    backbone: str | None = None
    csv: Path | None = None
    picture: Path | None = None
    threads: int = 0
    cluster: str = ""
    json: bool = False

    @classmethod
    def fitting(cls, args: Sequence[str]) -> type[Any]:
        """The command with the options of what predicts for the adapter in ``args``."""
        words = {word.split("=")[0] for word in args}
        if SERVER in words:
            from ..at_server import PredictAtServer

            return PredictAtServer
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        early.add_argument("--adapter", nargs="?", default=None)
        adapter = early.parse_known_args(list(args))[0].adapter
        if adapter is None and words.isdisjoint(BY_NAMES):
            return cls
        from ...inference.predict import predictor_of
        from ...inference.predictor import PREDICTORS

        if adapter is None:
            kind = PREDICTORS["names"]
            about, spelt = "Tell which of some names fits each file best.", "predict --names"
            body = {"__annotations__": {"adapter": Path | None}, "adapter": None}
        else:
            kind = predictor_of(adapter)
            about = f"Predict files with {adapter}, which {kind.about}."
            spelt, body = console.command_line("predict --adapter", adapter), {}
        body |= {"kind": kind, "spelt": spelt, "__doc__": about}
        made = type("Predict", (kind, cls), body)
        return dataclass(frozen=True, kw_only=True)(made)

    @staticmethod
    def kinds() -> dict[str, type]:
        """What an adapter's task may make it do -> the class of the options for that."""
        from ...inference.predictor import PREDICTORS

        return {PREDICTORS[name].about: PREDICTORS[name] for name in PREDICTORS}

    def run(self) -> int:
        if not self.paths:
            raise PointAdaptError("give at least one file or folder to predict")
        at_least(self, 0, "threads")
        from ...core.files import check_target
        from ...core.machine import use_threads
        from ...inference.predict import predictor_of
        from ...reports.drawing import check_picture

        if self.csv is not None:
            check_target(self.csv)
        if self.picture is not None:
            check_picture(self.picture)
        use_threads(self.threads)
        predictor = plain(self.kind, self) if self.kind else predictor_of(self.adapter)()
        with console.stages(predictor.counts) as stage:
            found = self._find(predictor, stage)
        if self.picture is not None and found.drawing is not None:
            _draw(found.drawing, self.picture)
        return told(found.rows, predictor, self.csv, self.json)

    def _find(self, predictor: Predictor, stage: OnProgress) -> Found:
        if not self.cluster:
            return predictor.files(
                self.paths, self.adapter, backbone=self.backbone,
                draw=DRAWN if self.picture is not None else 0, on_progress=stage,
            )  # fmt: skip
        if self.picture is not None or self.adapter is None:
            raise ConfigError("--cluster needs --adapter, and draws no --picture")
        from ...inference.on_ray import predict_on
        from ...inference.predictor import Found

        rows = predict_on(
            self.cluster, predictor, self.paths, self.adapter, backbone=self.backbone,
            threads=self.threads, on_progress=stage,
        )  # fmt: skip
        return Found(rows)


def _draw(drawing: Drawing, path: Path) -> None:
    from ...reports.drawing import part_grid, prediction_grid

    points, titles = drawing.points, drawing.titles
    if drawing.labels is None:
        prediction_grid(points, titles, [None] * len(points), path)
    else:
        part_grid(points, {"predicted": drawing.labels}, titles, drawing.names, path)
