"""``pointadapt pool``: one score from the confusion matrices of several results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ...core import console
from ...reports import terminal as report
from ..base import command


@command("pool")
@dataclass(frozen=True, kw_only=True)
class Pool:
    """Add up the confusion matrices of several results, such as the six folds of S3DIS.

    Attributes:
        results: files that "score-scenes --out" wrote, or results.json of training.
        json: print the scores as JSON on standard output.
    """

    results: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE")]
    json: bool = False

    def run(self) -> int:
        from ...inference.score_scenes import pool_scores

        scores = pool_scores(self.results)
        if self.json:
            console.print_json(scores)
        else:
            from ...tasks.scene_segmentation import SceneSegmentation

            title = f"{len(self.results)} results"
            report.scene_scores(scores, SceneSegmentation, title, console.output())
        return 0
