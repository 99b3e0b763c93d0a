"""The configuration of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..fields import at_least
from .words import Precision, Voting


@dataclass(frozen=True)
class EvaluateConfig:
    """What to score an adapter on, and what to write.

    Attributes:
        adapter: the folder that training wrote, or hf://owner/name.
        data: name of the data set; by default the one it was trained on.
        root: its folder on disk.
        data_options: its other options, as key=value.
        split: which part of it.
        votes: augmented copies over which is averaged; 0 scores the clouds as they are.
        voting: how: "probabilities" of the same points, or the "released" way: points drawn anew
            for each copy, logits averaged; by default as the adapter's training was to be scored.
        backbone: where the backbone is now, if the adapter does not find it.
        threads: CPU threads; 0 leaves it to torch.
        picture: also draw the first clouds of the classes, with what is predicted beside what is
            so, to this .png, .pdf or .svg file.
        html: also write a page: scores, pictures of the worst errors, the protocol and, where one
            of several labels is chosen, confusions and calibration, in one file that needs no
            other.
        report_json: also write what the page tells, as a JSON file.
        pictures: clouds on the page of each kind.
        precision: number format of the forward pass; by default as in training.
        baseline: with files of your own, also fit a random forest to the adapter's training clouds,
            which takes seconds, and state its score on the same clouds.
    """

    adapter: Path
    data: str | None = None
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    split: Literal["train", "test"] = "test"
    votes: int = 0
    voting: Voting | None = None
    backbone: str | None = None
    threads: int = 0
    picture: Path | None = None
    html: Path | None = None
    report_json: Path | None = None
    pictures: int = 12
    precision: Precision | None = None
    baseline: bool = True

    def __post_init__(self) -> None:
        at_least(self, 0, "votes", "pictures", "threads")
