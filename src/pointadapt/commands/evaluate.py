"""``pointadapt evaluate``: score an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import report
from ..config import Precision
from ._base import command


@command("evaluate")
@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score an adapter on a data set; by default as at the end of its training.

    Attributes:
        adapter: the folder that training wrote.
        data: name of the data set; by default the one it was trained on.
        root: its folder on disk.
        data_options: its other options, as key=value.
        split: which part of it.
        votes: augmented copies whose probabilities are averaged; 0 scores the clouds as they are.
        backbone: where the backbone is now, if the adapter does not find it.
        picture: for part segmentation, also draw true above predicted parts of the first clouds of
            the classes to this .png, .pdf or .svg file.
        precision: number format of the forward pass; by default as in training.
        json: print the scores as JSON on standard output.
    """

    adapter: Path
    data: str | None = None
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    split: Literal["train", "test"] = "test"
    votes: int = 0
    backbone: str | None = None
    picture: Path | None = None
    precision: Precision | None = None
    json: bool = False

    def run(self) -> int:
        from ..evaluate import evaluate
        from ..predict_parts import draw_parts
        from ..protocol import Protocol, autocast, load_ready

        protocol = Protocol.of(self.adapter, self.data, self.root, self.data_options)
        model = load_ready(self.adapter, self.backbone)
        clouds = protocol.load(self.split)
        bar = report.progress(f"{protocol.data} {self.split}", len(clouds))
        with bar as done, autocast(model, self.precision or protocol.precision):
            scores = evaluate(model, clouds, protocol.points, votes=self.votes, on_batch=done)
            if self.picture is not None:
                draw_parts(model, clouds, protocol.points, self.picture)
        scores |= {"adapter": str(self.adapter), "data": protocol.data, "split": self.split}
        if self.json:
            report.print_json(scores)
        else:
            report.evaluation(scores, f"{protocol.data} {self.split}", report.console())
        return 0
