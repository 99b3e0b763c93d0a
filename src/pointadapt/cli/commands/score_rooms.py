"""``pointadapt score-rooms``: score an adapter on whole scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...core import console
from ...core.config import Precision
from ...reports import terminal as report
from ..base import command


@command("score-rooms")
@dataclass(frozen=True, kw_only=True)
class ScoreRooms:
    """Score a scene segmentation on every point of whole scenes; overlapping blocks vote.

    Attributes:
        adapter: the folder that training wrote.
        data: name of the data set; by default the one it was trained on.
        root: its folder on disk.
        data_options: its other options, as key=value; stride=0.5 lets blocks overlap by half.
        split: which part of it.
        backbone: where the backbone is now, if the adapter does not find it.
        precision: number format of the forward pass; by default as in training.
        out: also write the scores, with the confusion matrix, to this JSON file.
        json: print the scores as JSON on standard output.
    """

    adapter: Path
    data: str | None = None
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    split: Literal["train", "test"] = "test"
    backbone: str | None = None
    precision: Precision | None = None
    out: Path | None = None
    json: bool = False

    def run(self) -> int:
        from typing import Any

        from ...adapters.protocol import Protocol, autocast, load_ready
        from ...core.files import write_json
        from ...data import load_dataset
        from ...inference.score_scenes import score_rooms

        protocol = Protocol.of(self.adapter, self.data, self.root, self.data_options)
        model = load_ready(self.adapter, self.backbone)
        data: Any = load_dataset(protocol.data, **protocol.options)
        bar = console.progress(f"{protocol.data} {self.split}", None)
        with bar as done, autocast(model, self.precision or protocol.precision):
            scores = score_rooms(model, data, self.split, protocol.points, on_room=done)
        scores |= {"adapter": str(self.adapter), "data": protocol.data, "split": self.split}
        if self.out is not None:
            write_json(self.out, scores)
        if self.json:
            console.print_json(scores)
        else:
            report.rooms(scores, f"{protocol.data} {self.split}", console.output())
        return 0
