"""The configuration of few-shot runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..fields import at_least
from .study import StudyConfig
from .words import Fitting


@dataclass(frozen=True)
class FewShotConfig(StudyConfig):
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
    """

    out: Path = Path("runs/few-shot")
    way: int = 5
    shot: int = 10
    queries: int = 20
    folds: int = 10
    pool: Literal["split", "all"] = "split"
    episodes: Path | None = None
    epochs: Fitting = 150
    warmup_epochs: float = 10.0
    save_every: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 2, "way")
        at_least(self, 1, "shot", "queries", "folds")
        if self.shots:
            raise ConfigError("an episode's training clouds are its shot: give no shots beside it")
