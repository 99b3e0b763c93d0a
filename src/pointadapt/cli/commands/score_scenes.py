"""``pointadapt score-scenes``: score an adapter on whole scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...core import console
from ...core.config import Precision
from ...core.fields import at_least
from ...reports import terminal as report
from ..base import command


@command("score-scenes")
@dataclass(frozen=True, kw_only=True)
class ScoreScenes:
    """Score a scene segmentation on every point of whole scenes; overlapping blocks vote.

    Attributes:
        adapter: the folder that training wrote, or hf://owner/name.
        data: name of the data set; by default the one it was trained on.
        root: its folder on disk.
        data_options: its other options, as key=value; stride=0.5 lets blocks overlap by half.
        split: which part of it.
        backbone: where the backbone is now, if the adapter does not find it.
        precision: number format of the forward pass; by default as in training.
        threads: CPU threads; 0 leaves it to torch.
        out: also write the scores, with the confusion matrix, to this JSON file.
        baseline: with scenes of your own, also fit a random forest to the points of the training
            scenes, which takes seconds, and print its score on the same points.
        json: print the scores as JSON on standard output.
    """

    adapter: Path
    data: str | None = None
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    split: Literal["train", "test"] = "test"
    backbone: str | None = None
    precision: Precision | None = None
    threads: int = 0
    out: Path | None = None
    baseline: bool = True
    json: bool = False

    def run(self) -> int:
        at_least(self, 0, "threads")
        from ...core.machine import use_threads
        from ...inference.score_scenes import score_scenes

        use_threads(self.threads)
        with console.progress(f"scoring scenes of {self.split}", None) as done:
            scores = score_scenes(
                self.adapter, data=self.data, root=self.root, data_options=self.data_options,
                split=self.split, backbone=self.backbone, precision=self.precision, out=self.out,
                on_scene=done, baseline=self.baseline,
            )  # fmt: skip
        if self.json:
            console.print_json(scores)
        else:
            from ...adapters.folder import read_adapter_config
            from ...tasks import TASKS

            about = read_adapter_config(self.adapter)
            run, title = about.get("results", {}), f"{scores.get('title')} {self.split}"
            report.scene_scores(scores, TASKS[about["task"]], title, console.output(), run)
        return 0
