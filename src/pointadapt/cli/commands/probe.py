"""``pointadapt probe``: measure a backbone by a linear SVM on its frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ...core import console
from ...core.fields import at_least, positive
from ...reports import terminal as report
from ..base import command


@command("probe")
@dataclass(frozen=True, kw_only=True)
class Probe:
    """Score a backbone by a linear SVM on its frozen features.

    Attributes:
        backbone: a bundled backbone, a backbone folder, or family:size for random weights.
        data: labelled data set: the SVM is fitted on its train split and scored on test.
        root: folder of that data set.
        data_options: its other options, as key=value.
        points: points of a cloud.
        c: the SVM's penalty.
        most: fit on so many training clouds, always the same; 0 takes all.
        random: also score the same network with random weights.
        precision: number format of the forward pass; "auto" is bf16 where the device computes in
            it, else fp32.
        scaled: bring each feature to mean 0 and variance 1 over the training clouds; --no-scaled
            leaves them as they are, as papers do.
        threads: CPU threads; 0 leaves it to torch.
        json: print the score as JSON on standard output.
    """

    backbone: Annotated[Positional[str], arg(metavar="BACKBONE")]
    data: str = "modelnet40"
    root: Path | None = None
    data_options: tuple[str, ...] = ()
    points: int = 1024
    c: float = 0.01
    most: int = 0
    random: bool = False
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    scaled: bool = True
    threads: int = 0
    json: bool = False

    def run(self) -> int:
        at_least(self, 1, "points")
        at_least(self, 0, "most", "threads")
        positive(self, "c")
        from ...core.machine import keep_large_blocks, use_threads
        from ...inference.linear_svm import probe

        keep_large_blocks()
        use_threads(self.threads)
        result = probe(
            self.backbone, self.data, self.root, points=self.points, c=self.c, most=self.most,
            random=self.random, precision=self.precision,
            scaled=self.scaled, data_options=self.data_options,
        )  # fmt: skip
        if self.json:
            console.print_json(result)
        else:
            report.probe_summary(result, console.output())
        return 0
