"""The configuration of few-shot runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..fields import at_least
from .train import TrainConfig


@dataclass(frozen=True)
class FewShotConfig(TrainConfig):
    """Training on a few clouds of a few classes, again and again.

    Attributes:
        way: classes of an episode.
        shot: training clouds (the support) of each.
        queries: test clouds of each.
        folds: episodes.
        pool: "split" draws the support from the data set's training clouds and the queries from its
            test clouds; "all" draws both from all.
        episodes: a folder of index files to use, such as an earlier run's; by default they are
            drawn, from --seed, and written to OUT/episodes.
        jobs: folds at a time; 0 takes one for every GPU, or else core, 8 at most.
        together: folds that are trained in one process and in the same steps, for a GPU that small
            clouds leave idle; what cannot be is told, and trained by itself. Of each of --jobs.
        cluster: address of a Ray cluster to train on, as HOST:PORT, or "auto" on one of its nodes;
            "local" starts one here. --out, the data and the backbone must be on a file system that
            its nodes share. There, --jobs 0 takes as many at a time as there is room for, each
            with a GPU where there are some, or else --threads cores (1).
    """

    out: Path = Path("runs/few-shot")
    way: int = 5
    shot: int = 10
    queries: int = 20
    folds: int = 10
    pool: Literal["split", "all"] = "split"
    episodes: Path | None = None
    jobs: int = 0
    together: int = 1
    cluster: str = ""
    epochs: int = 150
    warmup_epochs: float = 10.0
    save_every: int = 50
    tensorboard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 2, "way")
        at_least(self, 1, "shot", "queries", "folds", "together")
        at_least(self, 0, "jobs")
        if self.shots:
            raise ConfigError("an episode's training clouds are its shot: give no shots beside it")
